//! From x_t to x_s: one small pure step per solver. The loop, the history and the noise are the [`crate::Sampler`]'s.
//!
//! A solver says two things: how the visited levels are cut into [`Stage`]s, each one network evaluation ([`Solver::stages`]), and
//! where x goes after an evaluation ([`Solver::advance`]). Everything is written for `x_t = alpha x_0 + sigma eps`, so that the same
//! solver serves variance-preserving, variance-exploding and straight-line processes.

mod ancestral;
mod ddim;
mod heun;
mod langevin;
mod moment;
mod reverse_sde;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    Level, Norms, ProcessError, Stage, StepSize,
    choice::choice,
    error::{Checks, ValueError},
    score::default_snr,
};

pub use reverse_sde::Predictor;

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
    /// Annealed Langevin dynamics: moves along the score at each visited level, then x_0 of the last.
    Langevin {
        /// Moves at each level, at least 1. Default 10; NCSN takes 100 at each of 10 levels.
        #[serde(default = "ten")]
        steps: usize,
        /// How far each goes. Default annealed.
        #[serde(default, with = "crate::choice")]
        step_size: StepSize,
    },
    /// The reverse-time SDE.
    ReverseSde {
        /// Its discretisation: `euler_maruyama`, `reverse_diffusion` or `ancestral`. Default reverse_diffusion.
        #[serde(default, with = "crate::choice")]
        predictor: Predictor,
    },
    /// The reverse-time SDE with Langevin corrections at every level before the step down from it.
    PredictorCorrector {
        /// As of `reverse_sde`.
        #[serde(default, with = "crate::choice")]
        predictor: Predictor,
        /// Signal-to-noise ratio of the corrections, above 0. Default 0.16.
        #[serde(default = "default_snr")]
        snr: f64,
        /// Corrections at each level. Default 1.
        #[serde(default = "one")]
        correct: usize,
        /// Whose norms set the corrections' size: each `image`'s own or the `batch`'s mean. Default image.
        #[serde(default)]
        norms: Norms,
    },
}

choice! { Solver:
    Ancestral = "ancestral" true, Ddim = "ddim" false, Heun = "heun" true, Langevin = "langevin" false,
    ReverseSde = "reverse_sde" false, PredictorCorrector = "predictor_corrector" false,
}

fn ten() -> usize {
    10
}

fn one() -> usize {
    1
}

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
        match self {
            Self::Ancestral {} | Self::Heun {} | Self::ReverseSde { .. } => {}
            Self::Ddim { eta } => {
                checks.require((0.0..=1.0).contains(eta), "solver.eta", eta, "a number in [0, 1]");
            }
            Self::Langevin { steps, step_size } => {
                checks.require(*steps > 0, "solver.steps", steps, "at least 1");
                checks.0.extend(step_size.check().into_iter().map(|e| e.under("solver.step_size")));
            }
            Self::PredictorCorrector { snr, .. } => {
                checks.require(*snr > 0.0 && snr.is_finite(), "solver.snr", snr, "a number above 0");
            }
        }
        checks.0
    }

    /// The network evaluations of a run over `levels`: the visited ones and the end.
    pub(crate) fn stages(&self, levels: &[Level]) -> Vec<Stage> {
        match self {
            Self::Ancestral {} | Self::Ddim { .. } => one_each(levels),
            Self::Heun {} => heun::stages(levels),
            Self::ReverseSde { .. } => one_each(levels),
            Self::Langevin { steps, .. } => langevin::stages(levels, *steps),
            Self::PredictorCorrector { correct, .. } => reverse_sde::corrected(levels, *correct),
        }
    }

    /// x after a stage, `[B, H, W, C]`.
    pub(crate) fn advance(&self, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
        match *self {
            Self::Ancestral {} => ancestral::step(now, noises),
            Self::Ddim { eta } => ddim::step(eta, now, noises),
            Self::Heun {} => heun::step(now),
            Self::ReverseSde { predictor } => predictor.step(now, noises),
            Self::Langevin { step_size, .. } => langevin::step(step_size, now, noises),
            Self::PredictorCorrector { predictor, snr, norms, .. } => {
                reverse_sde::step_corrected(predictor, StepSize::Snr { snr, norms }, now, noises)
            }
        }
    }
}

/// One evaluation per interval, at its start.
fn one_each(levels: &[Level]) -> Vec<Stage> {
    levels.windows(2).map(|pair| Stage::whole(pair[0], pair[1])).collect()
}
