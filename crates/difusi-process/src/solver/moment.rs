//! What a solver's step sees: the stage, x, the estimates so far; and where it gets noise.

use burn::tensor::Tensor;

use crate::{Level, NoiseSource, ProcessError, Rounding, Stage, Variance};

/// What one network evaluation said.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    /// Where.
    pub(crate) at: Level,
    /// Of what x_t.
    pub(crate) x: Tensor<4>,
    /// x_0, thresholded.
    pub(crate) x0: Tensor<4>,
    /// eps as the network has it; not that of the thresholded x_0.
    pub(crate) eps: Tensor<4>,
    /// Where a learned variance lies between the logarithms of beta-tilde (0) and beta (1).
    pub(crate) variance: Option<Tensor<4>>,
    /// The eps that DDIM puts back in the place of its own.
    pub(crate) renoise: Option<Tensor<4>>,
}

impl Estimate {
    /// The score that the thresholded x_0 stands for.
    pub(crate) fn score(&self) -> Result<Tensor<4>, ProcessError> {
        crate::score::score(&self.x, &self.x0, self.at)
    }
}

/// A run right after a network evaluation.
pub(crate) struct Moment<'a> {
    /// All stages of the run.
    pub(crate) stages: &'a [Stage],
    /// Which of them was evaluated.
    pub(crate) index: usize,
    /// What the evaluations said, newest last; never empty. At most [`crate::Solver::memory`] are kept.
    pub(crate) past: &'a [Estimate],
    /// Of ancestral sampling.
    pub(crate) variance: Variance,
    /// Of ancestral sampling.
    pub(crate) rounding: Rounding,
}

impl<'a> Moment<'a> {
    /// The stage that was evaluated.
    pub(crate) fn stage(&self) -> &'a Stage {
        &self.stages[self.index]
    }

    /// What this stage's evaluation said.
    pub(crate) fn now(&self) -> &'a Estimate {
        &self.past[self.past.len() - 1]
    }

    /// The estimates at the starts of this interval and of those before, newest first, at most `count`; those before `skip` newer
    /// ones. Looks back no further than to where x was noised again, and past pure noise, where alpha is 0.
    pub(crate) fn history(&self, skip: usize, count: usize) -> Vec<&'a Estimate> {
        let mut found = Vec::new();
        for (back, said) in self.past.iter().rev().enumerate().skip(skip) {
            let Some(stage) = self.index.checked_sub(back).and_then(|i| self.stages.get(i)) else { break };
            if found.len() == count {
                break;
            }
            if stage.part == 0 && (found.is_empty() || said.at.alpha > 0.0) {
                found.push(said);
            }
            if stage.lift.is_some() {
                break;
            }
        }
        found
    }

    /// What was said `back` evaluations ago; 0 is now.
    pub(crate) fn ago(&self, back: usize) -> Option<&'a Estimate> {
        self.past.len().checked_sub(back + 1).map(|i| &self.past[i])
    }
}

/// Fresh noise for the steps of one run.
pub(crate) struct Noises {
    source: NoiseSource,
    stage: usize,
    drawn: usize,
}

/// Draws that one stage may make.
const DRAWS_PER_STAGE: usize = 4;

impl Noises {
    pub(crate) fn new(source: NoiseSource) -> Self {
        Self { source, stage: 0, drawn: 0 }
    }

    /// Standard normals in the shape, number format and on the device of `x`.
    pub(crate) fn normal(&mut self, x: &Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        let number = self.stage * DRAWS_PER_STAGE + self.drawn;
        self.drawn += 1;
        Ok(self.source.fresh(x, number)?.cast(x.dtype()))
    }

    /// Goes on to the next stage. PyTorch's generator has drawn once for each step but the last, needed or not, as in
    /// denoising-diffusion-pytorch.
    pub(crate) fn end_stage(&mut self, x: &Tensor<4>, last: bool) -> Result<(), ProcessError> {
        if matches!(self.source, NoiseSource::Torch(_)) && self.drawn == 0 && !last {
            self.normal(x)?;
        }
        (self.stage, self.drawn) = (self.stage + 1, 0);
        Ok(())
    }
}

/// The sum of `factor * tensor`. Terms with factor 0 cost nothing.
pub(crate) fn weighted(terms: &[(f64, &Tensor<4>)]) -> Tensor<4> {
    let scaled = |(factor, x): &(f64, &Tensor<4>)| match *factor {
        1.0 => (*x).clone(),
        factor => (*x).clone() * factor,
    };
    let mut live = terms.iter().filter(|term| term.0 != 0.0).map(scaled);
    match live.next() {
        Some(first) => live.fold(first, |sum, term| sum + term),
        None => terms[0].1.clone() * 0.0,
    }
}
