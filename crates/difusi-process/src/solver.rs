//! From x_t to x_s: DDPM (arXiv:2006.11239) algorithm 2 and DDIM (arXiv:2010.02502) eq. 12 and 16.
//!
//! Both are linear in (x_0 estimate, x_t, fresh noise), so a step of either is three numbers. On a sub-sequence of the steps,
//! beta of a jump is `1 - alpha-bar_t / alpha-bar_s`, which makes ancestral sampling on any grid an ordinary DDPM.

use serde::{Deserialize, Serialize};

use crate::{
    Variance,
    choice::choice,
    error::{Checks, ValueError},
};

/// How sampling moves between the steps of its grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Solver {
    /// Draws x_s from the posterior with x_0 replaced by its estimate; the noise is the [`Variance`].
    Ancestral {},
    /// DDIM. eps is derived from the thresholded x_0, as denoising-diffusion-pytorch and GLIDE do.
    Ddim {
        /// 0 is deterministic, 1 is ancestral with `fixed_small`; in [0, 1]. Default 0.
        #[serde(default)]
        eta: f64,
    },
}

choice! { Solver: Ancestral = "ancestral" true, Ddim = "ddim" false }

impl Default for Solver {
    /// Deterministic DDIM.
    fn default() -> Self {
        Self::Ddim { eta: 0.0 }
    }
}

/// A reverse jump, by the alpha-bar of both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jump {
    /// alpha-bar_t, in (0, 1).
    pub from: f64,
    /// alpha-bar_s, above `from`; 1 for the data.
    pub to: f64,
}

impl Jump {
    /// beta of the merged steps: `1 - alpha-bar_t / alpha-bar_s`.
    pub fn beta(self) -> f64 {
        1.0 - self.from / self.to
    }

    /// beta-tilde of the merged steps, DDPM eq. 7; 0 onto the data.
    pub fn posterior_variance(self) -> f64 {
        (1.0 - self.to) / (1.0 - self.from) * self.beta()
    }
}

/// `x_s = x0 * (x_0 estimate) + x_t * x_t + noise * z`, z standard normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// Factor of the estimate of x_0.
    pub x0: f64,
    /// Factor of x_t.
    pub x_t: f64,
    /// Standard deviation of the fresh noise.
    pub noise: f64,
}

impl Solver {
    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        if let Self::Ddim { eta } = self {
            checks.require((0.0..=1.0).contains(eta), "solver.eta", eta, "a number in [0, 1]");
        }
        checks.0
    }

    /// The three numbers of a jump.
    pub fn transition(self, jump: Jump, variance: Variance) -> Transition {
        match self {
            Self::Ancestral {} => Transition {
                x0: jump.to.sqrt() * jump.beta() / (1.0 - jump.from),
                x_t: (1.0 - jump.beta()).sqrt() * (1.0 - jump.to) / (1.0 - jump.from),
                noise: variance.of(jump).sqrt(),
            },
            Self::Ddim { eta } => {
                let noise = eta * jump.posterior_variance().sqrt(); // eq. 16
                // eq. 12 with eps = (x_t - sqrt(alpha-bar_t) x_0) / sqrt(1 - alpha-bar_t)
                let eps = (1.0 - jump.to - noise * noise).max(0.0).sqrt();
                let x_t = eps / (1.0 - jump.from).sqrt();
                Transition { x0: jump.to.sqrt() - x_t * jump.from.sqrt(), x_t, noise }
            }
        }
    }
}
