//! Ancestral sampling: DDPM (arXiv:2006.11239) algorithm 2; learned variance: Nichol & Dhariwal (arXiv:2102.09672) eq. 15.
//!
//! On a sub-sequence of the steps, beta of a jump is `1 - alpha-bar_t / alpha-bar_s`, which makes ancestral sampling on any grid an
//! ordinary DDPM (Nichol & Dhariwal, section 4).

use burn::tensor::Tensor;

use super::{Moment, Noises, weighted};
use crate::{Jump, ProcessError, Rounding, Variance};

/// Smallest variance that is not none, in diffusers.
const VARIANCE_MIN: f32 = 1e-20;

/// The numbers of a jump: factors of x_0 and x_t in the mean, and the two extremes of the variance.
struct Numbers {
    x0: f64,
    x_t: f64,
    beta: f64,
    beta_tilde: f64,
}

impl Numbers {
    fn exact(jump: Jump) -> Self {
        let (x0, x_t) = jump.posterior_mean();
        Self { x0, x_t, beta: jump.beta(), beta_tilde: jump.posterior_variance() }
    }

    /// Operation by operation as diffusers' DDPM has it: see [`Rounding::F32`].
    fn in_f32(jump: Jump) -> Self {
        let [bar_t, bar_s] = [jump.from, jump.to].map(|level| level.alpha.powi(2) as f32);
        let (rest_t, rest_s, alpha) = (1.0 - bar_t, 1.0 - bar_s, bar_t / bar_s);
        let beta = 1.0 - alpha;
        let least = if jump.to.is_data() { 0.0 } else { VARIANCE_MIN };
        Self {
            x0: f64::from(bar_s.sqrt() * beta / rest_t),
            x_t: f64::from(alpha.sqrt() * rest_s / rest_t),
            beta: f64::from(beta),
            beta_tilde: f64::from((rest_s / rest_t * beta).max(least)),
        }
    }
}

pub(super) fn step(now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let jump = Jump { from: stage.at, to: stage.to };
    let by = match now.rounding {
        Rounding::Exact => Numbers::exact(jump),
        Rounding::F32 => Numbers::in_f32(jump),
    };
    let mean = weighted(&[(by.x0, &said.x0), (by.x_t, &said.x)]);
    if jump.to.is_data() {
        return Ok(mean);
    }
    let noise = noises.normal(&mean)?;
    Ok(match (&said.variance, now.variance) {
        (Some(fraction), _) => mean + noise * deviation(&by, fraction.clone()),
        (None, Variance::FixedLarge {}) => mean + noise * by.beta.sqrt(),
        (None, _) => mean + noise * by.beta_tilde.sqrt(),
    })
}

/// `exp((f ln beta + (1 - f) ln beta-tilde) / 2)`.
fn deviation(by: &Numbers, fraction: Tensor<4>) -> Tensor<4> {
    let (low, high) = (by.beta_tilde.ln(), by.beta.ln());
    (fraction * (0.5 * (high - low)) + 0.5 * low).exp()
}
