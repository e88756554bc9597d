//! What happens to a predicted x_0 before a solver uses it: clipping, or dynamic thresholding (Imagen, arXiv:2205.11487,
//! section 2.3).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{ValueError, choice::choice, error::Checks};

/// Data lies in `[-1, 1]`; predictions need not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Threshold {
    /// Nothing.
    None {},
    /// Clip to `[-1, 1]`.
    Static {},
    /// Clip to `[-range, range]`, for latents whose range is another.
    Clip {
        /// Above 0.
        range: f64,
    },
    /// Per image: s is a quantile of |x_0| over all its numbers, but in `[1, max]`; clip to `[-s, s]` and divide by s.
    Dynamic {
        /// Share of numbers below s, in (0, 1]. Default 0.95.
        #[serde(default = "quantile")]
        quantile: f64,
        /// Largest s, above 0. diffusers defaults to 1, which makes the threshold static. Default none, as in Imagen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
}

choice! { Threshold: None = "none" true, Static = "static" true, Clip = "clip" false, Dynamic = "dynamic" false }

fn quantile() -> f64 {
    0.95
}

impl Default for Threshold {
    /// Static.
    fn default() -> Self {
        Self::Static {}
    }
}

impl Threshold {
    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        match self {
            Self::None {} | Self::Static {} => {}
            Self::Clip { range } => checks.require(*range > 0.0, "threshold.range", range, "a number above 0"),
            Self::Dynamic { quantile, max } => {
                checks.require(
                    *quantile > 0.0 && *quantile <= 1.0,
                    "threshold.quantile",
                    quantile,
                    "a number in (0, 1]",
                );
                if let Some(max) = max {
                    checks.require(*max > 0.0, "threshold.max", max, "a number above 0");
                }
            }
        }
        checks.0
    }

    /// `[B, H, W, C]` -> the same shape.
    pub fn apply(self, x0: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None {} => x0,
            Self::Static {} => x0.clamp(-1.0, 1.0),
            Self::Clip { range } => x0.clamp(-range, range),
            Self::Dynamic { quantile, max } => {
                let s = quantile_of_magnitude(&x0, quantile).clamp_min(1.0); // [B, 1, 1, 1]
                let s = match max {
                    Some(max) => s.clamp_max(max),
                    None => s,
                };
                x0.max_pair(-s.clone()).min_pair(s.clone()) / s
            }
        }
    }
}

/// Per image, `[B, H, W, C]` -> `[B, 1, 1, 1]`; between two numbers linearly.
fn quantile_of_magnitude(x: &Tensor<4>, quantile: f64) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let sorted = x.clone().abs().reshape([b, h * w * c]).sort(1);
    let place = quantile * (h * w * c - 1) as f64;
    let (low, high, part) = (place.floor() as usize, place.ceil() as usize, place - place.floor());
    let [low, high] = [low, high].map(|i| sorted.clone().narrow(1, i, 1));
    (low * (1.0 - part) + high * part).reshape([b, 1, 1, 1])
}
