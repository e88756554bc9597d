//! The loss of a flow: minus the logarithm of the density of bytes made continuous by uniform noise, in bits per dimension. Its mean
//! bounds the code length of the bytes from above (arXiv:1511.01844, section 3.1).

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Batch, Draw, Noise};
use difusi_nn::Flow;
use difusi_train::{Objective, StepContext, TrainError};

use super::{as_bytes, bits_per_dim};

/// Trains a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowObjective;

impl Objective for FlowObjective {
    type Model = Flow;

    fn loss(&mut self, model: &Flow, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let shape = batch.x.dims();
        let x = dequantised(batch.x, context.noise, context.first_image);
        Ok(bits_of_density(model.log_prob(x), shape))
    }
}

/// Bytes `v` in [-1, 1] to `2 (v + u) / 256 - 1` with `u` uniform in [0, 1): `[B, H, W, C]`; image b has the noise of image
/// `first_image + b`.
pub fn dequantised(x: Tensor<4>, noise: Noise, first_image: u64) -> Tensor<4> {
    let shape = x.dims();
    let [batch, h, w, c] = shape;
    let image = |i: u64| {
        let mut stream = noise.stream(Draw::Dequantise, i, 0);
        (0..h * w * c).map(move |_| stream.uniform() as f32)
    };
    let values: Vec<f32> = (first_image..first_image + batch as u64).flat_map(image).collect();
    let u = Tensor::<4>::from_data(TensorData::new(values, shape), &x.device());
    let v = (as_bytes(x) + 1.0) * 127.5; // 0 to 255
    (v + u) / 128.0 - 1.0
}

/// A log-density over [-1, 1] in nats, `[B]`, as bits per dimension of the bytes: each has a bucket of 1/128 for every value.
pub fn bits_of_density(log_prob: Tensor<1>, shape: [usize; 4]) -> Tensor<1> {
    -log_prob * bits_per_dim(shape) + 7.0
}
