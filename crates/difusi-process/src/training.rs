//! The training loss and what is drawn for it: DDPM (arXiv:2006.11239) algorithm 1, with self-conditioning (Chen et al.,
//! arXiv:2208.04202) for networks that take it, L_vlb and L_hybrid (Nichol & Dhariwal, arXiv:2102.09672) and offset noise (Guttenberg
//! 2023, "Diffusion with offset noise"; also denoising-diffusion-pytorch's). A learned schedule's loss is [`crate::learned`].

use std::f64::consts::LN_2;

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Batch, Cond, Draw, Dropout, Network, Noise};

use crate::{
    CondKind, Diffusion, Level, Loss, LossHistory, ProcessError,
    bound::{Chain, Decoder, Reverse, bound_terms},
    denoise::split_channels,
    forward::{normal_like, per_image},
    q_sample,
    times::{DrawnTime, Place},
};

/// Share of training steps that self-condition.
const SELF_CONDITION_RATE: f64 = 0.5;

/// Where training stands: what random numbers are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Optimiser steps taken; all micro-batches of a step share it.
    pub step: u64,
    /// Number of the batch's first image among all images trained on.
    pub images_seen: u64,
    /// Images of one optimiser step, at least 1; `images_seen` is a multiple of it at the step's first image.
    pub images_per_step: u64,
}

/// One batch with everything that was drawn for it.
#[derive(Clone, Debug)]
pub struct TrainingInputs {
    /// Data, `[B, H, W, C]` in `[-1, 1]`.
    pub x0: Tensor<4>,
    /// Signal and noise of each image.
    pub levels: Vec<Level>,
    /// `1 / (T p)` of each image's time where times are drawn by importance, else 1.
    pub importance: Vec<f64>,
    /// Normal noise, `[B, H, W, C]`: standard, but for offset noise.
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
        self.draw_by(batch, noise, at, None)
    }

    /// [`Diffusion::draw`] with what earlier steps' losses were, for times that are drawn by them.
    pub fn draw_by(&self, batch: Batch, noise: Noise, at: Position, history: Option<&LossHistory>) -> TrainingInputs {
        let eps = self.noise(&batch.x, noise, (Draw::Target, at.images_seen), 0);
        let step = Some((at.images_per_step.max(1), at.step));
        let place = Place { noise, draw: Draw::Time, first: at.images_seen, step, history };
        let drawn = self.times.draw(&self.process, batch.x.dims()[0], place);
        let self_condition = noise.stream(Draw::SelfCondition, at.step, 0).uniform() < SELF_CONDITION_RATE;
        let dropout = Some(Dropout { noise, first_image: at.images_seen });
        let drawn = self.inputs(batch, drawn, eps);
        let cond = self.with_dropped(&drawn.cond, noise, at.images_seen);
        TrainingInputs { self_condition, dropout, cond, ..drawn }
    }

    /// Draws times and noise of a validation batch whose first image has number `first_index`: the same at every validation, no
    /// dropout, no self-conditioning. Times that adapt are uniform here.
    pub fn draw_validation(&self, batch: Batch, noise: Noise, first_index: u64) -> TrainingInputs {
        let eps = self.noise(&batch.x, noise, (Draw::Validation, first_index), 1);
        let place = Place { noise, draw: Draw::Validation, first: first_index, step: None, history: None };
        let drawn = self.times.draw(&self.process, batch.x.dims()[0], place);
        self.inputs(batch, drawn, eps)
    }

    /// Without the conditions that are dropped; which ones depends on the image's number alone.
    fn with_dropped(&self, cond: &Cond, noise: Noise, first: u64) -> Cond {
        let dropped = |i: usize| noise.stream(Draw::CondDropout, first + i as u64, 0).uniform() < self.cond_dropout;
        cond.dropped(&dropped)
    }

    fn inputs(&self, batch: Batch, drawn: Vec<DrawnTime>, eps: Tensor<4>) -> TrainingInputs {
        let (levels, importance) = drawn.into_iter().map(|d| (d.level, d.importance)).unzip();
        let cond = match self.cond {
            CondKind::None => Cond::None,
            CondKind::Label | CondKind::Tokens => batch.cond,
        };
        TrainingInputs { x0: batch.x, levels, importance, eps, cond, self_condition: false, dropout: None }
    }

    /// eps in the shape of `x`; offset noise adds one number per image and channel to all its pixels.
    fn noise(&self, x: &Tensor<4>, noise: Noise, (draw, first): (Draw, u64), slot: u32) -> Tensor<4> {
        let eps = normal_like(x, noise, (draw, slot), first);
        if self.offset_noise == 0.0 {
            return eps;
        }
        let [b, _, _, c] = x.dims();
        let offsets = noise.normal(draw, first..first + b as u64, slot + 1, c);
        let offsets = Tensor::<4>::from_data(TensorData::new(offsets, [b, 1, 1, c]), &x.device());
        eps + offsets * self.offset_noise
    }

    /// Weighted loss of each image, `[B]`, on the device of `x0`; gradients flow to the network.
    ///
    /// # Errors
    /// Shapes that differ, a network whose output is not an image or says no variance that the loss is of.
    pub fn training_loss(&self, network: &dyn Network, inputs: TrainingInputs) -> Result<Tensor<1>, ProcessError> {
        if let Some(curve) = network.noise_curve() {
            return self.learned_loss(network, curve, inputs);
        }
        let TrainingInputs { x0, levels, importance, eps, cond, self_condition, dropout } = inputs;
        let x_t = q_sample(&levels, x0.clone(), eps.clone())?;
        let mut to_network = self.network_inputs(x_t.clone(), &levels);
        (to_network.cond, to_network.dropout) = (cond, dropout);
        if self_condition && network.self_condition() {
            let guess = split_channels(network.forward(to_network.clone()), &x_t)?.0.detach();
            to_network.x_self_cond = Some(self.prediction.to_x0(&levels, guess, x_t.clone())?);
        }
        let (output, variance) = split_channels(network.forward(to_network), &x_t)?;
        let said = Said { output, fraction: variance.map(|v| (v + 1.0) * 0.5), x_t };
        let loss = match self.loss {
            Loss::Vlb {} => self.bound_bits(x0, said, &levels)?,
            Loss::Hybrid { lambda } => {
                let simple = self.weighted(said.output.clone(), (x0.clone(), eps), &levels)?;
                simple + self.bound_bits(x0, said.with_mean_detached(), &levels)? * lambda
            }
            Loss::L1 {} | Loss::L2 {} | Loss::Huber { .. } => self.weighted(said.output, (x0, eps), &levels)?,
        };
        Ok(times_each(loss, &importance))
    }

    /// The distance from the target of `(x_0, eps)`, weighted.
    fn weighted(
        &self,
        output: Tensor<4>,
        (x0, eps): (Tensor<4>, Tensor<4>),
        levels: &[Level],
    ) -> Result<Tensor<1>, ProcessError> {
        let target = self.prediction.target(levels, x0, eps)?;
        let weights: Vec<f64> = levels.iter().map(|&l| self.weight(l)).collect();
        Ok(times_each(self.loss.per_example(output, target)?, &weights))
    }

    /// T times the bound's term of each image's step, in bits per dimension.
    fn bound_bits(&self, x0: Tensor<4>, said: Said, levels: &[Level]) -> Result<Tensor<1>, ProcessError> {
        let timesteps = self.process.tables()?.timesteps();
        let all: Vec<Level> = (0..timesteps).rev().map(|t| self.process.level(t as f64)).collect();
        let chain = Chain::new(&all, self.variance)?;
        let positions: Vec<usize> = levels.iter().map(|level| (level.t as usize).min(timesteps - 1)).collect();
        let reverse = Reverse {
            x0: self.prediction.to_x0(levels, said.output, said.x_t)?,
            log_variance: chain.log_variance(&positions, said.fraction)?,
        };
        let jumps: Vec<_> = positions.iter().map(|&p| chain.jumps()[p]).collect();
        let [_, h, w, c] = x0.dims();
        let scale = timesteps as f64 / ((h * w * c) as f64 * LN_2);
        Ok(bound_terms(x0, reverse, &jumps, Decoder::Discretised)? * scale)
    }
}

/// What a network put out about x_t.
struct Said {
    output: Tensor<4>,
    /// Where the learned variance lies.
    fraction: Option<Tensor<4>>,
    x_t: Tensor<4>,
}

impl Said {
    /// The bound's gradient then reaches the variance alone.
    fn with_mean_detached(self) -> Self {
        Self { output: self.output.detach(), ..self }
    }
}

/// One factor per image, `[B]`.
fn times_each(losses: Tensor<1>, factors: &[f64]) -> Tensor<1> {
    if factors.iter().all(|f| *f == 1.0) {
        return losses;
    }
    let batch = factors.len();
    let like = losses.clone().reshape([batch, 1, 1, 1]);
    losses * per_image(factors, &like).reshape([batch])
}
