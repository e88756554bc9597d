//! A training run in a folder: the trainer, and what it leaves behind on its way.
//!
//! [`Run::step`] makes one optimiser step and, when their time has come, a row of metrics, a validation, an evaluation of pictures, a
//! picture, a checkpoint.
//! Deliberately absent: progress bars, signals, printing (the caller's).

mod evaluation;
mod open;
mod output;
mod training;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use difusi_metrics::Kid;
use difusi_store::{MetricsWriter, RunDir};
use difusi_train::{StepReport, Validation};

use crate::{Error, RunConfig};

use evaluation::Evaluation;
pub(crate) use open::network;
pub use open::{FineTune, RunOptions, RunStart};
pub use output::save_grid;
use training::Training;
pub(crate) use training::{Start as TrainingStart, training};

/// Columns of metrics.csv after `step`, before those of what the loss is made of.
const COLUMNS: [&str; 7] =
    ["images_seen", "loss", "validation_loss", "learning_rate", "grad_norm", "skipped", "seconds"];

/// All columns after `step`, for these parts of the loss: each of them in training, then each of them in validation; then the scores
/// of pictures, where there are some.
fn columns(parts: &[&str], scored: bool) -> Vec<String> {
    let own = COLUMNS.iter().map(ToString::to_string);
    let seen = parts.iter().map(|p| format!("validation_{p}"));
    let scores = evaluation::COLUMNS.iter().filter(|_| scored).map(ToString::to_string);
    own.chain(parts.iter().map(ToString::to_string)).chain(seen).chain(scores).collect()
}

/// What happened beside the step itself.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// Mean loss over the held-out images, with the first EMA's weights.
    Validated {
        /// Finished steps.
        step: u64,
        /// The loss.
        loss: f64,
        /// What it is made of, by name.
        parts: Vec<(&'static str, f64)>,
    },
    /// An evaluation goes on: pictures are drawn with the first EMA's weights and looked at, and the first time images of the data. It
    /// may take minutes; [`Run::stop_when`] can end it.
    Evaluating {
        /// Finished steps.
        step: u64,
        /// Pictures looked at; 0 before the first.
        done: u64,
        /// Pictures in all.
        of: u64,
    },
    /// What an evaluation found.
    Evaluated {
        /// Finished steps.
        step: u64,
        /// The features' name.
        features: String,
        /// Frechet distance of their features from those of the data.
        fid: f64,
        /// Kernel distance.
        kid: Kid,
        /// Where the model was written, if no FID of the run was lower before.
        best: Option<PathBuf>,
    },
    /// An evaluation was told to stop before all pictures were drawn. It is made up for when the run is resumed from this step.
    EvaluationStopped {
        /// Finished steps.
        step: u64,
    },
    /// A grid of EMA samples was drawn.
    Sampled(PathBuf),
    /// A checkpoint and the model file were written.
    Saved(PathBuf),
    /// A step was skipped because its loss or gradient was not finite.
    Skipped {
        /// The step.
        step: u64,
        /// The first tensor that was not finite, or `loss`.
        tensor: String,
    },
}

/// A run being trained; holds the folder's lock.
pub struct Run {
    config: RunConfig,
    shape: [usize; 3],
    dir: RunDir,
    trainer: Box<dyn Training>,
    metrics: MetricsWriter,
    /// Whether metrics have columns for scores.
    scored: bool,
    evaluation: Option<Evaluation>,
    /// Whether an evaluation was due at the step that a resumed run goes on from, and was not made.
    owed: bool,
    /// The lowest FID so far.
    best_fid: Option<f64>,
    stop: Box<dyn Fn() -> bool + Send>,
    /// Since the last row of metrics.
    pending: Pending,
    device: Device,
    command: String,
    notes: Vec<String>,
    /// The step whose state is on disk.
    saved_at: Option<u64>,
}

/// Sums of the steps since the last row.
#[derive(Clone, Debug, Default)]
struct Pending {
    loss: f64,
    grad_norm: f64,
    seconds: f64,
    steps: u64,
    skipped: u64,
    parts: Vec<f64>,
    validation: Option<Validation>,
    /// FID and KID.
    scores: Option<[f64; 2]>,
}

impl Run {
    /// The resolved config.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        self.dir.root()
    }

    /// Things a person should know before training: broken images, a schedule that does not end in noise.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// Images that go through the network at once.
    pub fn micro_batch(&self) -> usize {
        self.trainer.micro_batch()
    }

    /// Number of trained weights.
    pub fn parameters(&self) -> usize {
        self.trainer.trainable_weights()
    }

    /// Asks `stop` between the batches of an evaluation whether to end it. (Steps are the caller's to stop.)
    pub fn stop_when(&mut self, stop: impl Fn() -> bool + Send + 'static) {
        self.stop = Box::new(stop);
    }

    /// Where the sample grid of [`Run::finish`] lies.
    pub fn samples_path(&self) -> PathBuf {
        self.dir.samples()
    }

    /// One step, and what is due after it; `None` when all steps are done, or where a resumed run was about to make up for an evaluation
    /// and was told to stop ([`Run::stop_when`]).
    ///
    /// # Errors
    /// Data that can no longer be read, ten non-finite steps in a row, a full disk. The last checkpoint stays.
    pub fn step(&mut self, on_event: &mut dyn FnMut(RunEvent)) -> Result<Option<StepReport>, Error> {
        if self.owed && !self.make_up(on_event)? {
            return Ok(None);
        }
        let Some(report) = self.trainer.next_step().transpose()? else { return Ok(None) };
        self.pending.add(&report);
        let (step, train) = (report.step, self.config.train.clone());
        if let Some(tensor) = &report.skipped {
            on_event(RunEvent::Skipped { step, tensor: tensor.clone() });
        }
        let last = step == train.steps;
        let due = |every: u64| every > 0 && step.is_multiple_of(every);
        if due(train.validation_every) || last {
            let weights = self.trainer.best_weights();
            if let Some(found) = self.trainer.validation(weights)? {
                let parts = self.trainer.part_names().iter().copied().zip(found.parts.iter().copied()).collect();
                on_event(RunEvent::Validated { step, loss: found.loss, parts });
                self.pending.validation = Some(found);
            }
        }
        let evaluates = evaluation::is_due(&train, step);
        if evaluates {
            self.pending.scores = self.evaluate(on_event)?;
        }
        if due(train.log_every) || last || self.pending.validation.is_some() || evaluates {
            self.log(&report)?;
        }
        if due(train.sample_every) && !last {
            self.draw_progress(step)?.into_iter().for_each(|path| on_event(RunEvent::Sampled(path)));
        }
        // A state amid skipped steps is no good one to go back to.
        if due(train.save_every) && !last && report.skipped.is_none() {
            on_event(RunEvent::Saved(self.save()?));
        }
        Ok(Some(report))
    }

    /// Writes checkpoint, model and loss curve as they stand: after the last step, or when interrupted.
    ///
    /// # Errors
    /// A full disk, a folder that cannot be written; earlier checkpoints stay.
    pub fn save(&mut self) -> Result<PathBuf, Error> {
        let step = self.trainer.steps_done();
        // A state that is on disk already is never written again: a kill in the middle could cost the only one.
        let state = match self.saved_at {
            Some(at) if at == step => self.dir.state_at(step),
            _ => self.trainer.save_checkpoint(&self.dir)?,
        };
        self.saved_at = Some(step);
        self.model()?.save(&self.dir.model())?;
        self.plot_loss()?;
        Ok(state)
    }

    /// Saves, and draws the final grid of `sample.count` pictures; `on_step` sees (steps done, steps in all). `None` where the model
    /// draws nothing.
    ///
    /// # Errors
    /// As [`Run::save`], and a failing network.
    pub fn finish(&mut self, on_step: &mut dyn FnMut(u64, u64)) -> Result<Option<PathBuf>, Error> {
        self.save()?;
        self.draw_final(on_step)
    }

    fn log(&mut self, report: &StepReport) -> Result<(), Error> {
        let p = std::mem::take(&mut self.pending);
        let good = (p.steps - p.skipped).max(1) as f64;
        let mean = |sum: f64| (p.steps > p.skipped).then_some(sum / good);
        let mut row = vec![
            Some(report.images_seen as f64),
            mean(p.loss),
            p.validation.as_ref().map(|v| v.loss),
            Some(report.learning_rate),
            mean(p.grad_norm),
            Some(report.skipped_total as f64),
            Some(p.seconds / p.steps.max(1) as f64),
        ];
        let parts = self.trainer.part_names().len();
        row.extend((0..parts).map(|i| p.parts.get(i).and_then(|sum| mean(*sum))));
        row.extend((0..parts).map(|i| p.validation.as_ref().and_then(|v| v.parts.get(i).copied())));
        if self.scored {
            row.extend(p.scores.map_or([None; 2], |scores| scores.map(Some)));
        }
        Ok(self.metrics.append(report.step, &row)?)
    }
}

impl Pending {
    fn add(&mut self, report: &StepReport) {
        self.steps += 1;
        self.seconds += report.seconds;
        if report.skipped.is_some() {
            self.skipped += 1;
        } else {
            self.loss += report.loss;
            self.grad_norm += report.grad_norm;
            self.parts.resize(report.parts.len(), 0.0);
            self.parts.iter_mut().zip(&report.parts).for_each(|(sum, part)| *sum += part);
        }
    }
}
