//! How good a run's pictures are while it trains (`train.eval_every`): FID and KID against the images of the data, and the best
//! model so far.
//!
//! Noise of a picture depends on the seed and the picture's number alone: every evaluation draws from the same noise, and training's
//! random numbers are left as they are. Deliberately absent: the metrics (difusi-metrics), drawing (`sample`), looking (`eval`).

use std::mem::take;
use std::sync::Arc;

use burn::tensor::Device;
use difusi_core::Dataset;
use difusi_data::{DataConfig, OpenOptions};
use difusi_metrics::{
    CollectOptions, FeatureExtractor, JudgeOptions, Kid, KidOptions, Metric, Resize, Summary, TooFew, enough, judge,
};
use difusi_store::{Metrics, RunPaths};
use difusi_train::TrainConfig;

use super::{Run, RunEvent};
use crate::eval::{PictureSource, Take, collect, features};
use crate::model::CardFid;
use crate::sample::{Sampler, SamplerOptions};
use crate::{ConfigError, ConfigErrors, Error, Model, RunConfig};

/// Columns of metrics.csv, of runs that are evaluated.
pub(super) const COLUMNS: [&str; 2] = ["fid", "kid"];
/// Images of the data that pictures are compared with, at most.
const REFERENCE: u64 = 10_000;
const METRICS: [Metric; 2] = [Metric::Fid, Metric::Kid];

/// What an evaluation needs.
pub(super) struct Evaluation {
    extractor: Box<dyn FeatureExtractor>,
    dataset: Arc<dyn Dataset>,
    /// The data as they are, where training mirrors them.
    unmirrored: Option<DataConfig>,
    /// What is known of the data, after the first evaluation.
    reference: Option<Summary>,
    /// Pictures drawn.
    images: usize,
    /// The name of the features.
    features: String,
    seed: u64,
}

/// What came out.
struct Scores {
    fid: f64,
    kid: Kid,
}

/// Hears how many pictures have been looked at, and answers whether to go on.
type OnProgress<'a> = &'a mut dyn FnMut(u64) -> bool;

impl Evaluation {
    /// What `train.eval_...` says; `None` where nothing is evaluated.
    ///
    /// # Errors
    /// Features whose weights are not there; a data set too small to be compared with.
    pub(super) fn new(config: &RunConfig, dataset: Arc<dyn Dataset>, device: &Device) -> Result<Option<Self>, Error> {
        let train = &config.train;
        if train.eval_every == 0 {
            return Ok(None);
        }
        let extractor = features(&train.eval_features, Resize::default(), device)
            .map_err(|e| ConfigErrors::from(ConfigError::message(format!("`train.eval_features`: {e}"))))?;
        if dataset.count() < 2 {
            let accepted = "at least 2, to be compared with in evaluations (train.eval_every)";
            return Err(Error::value("the number of images", dataset.count(), accepted));
        }
        let mut data = config.data.clone();
        Ok(Some(Self {
            extractor,
            dataset,
            unmirrored: stop_mirroring(&mut data).then_some(data),
            reference: None,
            images: train.eval_images,
            features: train.eval_features.clone(),
            seed: train.seed,
        }))
    }

    /// What a person should know before training; it is the same at every evaluation.
    pub(super) fn notes(&self) -> Result<Vec<String>, Error> {
        let dim = self.extractor.dim();
        let sides =
            [("pictures of train.eval_images", self.images as u64), ("images to compare with", self.references())];
        let note = |(who, count): (&str, u64)| enough(who, count, dim, TooFew::Force).map_err(Error::from);
        sides.into_iter().filter_map(|side| note(side).transpose()).collect()
    }

    /// Images of the data that are looked at.
    fn references(&self) -> u64 {
        self.dataset.count().min(REFERENCE)
    }

    /// Pictures that the next evaluation looks at, in all.
    fn pictures(&self) -> u64 {
        self.images as u64 + if self.reference.is_none() { self.references() } else { 0 }
    }

    /// Measures the pictures of a model, `batch` at a time; `None` where it is told to stop.
    fn measure(
        &mut self,
        model: &Model,
        batch: usize,
        device: &Device,
        on_progress: OnProgress<'_>,
    ) -> Result<Option<Scores>, Error> {
        let before = self.pictures() - self.images as u64;
        if self.reference.is_none() {
            self.reference = self.look_at_data(on_progress)?;
        }
        let Some(theirs) = &self.reference else { return Ok(None) };
        let options =
            SamplerOptions { count: self.images, batch: Some(batch), seed: self.seed, ..SamplerOptions::of(model) };
        let drawn = PictureSource::Model(Box::new(Sampler::new(model, options, device)?));
        let ours = self.look(&drawn, self.images as u64, &mut |done| on_progress(before + done))?;
        let Some(ours) = ours else { return Ok(None) };
        let options = JudgeOptions {
            kid: KidOptions { seed: self.seed, ..KidOptions::default() },
            too_few: TooFew::Force,
            ..JudgeOptions::default()
        };
        let verdict = judge(&ours, Some(theirs), &METRICS, &options)?;
        Ok(verdict.fid.zip(verdict.kid).map(|(fid, kid)| Scores { fid, kid }))
    }

    fn look_at_data(&self, on_progress: OnProgress<'_>) -> Result<Option<Summary>, Error> {
        let dataset = match &self.unmirrored {
            Some(data) => Arc::from(data.open_with_report(&OpenOptions::default())?.dataset),
            None => self.dataset.clone(),
        };
        self.look(&PictureSource::Dataset(dataset), REFERENCE, on_progress)
    }

    /// What is known of at most `limit` pictures; `None` where it is told to stop before all are seen.
    fn look(&self, source: &PictureSource, limit: u64, on_progress: OnProgress<'_>) -> Result<Option<Summary>, Error> {
        let all = source.count().map_or(limit, |n| n.min(limit));
        let mut stopped = false;
        let (options, take) = (CollectOptions::of(&METRICS), Take { limit, seed: self.seed });
        let found = collect(source, self.extractor.as_ref(), &options, take, &mut |done| {
            stopped = !on_progress(done) && done < all;
            !stopped
        });
        if stopped { Ok(None) } else { found.map(Some) }
    }
}

impl Run {
    /// Evaluates the model as it stands, and keeps it if it is the best: FID and KID, or `None` where it is told to stop.
    pub(super) fn evaluate(&mut self, on_event: &mut dyn FnMut(RunEvent)) -> Result<Option<[f64; 2]>, Error> {
        let (step, mut model) = (self.trainer.steps_done(), self.model()?);
        let Some(evaluation) = &mut self.evaluation else { return Ok(None) };
        let (of, batch) = (evaluation.pictures(), self.trainer.micro_batch());
        on_event(RunEvent::Evaluating { step, done: 0, of });
        let found = evaluation.measure(&model, batch, &self.device, &mut |done| {
            on_event(RunEvent::Evaluating { step, done, of });
            !(self.stop)()
        })?;
        let Some(Scores { fid, kid }) = found else {
            on_event(RunEvent::EvaluationStopped { step });
            return Ok(None);
        };
        let (features, images) = (evaluation.features.clone(), evaluation.images as u64);
        let mut best = None;
        if fid.is_finite() && self.best_fid.is_none_or(|least| fid < least) {
            model.card.fid = Some(CardFid { value: fid, features: features.clone(), images });
            model.save(&self.dir.best())?;
            (self.best_fid, best) = (Some(fid), Some(self.dir.best()));
        }
        let scores = [fid, kid.mean];
        on_event(RunEvent::Evaluated { step, features, fid, kid, best });
        Ok(Some(scores))
    }

    /// Makes the evaluation that was stopped before the run was; whether it was made.
    pub(super) fn make_up(&mut self, on_event: &mut dyn FnMut(RunEvent)) -> Result<bool, Error> {
        let Some(scores) = self.evaluate(on_event)? else { return Ok(false) };
        let [fid, kid] = COLUMNS;
        self.metrics.fill(self.trainer.steps_done(), &[(fid, scores[0]), (kid, scores[1])])?;
        self.owed = false;
        Ok(true)
    }
}

/// Whether a run is evaluated after `step`.
pub(super) fn is_due(train: &TrainConfig, step: u64) -> bool {
    train.eval_every > 0 && (step.is_multiple_of(train.eval_every) || step == train.steps)
}

/// What metrics.csv of a resumed run knows of evaluations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Whether it has columns for them.
    pub(super) columns: bool,
    /// The lowest FID so far.
    pub(super) best: Option<f64>,
    /// Whether it has scores of the last step.
    scored: bool,
}

impl Known {
    /// Up to `step`: what came after is made again.
    pub(super) fn read(run: &RunPaths, step: u64) -> Result<Self, Error> {
        if !run.metrics().exists() {
            return Ok(Self::default());
        }
        let metrics = Metrics::read(&run.metrics())?;
        let [fid, _] = COLUMNS;
        let mut so_far = metrics.points(fid);
        so_far.retain(|[at, _]| *at <= step as f64);
        Ok(Self {
            columns: metrics.columns.iter().any(|c| c == fid),
            best: so_far.iter().map(|[_, fid]| *fid).reduce(f64::min),
            scored: so_far.last().is_some_and(|[at, _]| *at == step as f64),
        })
    }

    /// Whether the run owes the evaluation of the step it goes on from. One that has had none so far begins with those to come.
    pub(super) fn owes(&self, train: &TrainConfig, step: u64) -> bool {
        self.columns && !self.scored && is_due(train, step)
    }

    /// Checks that scores to come can be compared with those that are there.
    ///
    /// # Errors
    /// Other features, or another number of pictures.
    pub(super) fn check(&self, new: &TrainConfig, old: &TrainConfig) -> Result<(), ConfigErrors> {
        let accepted = |old: &dyn std::fmt::Display| {
            format!("{old}, as metrics.csv has scores of that; leave it, or start another run with --out")
        };
        let mut errors = Vec::new();
        if new.eval_features != old.eval_features {
            let accepted = accepted(&old.eval_features);
            errors.push(ConfigError::value("train.eval_features", &new.eval_features, accepted));
        }
        if new.eval_images != old.eval_images {
            errors.push(ConfigError::value("train.eval_images", new.eval_images, accepted(&old.eval_images)));
        }
        if errors.is_empty() || self.best.is_none() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }
}

/// Switches the mirroring of training images off; whether it was on.
fn stop_mirroring(data: &mut DataConfig) -> bool {
    match data {
        DataConfig::Digits(_) => false,
        DataConfig::Idx(c) => take(&mut c.flip),
        DataConfig::Cifar10(c) => take(&mut c.flip),
        DataConfig::Folder(c) => take(&mut c.flip),
    }
}

#[cfg(test)]
mod tests {
    use difusi_store::{ExistingRun, MetricsWriter, RunDir};

    use super::*;
    use crate::{RunOptions, presets};

    fn config(kind: &str, more: &[&str]) -> RunConfig {
        let model = match kind {
            "unet" => "dim = 8\ndim_mults = [1, 2]\nattn_heads = 1\nattn_dim_head = 8",
            "flow" => "dim = 8\ncheckerboard_dim = 8\nsteps = 2\nlevels = 1",
            "gan" => "dim = 8\ndiscriminator_dim = 8\nlatent = 4\ndim_mults = [1, 2]",
            _ => "dim = 8\nlatent = 4\ndim_mults = [1, 2]",
        };
        let steps = if kind == "unet" { "steps = 3\n" } else { "" };
        let text = format!(
            "[data]\nkind = \"digits\"\nsize = [8, 8]\ncount = 40\n[model]\nkind = \"{kind}\"\n{model}\n[train]\nsteps = 3\n\
             batch_size = 4\nsample_every = 0\neval_every = 2\neval_images = 6\neval_features = \"pixels:2\"\n[sample]\n{steps}count = 1\n"
        );
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        RunConfig::parse_with(&text, &more).unwrap()
    }

    fn open(config: RunConfig, out: &std::path::Path) -> Result<Run, Error> {
        Run::open(RunOptions::new(config, out), &Device::flex())
    }

    fn events(run: &mut Run) -> Vec<RunEvent> {
        let mut events = Vec::new();
        while run.step(&mut |e| events.push(e)).unwrap().is_some() {}
        run.finish(&mut |_, _| {}).unwrap();
        events
    }

    /// Every kind that draws: when it is due and at the end, the images of the data once; the lowest FID is the best.
    #[test]
    fn every_kind_that_draws_is_evaluated() {
        for kind in ["unet", "vae", "gan", "flow"] {
            let dir = tempfile::tempdir().unwrap();
            let out = dir.path().join("r");
            let mut run = open(config(kind, &[]), &out).unwrap();
            assert!(run.notes().iter().any(|n| n.starts_with("6 pictures of train.eval_images")), "{:?}", run.notes());
            let (mut pictures, mut found, mut least) = (Vec::new(), Vec::new(), f64::MAX);
            for event in events(&mut run) {
                match event {
                    RunEvent::Evaluating { done: 0, of, .. } => pictures.push(of),
                    RunEvent::Evaluated { step, fid, kid, best, .. } => {
                        assert_eq!(best, (fid < least).then(|| out.join("best.safetensors")), "{kind}");
                        least = least.min(fid);
                        found.push([step as f64, fid, kid.mean]);
                    }
                    _ => {}
                }
            }
            assert_eq!((pictures, found.len()), (vec![46, 6], 2), "{kind}");
            let metrics = Metrics::read(&out.join("metrics.csv")).unwrap();
            let [fid, kid] = COLUMNS.map(|c| metrics.points(c));
            assert_eq!(fid, found.iter().map(|f| [f[0], f[1]]).collect::<Vec<_>>(), "{kind}");
            assert_eq!(kid, found.iter().map(|f| [f[0], f[2]]).collect::<Vec<_>>(), "{kind}");
        }
    }

    /// Told to stop, an evaluation ends, while looking at the data as well as while drawing; the run goes on.
    #[test]
    fn an_evaluation_may_be_stopped() {
        for stop_after in [0, 1] {
            let dir = tempfile::tempdir().unwrap();
            let mut run = open(config("unet", &[]), &dir.path().join("r")).unwrap();
            let asked = std::sync::atomic::AtomicU64::new(0);
            run.stop_when(move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= stop_after);
            let found = events(&mut run);
            let stopped = |step| found.contains(&RunEvent::EvaluationStopped { step });
            assert!(stopped(2) && stopped(3), "{found:?}");
            assert!(!found.iter().any(|e| matches!(e, RunEvent::Evaluated { .. })), "{found:?}");
            assert!(!run.dir.best().exists() && run.dir.model().exists() && run.steps_done() == 3);
            assert!(Metrics::read(&run.dir.metrics()).unwrap().points("fid").is_empty());
        }
    }

    /// What would fail at the first evaluation fails before the first step, and leaves no folder.
    #[test]
    fn what_cannot_be_evaluated_is_told_first() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("r");
        for (set, parts) in [
            ("train.eval_features=absent.pt", ["`train.eval_features`", "absent.pt"]),
            ("data.count=1", ["train.eval_every", "images is 1"]),
        ] {
            let e = open(config("unet", &[set]), &out).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(parts.iter().all(|part| e.contains(part)) && !out.exists(), "{e}");
        }
        assert!(open(config("unet", &["train.eval_features=absent.pt", "train.eval_every=0"]), &out).is_ok());
    }

    /// Only rows up to the state count; scores of other features are no scores to beat.
    #[test]
    fn what_a_resumed_run_knows() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), ExistingRun::Refuse).unwrap();
        assert_eq!(Known::read(&run, 9).unwrap(), Known::default());
        let mut writer = MetricsWriter::create(&run.metrics(), &["loss", "fid", "kid"]).unwrap();
        for (step, fid) in [(1, None), (2, Some(7.5)), (3, Some(9.0)), (4, Some(0.5))] {
            writer.append(step, &[Some(1.0), fid, fid]).unwrap();
        }
        for (step, best) in [(1, None), (3, Some(7.5)), (4, Some(0.5))] {
            assert_eq!(Known::read(&run, step).unwrap(), Known { columns: true, best, scored: step > 1 });
        }
        let old = TrainConfig::default();
        let new = TrainConfig { eval_every: 5, eval_images: 3, eval_features: "inception".into(), ..old.clone() };
        let known = |best| Known { columns: true, best, scored: false };
        assert_eq!(known(None).check(&new, &old), Ok(()));
        assert_eq!(known(Some(1.0)).check(&TrainConfig { eval_every: 0, ..old.clone() }, &old), Ok(()));
        for (columns, scored, step, owes) in
            [(true, false, 10, true), (true, true, 10, false), (false, false, 10, false), (true, false, 9, false)]
        {
            assert_eq!(Known { columns, best: None, scored }.owes(&new, step), owes);
        }
        let e = known(Some(1.0)).check(&new, &old).unwrap_err().to_string();
        assert!(e.contains("`train.eval_images` is 3") && e.contains("`train.eval_features` is inception"), "{e}");
    }

    #[test]
    fn images_to_compare_with_are_not_mirrored() {
        for (name, mirrored) in [("digits", false), ("mnist", false), ("cifar10", true), ("folder", true)] {
            let set = if name == "folder" { vec!["data.flip=true".to_owned()] } else { Vec::new() };
            let mut data = RunConfig::parse_with(presets::get(name).unwrap(), &set).unwrap().data;
            assert_eq!((stop_mirroring(&mut data), stop_mirroring(&mut data)), (mirrored, false), "{name}");
        }
    }

    #[test]
    fn a_run_may_train_on_any_thread() {
        fn sent<T: Send>() {}
        sent::<Run>();
    }
}
