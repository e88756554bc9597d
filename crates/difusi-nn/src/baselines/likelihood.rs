//! What a decoder's numbers say about a picture: `log p(x | z)`.
//!
//! Only [`Likelihood::DiscretisedLogistic`] is a probability of bytes, whose bound is a code length in bits per dimension; of the
//! others a constant is left out, so that their numbers rank models of one kind and no more. Deliberately absent: mixtures, and
//! dependence between pixels or channels given the latent.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use super::{softplus, sum_images};

/// Half a byte's bucket in [-1, 1].
const HALF: f64 = 1.0 / 255.0;
/// The scale of a logistic is within `e^(MIDDLE - REACH)` and `e^(MIDDLE + REACH)`: never 0, at widest twice the range.
const MIDDLE: f64 = -3.0;
const REACH: f64 = 4.0;

/// How a picture is distributed around what the decoder says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Every value, brought to [0, 1], as a coin's probability: binary cross-entropy. A likelihood of black and white pictures;
    /// of grey ones the normaliser of the continuous Bernoulli distribution (arXiv:1907.06845) is left out.
    #[default]
    Bce,
    /// Normal with standard deviation 1 in units of [-1, 1]: half the squared error. Left out: `log sqrt(2 pi)`.
    Mse,
    /// Laplace of scale 1 in units of [-1, 1]: the absolute error. Left out: `log 2`.
    Mae,
    /// Bytes: what a logistic distribution, whose middle and scale the decoder says for every value, has in each byte's bucket
    /// (arXiv:1606.04934), the outermost buckets reaching to infinity. Nothing is left out.
    DiscretisedLogistic,
}

impl Likelihood {
    /// Decoder outputs per channel of the picture.
    pub fn outputs(self) -> usize {
        match self {
            Self::DiscretisedLogistic => 2,
            _ => 1,
        }
    }

    /// Whether [`Likelihood::log_prob`] is a probability of bytes.
    pub fn is_discrete(self) -> bool {
        matches!(self, Self::DiscretisedLogistic)
    }

    /// `log p(x | z)` of every picture, in nats, summed over its values: outputs `[B, H, W, C']`, `x` `[B, H, W, C]` in [-1, 1]
    /// (bytes, where [`Likelihood::is_discrete`]) -> `[B]`.
    pub fn log_prob(self, outputs: Tensor<4>, x: Tensor<4>) -> Tensor<1> {
        match self {
            // y log p + (1 - y) log (1 - p) with p = sigmoid(v) is y v - softplus(v).
            Self::Bce => sum_images((x + 1.0) * 0.5 * outputs.clone() - softplus(outputs)),
            Self::Mse => {
                let error = outputs - x;
                sum_images(error.clone() * error) * -0.5
            }
            Self::Mae => -sum_images((outputs - x).abs()),
            Self::DiscretisedLogistic => discretised(outputs, x),
        }
    }

    /// The middle of the distribution as a picture: outputs `[B, H, W, C']` -> `[B, H, W, C]` in [-1, 1].
    pub fn mean(self, outputs: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Bce => activation::sigmoid(outputs) * 2.0 - 1.0,
            Self::Mse | Self::Mae => outputs.clamp(-1.0, 1.0),
            Self::DiscretisedLogistic => {
                let [b, h, w, c] = outputs.dims();
                outputs.slice([0..b, 0..h, 0..w, 0..c / 2]).clamp(-1.0, 1.0)
            }
        }
    }
}

/// With `a` and `b` the bucket's ends in units of the scale, from the middle: `sigmoid(a) - sigmoid(b)` is
/// `sigmoid(a) sigmoid(-b) (1 - e^(b - a))`, whose logarithm never meets that of 0.
fn discretised(outputs: Tensor<4>, x: Tensor<4>) -> Tensor<1> {
    let [batch, h, w, c] = x.dims();
    let middle = outputs.clone().slice([0..batch, 0..h, 0..w, 0..c]);
    let scale = outputs.slice([0..batch, 0..h, 0..w, c..2 * c]);
    let log_scale = (scale / REACH).tanh() * REACH + MIDDLE;
    let inverse = (-log_scale).exp();
    let from_middle = x.clone() - middle;
    let a = (from_middle.clone() + HALF) * inverse.clone();
    let b = (from_middle - HALF) * inverse.clone();
    let lower = -softplus(-a); // log sigmoid(a)
    let upper = -softplus(b); // log sigmoid(-b)
    let width = (-(inverse * (-2.0 * HALF)).exp() + 1.0).log();
    let (black, white) = (x.clone().lower_elem(HALF - 1.0), x.greater_elem(1.0 - HALF));
    let inside = lower.clone() + upper.clone() + width;
    sum_images(inside.mask_where(black, lower).mask_where(white, upper))
}
