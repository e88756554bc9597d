//! The variance of the reverse step p(x_s | x_t): DDPM (arXiv:2006.11239) section 3.2. Learned variance is not here yet.

use serde::{Deserialize, Serialize};

use crate::{choice::choice, solver::Jump};

/// Which of the two extremes ancestral sampling uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Variance {
    /// beta-tilde, the posterior's: right where the data is one point.
    FixedSmall {},
    /// beta: right where the data is N(0, I). DDPM's own choice for CIFAR-10.
    FixedLarge {},
}

choice! { Variance: FixedSmall = "fixed_small" true, FixedLarge = "fixed_large" true }

impl Default for Variance {
    /// Fixed small.
    fn default() -> Self {
        Self::FixedSmall {}
    }
}

impl Variance {
    /// Variance of a reverse jump from t to s. The jump onto the data adds no noise with either.
    pub fn of(self, jump: Jump) -> f64 {
        match self {
            Self::FixedSmall {} => jump.posterior_variance(),
            Self::FixedLarge {} if jump.to == 1.0 => 0.0,
            Self::FixedLarge {} => jump.beta(),
        }
    }
}
