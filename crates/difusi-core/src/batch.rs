//! What flows from a dataset to an objective.

use burn::tensor::Tensor;

/// What a batch is conditioned on; one entry per image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cond {
    /// Nothing.
    #[default]
    None,
    /// Class labels, 0-based.
    Label(Vec<u32>),
}

/// Images and their condition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[B, H, W, C]` in `[-1, 1]`.
    pub x: Tensor<4>,
    /// What each image is conditioned on.
    pub cond: Cond,
}
