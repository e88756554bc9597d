//! The trainer: an iterator of steps.
//!
//! One step: images -> losses -> mean -> gradient, in parts that fit into memory -> norm, clipping -> Adam -> averages.
//! Weights, moments and averages are flat host vectors in the module's order; the gradient is read where the backward pass
//! left it. Once for its norm, then one pass makes Adam's step, the averages and the memory of the module's new tensors.
//! Deliberately absent: printing, pictures, deciding when to save.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use difusi_core::{Dataset, Noise};

use crate::ema::Ema;
use crate::error::ConfigIssues;
use crate::gradient::Gradient;
use crate::loader::{HostBatch, Loader, Reading};
use crate::objective::{Objective, Phase, StepContext};
use crate::optimizer::{Moments, Update, clip_scale};
use crate::order::Order;
use crate::params::{self, Fill, Layout, Trained};
use crate::precision::{in_precision, training_device};
use crate::{
    MicroBatch, StepReport, TrainConfig, TrainError, TrainerOptions, Weights, auto_micro_batch, available_memory,
};

/// Steps in a row without a finite loss and gradient after which training stops.
const MOST_SKIPPED: u32 = 10;

/// Everything that decides the rest of a run, beside the config.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) step: u64,
    pub(crate) images_seen: u64,
    pub(crate) skipped_total: u64,
    pub(crate) skipped_in_a_row: u32,
    pub(crate) ema_updates: u64,
    pub(crate) micro_batch: usize,
    /// Trainable weights.
    pub(crate) weights: Vec<f32>,
    pub(crate) moments: Moments,
    pub(crate) emas: Vec<Ema>,
}

impl Progress {
    /// Where a run of `config` begins with these weights.
    fn start(config: &TrainConfig, weights: Vec<f32>) -> Self {
        let micro_batch = match config.micro_batch {
            MicroBatch::Images(n) => n,
            MicroBatch::Auto => config.batch_size,
        };
        Self {
            step: 0,
            images_seen: 0,
            skipped_total: 0,
            skipped_in_a_row: 0,
            ema_updates: 0,
            micro_batch,
            moments: Moments::new(weights.len()),
            emas: config.ema.iter().map(|&rate| Ema::new(rate, &weights)).collect(),
            weights,
        }
    }
}

/// Trains the model of an objective. `next()` makes steps until `train.steps` are done, or one fails.
///
/// On the first use of the data a background thread starts; it stops with the trainer.
pub struct Trainer<O: Objective> {
    pub(crate) config: TrainConfig,
    pub(crate) objective: O,
    pub(crate) model: O::Model,
    pub(crate) layout: Layout,
    pub(crate) device: Device,
    pub(crate) data: Arc<dyn Dataset>,
    pub(crate) order: Arc<Order>,
    loader: Option<Loader>,
    pub(crate) progress: Progress,
    pub(crate) last_checkpoint: Option<PathBuf>,
    failed: bool,
}

/// The mean loss and gradient of a step's images.
struct Gathered {
    loss: f64,
    /// Of every image, in order.
    losses: Vec<f32>,
    /// What is not finite.
    bad: Option<String>,
    gradient: Gradient,
}

impl<O: Objective> Trainer<O> {
    /// A trainer at step 0 of `model` (its weights as they are: fine-tuning is nothing but a model with weights) on `device`.
    ///
    /// # Errors
    /// A config that is not accepted, all of it; a precision that the model or the device does not have; a model without
    /// trainable weights.
    pub fn new(
        config: TrainConfig,
        objective: O,
        model: O::Model,
        data: Arc<dyn Dataset>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let issues = config.check();
        if !issues.is_empty() {
            return Err(TrainError::Config(ConfigIssues(issues)));
        }
        let device = training_device(device, config.checkpoint_activations);
        let model = in_precision(&config, &objective, model, &device)?;
        let (model, layout, weights) = params::to_training(model, &device)?;
        if weights.is_empty() {
            return Err(TrainError::NothingToTrain { trainable: 0 });
        }
        Ok(Self {
            progress: Progress::start(&config, weights),
            order: Arc::new(Order::new(&config, data.count())),
            loader: None,
            last_checkpoint: None,
            failed: false,
            config,
            objective,
            model,
            layout,
            device,
            data,
        })
    }

    /// Decides `micro_batch = "auto"` from memory, once: a number in the config stands, and so does the number of a run that
    /// has made steps.
    #[must_use]
    pub fn with_options(mut self, options: TrainerOptions) -> Self {
        let auto = self.config.micro_batch == MicroBatch::Auto && self.progress.step == 0;
        if let (true, Some(per_image)) = (auto, options.activation_bytes_per_image) {
            let limit = options.memory_limit.or_else(|| available_memory().map(|b| b / 4 * 3));
            // weights twice (host and device), gradients, two moments, the averages
            let fixed = (self.layout.len * 4 * (5 + self.config.ema.len())) as u64;
            self.progress.micro_batch = limit.map_or(self.config.batch_size, |limit| {
                auto_micro_batch(self.config.batch_size, per_image, limit.saturating_sub(fixed))
            });
            self.loader = None;
        }
        self
    }

    /// One step, also beyond `train.steps`.
    ///
    /// # Errors
    /// After an error of the data set or the objective the trainer stands where it stood before the step, and may be
    /// asked again. [`TrainError::Diverged`] after ten skipped steps in a row.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let started = Instant::now();
        let learning_rate = self.config.learning_rate_at(self.progress.step);
        self.objective.take_parts(); // of a step that failed
        let gathered = self.gather().inspect_err(|_| self.loader = None)?;
        let parts = self.objective.take_parts();
        let (grad_norm, bad) = match gathered.bad {
            Some(bad) => (f64::NAN, Some(bad)),
            None => self.norm(&gathered.gradient),
        };
        if bad.is_none() {
            self.objective.end_step(&gathered.losses);
            self.update(learning_rate, grad_norm, gathered.gradient);
        }
        let p = &mut self.progress;
        p.step += 1;
        p.images_seen += self.config.images_per_step();
        p.skipped_total += u64::from(bad.is_some());
        p.skipped_in_a_row = if bad.is_some() { p.skipped_in_a_row + 1 } else { 0 };
        let diverged = p.skipped_in_a_row >= MOST_SKIPPED;
        if let (true, Some(tensor)) = (diverged, &bad) {
            let (step, in_a_row) = (p.step, p.skipped_in_a_row);
            let checkpoint = self.last_checkpoint.clone();
            return Err(TrainError::Diverged { tensor: tensor.clone(), step, in_a_row, checkpoint });
        }
        Ok(StepReport {
            step: p.step,
            loss: gathered.loss,
            parts,
            learning_rate,
            grad_norm,
            skipped: bad,
            skipped_total: p.skipped_total,
            images_seen: p.images_seen,
            epoch: self.order.epoch_len().map(|n| p.images_seen as f64 / n as f64),
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Losses and gradients of the step's images, part by part.
    fn gather(&mut self) -> Result<Gathered, TrainError> {
        let sizes = self.part_sizes();
        let total = self.config.images_per_step() as f64;
        let trainable = self.layout.trained().count();
        let mut all = Gathered { loss: 0.0, losses: Vec::new(), bad: None, gradient: Gradient::none(trainable) };
        self.objective.begin_step();
        for _ in &sizes {
            let part = self.next_part(&sizes)?;
            if all.bad.is_some() {
                continue; // the step is lost, but its images count as seen
            }
            let context = StepContext {
                noise: Noise::new(self.config.seed),
                first_image: part.first_image,
                step: self.progress.step,
                images_per_step: self.config.images_per_step(),
                phase: Phase::Training,
            };
            let count = part.count;
            let losses = self.objective.loss(&self.model, part.into_batch(&self.device), &context)?;
            let values = params::values(losses.clone(), "loss")?;
            if values.len() != count {
                return Err(TrainError::LossCount { got: values.len(), expected: count });
            }
            all.losses.extend(&values);
            all.loss += values.iter().map(|&l| f64::from(l)).sum::<f64>() / total;
            if values.iter().any(|l| !l.is_finite()) {
                // A weight that is not finite itself says more than what came of it.
                all.bad = Some(self.layout.first_bad(&self.progress.weights).unwrap_or("loss").to_owned());
            } else if losses.is_tracked() {
                let gradients = (losses.sum() / total).backward();
                all.gradient.add(&self.model, gradients, &self.layout)?;
            } else {
                return Err(TrainError::NothingToTrain { trainable });
            }
        }
        Ok(all)
    }

    /// The gradient's norm, and the tensor to blame where it is not finite.
    fn norm(&self, gradient: &Gradient) -> (f64, Option<String>) {
        let norm = gradient.norm();
        let bad = || gradient.first_bad(&self.layout).unwrap_or("gradient").to_owned();
        (norm, (!norm.is_finite()).then(bad))
    }

    fn update(&mut self, learning_rate: f64, grad_norm: f64, gradient: Gradient) {
        let p = &mut self.progress;
        let with = Update {
            optimizer: self.config.optimizer,
            learning_rate,
            grad_scale: clip_scale(grad_norm, self.config.clip),
        };
        let averaged = (p.moments.updates + 1).is_multiple_of(self.config.ema_every);
        let (n, warmup) = (p.ema_updates, self.config.ema_warmup);
        let averages = if averaged { p.emas.iter_mut().map(|e| e.at(n, warmup)).collect() } else { Vec::new() };
        let new = p.moments.update(&mut p.weights, averages, &gradient.tensors(&self.layout), with);
        drop(gradient);
        p.ema_updates += u64::from(averaged);
        let values = Trained::Own(new.into_iter());
        let fill = Fill { layout: &self.layout, device: &self.device, values, rest: None };
        self.model = fill.apply(self.model.clone());
    }

    /// Sizes of the parts that the images of one step are cut into.
    fn part_sizes(&self) -> Vec<usize> {
        let (batch, micro) = (self.config.batch_size, self.progress.micro_batch);
        let one = (0..batch).step_by(micro).map(|i| micro.min(batch - i));
        std::iter::repeat_n(one, self.config.accumulation).flatten().collect()
    }

    fn next_part(&mut self, sizes: &[usize]) -> Result<HostBatch, TrainError> {
        if self.loader.is_none() {
            let reading = Reading {
                data: self.data.clone(),
                order: self.order.clone(),
                noise: Noise::new(self.config.seed),
                sizes: sizes.to_vec(),
            };
            self.loader = Some(Loader::start(reading, self.progress.images_seen)?);
        }
        self.loader.as_ref().map_or(Err(TrainError::Reader), Loader::next)
    }

    /// A copy of the model for inference (no autodiff, training flags off) with these weights. Buffers and frozen
    /// parameters are the model's own.
    ///
    /// # Errors
    /// An index that `train.ema` does not have.
    pub fn model(&self, weights: Weights) -> Result<O::Model, TrainError> {
        let values = match weights {
            Weights::Raw => return Ok(self.model.valid()),
            Weights::Ema(i) => self.progress.emas.get(i).ok_or_else(|| {
                let (key, got) = ("train.ema".to_owned(), format!("without an average {i}"));
                let accepted = format!("an index below {}", self.progress.emas.len());
                TrainError::Config(ConfigIssues(vec![crate::ConfigIssue { key, got, accepted }]))
            })?,
        };
        let device = self.device.clone().inner();
        let fill = Fill { layout: &self.layout, device: &device, values: Trained::Flat(&values.values), rest: None };
        Ok(fill.apply(self.model.valid()))
    }

    /// The model with the average `index` of `train.ema`; see [`Trainer::model`].
    pub fn ema(&self, index: usize) -> Result<O::Model, TrainError> {
        self.model(Weights::Ema(index))
    }

    /// The model with the weights that the optimiser moves; see [`Trainer::model`].
    pub fn raw(&self) -> O::Model {
        self.model.valid()
    }

    /// The weights to sample with: the first average, or the raw ones where none is kept.
    pub fn best_weights(&self) -> Weights {
        if self.progress.emas.is_empty() { Weights::Raw } else { Weights::Ema(0) }
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.progress.step
    }

    /// Images seen since the run began.
    pub fn images_seen(&self) -> u64 {
        self.progress.images_seen
    }

    /// Images that go through the network at once.
    pub fn micro_batch(&self) -> usize {
        self.progress.micro_batch
    }

    /// Number of trainable weights.
    pub fn trainable_weights(&self) -> usize {
        self.layout.len
    }

    /// The config.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The objective.
    pub fn objective(&self) -> &O {
        &self.objective
    }

    /// The newest checkpoint saved or resumed from.
    pub fn last_checkpoint(&self) -> Option<&std::path::Path> {
        self.last_checkpoint.as_deref()
    }

    /// Puts the trainer at `progress`; batches are read from there on.
    pub(crate) fn jump(&mut self, progress: Progress, rest: &params::Values) {
        self.progress = progress;
        self.loader = None;
        self.failed = false;
        let values = Trained::Flat(&self.progress.weights);
        let fill = Fill { layout: &self.layout, device: &self.device, values, rest: Some(rest) };
        self.model = fill.apply(self.model.clone());
    }
}

impl<O: Objective> Iterator for Trainer<O> {
    type Item = Result<StepReport, TrainError>;

    /// The next step until `train.steps` are done; `None` after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.progress.step >= self.config.steps {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        Some(step)
    }
}
