//! Activations.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, extension::CpuOps, route::has_kernel, rules::Pointwise};

/// `x` where it is above 0, else `slope x`: of any shape. The slope is from 0 to 1.
pub fn leaky_relu<const D: usize>(x: Tensor<D>, slope: f64) -> Tensor<D> {
    if !has_kernel(&x) {
        return composed::leaky_relu(x, slope);
    }
    Tensor::from_dispatch(Dispatch::pointwise(x.into_dispatch(), Pointwise::LeakyRelu(slope as f32)))
}
