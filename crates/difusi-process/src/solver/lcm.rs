//! Multi-step sampling of consistency models: Song et al. (arXiv:2303.01469) algorithm 1, with the boundary condition of latent
//! consistency models (arXiv:2310.04378, section 4).
//!
//! `f = c_skip x + c_out x_0`, then fresh noise at the next level: `x' = alpha' f + sigma' z`. With `s = timestep_scaling t`,
//! `c_skip = d^2 / (s^2 + d^2)` and `c_out = s / sqrt(s^2 + d^2)`, d being `sigma_data`.

use burn::tensor::Tensor;

use super::{Moment, Noises, sum::Sum};
use crate::ProcessError;

pub(super) fn step(
    (timestep_scaling, sigma_data): (f64, f64),
    now: &Moment,
    noises: &mut Noises,
) -> Result<Tensor<4>, ProcessError> {
    let (to, said) = (now.stage().to, now.now());
    let (skip, out) = match sigma_data {
        0.0 => (0.0, 1.0),
        d => {
            let s = timestep_scaling * said.at.t;
            (d * d / (s * s + d * d), s / s.hypot(d))
        }
    };
    let x = Sum::default().with(to.alpha * skip, &said.x).with(to.alpha * out, &said.x0).total();
    if to.is_data() {
        return Ok(x);
    }
    Ok(noises.normal(&x)? * to.sigma + x)
}
