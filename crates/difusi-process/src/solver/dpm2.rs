//! DPM2: the midpoint method with the middle at the mean of the logarithms of sigma (k-diffusion's `sample_dpm_2`, after DPM-Solver-2,
//! arXiv:2206.00927, algorithm 1), and its ancestral form.
//!
//! `x' = x + (rho' - rho) eps_m` in `x / alpha` and `rho = sigma / alpha`, with eps_m at `rho_m = sqrt(rho rho')`. The middle is not
//! half-way in rho, which costs nothing: the order is two.

use burn::tensor::Tensor;

use super::{
    Churn, Moment, Noises, euler,
    ode::{Between, along, first, has_inside, split},
};
use crate::{Level, ProcessError, Stage, ValueError};

pub(super) fn stages(levels: &[Level], churn: Churn, between: Between) -> Result<Vec<Stage>, ValueError> {
    let count = levels.len() - 1;
    cut(levels, between, |from, to| Ok((first((from, to), churn, count, between)?, to.ratio())))
}

pub(super) fn ancestral_stages(levels: &[Level], eta: f64, between: Between) -> Result<Vec<Stage>, ValueError> {
    cut(levels, between, |from, to| Ok((Stage::whole(from, to), split(from, to, eta).0)))
}

/// `interval` gives the first stage and the rho that the deterministic step ends at.
fn cut(
    levels: &[Level],
    between: Between,
    interval: impl Fn(Level, Level) -> Result<(Stage, f64), ValueError>,
) -> Result<Vec<Stage>, ValueError> {
    let mut stages = Vec::new();
    for pair in levels.windows(2) {
        let (stage, end) = interval(pair[0], pair[1])?;
        if !has_inside(stage.at, stage.to) || end == 0.0 {
            stages.push(stage);
            continue;
        }
        let middle = between.ratio((stage.at.ratio() * end).sqrt())?;
        stages.push(Stage { to: middle, ..stage });
        stages.push(Stage { at: middle, part: 1, lift: None, ..stage });
    }
    Ok(stages)
}

pub(super) fn step(now: &Moment) -> Tensor<4> {
    let terms = if now.stage().part == 0 { &[][..] } else { &[(1.0, 0)] };
    along(now, now.stage().to.into(), terms).total()
}

/// The first part goes to the middle; noise comes with the second, or where there is no second.
pub(super) fn ancestral(now: &Moment, by: (f64, f64), noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let follows = now.stages.get(now.index + 1).is_some_and(|next| next.part == 1);
    match now.stage().part {
        0 if follows => Ok(step(now)),
        0 => euler::ancestral(now, by, noises),
        _ => euler::ancestral_along(now, by, &[(1.0, 0)], noises),
    }
}
