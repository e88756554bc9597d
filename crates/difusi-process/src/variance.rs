//! The variance of the reverse step p(x_s | x_t): DDPM (arXiv:2006.11239) section 3.2; learned between
//! its two extremes: Nichol & Dhariwal (arXiv:2102.09672) eq. 15.

use serde::{Deserialize, Serialize};

use crate::{Jump, choice::choice};

/// Which variance ancestral sampling uses and the bound is taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Variance {
    /// beta-tilde, the posterior's: right where the data is one point.
    FixedSmall {},
    /// beta: right where the data is N(0, I). DDPM's own choice for CIFAR-10.
    FixedLarge {},
    /// Between the two, pixel by pixel: the network's second C channels v say `exp(f ln beta + (1 - f) ln beta-tilde)` with
    /// `f = (v + 1) / 2`.
    LearnedRange {},
}

choice! { Variance:
    FixedSmall = "fixed_small" true, FixedLarge = "fixed_large" true, LearnedRange = "learned_range" true,
}

impl Default for Variance {
    /// Fixed small.
    fn default() -> Self {
        Self::FixedSmall {}
    }
}

impl Variance {
    /// Whether the network says it.
    pub fn is_learned(self) -> bool {
        self == Self::LearnedRange {}
    }

    /// Variance of a reverse jump from t to s. The jump onto the data adds no noise with any. Of a learned one, the lower end.
    pub fn of(self, jump: Jump) -> f64 {
        match self {
            Self::FixedSmall {} | Self::LearnedRange {} => jump.posterior_variance(),
            Self::FixedLarge {} if jump.to.is_data() => 0.0,
            Self::FixedLarge {} => jump.beta(),
        }
    }
}
