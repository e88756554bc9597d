//! What training fixes, and the loss it minimises: DDPM (arXiv:2006.11239) algorithm 1, with self-conditioning (Chen et al.,
//! arXiv:2208.04202) for networks that take it.

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Batch, Cond, Draw, Dropout, Inputs, Network, Noise};

use crate::{
    Loss, Plan, Prediction, ProcessError, SampleConfig, Tables, Variance, Weighting,
    denoise::{first_channels, time_tensor},
    forward::normal_like,
    q_sample,
};

/// Share of training steps that self-condition.
const SELF_CONDITION_RATE: f64 = 0.5;

/// A trained process without its network. Built by [`crate::DiffusionConfig::build`].
#[derive(Clone, Debug, PartialEq)]
pub struct Diffusion {
    /// Signal and noise of every step.
    pub tables: Tables,
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
    /// 0-based step of each image.
    pub t: Vec<usize>,
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
        let t = self.times(batch.x.dims()[0], noise, (Draw::Time, at.images_seen));
        let self_condition = noise.stream(Draw::SelfCondition, at.step, 0).uniform() < SELF_CONDITION_RATE;
        let dropout = Some(Dropout { noise, first_image: at.images_seen });
        TrainingInputs { x0: batch.x, t, eps, cond: batch.cond, self_condition, dropout }
    }

    /// Draws times and noise of a validation batch whose first image has number `first_index`: the same at every validation, no
    /// dropout, no self-conditioning.
    pub fn draw_validation(&self, batch: Batch, noise: Noise, first_index: u64) -> TrainingInputs {
        let eps = normal_like(&batch.x, noise, (Draw::Validation, 1), first_index);
        let t = self.times(batch.x.dims()[0], noise, (Draw::Validation, first_index));
        TrainingInputs { x0: batch.x, t, eps, cond: batch.cond, self_condition: false, dropout: None }
    }

    /// t uniform on `0..T`, for `batch` images numbered from `first.1`.
    fn times(&self, batch: usize, noise: Noise, first: (Draw, u64)) -> Vec<usize> {
        let timesteps = self.tables.timesteps() as u64;
        (0..batch as u64).map(|i| noise.stream(first.0, first.1 + i, 0).below(timesteps) as usize).collect()
    }

    /// Weighted loss of each image, `[B]`, on the device of `x0`; gradients flow to the network.
    ///
    /// # Errors
    /// Shapes that differ, steps outside the schedule, a network whose output is not an image.
    pub fn training_loss(&self, network: &dyn Network, inputs: TrainingInputs) -> Result<Tensor<1>, ProcessError> {
        let TrainingInputs { x0, t, eps, cond, self_condition, dropout } = inputs;
        let x_t = q_sample(&self.tables, x0.clone(), &t, eps.clone())?;
        let mut to_network = Inputs { x: x_t.clone(), t: time_tensor(&t, &x_t), x_self_cond: None, cond, dropout };
        if self_condition && network.self_condition() {
            let guess = first_channels(network.forward(to_network.clone()), &x_t)?.detach();
            to_network.x_self_cond = Some(self.prediction.to_x0(&self.tables, &t, guess, x_t.clone())?);
        }
        let output = first_channels(network.forward(to_network), &x_t)?;
        let target = self.prediction.target(&self.tables, &t, x0, eps)?;
        let losses = self.loss.per_example(output, target)?;
        Ok(losses * self.weights(&t, &x_t)?)
    }

    /// Weights of the images' losses, `[B]`, on the device of `like`.
    fn weights(&self, t: &[usize], like: &Tensor<4>) -> Result<Tensor<1>, ProcessError> {
        let weight = |&t| self.weighting.weight(self.prediction, &self.tables, t).map(|w| w as f32);
        let values = t.iter().map(weight).collect::<Result<Vec<f32>, _>>()?;
        Ok(Tensor::from_data(TensorData::new(values, [t.len()]), &like.device()))
    }

    /// The steps of a sampling run.
    ///
    /// # Errors
    /// Values of `sample` that do not fit this process.
    pub fn plan(&self, sample: &SampleConfig) -> Result<Plan, ProcessError> {
        let times = sample.grid.steps(self.tables.timesteps(), sample.steps)?;
        Plan::new(&self.tables, &times, sample.solver, self.variance)
    }

    /// The part of a sampling run at or below the 0-based step `t`, started at `t` itself: for pictures noised to `t`.
    ///
    /// # Errors
    /// As [`Diffusion::plan`], and steps outside the schedule.
    pub fn plan_from(&self, sample: &SampleConfig, t: usize) -> Result<Plan, ProcessError> {
        self.tables.require_step(t)?;
        let times = sample.grid.steps(self.tables.timesteps(), sample.steps)?;
        let times: Vec<usize> = std::iter::once(t).chain(times.into_iter().filter(|&s| s < t)).collect();
        Plan::new(&self.tables, &times, sample.solver, self.variance)
    }
}
