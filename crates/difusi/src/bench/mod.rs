//! How fast a config trains and samples on this machine: `difusi bench`.
//!
//! The training step is the trainer's own on random images, so it is what a run does: times and noise are drawn, forward, loss,
//! backward, the gradient's norm and clipping, Adam. The averages (EMA) are left out of it, as in what it is compared with, and
//! are measured apart for the prediction. Floating-point operations are those of [`difusi_nn::unet::ddp::Cost`], three forward
//! passes for a training step; the extra pass that self-conditioning makes in half the steps is not counted.
//!
//! Deliberately absent: data (random images stand for it), printing, comparing with other programs (`cargo xtask bench-peers`).

mod guided;
mod random;
mod report;

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Draw, ImageSize, Inputs, Network, Noise, Precision};
use difusi_nn::unet::ddp::Cost;
use difusi_ops::profile::{self, OpTime};
use difusi_train::{DiffusionObjective, Trainer, TrainerOptions, auto_micro_batch, available_memory};

use crate::canvas::in_precision;
use crate::config::DiffusionTask;
use crate::memory::peak_mib;
use crate::network::{DiffusionNetwork, ModelNetwork};
use crate::{ConfigError, ConfigErrors, Error, RunConfig, known_size};
pub use guided::GuidedTiming;
use random::RandomImages;
pub use report::{BenchReport, Prediction, Timing};

/// Runs before the first that counts.
const WARM_UP: usize = 3;
/// Fewest runs that a median is taken of.
const LEAST: usize = 7;
/// Pictures in a grid that a run draws on its way.
const PROGRESS_PICTURES: usize = 16;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchOptions {
    /// The experiment; its data need not exist.
    pub config: RunConfig,
    /// Training steps and forward passes that are measured after three to warm up: 7 or more.
    pub runs: usize,
}

impl BenchOptions {
    /// Eleven runs.
    pub fn new(config: RunConfig) -> Self {
        Self { config, runs: 11 }
    }
}

/// How far a measurement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchProgress {
    /// What is being measured.
    pub stage: &'static str,
    /// Runs behind us, over all stages.
    pub done: u64,
    /// Runs in all.
    pub total: u64,
}

/// Measures a config. The training step comes first, so that the peak memory after it is its own.
///
/// # Errors
/// A config with mistakes, a picture size that only the data tell, fewer than 7 runs, a network that does not take the pictures,
/// training that diverges.
pub fn bench(
    options: BenchOptions,
    device: &Device,
    on_progress: &mut dyn FnMut(BenchProgress),
) -> Result<BenchReport, Error> {
    let BenchOptions { config, runs } = options;
    if runs < LEAST {
        return Err(Error::value("the number of measured steps", runs, format!("{LEAST} or more")));
    }
    config.check()?;
    let task = config.task.diffusion()?.clone();
    let job = Job { size: size(&config)?, cost: cost(&config)?, runs, device: device.clone(), task, config };
    let (total, mut done) = (job.runs_in_all(), 0);
    job.measure(&mut |stage| {
        on_progress(BenchProgress { stage, done, total });
        done += 1;
    })
}

/// The picture size, which must be known without the data.
fn size(config: &RunConfig) -> Result<ImageSize, Error> {
    known_size(config).ok_or_else(|| {
        let accepted =
            "[height, width], since only the data tell it and a benchmark reads none: --set data.size=[32,32]";
        ConfigErrors(vec![ConfigError::value("data.size", "absent", accepted)]).into()
    })
}

fn cost(config: &RunConfig) -> Result<Cost, Error> {
    let (network, size) = (&config.task.diffusion()?.network, size(config)?);
    match network.check_size("data.size", size) {
        Some(issue) => Err(ConfigErrors(vec![ConfigError::message(issue)]).into()),
        None => Ok(network.cost(size)?),
    }
}

/// What is measured, and where.
struct Job {
    config: RunConfig,
    /// The config's own.
    task: DiffusionTask,
    size: ImageSize,
    cost: Cost,
    runs: usize,
    device: Device,
}

/// The training step's figures, and the network it leaves.
struct Training {
    step: Timing,
    peak: Option<f64>,
    profiled_ms: f64,
    ops: Vec<OpTime>,
    model: DiffusionNetwork,
}

impl Job {
    /// `[H, W, C]`.
    fn shape(&self) -> [usize; 3] {
        [self.size.height, self.size.width, self.task.network.channels()]
    }

    /// How often [`Job::measure`] tells of its progress: two measurements, the averages' and guidance's where there are any, the profile,
    /// the ceiling.
    fn runs_in_all(&self) -> u64 {
        let averaged = if self.config.train.ema.is_empty() { 0 } else { 1 + LEAST };
        let guided = if guided::can_be(&self.task) { 3 * guided::runs(self.runs) } else { 0 };
        (2 * (WARM_UP + self.runs) + guided + averaged + 2) as u64
    }

    fn measure(&self, tick: &mut dyn FnMut(&'static str)) -> Result<BenchReport, Error> {
        let Training { step, peak, profiled_ms, ops, model } = self.training(tick)?;
        let (forward, batch) = self.forward(&model, tick)?;
        let guided = guided::can_be(&self.task).then(|| self.guided(&model, batch, tick)).transpose()?;
        let peak_mib = peak_mib();
        drop(model);
        let config = &self.config.train;
        let run_step_ms = if config.ema.is_empty() { step.median_ms } else { self.averaged_step(tick)?.median_ms };
        tick("ceiling");
        let threads = rayon::current_num_threads();
        let on_cpu = self.device == Device::flex();
        let (images, flops) = (config.images_per_step() as usize, self.cost.forward_flops as f64);
        Ok(BenchReport {
            prediction: self.prediction(run_step_ms, self.image_ms(&forward, batch, guided.as_ref()))?,
            guided,
            parameters: self.cost.parameters,
            shape: self.shape(),
            images_per_step: images,
            forward_batch: batch,
            precision: config.precision,
            forward_precision: self.forward_precision(),
            threads,
            unit: if on_cpu { difusi_ops::vector_unit() } else { "other" },
            train_flops: 3.0 * flops * images as f64,
            forward_flops: flops * batch as f64,
            ceiling_gflops: on_cpu.then(|| difusi_ops::ceiling_gflops(threads)),
            train_peak_mib: peak,
            peak_mib,
            step,
            forward,
            profiled_ms,
            ops,
        })
    }

    /// The trainer of a run with these averages, on random images.
    fn trainer(&self, ema: Vec<f64>) -> Result<Trainer<DiffusionObjective<DiffusionNetwork>>, Error> {
        let mut train = self.config.train.clone();
        train.ema = ema;
        train.validation = 0.0;
        let (network, bytes) = crate::run::network(&self.config, self.shape(), None, &self.device)?;
        let ModelNetwork::Diffusion(network) = network else {
            return Err(Error::value("the network", "of another kind", "one that denoises"));
        };
        let objective = DiffusionObjective::new(self.task.diffusion.build()?);
        let data = Arc::new(RandomImages::new(self.shape(), train.seed));
        let options = TrainerOptions { activation_bytes_per_image: Some(bytes), memory_limit: None };
        Ok(Trainer::new(train, objective, network, data, &self.device)?.with_options(options))
    }

    fn training(&self, tick: &mut dyn FnMut(&'static str)) -> Result<Training, Error> {
        let mut trainer = self.trainer(Vec::new())?;
        let step = self.timed(WARM_UP, self.runs, || {
            tick("training step");
            trainer.step().map(|_| ()).map_err(Error::from)
        })?;
        let peak = peak_mib();
        tick("time per op");
        let started = Instant::now();
        let (made, ops) = profile::measure(|| trainer.step());
        let profiled_ms = 1e3 * started.elapsed().as_secs_f64();
        made?;
        Ok(Training { step, peak, profiled_ms, ops, model: trainer.raw() })
    }

    fn forward_precision(&self) -> Precision {
        self.task.sample.precision.unwrap_or(self.config.train.precision)
    }

    /// One evaluation of the network, and how many images it was: `sample.count`, or as many as memory holds.
    fn forward(&self, model: &DiffusionNetwork, tick: &mut dyn FnMut(&'static str)) -> Result<(Timing, usize), Error> {
        let ([h, w, c], count) = (self.shape(), self.task.sample.count);
        let limit = available_memory().map_or(u64::MAX, |bytes| bytes / 2);
        let precision = self.forward_precision();
        let batch = auto_micro_batch(count, precision.of_f32_bytes(self.cost.sampling_bytes) as u64, limit);
        let model = in_precision(model, precision, &self.device)?;
        let pixels = Noise::new(self.config.train.seed).normal(Draw::Init, 0..batch as u64, 0, h * w * c);
        let x = Tensor::<4>::from_data(TensorData::new(pixels, [batch, h, w, c]), &self.device); // [B, H, W, C]
        let steps = self.task.diffusion.timesteps;
        let t: Vec<f32> = (0..batch).map(|i| (i * steps / batch) as f32).collect();
        let t = Tensor::<1>::from_data(TensorData::new(t, [batch]), &self.device);
        let timing = self.timed(WARM_UP, self.runs, || {
            tick("forward");
            // Read back, so that a device that works on its own has finished.
            drop(model.forward(Inputs::new(x.clone(), t.clone())).into_data());
            Ok(())
        })?;
        Ok((timing, batch))
    }

    /// What guidance costs, of half the batch, so that twice as many pictures are no more than that.
    fn guided(
        &self,
        model: &DiffusionNetwork,
        batch: usize,
        tick: &mut dyn FnMut(&'static str),
    ) -> Result<GuidedTiming, Error> {
        let model = in_precision(model, self.forward_precision(), &self.device)?;
        let size = (batch.div_ceil(2), self.shape());
        guided::measure((&model, &self.task), size, self.runs, &self.device, tick)
    }

    /// Milliseconds that one picture takes in one step of sampling as configured.
    fn image_ms(&self, forward: &Timing, batch: usize, guided: Option<&GuidedTiming>) -> f64 {
        match guided.filter(|_| !self.task.sample.guidance.is_off()) {
            Some(guided) => guided.guided.median_ms / guided.batch as f64,
            None => forward.median_ms / batch as f64,
        }
    }

    /// The training step with the config's averages.
    fn averaged_step(&self, tick: &mut dyn FnMut(&'static str)) -> Result<Timing, Error> {
        let mut trainer = self.trainer(self.config.train.ema.clone())?;
        self.timed(1, LEAST, || {
            tick("training step with averages");
            trainer.step().map(|_| ()).map_err(Error::from)
        })
    }

    fn timed(&self, warm_up: usize, runs: usize, mut work: impl FnMut() -> Result<(), Error>) -> Result<Timing, Error> {
        let mut all = Vec::with_capacity(runs);
        for run in 0..warm_up + runs {
            let started = Instant::now();
            work()?;
            if run >= warm_up {
                all.push(1e3 * started.elapsed().as_secs_f64());
            }
        }
        Ok(Timing::of(all))
    }

    /// Seconds of the whole run, validation and writing files left out.
    fn prediction(&self, step_ms: f64, image_ms: f64) -> Result<Prediction, Error> {
        let (train, sample) = (&self.config.train, &self.task.sample);
        let evaluations = self.task.diffusion.build()?.plan(sample)?.len();
        let grids = train.steps.saturating_sub(1).checked_div(train.sample_every).unwrap_or(0);
        let pictures = grids as f64 * PROGRESS_PICTURES.min(sample.count) as f64 + sample.count as f64;
        Ok(Prediction {
            step_ms,
            training_s: 1e-3 * step_ms * train.steps as f64,
            sampling_s: 1e-3 * image_ms * pictures * evaluations as f64,
        })
    }
}

#[cfg(test)]
mod tests;
