//! How far the network's output is from its target, or the bound it is part of: Nichol & Dhariwal (arXiv:2102.09672), section 3.1.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    ProcessError,
    bound::image_sums,
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
    /// L_hybrid: `d^2` plus `lambda` times L_vlb in bits per dimension, whose gradient reaches the learned variance alone; the bound's
    /// term of the drawn step counts T times. Needs `variance = "learned_range"`.
    Hybrid {
        /// At least 0. Default 0.001.
        #[serde(default = "thousandth")]
        lambda: f64,
    },
    /// L_vlb in bits per dimension but for its constant L_T: T times the bound's exact term of the drawn step, with its variance.
    Vlb {},
}

choice! { Loss: L1 = "l1" true, L2 = "l2" true, Huber = "huber" false, Hybrid = "hybrid" false, Vlb = "vlb" true }

fn thousandth() -> f64 {
    0.001
}
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
        if let Self::Hybrid { lambda } = self {
            checks.require(*lambda >= 0.0 && lambda.is_finite(), "loss.lambda", lambda, "a number, 0 or more");
        }
        checks.0
    }

    /// Whether the bound is a part of it.
    pub fn is_bound(self) -> bool {
        matches!(self, Self::Hybrid { .. } | Self::Vlb {})
    }

    /// Loss of every image, of `hybrid` and `vlb` its squares: `[B, H, W, C]` twice -> `[B]`. Differentiable; the sum's order does not depend on threads or batch.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn per_example(self, output: Tensor<4>, target: Tensor<4>) -> Result<Tensor<1>, ProcessError> {
        require_same(&target, "the network's output", &output)?;
        let d = output - target;
        Ok(mean_per_example(match self {
            Self::L1 {} => d.abs(),
            Self::L2 {} | Self::Hybrid { .. } | Self::Vlb {} => d.clone() * d,
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
    let [_, h, w, c] = x.dims();
    image_sums(x) / (h * w * c) as f64
}
