//! From x_t to x_s: one small pure step per solver. The loop, the history and the noise are the [`crate::Sampler`]'s.
//!
//! A solver says two things: how the visited levels are cut into [`Stage`]s, each one network evaluation ([`Solver::stages`]), and
//! where x goes after an evaluation ([`Solver::advance`]). Everything is written for `x_t = alpha x_0 + sigma eps`, so that the same
//! solver serves variance-preserving, variance-exploding and straight-line processes.

mod ancestral;
mod ddim;
mod heun;
mod moment;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    Level, ProcessError, Stage,
    choice::choice,
    error::{Checks, ValueError},
};

pub(crate) use moment::{Estimate, Moment, Noises, weighted};

/// How sampling moves between the levels of its grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Solver {
    /// Draws x_s from the posterior with x_0 replaced by its estimate; the noise is the [`crate::Variance`].
    Ancestral {},
    /// DDIM. eps is derived from the thresholded x_0, as denoising-diffusion-pytorch and GLIDE do.
    Ddim {
        /// 0 is deterministic, 1 is ancestral with `fixed_small`; in [0, 1]. Default 0.
        #[serde(default)]
        eta: f64,
    },
    /// Heun's second-order method on the probability-flow ODE: two evaluations a step, one for the step onto the data.
    Heun {},
}

choice! { Solver: Ancestral = "ancestral" true, Ddim = "ddim" false, Heun = "heun" true }

impl Default for Solver {
    /// Deterministic DDIM.
    fn default() -> Self {
        Self::Ddim { eta: 0.0 }
    }
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

    /// The network evaluations of a run over `levels`: the visited ones and the end.
    pub(crate) fn stages(&self, levels: &[Level]) -> Vec<Stage> {
        match self {
            Self::Ancestral {} | Self::Ddim { .. } => one_each(levels),
            Self::Heun {} => heun::stages(levels),
        }
    }

    /// x after a stage, `[B, H, W, C]`.
    pub(crate) fn advance(&self, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
        match *self {
            Self::Ancestral {} => ancestral::step(now, noises),
            Self::Ddim { eta } => ddim::step(eta, now, noises),
            Self::Heun {} => heun::step(now),
        }
    }
}

/// One evaluation per interval, at its start.
fn one_each(levels: &[Level]) -> Vec<Stage> {
    levels.windows(2).map(|pair| Stage::whole(pair[0], pair[1])).collect()
}
