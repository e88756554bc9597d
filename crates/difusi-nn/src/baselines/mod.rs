//! Generative networks beside diffusion, each Config -> `init` -> network: what it is compared with.
//!
//! * [`vae`]: Kingma & Welling 2013 (arXiv:1312.6114), with the likelihoods of [`likelihood`]
//! * [`gan`]: Goodfellow et al. 2014 (arXiv:1406.2661) in the manner of DCGAN (arXiv:1511.06434)
//! * [`flow`]: RealNVP (arXiv:1605.08803) and Glow (arXiv:1807.03039)
//!
//! Unlike the U-Net these know the size of their images: their vectors go through linear layers, or their latents are as many
//! numbers as an image has. Nothing here looks at two images at once, so there is no batch norm: how a batch is cut changes no
//! image's result. Deliberately absent: losses but for likelihoods, and everything random, which the caller draws.

mod check;
pub mod flow;
pub mod gan;
mod grow;
pub mod likelihood;
pub mod vae;

use burn::tensor::{DType, Tensor, TensorData, activation};

pub(crate) use check::Pyramid;
pub(crate) use grow::{Grow, GrowSpec, groups};

/// `log(1 + e^x)` without overflow, elementwise.
pub fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::relu(x.clone()) + (-x.abs()).exp().log1p()
}

/// The sum over everything but the batch, in a fixed order: `[B, ..]` -> `[B]`.
pub(crate) fn sum_images<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let dims = x.dims();
    let (batch, per_image) = (dims[0], dims[1..].iter().product());
    row_sums(x.reshape([batch, per_image]))
}

/// [`difusi_ops::row_sums`], which knows no f64: that is summed as it is.
pub(crate) fn row_sums(x: Tensor<2>) -> Tensor<1> {
    match x.dtype() {
        DType::F64 => {
            let [rows, _] = x.dims();
            x.sum_dim(1).reshape([rows])
        }
        _ => difusi_ops::row_sums(x),
    }
}

/// `log N(x; 0, 1)` summed over everything but the batch: `[B, N]` -> `[B]`.
pub fn standard_normal_log_prob(x: Tensor<2>) -> Tensor<1> {
    let [_, n] = x.dims();
    let constant = 0.5 * n as f64 * std::f64::consts::TAU.ln();
    -(row_sums(x.clone() * x) * 0.5 + constant)
}

/// Numbers that are no weights, in the number format of `like`.
pub(crate) fn constant<const D: usize, const E: usize>(
    values: Vec<f64>,
    shape: [usize; D],
    like: &Tensor<E>,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&like.device(), like.dtype()))
}
