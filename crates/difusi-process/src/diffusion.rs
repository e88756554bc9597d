//! What training fixes, and the loss it minimises: DDPM (arXiv:2006.11239) algorithm 1, with self-conditioning (Chen et al.,
//! arXiv:2208.04202) for networks that take it.

use burn::tensor::Tensor;
use difusi_core::{Batch, Cond, Draw, Dropout, Network, Noise};

use crate::{
    Level, Loss, Plan, Prediction, Process, ProcessError, SampleConfig, Solver, Variance, Weighting,
    denoise::split_channels,
    forward::{normal_like, per_image},
    q_sample,
};

/// Share of training steps that self-condition.
const SELF_CONDITION_RATE: f64 = 0.5;

/// A trained process without its network. Built by [`crate::DiffusionConfig::build`].
#[derive(Clone, Debug, PartialEq)]
pub struct Diffusion {
    /// Signal and noise of every time.
    pub process: Process,
    /// What the network outputs.
    pub prediction: Prediction,
    /// How far its output is from the target.
    pub loss: Loss,
    /// How much each time counts.
    pub weighting: Weighting,
    /// Variance of ancestral sampling.
    pub variance: Variance,
}

/// Where training stands: what random numbers are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Optimiser steps taken; all micro-batches of a step share it.
    pub step: u64,
    /// Number of the batch's first image among all images trained on.
    pub images_seen: u64,
}

/// One batch with everything that was drawn for it.
#[derive(Clone, Debug)]
pub struct TrainingInputs {
    /// Data, `[B, H, W, C]` in `[-1, 1]`.
    pub x0: Tensor<4>,
    /// Signal and noise of each image.
    pub levels: Vec<Level>,
    /// Standard normal noise, `[B, H, W, C]`.
    pub eps: Tensor<4>,
    /// What the images are conditioned on.
    pub cond: Cond,
    /// Whether a self-conditioning network sees its own first guess.
    pub self_condition: bool,
    /// Dropout masks; `None` switches dropout off.
    pub dropout: Option<Dropout>,
}

impl Diffusion {
    /// Draws times, noise and the self-conditioning decision of a training batch. Every number is counted by image (the decision
    /// by optimiser step), so splitting a batch changes nothing.
    pub fn draw(&self, batch: Batch, noise: Noise, at: Position) -> TrainingInputs {
        let eps = normal_like(&batch.x, noise, (Draw::Target, 0), at.images_seen);
        let levels = self.levels(batch.x.dims()[0], noise, (Draw::Time, at.images_seen));
        let self_condition = noise.stream(Draw::SelfCondition, at.step, 0).uniform() < SELF_CONDITION_RATE;
        let dropout = Some(Dropout { noise, first_image: at.images_seen });
        TrainingInputs { x0: batch.x, levels, eps, cond: batch.cond, self_condition, dropout }
    }

    /// Draws times and noise of a validation batch whose first image has number `first_index`: the same at every validation, no
    /// dropout, no self-conditioning.
    pub fn draw_validation(&self, batch: Batch, noise: Noise, first_index: u64) -> TrainingInputs {
        let eps = normal_like(&batch.x, noise, (Draw::Validation, 1), first_index);
        let levels = self.levels(batch.x.dims()[0], noise, (Draw::Validation, first_index));
        TrainingInputs { x0: batch.x, levels, eps, cond: batch.cond, self_condition: false, dropout: None }
    }

    /// Levels of t uniform on `0..T`, for `batch` images numbered from `first.1`.
    fn levels(&self, batch: usize, noise: Noise, first: (Draw, u64)) -> Vec<Level> {
        let timesteps = self.process.timesteps() as u64;
        let time = |i| noise.stream(first.0, first.1 + i, 0).below(timesteps);
        (0..batch as u64).map(|i| self.process.level(time(i) as f64)).collect()
    }

    /// Weighted loss of each image, `[B]`, on the device of `x0`; gradients flow to the network.
    ///
    /// # Errors
    /// Shapes that differ, a network whose output is not an image.
    pub fn training_loss(&self, network: &dyn Network, inputs: TrainingInputs) -> Result<Tensor<1>, ProcessError> {
        let TrainingInputs { x0, levels, eps, cond, self_condition, dropout } = inputs;
        let x_t = q_sample(&levels, x0.clone(), eps.clone())?;
        let mut to_network = self.network_inputs(x_t.clone(), &levels);
        (to_network.cond, to_network.dropout) = (cond, dropout);
        if self_condition && network.self_condition() {
            let guess = split_channels(network.forward(to_network.clone()), &x_t)?.0.detach();
            to_network.x_self_cond = Some(self.prediction.to_x0(&levels, guess, x_t.clone())?);
        }
        let (output, _) = split_channels(network.forward(to_network), &x_t)?;
        let weights: Vec<f64> =
            levels.iter().map(|&l| self.weighting.weight(self.prediction, l, &self.process)).collect();
        let weights = per_image(&weights, &x0).reshape([levels.len()]);
        let target = self.prediction.target(&levels, x0, eps)?;
        Ok(self.loss.per_example(output, target)? * weights)
    }

    /// The steps of a sampling run.
    ///
    /// # Errors
    /// Values of `sample` that do not fit this process.
    pub fn plan(&self, sample: &SampleConfig) -> Result<Plan, ProcessError> {
        self.plan_over(sample.grid.levels_to(&self.process, sample.steps, sample.end)?, sample.solver)
    }

    /// The part of a sampling run at or below the 0-based step `t`, started at `t` itself: for pictures noised to `t`. Of a solver that
    /// goes from data to noise, the way up to `t`.
    ///
    /// # Errors
    /// As [`Diffusion::plan`], and steps outside the schedule.
    pub fn plan_from(&self, sample: &SampleConfig, t: usize) -> Result<Plan, ProcessError> {
        let start = self.level(t)?;
        let below = sample.grid.levels_to(&self.process, sample.steps, sample.end)?;
        let below = below.into_iter().filter(|level| level.ratio() < start.ratio());
        self.plan_over(std::iter::once(start).chain(below).collect(), sample.solver)
    }

    /// Over falling levels.
    fn plan_over(&self, mut levels: Vec<Level>, solver: Solver) -> Result<Plan, ProcessError> {
        if solver.rises() {
            levels.reverse();
        }
        Plan::on(&self.process, &levels, solver, self.variance)
    }

    /// The level of the 0-based step `t`.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn level(&self, t: usize) -> Result<Level, ProcessError> {
        let timesteps = self.process.timesteps();
        if t < timesteps { Ok(self.process.level(t as f64)) } else { Err(ProcessError::Step { t, timesteps }) }
    }
}
