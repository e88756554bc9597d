//! The seam between networks and mathematics: what a denoising network receives and returns.

use burn::tensor::Tensor;

use crate::{Cond, Noise, Precision};

/// Everything a denoising network receives for one evaluation.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Noisy images `[B, H, W, C]`.
    pub x: Tensor<4>,
    /// The time the network receives, one number per image, `[B]`: the 0-based step for discrete processes.
    pub t: Tensor<1>,
    /// Previous estimate of `x_0` for self-conditioning networks, `[B, H, W, C]`; `None` stands for zeros.
    pub x_self_cond: Option<Tensor<4>>,
    /// What the images are conditioned on.
    pub cond: Cond,
    /// Source of dropout masks while training; `None` switches dropout off.
    pub dropout: Option<Dropout>,
}

/// Where dropout masks come from: image b of the batch is image `first_image + b` of the noise, so that how batches are cut
/// changes no mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// The numbers.
    pub noise: Noise,
    /// Number of the batch's first image among all images trained on.
    pub first_image: u64,
}

impl Inputs {
    /// Unconditional inference inputs: `x` `[B, H, W, C]`, `t` `[B]`.
    pub fn new(x: Tensor<4>, t: Tensor<1>) -> Self {
        Self { x, t, x_self_cond: None, cond: Cond::None, dropout: None }
    }
}

/// A denoising network: any function whose output has its input's height and width.
pub trait Network {
    /// `[B, H, W, C]` -> `[B, H, W, C']`, where `C' = C`, or `2 C` for networks that also predict the variance.
    fn forward(&self, inputs: Inputs) -> Tensor<4>;

    /// The network with activations of this precision; `None` where it does not have that. It is no part of what a network is: no
    /// config and no file holds it, and without it a network computes in f32. Inputs and outputs of
    /// [`Network::forward`] stay f32.
    fn with_precision(self, precision: Precision) -> Option<Self>
    where
        Self: Sized,
    {
        (precision == Precision::F32).then_some(self)
    }

    /// Whether [`Inputs::x_self_cond`] is read.
    fn self_condition(&self) -> bool {
        false
    }

    /// The noise schedule that is trained with it, if one is.
    fn noise_curve(&self) -> Option<&dyn NoiseCurve> {
        None
    }
}

/// A noise schedule that is trained with the network: minus the log-SNR over the time, from one end to the other.
pub trait NoiseCurve {
    /// Minus the log-SNR of the first step and of the last, `[2]`.
    fn ends(&self) -> Tensor<1>;

    /// How far from the first end to the last it is at these times in [0, 1]: `[N]` -> `[N]`, rising, 0 at 0 and 1 at 1.
    fn place(&self, times: Tensor<1>) -> Tensor<1>;
}
