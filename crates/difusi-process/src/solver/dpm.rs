//! DPM-Solver (arXiv:2206.00927) and DPM-Solver++ (arXiv:2211.01095), multi-step and single-step, ODE and SDE, and DEIS
//! (arXiv:2204.13902), which is DPM-Solver's multi-step form with exact integrals: a polynomial in log rho is one in lambda.
//!
//! A multi-step solver looks back on earlier intervals (2M, 3M and their SDE forms); a single-step one takes the visited levels in
//! groups of its order and goes each time from the group's start (2S): after the group's k-th evaluation a step of order k.
//! Onto the data every step is of first order, since lambda is infinite there.

use burn::tensor::Tensor;

use super::{Curvature, DpmAlgorithm, DpmKind, Estimate, Moment, Noises, exponential::Leap};
use crate::{Level, ProcessError, Stage};

/// Runs shorter than this have their last orders lowered where `lower_order_final` says so (multi-step).
const SHORT_RUN: usize = 15;

/// What both forms are told.
#[derive(Clone, Copy)]
pub(super) struct Dpm {
    pub(super) algorithm: DpmAlgorithm,
    pub(super) order: usize,
    pub(super) kind: DpmKind,
    pub(super) curvature: Curvature,
}

impl Dpm {
    /// DEIS in log rho.
    pub(super) fn deis(order: usize) -> Self {
        Self { algorithm: DpmAlgorithm::DpmSolver, order, kind: DpmKind::Heun, curvature: Curvature::Exact }
    }
}

/// When a multi-step run lowers its order at the end.
#[derive(Clone, Copy)]
pub(super) struct Taper {
    /// In short runs, the last two steps.
    pub(super) lower_order_final: bool,
    /// Always the last.
    pub(super) euler_at_final: bool,
}

impl Taper {
    fn order(self, wanted: usize, now: &Moment) -> usize {
        let left = now.stages.len() - now.index;
        let lower = self.lower_order_final && now.stages.len() < SHORT_RUN;
        match left {
            _ if now.stage().to.is_data() => 1,
            1 if lower || self.euler_at_final => 1,
            2 if lower => wanted.min(2),
            _ => wanted,
        }
    }
}

pub(super) fn multistep(dpm: Dpm, taper: Taper, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let stage = now.stage();
    let leap = Leap::new(dpm.algorithm, stage.at, stage.to);
    let known = now.history(0, taper.order(dpm.order, now));
    let (newest, others) = (now.now(), &known[1..]);
    let mut moments = leap.moments(others.len());
    match (&mut moments[..], dpm.curvature) {
        ([slope], _) => *slope = leap.slope(dpm.kind),
        // The published code takes half the second derivative for the whole, and with noise of x_0 one constant too many.
        ([_, curve], Curvature::Published) => *curve = 0.5 * *curve + misplaced(&leap),
        _ => {}
    }
    leap.noised(leap.bend(leap.first(newest), (1.0, newest), others, &moments).total(), noises)
}

/// `h^2` in the published SDE form, where a 1/2 has the wrong sign.
fn misplaced(leap: &Leap) -> f64 {
    if leap.is_noisy_x0() { leap.h() * leap.h() } else { 0.0 }
}

/// Groups of growing order; `lower_order_final` (or a number of steps that is no multiple of the order) ends in lower ones.
pub(super) fn singlestep_stages(levels: &[Level], order: usize, lower_order_final: bool) -> Vec<Stage> {
    let steps = levels.len() - 1;
    let sizes = group_sizes(steps, order, lower_order_final);
    let mut stages = Vec::new();
    let mut start = 0;
    for size in sizes {
        for part in 0..size {
            let (at, to) = (levels[start + part], levels[start + part + 1]);
            // Onto the data goes a group of its own, and so does what comes after pure noise.
            let alone = to.is_data() || levels[start].alpha == 0.0;
            let (from, part) = if alone { (at, 0) } else { (levels[start], part) };
            stages.push(Stage { from, part, ..Stage::whole(at, to) });
        }
        start += size;
    }
    stages
}

/// Sizes that sum to `steps`.
fn group_sizes(steps: usize, order: usize, lower_order_final: bool) -> Vec<usize> {
    let full = |count: usize| vec![order; count];
    match (order, steps % order) {
        (1, _) => full(steps),
        (_, 0) if !lower_order_final => full(steps / order),
        (2, 0) => [full(steps / 2 - 1), vec![1, 1]].concat(),
        (_, 0) => [full(steps / order - 1), vec![order - 1, 1]].concat(),
        (_, rest) => [full(steps / order), vec![rest]].concat(),
    }
}

pub(super) fn singlestep(dpm: Dpm, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let stage = now.stage();
    // Evaluations of this group, newest first; the last of them began it.
    let group: Vec<&Estimate> = (0..=stage.part).filter_map(|back| now.ago(back)).collect();
    let start = group[group.len() - 1];
    let leap = Leap::new(dpm.algorithm, start.at, stage.to);
    let (others, moments) = match (&group[..], dpm.kind) {
        ([_], _) => (&group[..0], Vec::new()),
        ([_, _], kind) => (&group[..1], vec![leap.slope(kind)]),
        // The third-order midpoint form leaves the estimate in between out.
        (_, DpmKind::Midpoint) => (&group[..1], leap.moments(1)),
        (_, DpmKind::Heun) => {
            let mut moments = leap.moments(2);
            if dpm.curvature == Curvature::Published {
                moments[1] += 2.0 * misplaced(&leap);
            }
            (&group[..2], moments)
        }
    };
    leap.noised(leap.bend(leap.first(start), (1.0, start), others, &moments).total(), noises)
}
