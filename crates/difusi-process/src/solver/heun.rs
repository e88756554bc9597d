//! Heun's method on the probability-flow ODE: Karras et al. (arXiv:2206.00364) algorithm 1, with churn algorithm 2.
//!
//! `x' = x + (rho' - rho) (eps + eps') / 2` in `x / alpha` and `rho = sigma / alpha`, eps' at the end of Euler's step. Flow-matching Heun
//! is `x' = x + (s' - s) (v + v') / 2` with `v = eps - x_0` and `s = sigma`: the same ODE in another time, another method of the
//! same order.

use burn::tensor::Tensor;

use super::{
    Churn, Moment,
    ode::{Between, along, first, has_inside, is_straight},
    sum::Sum,
};
use crate::{Level, Stage, ValueError};

/// Each interval is evaluated at both ends, the last, onto the data, at its start.
pub(super) fn stages(levels: &[Level], churn: Churn, between: Between) -> Result<Vec<Stage>, ValueError> {
    cut(levels, churn, between, has_inside)
}

/// The same; on the straight line pure noise is a level as any other.
pub(super) fn line_stages(levels: &[Level], churn: Churn, between: Between) -> Result<Vec<Stage>, ValueError> {
    cut(levels, churn, between, |from, to| has_inside(from, to) || (is_straight(from, to) && !to.is_data()))
}

fn cut(
    levels: &[Level],
    churn: Churn,
    between: Between,
    corrected: impl Fn(Level, Level) -> bool,
) -> Result<Vec<Stage>, ValueError> {
    let mut stages = Vec::new();
    for pair in levels.windows(2) {
        let stage = first((pair[0], pair[1]), churn, levels.len() - 1, between)?;
        stages.push(stage);
        if corrected(stage.at, stage.to) {
            stages.push(Stage { at: stage.to, part: 1, lift: None, ..stage });
        }
    }
    Ok(stages)
}

pub(super) fn step(now: &Moment) -> Tensor<4> {
    let half = [(0.5, 0), (0.5, 1)];
    let terms = if now.stage().part == 0 { &half[..0] } else { &half[..] };
    along(now, now.stage().to.into(), terms).total()
}

/// In the straight line's own time; off that line the same as [`step`].
pub(super) fn line_step(now: &Moment) -> Tensor<4> {
    let (from, to) = (now.stage().from, now.stage().to);
    match now.ago(1) {
        Some(start) if now.stage().part == 1 && is_straight(from, to) => {
            let half = 0.5 * (to.sigma - from.sigma);
            let euler = Sum::default().step((to.alpha, to.sigma), start);
            euler.flow(half, now.now()).flow(-half, start).total()
        }
        _ => step(now),
    }
}
