//! The seam between networks and solvers: given x_t, what was x_0?
//!
//! Wrappers nest in a fixed order: network -> prediction -> threshold -> solver. Guidance joins between the first two later.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Cond, Inputs, Network};

use crate::{Diffusion, Level, ProcessError, Threshold, forward::require_same};

/// What is known about x_t's origin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Denoised {
    /// Estimate of x_0 after thresholding, `[B, H, W, C]`.
    pub x0: Tensor<4>,
    /// Estimate of eps before thresholding, `[B, H, W, C]`. The solvers here re-derive it from `x0`; others need not.
    pub eps: Tensor<4>,
}

impl Denoised {
    /// From both estimates, each `[B, H, W, C]`.
    pub fn new(x0: Tensor<4>, eps: Tensor<4>) -> Self {
        Self { x0, eps }
    }

    /// From an estimate of x_0 alone: eps is what is left of `x_t`.
    pub fn from_x0(x0: Tensor<4>, x_t: Tensor<4>, level: Level) -> Self {
        let eps = (x_t - x0.clone() * level.alpha as f32) / level.sigma as f32;
        Self { x0, eps }
    }
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
/// A self-conditioning network receives the thresholded x_0 of the step before; the first step gets none. Of a network with
/// `2 C` output channels (learned variance) the first C are used.
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
}

impl Denoise for NetworkDenoiser<'_> {
    fn begin(&self) {
        self.previous.take();
    }

    fn denoise(&self, x_t: Tensor<4>, level: Level, cond: &Cond) -> Result<Denoised, ProcessError> {
        let times = vec![level.t; x_t.dims()[0]];
        let x_self_cond = self.previous.take();
        if let Some(previous) = &x_self_cond {
            require_same(&x_t, "x_0 of the previous step", previous)?;
        }
        let mut inputs = Inputs::new(x_t.clone(), time_tensor(&times, &x_t));
        (inputs.x_self_cond, inputs.cond) = (x_self_cond, cond.clone());
        let output = first_channels(self.network.forward(inputs), &x_t)?;
        let (tables, prediction) = (&self.diffusion.tables, self.diffusion.prediction);
        let x0 = prediction.to_x0(tables, &times, output.clone(), x_t.clone())?;
        let eps = prediction.to_eps(tables, &times, output, x_t)?;
        let x0 = self.threshold.apply(x0);
        if self.network.self_condition() {
            self.previous.replace(Some(x0.clone()));
        }
        Ok(Denoised { x0, eps })
    }
}

/// `[B]` on the device of `x`: the 0-based steps as numbers.
pub(crate) fn time_tensor(t: &[usize], x: &Tensor<4>) -> Tensor<1> {
    let values: Vec<f32> = t.iter().map(|&t| t as f32).collect();
    Tensor::from_data(TensorData::new(values, [t.len()]), &x.device())
}

/// The first C channels of an output with C or 2 C channels, `[B, H, W, C]` as `x`.
pub(crate) fn first_channels(output: Tensor<4>, x: &Tensor<4>) -> Result<Tensor<4>, ProcessError> {
    let ([b, h, w, c], found) = (x.dims(), output.dims());
    match found {
        _ if found == [b, h, w, c] => Ok(output),
        _ if found == [b, h, w, 2 * c] => Ok(output.narrow(3, 0, c)),
        _ => Err(ProcessError::Shape {
            what: "the network's output",
            found: found.to_vec(),
            expected: format!("[{b}, {h}, {w}, {c}] or [{b}, {h}, {w}, {}]", 2 * c),
        }),
    }
}
