//! The reverse-time SDE and predictor-corrector sampling: Song et al. (arXiv:2011.13456) section 4, algorithms 1 to 5.
//!
//! The SDE `dx = (f x - g^2 score) du + g dw` is discretised between two levels of the plan, so no derivative of the process is
//! needed: over a step, the integral of f is the logarithm of alpha's ratio, and what g adds is the variance of q(x_t | x_s).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Moment, Noises, ancestral, langevin, weighted};
use crate::{Jump, Level, ProcessError, Stage, StepSize, ValueError, choice::choice};

/// How the reverse SDE is discretised. All three agree to first order in the step, and add no noise in the step onto the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Predictor {
    /// `(1 - ln(alpha_t / alpha_s)) x + beta (score) + sqrt(beta) noise`, where beta is that of the step: Euler-Maruyama.
    EulerMaruyama {},
    /// `(2 - alpha_t / alpha_s) x + beta (score) + sqrt(beta) noise`: the forward step reversed as it was discretised (appendix E).
    /// In a VE process the same as Euler-Maruyama.
    ReverseDiffusion {},
    /// DDPM's posterior, which is a third discretisation (appendix F); its noise is the process's variance.
    Ancestral {},
}

choice! { Predictor: EulerMaruyama = "euler_maruyama" true, ReverseDiffusion = "reverse_diffusion" true, Ancestral = "ancestral" true }

impl Default for Predictor {
    /// Reverse diffusion.
    fn default() -> Self {
        Self::ReverseDiffusion {}
    }
}

impl Predictor {
    /// One step towards the data.
    pub(super) fn step(self, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
        let (stage, said) = (now.stage(), now.now());
        let jump = Jump { from: stage.at, to: stage.to };
        let keep = match self {
            Self::Ancestral {} => return ancestral::step(now, noises),
            Self::ReverseDiffusion {} => 2.0 - jump.scale(),
            Self::EulerMaruyama {} if jump.from.alpha == 0.0 => {
                let accepted = "reverse_diffusion or ancestral, since sampling starts at pure noise, where the SDE's drift is infinite";
                return Err(ValueError::new("solver.predictor", "euler_maruyama", accepted).into());
            }
            Self::EulerMaruyama {} => 1.0 - jump.scale().ln(),
        };
        let score = said.score()?;
        let mean = weighted(&[(keep, &said.x), (jump.beta(), &score)]);
        if jump.to.is_data() {
            return Ok(mean);
        }
        Ok(noises.normal(&mean)? * jump.beta().sqrt() + mean)
    }
}

/// At each visited level `correct` corrections, then the step down: the order of score_sde's code and of diffusers. The paper's
/// algorithm 1 corrects after the step, which is the same but for the first level and for the data, where there is no score.
pub(super) fn corrected(levels: &[Level], correct: usize) -> Vec<Stage> {
    let interval = |pair: &[Level]| {
        let mut stages = langevin::staying(pair[0], correct);
        stages.push(Stage { part: correct, ..Stage::whole(pair[0], pair[1]) });
        stages
    };
    levels.windows(2).flat_map(interval).collect()
}

/// A correction where the stage stays at its level, a prediction where it leaves it.
pub(super) fn step_corrected(
    predictor: Predictor,
    size: StepSize,
    now: &Moment,
    noises: &mut Noises,
) -> Result<Tensor<4>, ProcessError> {
    let stage = now.stage();
    if stage.to == stage.at { langevin::moved(size, now, noises) } else { predictor.step(now, noises) }
}
