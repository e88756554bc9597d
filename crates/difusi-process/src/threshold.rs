//! What happens to a predicted x_0 before a solver uses it. Dynamic thresholding is not here yet.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::choice::choice;

/// Data lies in `[-1, 1]`; predictions need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Threshold {
    /// Nothing.
    None {},
    /// Clip to `[-1, 1]`.
    Static {},
}

choice! { Threshold: None = "none" true, Static = "static" true }

impl Default for Threshold {
    /// Static.
    fn default() -> Self {
        Self::Static {}
    }
}

impl Threshold {
    /// `[B, H, W, C]` -> the same shape.
    pub fn apply(self, x0: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None {} => x0,
            Self::Static {} => x0.clamp(-1.0, 1.0),
        }
    }
}
