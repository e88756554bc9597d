//! Heun's method on the probability-flow ODE: Karras et al. (arXiv:2206.00364) algorithm 1, with churn algorithm 2. On the straight
//! line from data to noise it is diffusers' FlowMatchHeunDiscreteScheduler.
//!
//! `x' = x + (rho' - rho) (eps + eps') / 2` in `x / alpha` and `rho = sigma / alpha`, eps' at the end of Euler's step.

use burn::tensor::Tensor;

use super::{
    Churn, Moment,
    ode::{Between, along, first, has_inside},
};
use crate::{Level, Stage, ValueError};

/// Each interval is evaluated at both ends, the last, onto the data, at its start.
pub(super) fn stages(levels: &[Level], churn: Churn, between: Between) -> Result<Vec<Stage>, ValueError> {
    let mut stages = Vec::new();
    for pair in levels.windows(2) {
        let stage = first((pair[0], pair[1]), churn, levels.len() - 1, between)?;
        stages.push(stage);
        if has_inside(stage.at, stage.to) {
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
