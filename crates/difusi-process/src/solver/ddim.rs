//! DDIM (arXiv:2010.02502) eq. 12 and 16, and its way back from data to noise.
//!
//! `x' = alpha' x_0 + sqrt(sigma'^2 - s^2) eps + s z` with `s = eta` times the deviation of the posterior. Inversion is the same
//! step upwards with eta = 0: Euler's method on eq. 14 run in reverse.

use burn::tensor::Tensor;

use super::{EpsSource, InverseTime, Moment, Noises, sum::Sum};
use crate::{Jump, Level, ProcessError, Stage};

pub(super) fn step(
    (eta, source): (f64, EpsSource),
    now: &Moment,
    noises: &mut Noises,
) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let jump = Jump { from: stage.at, to: stage.to };
    let to = stage.to;
    let noise = eta * jump.posterior_variance().sqrt(); // eq. 16
    let sigma = (to.sigma * to.sigma - noise * noise).max(0.0).sqrt();
    let x = match (source, &said.renoise) {
        (_, Some(eps)) => Sum::default().with(to.alpha, &said.x0).with(sigma, eps).total(), // CFG++
        (EpsSource::Thresholded, None) => Sum::default().step((to.alpha, sigma), said).total(), // eq. 12
        (EpsSource::Network, None) => Sum::default().with(to.alpha, &said.x0).with(sigma, &said.eps).total(),
    };
    if noise == 0.0 {
        return Ok(x);
    }
    Ok(noises.normal(&x)? * noise + x)
}

/// Over rising levels.
pub(super) fn inverse_stages(levels: &[Level], at: InverseTime) -> Vec<Stage> {
    let stage = |pair: &[Level]| {
        let t = match at {
            InverseTime::Destination => pair[1].t,
            InverseTime::Origin => pair[0].t,
        };
        Stage::whole(Level { t, ..pair[0] }, pair[1])
    };
    levels.windows(2).map(stage).collect()
}

/// With the network's own eps: the data have no other.
pub(super) fn inverse_step(now: &Moment) -> Tensor<4> {
    let (to, said) = (now.stage().to, now.now());
    Sum::default().with(to.alpha, &said.x0).with(to.sigma, &said.eps).total()
}
