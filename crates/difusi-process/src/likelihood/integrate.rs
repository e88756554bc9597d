//! The loop that carries a batch from data to noise, each image with steps of its own.

use burn::tensor::{Int, Tensor, TensorData};

use super::{
    OdeMethod,
    field::{Field, Flowing},
    tableau::Tableau,
};
use crate::{ProcessError, bound::image_sums, forward::per_image};

/// First step of the adaptive method, in ln(rho).
const FIRST_STEP: f64 = 0.1;
/// Of the step that the error allows, so much is taken; and how much it may change at once.
const SAFETY: f64 = 0.9;
const CHANGE: [f64; 2] = [0.2, 5.0];
/// A step below this share of the way is as good as none.
const SHORTEST: f64 = 1e-7;

/// One image at the end of its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrival {
    /// ln of the prior's density where it arrived.
    pub(super) log_prior: f64,
    /// Integral of the divergence.
    pub(super) divergence: f64,
    pub(super) evaluations: u32,
}

/// The images still on their way; every list and tensor has one entry for each.
struct Travellers {
    images: Vec<usize>,
    z: Tensor<4>,
    s: Vec<f64>,
    h: Vec<f64>,
    /// f at (z, s), where it is known.
    here: Option<Flowing>,
}

/// Carries `z` `[B, H, W, C]` from `way[0]` to `way[1]`, both ln(rho).
pub(super) fn integrate(
    field: &mut Field,
    z: Tensor<4>,
    way: [f64; 2],
    method: OdeMethod,
) -> Result<Vec<Arrival>, ProcessError> {
    let (batch, length) = (z.dims()[0], way[1] - way[0]);
    let h = match method {
        OdeMethod::Heun { steps } | OdeMethod::Rk4 { steps } => length / f64::from(steps),
        OdeMethod::Rk45 { .. } => FIRST_STEP.min(length),
    };
    let mut done = vec![Arrival::default(); batch];
    let mut on = Travellers { images: (0..batch).collect(), z, s: vec![way[0]; batch], h: vec![h; batch], here: None };
    let tableau = method.tableau();
    while !on.images.is_empty() {
        // A step that nearly arrives arrives: no crumbs, and no rounding at the end of even steps.
        let arrives: Vec<bool> = on.s.iter().zip(&on.h).map(|(s, h)| s + 1.0001 * h >= way[1]).collect();
        for ((h, s), arrives) in on.h.iter_mut().zip(&on.s).zip(&arrives) {
            *h = if *arrives { way[1] - s } else { *h };
        }
        let step = step(field, &mut on, &tableau, method, &mut done)?;
        let finished: Vec<bool> = arrives.iter().zip(&step.accepted).map(|(arrives, ok)| *arrives && *ok).collect();
        on.advance(step, &mut done);
        if let Some(at) = (0..on.h.len()).find(|&b| !finished[b] && on.h[b] < SHORTEST * length) {
            return Err(ProcessError::Ode { image: on.images[at], at: on.s[at].exp() });
        }
        on.leave(&finished, field, &mut done);
    }
    Ok(done)
}

/// What a step led to.
struct Step {
    z: Tensor<4>,
    divergence: Vec<f64>,
    accepted: Vec<bool>,
    /// The step that the error asks for next.
    next_h: Vec<f64>,
    /// f at the end, where the method knows it.
    end: Option<Flowing>,
}

fn step(
    field: &mut Field,
    on: &mut Travellers,
    tableau: &Tableau,
    method: OdeMethod,
    done: &mut [Arrival],
) -> Result<Step, ProcessError> {
    let mut stages: Vec<Flowing> = Vec::with_capacity(tableau.c.len());
    let h = per_image(&on.h, &on.z);
    stages.extend(on.here.take());
    for i in stages.len()..tableau.c.len() {
        let z = match sum(tableau.a[i], &stages) {
            Some(sum) => on.z.clone() + sum * h.clone(),
            None => on.z.clone(),
        };
        let times: Vec<f64> = on.s.iter().zip(&on.h).map(|(s, h)| s + tableau.c[i] * h).collect();
        stages.push(field.at(&z, &on.images, &times)?);
        on.images.iter().for_each(|&image| done[image].evaluations += 1);
    }
    let z = match sum(tableau.b, &stages) {
        Some(sum) => on.z.clone() + sum * h.clone(),
        None => on.z.clone(),
    };
    let divergence = weighted(tableau.b, &stages, &on.h);
    let (OdeMethod::Rk45 { rtol, atol }, Some(weights)) = (method, tableau.error) else {
        return Ok(Step { z, divergence, accepted: vec![true; on.h.len()], next_h: on.h.clone(), end: None });
    };
    let errors = errors(on, (&z, weights, &stages), [rtol, atol], h);
    let accepted: Vec<bool> = errors.iter().map(|e| *e <= 1.0).collect();
    let next_h = on.h.iter().zip(&errors).map(|(h, error)| {
        let change = if error.is_finite() { SAFETY * error.max(1e-10).powf(-0.2) } else { 0.0 };
        h * change.clamp(CHANGE[0], CHANGE[1])
    });
    let next_h: Vec<f64> = next_h.collect();
    // Where the step is refused, f at its start stays good.
    let end = stages.pop().map(|end| {
        let start = stages.swap_remove(0);
        let divergence = (0..accepted.len()).map(|b| if accepted[b] { end.divergence[b] } else { start.divergence[b] });
        let divergence = divergence.collect();
        Flowing { velocity: chosen(&accepted, end.velocity, start.velocity), divergence }
    });
    Ok(Step { z, divergence, accepted, next_h, end })
}

/// Errors of a step over what is tolerated, one per image: the larger of that of z and that of the divergence.
fn errors(
    on: &Travellers,
    (z, weights, stages): (&Tensor<4>, &[f64], &[Flowing]),
    [rtol, atol]: [f64; 2],
    h: Tensor<4>,
) -> Vec<f64> {
    let numbers = z.dims()[1..].iter().product::<usize>() as f64;
    let Some(difference) = sum(weights, stages) else { return vec![0.0; on.h.len()] };
    let allowed = z.clone().abs().max_pair(on.z.clone().abs()) * rtol + atol;
    let squares = image_sums((difference * h / allowed).square()).into_data();
    let volumes = weighted(weights, stages, &on.h);
    squares
        .iter::<f64>()
        .zip(volumes)
        .map(|(sum, volume)| {
            let (z, volume) = ((sum / numbers).sqrt(), volume.abs() / (numbers * (rtol + atol)));
            if z.is_nan() || volume.is_nan() { f64::INFINITY } else { z.max(volume) }
        })
        .collect()
}

impl Travellers {
    /// Images whose step was accepted move on; the others try a shorter one.
    fn advance(&mut self, step: Step, done: &mut [Arrival]) {
        for (b, &image) in self.images.iter().enumerate().filter(|(b, _)| step.accepted[*b]) {
            self.s[b] += self.h[b];
            done[image].divergence += step.divergence[b];
        }
        self.z = chosen(&step.accepted, step.z, self.z.clone());
        (self.h, self.here) = (step.next_h, step.end);
    }

    /// Takes out those that have arrived.
    fn leave(&mut self, finished: &[bool], field: &Field, done: &mut [Arrival]) {
        if finished.iter().all(|f| !f) {
            return;
        }
        let (gone, stay): (Vec<usize>, Vec<usize>) = (0..finished.len()).partition(|&b| finished[b]);
        let priors = field.flow.log_prior(rows(&self.z, &gone));
        gone.iter().zip(priors).for_each(|(&b, prior)| done[self.images[b]].log_prior = prior);
        let kept = |values: &[f64]| stay.iter().map(|&b| values[b]).collect::<Vec<f64>>();
        (self.s, self.h) = (kept(&self.s), kept(&self.h));
        self.images = stay.iter().map(|&b| self.images[b]).collect();
        if stay.is_empty() {
            return;
        }
        self.z = rows(&self.z, &stay);
        self.here =
            self.here.take().map(|f| Flowing { velocity: rows(&f.velocity, &stay), divergence: kept(&f.divergence) });
    }
}

/// `sum of weights[i] k_i`, the zeros left out; `None` where all are.
fn sum(weights: &[f64], stages: &[Flowing]) -> Option<Tensor<4>> {
    let terms = weights.iter().zip(stages).filter(|(w, _)| **w != 0.0);
    terms.map(|(w, stage)| stage.velocity.clone() * *w).reduce(|a, b| a + b)
}

/// The same of the divergences, times each image's step.
fn weighted(weights: &[f64], stages: &[Flowing], h: &[f64]) -> Vec<f64> {
    let of = |b: usize| weights.iter().zip(stages).map(|(w, stage)| w * stage.divergence[b]).sum::<f64>();
    h.iter().enumerate().map(|(b, h)| h * of(b)).collect()
}

/// Image by image `yes` or `no`.
fn chosen(which: &[bool], yes: Tensor<4>, no: Tensor<4>) -> Tensor<4> {
    if which.iter().all(|w| *w) {
        return yes;
    }
    let batch = which.len();
    let places: Vec<usize> = which.iter().enumerate().map(|(b, yes)| if *yes { b } else { batch + b }).collect();
    rows(&Tensor::cat(vec![yes, no], 0), &places)
}

/// These images of `x`.
pub(super) fn rows(x: &Tensor<4>, which: &[usize]) -> Tensor<4> {
    if which.len() == x.dims()[0] && which.iter().enumerate().all(|(a, b)| a == *b) {
        return x.clone();
    }
    let values: Vec<i64> = which.iter().map(|&i| i as i64).collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(values, [which.len()]), &x.device());
    x.clone().select(0, indices)
}
