//! Ancestral sampling: DDPM (arXiv:2006.11239) algorithm 2; learned variance: Nichol & Dhariwal (arXiv:2102.09672) eq. 15.
//!
//! On a sub-sequence of the steps, beta of a jump is `1 - alpha-bar_t / alpha-bar_s`, which makes ancestral sampling on any grid an
//! ordinary DDPM (Nichol & Dhariwal, section 4).

use burn::tensor::Tensor;

use super::{Moment, Noises, weighted};
use crate::{Jump, ProcessError};

pub(super) fn step(now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let jump = Jump { from: stage.at, to: stage.to };
    let (x0, x_t) = jump.posterior_mean();
    let mean = weighted(&[(x0, &said.x0), (x_t, &said.x)]);
    let fixed = now.variance.of(jump);
    if fixed == 0.0 {
        return Ok(mean);
    }
    let noise = noises.normal(&mean)?;
    Ok(match &said.variance {
        Some(fraction) => mean + noise * deviation(jump, fraction.clone()),
        None => mean + noise * fixed.sqrt(),
    })
}

/// `exp((f ln beta + (1 - f) ln beta-tilde) / 2)`.
fn deviation(jump: Jump, fraction: Tensor<4>) -> Tensor<4> {
    let (low, high) = (jump.posterior_variance().ln(), jump.beta().ln());
    (fraction * (0.5 * (high - low)) + 0.5 * low).exp()
}
