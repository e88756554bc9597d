//! What flows from a dataset to an objective.

use burn::tensor::Tensor;

use crate::Cond;

/// Images and their condition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[B, H, W, C]` in `[-1, 1]`.
    pub x: Tensor<4>,
    /// What each image is conditioned on.
    pub cond: Cond,
}
