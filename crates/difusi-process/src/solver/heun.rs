//! Heun's method on the probability-flow ODE: Karras et al. (arXiv:2206.00364) algorithm 1.
//!
//! In the coordinates `x / alpha` and `s = sigma / alpha` the ODE is `d(x / alpha) / ds = eps`.

use burn::tensor::Tensor;

use super::{Moment, weighted};
use crate::{Level, ProcessError, Stage};

/// Each interval is evaluated at both ends, the last, onto the data, at its start.
pub(super) fn stages(levels: &[Level]) -> Vec<Stage> {
    let interval = |pair: &[Level]| {
        let (from, to) = (pair[0], pair[1]);
        let first = Stage::whole(from, to);
        let second = Stage { at: to, part: 1, ..first };
        [Some(first), (!to.is_data()).then_some(second)].into_iter().flatten()
    };
    levels.windows(2).flat_map(interval).collect()
}

pub(super) fn step(now: &Moment) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let (from, to) = (stage.from, stage.to);
    let eps = said.consistent_eps();
    let (Some(before), true) = (now.ago(1), stage.part == 1) else {
        return Ok(weighted(&[(to.alpha, &said.x0), (to.sigma, &eps)])); // Euler
    };
    let half = 0.5 * to.alpha * (to.ratio() - from.ratio());
    Ok(weighted(&[(to.alpha / from.alpha, now.start), (half, &before.consistent_eps()), (half, &eps)]))
}
