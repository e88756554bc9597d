//! What VAE, GAN, flow and classifier are trained for: their sections of a config, and their losses as objectives of the trainer.
//!
//! Losses are those of single images: nothing here looks at a batch, and no number is averaged over one. Bits per dimension are
//! nats over `ln 2` and over the number of values of an image.
//! Deliberately absent: the networks (difusi-nn), and how well they do (`eval`).

mod classifier;
mod flow;
mod gan;
mod latent;
mod vae;

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Draw, Noise};
use difusi_train::StepContext;

pub use classifier::{ClassifierObjective, NoisyClassifierObjective};
pub use flow::{FlowObjective, bits_of_density, dequantised};
pub use gan::{Adversarial, GanLoss, GanObjective};
pub use latent::LatentSample;
pub use vae::{VaeLoss, VaeObjective};

/// Images as the bytes they stand for, in [-1, 1]: of any shape.
pub(crate) fn as_bytes(x: Tensor<4>) -> Tensor<4> {
    ((x + 1.0) * 127.5).round().clamp(0.0, 255.0) / 127.5 - 1.0
}

/// Nats of one image of this shape to bits per dimension: what they are multiplied by.
pub(crate) fn bits_per_dim([_, h, w, c]: [usize; 4]) -> f64 {
    1.0 / (std::f64::consts::LN_2 * (h * w * c) as f64)
}

/// Standard normal numbers of a step's images, `[B, each]`, on the device of `like`.
pub(crate) fn normal(context: &StepContext, draw: Draw, each: usize, like: &Tensor<4>) -> Tensor<2> {
    let [batch, ..] = like.dims();
    normal_of(context.noise, (draw, 0), context.first_image..context.first_image + batch as u64, each, like)
}

/// Standard normal numbers `[images, each]` of a purpose and a step, on the device of `like`.
pub(crate) fn normal_of(
    noise: Noise,
    (draw, step): (Draw, u32),
    images: std::ops::Range<u64>,
    each: usize,
    like: &Tensor<4>,
) -> Tensor<2> {
    let count = (images.end - images.start) as usize;
    let values = noise.normal(draw, images, step, each);
    Tensor::from_data(TensorData::new(values, [count, each]), &like.device())
}
