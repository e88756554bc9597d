//! The seam between networks and solvers: given x_t, what was x_0?
//!
//! Wrappers nest in a fixed order: network -> prediction -> threshold -> solver. Guidance joins between the first two later.

use std::cell::RefCell;

use burn::tensor::Tensor;
use difusi_core::{Cond, Inputs, Network};

use crate::{
    Diffusion, Level, ProcessError, Threshold,
    forward::{per_image, require_same},
};

/// What is known about x_t's origin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Denoised {
    /// Estimate of x_0 after thresholding, `[B, H, W, C]`.
    pub x0: Tensor<4>,
    /// Estimate of eps before thresholding, `[B, H, W, C]`: what a network that predicts eps puts out. Solvers that need an eps in
    /// keeping with the thresholded x_0 take [`Denoised::consistent_eps`].
    pub eps: Tensor<4>,
    /// Where a learned variance lies between the logarithms of beta-tilde (0) and beta (1), `[B, H, W, C]`; not clipped.
    pub variance: Option<Tensor<4>>,
}

impl Denoised {
    /// From both estimates, each `[B, H, W, C]`.
    pub fn new(x0: Tensor<4>, eps: Tensor<4>) -> Self {
        Self { x0, eps, variance: None }
    }

    /// From an estimate of x_0 alone: eps is what is left of `x_t`.
    pub fn from_x0(x0: Tensor<4>, x_t: Tensor<4>, level: Level) -> Self {
        let eps = consistent(&x0, x_t, level);
        Self::new(x0, eps)
    }

    /// The eps for which `alpha x_0 + sigma eps` is `x_t`: that of the thresholded x_0.
    pub fn consistent_eps(&self, x_t: Tensor<4>, level: Level) -> Tensor<4> {
        consistent(&self.x0, x_t, level)
    }
}

fn consistent(x0: &Tensor<4>, x_t: Tensor<4>, level: Level) -> Tensor<4> {
    (x_t - x0.clone() * level.alpha) / level.sigma
}

/// Anything that can say what x_0 was.
pub trait Denoise {
    /// Called once before each sampling run: forget what an earlier run left behind.
    fn begin(&self) {}

    /// `x_t` `[B, H, W, C]` at `level` (the same for all images) -> estimates of the same shape.
    ///
    /// # Errors
    /// Whatever stops the network from answering; [`ProcessError::Denoiser`] wraps errors of other crates.
    fn denoise(&self, x_t: Tensor<4>, level: Level, cond: &Cond) -> Result<Denoised, ProcessError>;
}

/// A network, what it predicts, and a threshold.
///
/// A self-conditioning network receives the thresholded x_0 of the evaluation before; the first gets none. Of a network with
/// `2 C` output channels the second C are its variance where the process learns one, and unused otherwise.
pub struct NetworkDenoiser<'a> {
    network: &'a dyn Network,
    diffusion: &'a Diffusion,
    threshold: Threshold,
    previous: RefCell<Option<Tensor<4>>>,
}

impl<'a> NetworkDenoiser<'a> {
    /// `network` answers in the terms of `diffusion`'s prediction.
    pub fn new(network: &'a dyn Network, diffusion: &'a Diffusion, threshold: Threshold) -> Self {
        Self { network, diffusion, threshold, previous: RefCell::new(None) }
    }

    /// Images at levels of their own, one for each image of `x_t` `[B, H, W, C]`.
    ///
    /// # Errors
    /// Another number of levels than images; a network whose output is not an image.
    pub fn denoise_each(&self, x_t: Tensor<4>, levels: &[Level], cond: &Cond) -> Result<Denoised, ProcessError> {
        let x_self_cond = self.previous.take();
        if let Some(previous) = &x_self_cond {
            require_same(&x_t, "x_0 of the previous step", previous)?;
        }
        let mut inputs = self.diffusion.network_inputs(x_t.clone(), levels);
        (inputs.x_self_cond, inputs.cond) = (x_self_cond, cond.clone());
        let (output, variance) = split_channels(self.network.forward(inputs), &x_t)?;
        let prediction = self.diffusion.prediction;
        let x0 = self.threshold.apply(prediction.to_x0(levels, output.clone(), x_t.clone())?);
        let eps = prediction.to_eps(levels, output, x_t)?;
        if self.network.self_condition() {
            self.previous.replace(Some(x0.clone()));
        }
        let variance = variance.filter(|_| self.diffusion.variance.is_learned()).map(|v| (v + 1.0) * 0.5);
        Ok(Denoised { x0, eps, variance })
    }
}

impl Denoise for NetworkDenoiser<'_> {
    fn begin(&self) {
        self.previous.take();
    }

    fn denoise(&self, x_t: Tensor<4>, level: Level, cond: &Cond) -> Result<Denoised, ProcessError> {
        let levels = vec![level; x_t.dims()[0]];
        self.denoise_each(x_t, &levels, cond)
    }
}

impl Diffusion {
    /// What the network receives for `x_t` `[B, H, W, C]`, one level per image: its input scaled as the prediction asks, its times.
    pub(crate) fn network_inputs(&self, x_t: Tensor<4>, levels: &[Level]) -> Inputs {
        let times: Vec<f64> = levels.iter().map(|level| level.t).collect();
        let times = per_image(&times, &x_t).reshape([levels.len()]);
        let scales: Vec<f64> = levels.iter().map(|&level| self.prediction.input_scale(level)).collect();
        let x = if scales.iter().all(|s| *s == 1.0) { x_t } else { x_t.clone() * per_image(&scales, &x_t) };
        Inputs::new(x, times)
    }
}

/// The first C channels of an output with C or 2 C channels, and the rest; `[B, H, W, C]` as `x`.
pub(crate) fn split_channels(output: Tensor<4>, x: &Tensor<4>) -> Result<(Tensor<4>, Option<Tensor<4>>), ProcessError> {
    let ([b, h, w, c], found) = (x.dims(), output.dims());
    match found {
        _ if found == [b, h, w, c] => Ok((output, None)),
        _ if found == [b, h, w, 2 * c] => Ok((output.clone().narrow(3, 0, c), Some(output.narrow(3, c, c)))),
        _ => Err(ProcessError::Shape {
            what: "the network's output",
            found: found.to_vec(),
            expected: format!("[{b}, {h}, {w}, {c}] or [{b}, {h}, {w}, {}]", 2 * c),
        }),
    }
}
