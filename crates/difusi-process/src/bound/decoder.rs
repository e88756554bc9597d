//! p(x_0 | x_1): what the last reverse step makes of its normal distribution.
//!
//! Bytes lie at the 256 levels `-1, -1 + 2/255, .. 1`. The discretised decoder gives each the probability of its bucket, 2/255 wide
//! around it; the buckets of -1 and 1 are open at the far side, so the 256 probabilities add up to 1 (DDPM, arXiv:2006.11239,
//! eq. 13). The integral's lower limit is `x - 1/255` in every bucket but the first, not minus infinity. The distribution function is
//! exact ([`super::normal`]).

use burn::tensor::Tensor;

use super::normal::{log_cdf, log_cdf_tensor, log_interval, log_interval_tensor, log_root_tau};

/// Half the width of a bucket.
const HALF: f64 = 1.0 / 255.0;

/// What x_0 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decoder {
    /// One of 256 levels: probabilities.
    #[default]
    Discretised,
    /// Any number, as in a latent space: the normal density itself. Its "bits" may be negative.
    Continuous,
}

impl Decoder {
    /// `ln p(x | mean, variance)` of one number; `x` is one of the 256 levels where they are discretised.
    pub fn log_prob(self, x: f64, mean: f64, log_variance: f64) -> f64 {
        let inverse = (-0.5 * log_variance).exp();
        let (centre, half) = ((mean - x) * inverse, HALF * inverse);
        match self {
            Self::Continuous => -0.5 * (centre * centre + log_variance) - log_root_tau(),
            Self::Discretised if x < HALF - 1.0 => log_cdf(half - centre),
            Self::Discretised if x > 1.0 - HALF => log_cdf(half + centre),
            Self::Discretised => log_interval(centre, half),
        }
    }

    /// [`Decoder::log_prob`] of every number; all `[B, H, W, C]`. Gradients flow to `mean` and `log_variance`.
    pub fn log_prob_each(self, x: Tensor<4>, mean: Tensor<4>, log_variance: Tensor<4>) -> Tensor<4> {
        let inverse = (log_variance.clone() * -0.5).exp();
        let centre = (mean - x.clone()) * inverse.clone();
        if self == Self::Continuous {
            return (centre.square() + log_variance) * -0.5 - log_root_tau();
        }
        let half = inverse * HALF;
        let inner = log_interval_tensor(centre.clone(), half.clone());
        // The open side of the first bucket is the left, of the last the right: x is -1 or 1 there, and the mirror.
        let open = x.clone().abs().greater_elem(1.0 - HALF);
        inner.mask_where(open, log_cdf_tensor(half + centre * x.sign()))
    }
}
