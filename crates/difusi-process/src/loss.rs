//! How far the network's output is from its target.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    ProcessError,
    choice::choice,
    error::{Checks, ValueError},
    forward::require_same,
};

/// The error of one number `d = output - target`; an image's loss is the mean over its H W C numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// `|d|`.
    L1 {},
    /// `d^2`: the mean of the bound, DDPM (arXiv:2006.11239) eq. 14.
    L2 {},
    /// `d^2 / 2` where `|d| < delta`, `delta (|d| - delta / 2)` beyond.
    Huber {
        /// Above 0. Default 1.
        #[serde(default = "one")]
        delta: f64,
    },
}

choice! { Loss: L1 = "l1" true, L2 = "l2" true, Huber = "huber" false }

fn one() -> f64 {
    1.0
}

impl Default for Loss {
    /// L2.
    fn default() -> Self {
        Self::L2 {}
    }
}

impl Loss {
    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        if let Self::Huber { delta } = self {
            checks.require(*delta > 0.0 && delta.is_finite(), "loss.delta", delta, "a number above 0");
        }
        checks.0
    }

    /// Loss of every image: `[B, H, W, C]` twice -> `[B]`. Differentiable; the sum's order does not depend on threads or batch.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn per_example(self, output: Tensor<4>, target: Tensor<4>) -> Result<Tensor<1>, ProcessError> {
        require_same(&target, "the network's output", &output)?;
        let d = output - target;
        Ok(mean_per_example(match self {
            Self::L1 {} => d.abs(),
            Self::L2 {} => d.clone() * d,
            Self::Huber { delta } => {
                let size = d.abs();
                let inner = size.clone().clamp_max(delta as f32); // min(|d|, delta)
                inner.clone() * (size - inner * 0.5)
            }
        }))
    }
}

/// The one reduction of this crate: `[B, H, W, C]` -> `[B]`, each image's numbers added in a fixed order.
fn mean_per_example(x: Tensor<4>) -> Tensor<1> {
    let [b, h, w, c] = x.dims();
    let numbers = h * w * c;
    difusi_ops::row_sums(x.reshape([b, numbers])) / numbers as f32
}
