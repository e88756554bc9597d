//! Euler's method on the probability-flow ODE, with EDM's churn (Karras et al., arXiv:2206.00364, algorithm 2 without its
//! correction), and k-diffusion's ancestral form of it.
//!
//! In `x / alpha` and `rho = sigma / alpha`: `x' = x + (rho' - rho) eps`, that is `alpha' x_0 + sigma' eps`, which is DDIM with
//! eta = 0. On the straight line from data to noise it is `x + (s' - s) v`: diffusers' FlowMatchEulerDiscreteScheduler.

use burn::tensor::Tensor;

use super::{
    Churn, Moment, Noises,
    ode::{Between, Target, along, first, split},
};
use crate::{Level, ProcessError, Stage, ValueError};

pub(super) fn stages(levels: &[Level], churn: Churn, between: Between) -> Result<Vec<Stage>, ValueError> {
    levels.windows(2).map(|pair| first((pair[0], pair[1]), churn, levels.len() - 1, between)).collect()
}

pub(super) fn step(now: &Moment) -> Tensor<4> {
    along(now, now.stage().to.into(), &[]).total()
}

/// Down, then up again with fresh noise.
pub(super) fn ancestral(
    now: &Moment,
    (eta, s_noise): (f64, f64),
    noises: &mut Noises,
) -> Result<Tensor<4>, ProcessError> {
    ancestral_along(now, (eta, s_noise), &[], noises)
}

/// The same along a mean of estimates.
pub(super) fn ancestral_along(
    now: &Moment,
    (eta, s_noise): (f64, f64),
    terms: &[(f64, usize)],
    noises: &mut Noises,
) -> Result<Tensor<4>, ProcessError> {
    let (from, to) = (now.stage().from, now.stage().to);
    let (down, up) = split(from, to, eta);
    let x = along(now, Target { alpha: to.alpha, ratio: down }, terms).total();
    if up == 0.0 {
        return Ok(x);
    }
    let noise = noises.normal(&x)?;
    Ok(noise * (to.alpha * up * s_noise) + x)
}
