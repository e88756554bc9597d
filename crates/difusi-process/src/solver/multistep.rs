//! Linear multi-step methods on the probability-flow ODE: LMS, PNDM with PLMS, iPNDM.
//!
//! All go straight in `x / alpha` and `rho = sigma / alpha` along a weighted mean of the eps of earlier steps. LMS (k-diffusion's
//! `sample_lms`) integrates the polynomial in rho exactly, so its order is its number of terms. PNDM (arXiv:2202.09778) and iPNDM
//! (arXiv:2204.13902, section 4.1) take Adams and Bashforth's weights, those of even steps, whatever the steps in rho are, which
//! leaves the order at two.

use burn::tensor::Tensor;

use super::{
    Estimate, IpndmStart, Moment, PndmMean, PndmWarmup,
    ode::{Between, along, has_inside},
    polynomial::{adams_bashforth, power_moments, weights},
    sum::Sum,
};
use crate::{Level, Stage, ValueError};

/// Terms of Adams and Bashforth's method in PNDM.
const PNDM_ORDER: usize = 4;

/// Intervals that Runge and Kutta's method starts with.
const WARMUP: usize = 3;

/// Evaluations back to the oldest that PNDM needs, right after its warm-up, and this one.
pub(super) const PNDM_MEMORY: usize = 4 * WARMUP + 1;

/// LMS of up to `order` terms.
pub(super) fn lms(order: usize, now: &Moment) -> Tensor<4> {
    let known = now.history(0, order);
    let newest = known[0];
    let (from, to) = (newest.at.ratio(), now.stage().to.ratio());
    let nodes: Vec<f64> = known[1..].iter().map(|said| said.at.ratio() - from).collect();
    // Weights of the mean: those of the integral over the length of the step.
    let w = weights(&nodes, &power_moments(to - from, nodes.len()));
    along_history(now, order, &w.into_iter().map(|w| w / (to - from)).collect::<Vec<_>>())
}

/// iPNDM: Adams and Bashforth of up to `order` terms.
pub(super) fn ipndm(order: usize, start: IpndmStart, now: &Moment) -> Tensor<4> {
    let to = now.stage().to;
    match start {
        IpndmStart::Estimate => even(PndmMean::Eps, &now.history(0, order), now),
        IpndmStart::Noise if now.now().at.alpha == 0.0 => Sum::default().with(to.sigma, &now.now().x).total(),
        IpndmStart::Noise => {
            let known: Vec<&Estimate> = (0..order).map_while(|back| now.ago(back)).collect();
            even(PndmMean::Eps, &known, now)
        }
    }
}

/// Along Adams and Bashforth's mean of these estimates, newest first.
fn even(mean: PndmMean, known: &[&Estimate], now: &Moment) -> Tensor<4> {
    let older = adams_bashforth(known.len() - 1);
    let newest = 1.0 - older.iter().sum::<f64>();
    let terms: Vec<(f64, &Estimate)> = std::iter::once(newest).chain(older).zip(known.iter().copied()).collect();
    along_mean(mean, &terms, now)
}

/// From the interval's start along a weighted mean; weights sum to 1. The start counts as x at `stage.from`, which diffusers takes
/// from its own arithmetic where steps do not join.
fn along_mean(mean: PndmMean, terms: &[(f64, &Estimate)], now: &Moment) -> Tensor<4> {
    let (from, to) = (now.stage().from, now.stage().to);
    let start = now.ago(now.stage().part).unwrap_or(now.now());
    let norm = from.alpha.powi(2) + from.sigma.powi(2);
    let sum = match mean {
        PndmMean::Eps if from == start.at => {
            let by = to.alpha * (to.ratio() - from.ratio());
            let others = terms.iter().filter(|term| !std::ptr::eq(term.1, start));
            let straight = Sum::default().step((to.alpha, to.sigma), start);
            others.fold(straight, |sum, (w, said)| sum.eps(by * w, said).eps(-by * w, start))
        }
        PndmMean::Eps => {
            let (x, by) = (to.alpha / from.alpha, to.alpha * (to.ratio() - from.ratio()));
            terms.iter().fold(Sum::default().with(x, &start.x), |sum, (w, said)| sum.eps(by * w, said))
        }
        PndmMean::Velocity => {
            let x = (to.alpha * from.alpha + to.sigma * from.sigma) / norm;
            let by = (to.sigma * from.alpha - to.alpha * from.sigma) / norm;
            terms.iter().fold(Sum::default().with(x, &start.x), |sum, (w, said)| sum.velocity(by * w, said))
        }
    };
    sum.total()
}

/// Along `eps_0 + sum_k w_k (eps_k - eps_0)` of the history.
fn along_history(now: &Moment, order: usize, w: &[f64]) -> Tensor<4> {
    let target = now.stage().to;
    let known = now.history(0, order);
    let newest = known[0];
    let sum = along(now, target.into(), &[]);
    let step = target.alpha * (target.ratio() - newest.at.ratio());
    let sum = w.iter().zip(&known[1..]).fold(sum, |sum, (w, said)| sum.eps(step * w, said).eps(-step * w, newest));
    sum.total()
}

/// PNDM's evaluations: see [`PndmWarmup`].
pub(super) fn pndm_stages(levels: &[Level], warmup: PndmWarmup, between: Between) -> Result<Vec<Stage>, ValueError> {
    let mut stages = Vec::new();
    let mut started = 0;
    for pair in levels.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let first = Stage::whole(from, to);
        let part = |part, at, to| Stage { at, to, part, ..first };
        match warmup {
            PndmWarmup::Plms if started == 0 && has_inside(from, to) => stages.extend([first, part(1, to, to)]),
            PndmWarmup::RungeKutta if started < WARMUP && has_inside(from, to) => {
                let middle = between.half_time(from, to)?;
                stages.extend([Stage { to: middle, ..first }, part(1, middle, middle)]);
                stages.extend([part(2, middle, to), part(3, to, to)]);
            }
            _ => stages.push(first),
        }
        started += usize::from(has_inside(from, to));
    }
    Ok(stages)
}

pub(super) fn pndm(warmup: PndmWarmup, mean: PndmMean, now: &Moment) -> Tensor<4> {
    let follows = now.stages.get(now.index + 1).is_some_and(|next| next.part > 0);
    let weights: &[f64] = match (warmup, now.stage().part) {
        (_, 0) if !follows => return even(mean, &now.history(0, PNDM_ORDER), now),
        (_, 0) | (PndmWarmup::RungeKutta, 1 | 2) => &[1.0],
        (PndmWarmup::Plms, _) => &[0.5, 0.5],
        (PndmWarmup::RungeKutta, _) => &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    };
    let known = (0..weights.len()).map_while(|back| now.ago(back));
    along_mean(mean, &weights.iter().copied().zip(known).collect::<Vec<_>>(), now)
}
