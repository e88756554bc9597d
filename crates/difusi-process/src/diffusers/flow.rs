//! Levels of the flow-matching and EDM schedulers, which have no betas.

use super::{
    FinalSigmas, Request, SchedulerClass, Settings, SigmaSchedule, TimeShift, Visits,
    ladder::{Ladder, shifted, straight},
    sigmas::{Spread, karras},
    torch,
};
use crate::Level;

/// Flow-matching Euler and Heun. diffusers shifts twice: the ends of its training sigmas, then the even times between them.
pub(super) fn matching(class: SchedulerClass, s: &Settings, request: &Request) -> Ladder {
    let total = s.num_train_timesteps as f64;
    let dynamic = class == SchedulerClass::FlowMatchEulerDiscrete && s.use_dynamic_shifting;
    let end = |t: f32| {
        let (u, shift) = (t / total as f32, s.shift as f32);
        f64::from(if dynamic { u } else { shift * u / (1.0 + (shift - 1.0) * u) })
    };
    let given = match &request.visits {
        Visits::Count(count) => torch::linspace64(end(total as f32) * total, end(1.0) * total, *count)
            .into_iter()
            .map(|t| t / total)
            .collect(),
        Visits::Times(times) => times.iter().map(|t| f64::from(*t as f32 / total as f32)).collect(),
        Visits::Sigmas(sigmas) => sigmas.iter().map(|v| f64::from(*v as f32)).collect::<Vec<f64>>(),
    };
    let mut sigmas = match class {
        SchedulerClass::FlowMatchEulerDiscrete => shift(s, request.mu, s.shift, given),
        _ => given.into_iter().map(|v| shifted(v, s.shift)).collect(),
    };
    if let (SchedulerClass::FlowMatchEulerDiscrete, Some(spread)) = (class, Spread::of(s)) {
        let ends = (s.sigma_max.unwrap_or(sigmas[0]), s.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]));
        sigmas = spread.sigmas(ends, sigmas.len());
    }
    let sigmas: Vec<f32> = sigmas.into_iter().map(|v| v as f32).collect();
    let inverted = class == SchedulerClass::FlowMatchEulerDiscrete && s.invert_sigmas;
    let times: Vec<f64> = match &request.visits {
        Visits::Times(times) if !inverted => times.iter().map(|t| f64::from(*t as f32)).collect(),
        _ => sigmas.iter().map(|v| f64::from(if inverted { 1.0 - v } else { *v } * total as f32)).collect(),
    };
    let mut sigmas: Vec<f64> = sigmas.into_iter().map(f64::from).collect();
    sigmas.push(0.0);
    Ladder::each(&times, &sigmas, straight)
}

/// The shift of a list of flow times: dynamic with `mu`, fixed otherwise; then stretched to a terminal.
pub(super) fn shift(s: &Settings, mu: Option<f64>, fixed: f64, list: Vec<f64>) -> Vec<f64> {
    let moved = |t: f64| match (mu.filter(|_| s.use_dynamic_shifting), s.time_shift_type) {
        (Some(mu), TimeShift::Exponential) => mu.exp() / (mu.exp() + (1.0 / t - 1.0)),
        (Some(mu), TimeShift::Linear) => mu / (mu + (1.0 / t - 1.0)),
        (None, _) => shifted(t, fixed),
    };
    let list: Vec<f64> = list.into_iter().map(moved).collect();
    match s.shift_terminal.filter(|v| *v != 0.0) {
        Some(terminal) => {
            let scale = (1.0 - list[list.len() - 1]) / (1.0 - terminal);
            list.into_iter().map(|t| 1.0 - (1.0 - t) / scale).collect()
        }
        None => list,
    }
}

/// Both EDM schedulers: Karras et al. (arXiv:2206.00364) eq. 5, or even logarithms.
pub(super) fn edm(class: SchedulerClass, s: &Settings, count: usize) -> Ladder {
    let ends @ (high, low) = (s.sigma_max.unwrap_or(80.0), s.sigma_min.unwrap_or(0.002));
    let ramp: Vec<f64> = match class {
        SchedulerClass::EdmEuler => torch::linspace64(0.0, 1.0, count),
        _ => torch::linspace(0.0, 1.0, count).into_iter().map(f64::from).collect(),
    };
    let mut sigmas: Vec<f64> = match s.sigma_schedule {
        SigmaSchedule::Karras => ramp.into_iter().map(|u| f64::from(karras(u, ends, s.rho) as f32)).collect(),
        SigmaSchedule::Exponential => {
            let even = torch::linspace(low.ln(), high.ln(), count);
            even.into_iter().rev().map(|l| f64::from(f64::from(l).exp() as f32)).collect()
        }
    };
    let times: Vec<f64> = sigmas.iter().map(|v| f64::from(0.25 * v.ln() as f32)).collect();
    sigmas.push(match (s.final_sigmas_type, class) {
        (FinalSigmas::Zero, _) => 0.0,
        (FinalSigmas::SigmaMin, SchedulerClass::EdmEuler) => sigmas[sigmas.len() - 1],
        (FinalSigmas::SigmaMin, _) => f64::from(low as f32),
    });
    Ladder::each(&times, &sigmas, |t, sigma| Level::new(t, 1.0, sigma))
}
