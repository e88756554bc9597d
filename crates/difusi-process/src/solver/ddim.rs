//! DDIM (arXiv:2010.02502) eq. 12 and 16, with the eps that the thresholded x_0 leaves.

use burn::tensor::Tensor;

use super::{Moment, Noises, weighted};
use crate::{Jump, ProcessError};

pub(super) fn step(eta: f64, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let jump = Jump { from: stage.at, to: stage.to };
    let (from, to) = (jump.from, jump.to);
    let noise = eta * jump.posterior_variance().sqrt(); // eq. 16
    // eq. 12 with eps = (x_t - alpha_t x_0) / sigma_t
    let eps = (to.sigma * to.sigma - noise * noise).max(0.0).sqrt();
    let x_t = eps / from.sigma;
    let x = weighted(&[(to.alpha - x_t * from.alpha, &said.x0), (x_t, &said.x)]);
    if noise == 0.0 {
        return Ok(x);
    }
    Ok(noises.normal(&x)? * noise + x)
}
