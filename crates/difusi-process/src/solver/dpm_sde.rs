//! DPM-Solver++ SDE (arXiv:2211.01095, section 5, as k-diffusion's `sample_dpmpp_sde` has it): two evaluations a step, each step with
//! noise, in the middle too.
//!
//! Both noises of an interval belong to one path of the reverse SDE: what was added in the middle goes on to the end, and fresh noise
//! makes up the rest. With eta = 0 it is DPM-Solver++ 2S.

use burn::tensor::Tensor;

use super::{
    Estimate, Moment, Noises,
    ode::{Between, has_inside, split},
    sum::Sum,
};
use crate::{Level, ProcessError, Stage, ValueError};

/// Its numbers.
#[derive(Clone, Copy)]
pub(super) struct DpmSde {
    pub(super) eta: f64,
    pub(super) s_noise: f64,
    /// Where in the interval of lambda the second evaluation lies.
    pub(super) r: f64,
}

pub(super) fn stages(levels: &[Level], r: f64, between: Between) -> Result<Vec<Stage>, ValueError> {
    let mut stages = Vec::new();
    for pair in levels.windows(2) {
        let stage = Stage::whole(pair[0], pair[1]);
        if !has_inside(stage.at, stage.to) {
            stages.push(stage);
            continue;
        }
        let log = stage.at.ratio().ln();
        let middle = between.ratio((log + r * (stage.to.ratio().ln() - log)).exp())?;
        stages.push(Stage { to: middle, ..stage });
        stages.push(Stage { at: middle, part: 1, ..stage });
    }
    Ok(stages)
}

pub(super) fn step(by: DpmSde, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let (from, to) = (stage.from, stage.to);
    let (down, up) = split(from, to, by.eta);
    let up = up * by.s_noise;
    let Some(start) = now.ago(1).filter(|_| stage.part == 1) else {
        return noised(down_to(said, to, down, Sum::default()).total(), to.alpha * up, noises);
    };
    // x_0 of the whole interval: m + (m_r - m) / (2 r).
    let weight = to.alpha * (1.0 - down / from.ratio()) / (2.0 * by.r);
    let change = Sum::default().with(weight, &said.x0).with(-weight, &start.x0);
    let sum = down_to(start, to, down, change);
    let (middle_down, middle_up) = split(from, stage.at, by.eta);
    let middle_up = middle_up * by.s_noise;
    if middle_up == 0.0 || up == 0.0 {
        return noised(sum.total(), to.alpha * up, noises);
    }
    // The noise that x has in the middle, seen from the end: smaller by the factor of x.
    let goes_on = (split(stage.at, to, by.eta).0 / stage.at.ratio() * middle_up / up).min(1.0);
    let per_unit = to.alpha * up * goes_on / (stage.at.alpha * middle_up);
    let without = down_to(start, stage.at, middle_down, Sum::default()).total();
    let x = sum.with(per_unit, &said.x).with(-per_unit, &without).total();
    noised(x, to.alpha * up * (1.0 - goes_on * goes_on).sqrt(), noises)
}

/// The deterministic step of first order to `rho = down` at the alpha of `to`: `alpha' (down / rho x / alpha + (1 - down / rho) x_0)`.
fn down_to<'a>(said: &'a Estimate, to: Level, down: f64, sum: Sum<'a>) -> Sum<'a> {
    sum.step((to.alpha, to.alpha * down), said)
}

fn noised(x: Tensor<4>, deviation: f64, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    if deviation == 0.0 { Ok(x) } else { Ok(noises.normal(&x)? * deviation + x) }
}
