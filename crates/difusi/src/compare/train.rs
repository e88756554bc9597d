//! The parts of a comparison that train.

use std::path::Path;

use difusi_store::{Picture, RunPaths, read_header};

use super::plan::{milestones, seconds_per_step, with_steps};
use super::{CompareProgress, Comparison, JUDGE_NAME, Member, Outcome, Training, Watch};
use crate::memory::{peak_mib, restart_peak};
use crate::model::{ModelCard, read_run_config};
use crate::{Error, Model, Run, RunConfig, RunOptions, RunStart, Sampler, SamplerOptions, save_grid};

/// Pictures in a grid.
pub(super) const GRID: usize = 64;

impl Comparison {
    /// A family's budget as a number of steps.
    pub(super) fn time(&mut self, member: Member, watch: Watch<'_>) -> Result<Outcome, Error> {
        if self.decided.members.contains_key(&member.name()) {
            return Ok(Outcome::Cached);
        }
        if !watch(CompareProgress { unit: "families", done: 0, total: 1, detail: "" }) {
            return Ok(Outcome::Stopped);
        }
        let seconds = seconds_per_step(self.config(member)?, &self.device)?;
        let steps = self.options.budget.steps(member.family, seconds);
        let detail = format!("{:.1} ms a step: {steps} steps", seconds * 1e3);
        let training = Training { steps, seconds_per_step: Some(seconds), ..Training::default() };
        self.decide(member.name(), training)?;
        watch(CompareProgress { unit: "families", done: 1, total: 1, detail: &detail });
        Ok(Outcome::Done)
    }

    fn config(&self, member: Member) -> Result<&RunConfig, Error> {
        let own = self.members.iter().find(|(m, _)| *m == member).map(|(_, config)| config);
        own.ok_or_else(|| Error::value("the member", member.name(), "one of the comparison"))
    }

    /// What has been decided about a member; a repetition has as many steps as the first of its family.
    pub(super) fn decision(&self, member: Member) -> Training {
        let first = Member { repeat: 0, ..member };
        let of = |m: Member| self.decided.members.get(&m.name());
        match (of(member), of(first)) {
            (Some(own), _) => *own,
            (None, Some(first)) => {
                Training { steps: first.steps, seconds_per_step: first.seconds_per_step, ..Training::default() }
            }
            (None, None) => {
                let steps = self.options.budget.steps(member.family, 1.0);
                Training { steps, ..Training::default() }
            }
        }
    }

    pub(super) fn train(&mut self, member: Member, watch: Watch<'_>) -> Result<Outcome, Error> {
        let (folder, decision) = (self.run_folder(member), self.decision(member));
        let at = milestones(decision.steps);
        let drawn = |step: &u64| self.picture_path(&milestone(member, *step)).exists();
        if finished(&folder, decision.steps) && at.iter().all(drawn) && decision.parameters.is_some() {
            return Ok(Outcome::Cached);
        }
        let config = with_steps(self.config(member)?.clone(), decision.steps);
        self.extractor = None; // it is no part of what training takes
        restart_peak();
        let mut run = self.open_run(&folder, config)?;
        let whole = self.steps(&mut run, watch, &mut |this, run, step| {
            let path = this.picture_path(&milestone(member, step));
            if at.contains(&step) && !path.exists() {
                draw_grid(&run.model()?, this.options.seed, &path, this)?;
            }
            Ok(())
        })?;
        run.save()?;
        let peak = [decision.peak_mib, peak_mib()].into_iter().flatten().reduce(f64::max);
        let parameters = Some(run.parameters() as u64);
        self.decide(member.name(), Training { peak_mib: peak, parameters, ..decision })?;
        Ok(if whole { Outcome::Done } else { Outcome::Stopped })
    }

    pub(super) fn train_judge(&mut self, watch: Watch<'_>) -> Result<Outcome, Error> {
        let Some(config) = self.judge.clone() else { return Ok(Outcome::Cached) };
        let folder = self.path(JUDGE_NAME);
        if finished(&folder, config.train.steps) {
            return Ok(Outcome::Cached);
        }
        let mut run = self.open_run(&folder, config)?;
        let whole = self.steps(&mut run, watch, &mut |_, _, _| Ok(()))?;
        run.save()?;
        Ok(if whole { Outcome::Done } else { Outcome::Stopped })
    }

    /// A new run, or that which is in the folder.
    fn open_run(&self, folder: &Path, config: RunConfig) -> Result<Run, Error> {
        let existing = RunPaths::is_run(folder);
        let resumes = existing && !RunPaths::open(folder)?.states()?.is_empty();
        let (start, config) = match (existing, resumes) {
            // What it was begun with says where the data were found.
            (_, true) => (RunStart::Resume, read_run_config(&RunPaths::open(folder)?)?),
            // It died before its first checkpoint.
            (true, false) => (RunStart::Overwrite, config),
            (false, _) => (RunStart::New, config),
        };
        let options = RunOptions { start, command: self.options.command.clone(), ..RunOptions::new(config, folder) };
        Run::open(options, &self.device)
    }

    /// Steps until all are made (true) or the caller stops (false).
    fn steps(&self, run: &mut Run, watch: Watch<'_>, after: After<'_>) -> Result<bool, Error> {
        let total = run.config().train.steps;
        let mut average: Option<f64> = None;
        after(self, run, run.steps_done())?;
        loop {
            let detail = average.map_or(String::new(), |loss| format!("loss {loss:.4}"));
            if !watch(CompareProgress { unit: "steps", done: run.steps_done(), total, detail: &detail }) {
                return Ok(false);
            }
            let Some(report) = run.step(&mut |_| {})? else { return Ok(true) };
            if report.loss.is_finite() {
                let old = average.unwrap_or(report.loss);
                average = Some(old + (report.loss - old) / 50.0);
            }
            after(self, run, report.step)?;
        }
    }
}

/// What is done after a step.
type After<'a> = &'a mut dyn FnMut(&Comparison, &Run, u64) -> Result<(), Error>;

/// The name of a grid on the way.
pub(super) fn milestone(member: Member, step: u64) -> String {
    format!("{}-step-{step:06}", member.name())
}

/// Whether the model in a run folder has made all its steps.
fn finished(folder: &Path, steps: u64) -> bool {
    let card = || {
        let header = read_header(&RunPaths::open(folder).ok()?.model()).ok()?;
        ModelCard::from_metadata(&header.metadata)?.ok()
    };
    card().is_some_and(|card| card.step >= steps)
}

/// A grid of what the model draws.
fn draw_grid(model: &Model, seed: u64, path: &Path, comparison: &Comparison) -> Result<(), Error> {
    let options = SamplerOptions { count: GRID, seed, ..SamplerOptions::of(model) };
    let pictures: Vec<Picture> = Sampler::new(model, options, &comparison.device)?.all()?;
    let text = [("command", comparison.options.command.as_str()), ("model", model.hash.as_str())];
    save_grid(path, &pictures, &text)
}
