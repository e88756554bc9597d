//! A normalizing flow: pictures to standard normal numbers and back, with the exact density of every picture. RealNVP
//! (Dinh et al. 2017, arXiv:1605.08803) and Glow (Kingma & Dhariwal 2018, arXiv:1807.03039).
//!
//! Couplings of a checkerboard's pixels; then on each level 2x2 pixels become channels, steps of actnorm, invertible 1x1 convolution
//! and coupling of channels follow, and half of the channels leave: brought to standard normal by what stays (Glow's learned prior,
//! seen as one more coupling). What remains on the last level is a latent as it is.
//! Deliberately absent: making bytes continuous (the caller's), an actnorm that looks at a first batch, couplings by splines.

mod config;
mod layers;
mod matrix;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use difusi_core::{ImageSize, Noise};

pub use config::FlowConfig;

use super::standard_normal_log_prob;
use crate::error::NnError;
use crate::layers::Init;
use layers::{Checkerboard, Coupling, Mix, split};

impl FlowConfig {
    /// A network for images of `size` with initial weights from `noise`: the same bits everywhere.
    ///
    /// # Errors
    /// Where [`FlowConfig::check`] or [`FlowConfig::check_size`] finds anything.
    pub fn init(&self, size: ImageSize, noise: Noise, device: &Device) -> Result<Flow, NnError> {
        let mut issues = self.check();
        if issues.is_empty() {
            issues.extend(self.check_size("size", size));
        }
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let root = Init::new(noise, device);
        let board = |i: usize| {
            let init = root.at("checkerboard").at(i);
            Checkerboard::new(&init, self.channels, self.checkerboard_dim, i % 2 == 1)
        };
        let channels = self.level_channels();
        let level = |(i, c): (usize, &usize)| {
            let step = |k: usize| Step::new(&root.at("levels").at(i).at("steps").at(k), *c, self.dim);
            let prior =
                (i + 1 < channels.len()).then(|| Coupling::new(&root.at("levels").at(i).at("prior"), *c, self.dim));
            Level { steps: (0..self.steps).map(step).collect(), prior }
        };
        Ok(Flow {
            checkerboard: (0..self.checkerboard).map(board).collect(),
            levels: channels.iter().enumerate().map(level).collect(),
            shape: [size.height, size.width, self.channels],
        })
    }
}

/// One step of Glow.
#[derive(Module, Debug)]
struct Step {
    mix: Mix,
    coupling: Coupling,
}

impl Step {
    fn new(init: &Init<'_>, channels: usize, dim: usize) -> Self {
        Self { mix: Mix::new(&init.at("mix"), channels), coupling: Coupling::new(&init.at("coupling"), channels, dim) }
    }

    fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let (x, a) = self.mix.forward(x);
        let (x, b) = self.coupling.forward(x);
        (x, b + a)
    }

    fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        self.mix.inverse(self.coupling.inverse(y))
    }
}

/// Steps at one resolution, and the prior of what leaves after them; none on the last level.
#[derive(Module, Debug)]
struct Level {
    steps: Vec<Step>,
    prior: Option<Coupling>,
}

/// The network.
#[derive(Module, Debug)]
pub struct Flow {
    checkerboard: Vec<Checkerboard>,
    levels: Vec<Level>,
    shape: [usize; 3],
}

impl Flow {
    /// Numbers in a latent: as many as in a picture.
    pub fn latent(&self) -> usize {
        self.shape.iter().product()
    }

    /// Pictures to latents: `[B, H, W, C]` -> `[B, H W C]`, and the logarithm of the absolute determinant of the Jacobian, `[B]`.
    pub fn encode(&self, x: Tensor<4>) -> (Tensor<2>, Tensor<1>) {
        let [batch, ..] = x.dims();
        let mut log_det = Tensor::zeros([batch], (&x.device(), x.dtype()));
        let mut x = x;
        let mut leaving = Vec::new();
        let mut pass = |(y, more): (Tensor<4>, Tensor<1>)| {
            log_det = log_det.clone() + more;
            y
        };
        for coupling in &self.checkerboard {
            x = pass(coupling.forward(x));
        }
        for level in &self.levels {
            x = squeeze(x);
            for step in &level.steps {
                x = pass(step.forward(x));
            }
            if let Some(prior) = &level.prior {
                let [_, _, _, c] = x.dims();
                let [stays, leaves] = split(pass(prior.forward(x)), c / 2);
                leaving.push(flat(leaves));
                x = stays;
            }
        }
        leaving.push(flat(x));
        (Tensor::cat(leaving, 1), log_det)
    }

    /// Latents to pictures: `[B, H W C]` -> `[B, H, W, C]`.
    pub fn decode(&self, z: Tensor<2>) -> Tensor<4> {
        let ([batch, all], [mut h, mut w, mut c]) = (z.dims(), self.shape);
        let mut parts = Vec::new();
        let mut from = 0;
        for level in &self.levels {
            [h, w, c] = [h / 2, w / 2, 4 * c];
            let leaves = if level.prior.is_some() { c - c / 2 } else { 0 };
            let end = from + h * w * leaves;
            parts.push((leaves > 0).then(|| z.clone().slice([0..batch, from..end]).reshape([batch, h, w, leaves])));
            (from, c) = (end, c - leaves);
        }
        let mut x = z.slice([0..batch, from..all]).reshape([batch, h, w, c]);
        for (level, leaves) in self.levels.iter().zip(parts).rev() {
            if let (Some(prior), Some(leaves)) = (&level.prior, leaves) {
                x = prior.inverse(difusi_ops::cat_channels(x, leaves));
            }
            x = level.steps.iter().rev().fold(x, |x, step| step.inverse(x));
            x = unsqueeze(x);
        }
        self.checkerboard.iter().rev().fold(x, |x, coupling| coupling.inverse(x))
    }

    /// The logarithm of the density in nats: `[B, H, W, C]` -> `[B]`.
    pub fn log_prob(&self, x: Tensor<4>) -> Tensor<1> {
        let (z, log_det) = self.encode(x);
        standard_normal_log_prob(z) + log_det
    }
}

fn flat(x: Tensor<4>) -> Tensor<2> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h * w * c])
}

/// 2x2 pixels become channels.
fn squeeze(x: Tensor<4>) -> Tensor<4> {
    difusi_ops::pixel_unshuffle2(x)
}

/// The inverse of [`squeeze`], whose channels are ordered (c, row, column).
fn unsqueeze(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h, w, c / 4, 2, 2]).permute([0, 1, 4, 2, 5, 3]).reshape([b, 2 * h, 2 * w, c / 4])
}
