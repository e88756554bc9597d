//! The levels that a scheduler visits, and where it ends: `timesteps` and `sigmas` after diffusers' `set_timesteps`.
//!
//! One function per family. Sigmas are rounded to f32 where diffusers does so; alpha and sigma of a level follow from them in f64.

use super::{
    FinalSigmas, Interpolation, Request, SchedulerClass, Settings, TimestepType, Visits,
    sigmas::{Spread, time_of, time_of_f32},
    spacing,
    tables::Tables,
    torch,
};
use crate::Level;

/// Visited levels, noisiest first, and the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ladder {
    pub(super) visited: Vec<Level>,
    pub(super) end: Level,
}

impl Ladder {
    /// Variance-preserving levels of times and sigmas; one sigma more than times.
    fn preserving(times: &[f64], sigmas: &[f64]) -> Self {
        Self::each(times, sigmas, preserving)
    }

    pub(super) fn each(times: &[f64], sigmas: &[f64], level: impl Fn(f64, f64) -> Level) -> Self {
        let visited = times.iter().zip(sigmas).map(|(t, s)| level(*t, *s)).collect();
        let end =
            sigmas.get(times.len()).map_or(Level::DATA, |s| if *s == 0.0 { Level::DATA } else { level(-1.0, *s) });
        Self { visited, end }
    }

    /// Where a visited level leads.
    pub(super) fn after(&self, index: usize) -> Level {
        self.visited.get(index + 1).copied().unwrap_or(self.end)
    }
}

/// `alpha^2 + sigma^2 = 1`, from `sigma / alpha`.
pub(super) fn preserving(t: f64, ratio: f64) -> Level {
    let alpha = 1.0 / (1.0 + ratio * ratio).sqrt();
    Level::new(t, alpha, ratio * alpha)
}

/// A straight line from data to noise.
pub(super) fn straight(t: f64, s: f64) -> Level {
    Level::new(t, 1.0 - s, s)
}

/// A training step by its alpha-bar.
pub(super) fn step(t: f64, alpha_bar: f32) -> Level {
    let alpha_bar = f64::from(alpha_bar);
    Level::new(t, alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt())
}

fn round_f32(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v as f32)).collect()
}

/// The schedulers in sigma space: Euler, Euler-ancestral, LMS, Heun, KDPM2 and its ancestral form.
pub(super) fn sigma_space(class: SchedulerClass, s: &Settings, tables: &Tables, request: &Request) -> Ladder {
    let logs = tables.log_sigmas();
    let times = match &request.visits {
        Visits::Count(count) => spacing::between(s, *count),
        Visits::Times(times) => round_f32(times),
        Visits::Sigmas(sigmas) => {
            let sigmas = round_f32(sigmas);
            let times: Vec<f64> =
                sigmas.iter().take(sigmas.len().saturating_sub(1)).map(|v| time_of_f32(*v as f32, &logs)).collect();
            return Ladder::preserving(&continuous(class, s, times, &sigmas), &sigmas);
        }
    };
    let count = times.len();
    let mut sigmas: Vec<f64> = times.iter().map(|t| torch::interpolate(*t, &tables.sigmas)).collect();
    if class == SchedulerClass::EulerDiscrete && s.interpolation_type == Interpolation::LogLinear {
        let (low, high) = (f64::from(logs[0]), f64::from(logs[logs.len() - 1]));
        let even = torch::linspace(high, low, count + 1);
        sigmas = even.into_iter().map(|l| f64::from(f64::from(l).exp() as f32)).collect();
    }
    let mut times = times;
    if let Some(spread) = Spread::of(s) {
        let own = (class == SchedulerClass::LmsDiscrete && spread == Spread::Karras).then_some((None, None));
        let (low, high) = own.unwrap_or((s.sigma_min, s.sigma_max));
        let ends = (high.unwrap_or(sigmas[0]), low.unwrap_or(sigmas[sigmas.len() - 1]));
        sigmas = spread.sigmas(ends, count);
        let rounded = spread == Spread::Karras && is_kdpm2(class);
        times =
            sigmas.iter().map(|v| time_of(*v, &logs)).map(|t| if rounded { t.round_ties_even() } else { t }).collect();
    }
    sigmas.push(match s.final_sigmas_type {
        FinalSigmas::SigmaMin if class == SchedulerClass::EulerDiscrete => tables.sigma_min(),
        _ => 0.0,
    });
    let sigmas = round_f32(&sigmas);
    let times = if is_kdpm2(class) { times } else { round_f32(&times) };
    Ladder::preserving(&continuous(class, s, times, &sigmas), &sigmas)
}

fn is_kdpm2(class: SchedulerClass) -> bool {
    matches!(class, SchedulerClass::Kdpm2Discrete | SchedulerClass::Kdpm2AncestralDiscrete)
}

/// Euler's `timestep_type = "continuous"`: the network receives a quarter of log sigma.
fn continuous(class: SchedulerClass, s: &Settings, times: Vec<f64>, sigmas: &[f64]) -> Vec<f64> {
    let wanted = class == SchedulerClass::EulerDiscrete
        && s.timestep_type == TimestepType::Continuous
        && s.prediction_type == super::PredictionType::VPrediction;
    if !wanted {
        return times;
    }
    sigmas.iter().take(times.len()).map(|v| f64::from(0.25 * v.ln() as f32)).collect()
}

/// KDPM2's second evaluations: level i lies between the visited levels i and i + 1 (its `sigma` is `between(i)`).
pub(super) fn halfway(tables: &Tables, ladder: &Ladder, between: impl Fn(f32, f32) -> f32) -> Vec<Level> {
    let logs = tables.log_sigmas();
    let ratio = |level: Level| level.ratio() as f32;
    let pairs = ladder.visited.windows(2).map(|pair| between(ratio(pair[0]), ratio(pair[1])));
    pairs.map(|sigma| preserving(time_of_f32(sigma, &logs), f64::from(sigma))).collect()
}

/// DPM-Solver, UniPC and DEIS.
pub(super) fn exponential(class: SchedulerClass, s: &Settings, tables: &Tables, request: &Request) -> Ladder {
    let (total, flow) = (s.num_train_timesteps as f64, s.use_flow_sigmas);
    let count = match &request.visits {
        Visits::Count(count) => *count,
        Visits::Times(list) | Visits::Sigmas(list) => list.len(),
    };
    let (mut times, mut sigmas) = match Spread::of(s) {
        Some(spread) => spread_out(class, s, tables, (spread, count)),
        None if flow => {
            let sigmas = flow_sigmas(class, s, request, count);
            (sigmas.iter().map(|v| v * total).collect(), sigmas)
        }
        None => {
            let times = match &request.visits {
                Visits::Times(times) => times.iter().map(|t| t.trunc()).collect(),
                _ => spacing::one_more(class, s, tables, count),
            };
            let sigmas = times.iter().map(|t| torch::interpolate(*t, &tables.sigmas)).collect();
            (times, sigmas)
        }
    };
    let own = Spread::of(s).is_some() || flow;
    let last = sigmas[sigmas.len() - 1];
    sigmas.push(match (class, s.final_sigmas_type) {
        (SchedulerClass::DeisMultistep, _) if own => last,
        (SchedulerClass::DeisMultistep, _) => tables.sigma_min(),
        (_, FinalSigmas::Zero) => 0.0,
        (SchedulerClass::UniPcMultistep, FinalSigmas::SigmaMin) if own => last,
        (_, FinalSigmas::SigmaMin) => tables.sigma_min(),
    });
    times.iter_mut().for_each(|t| *t = t.trunc());
    Ladder::each(&times, &round_f32(&sigmas), if flow { straight } else { preserving })
}

/// Sigmas between the ends of the whole schedule, and their times.
fn spread_out(
    class: SchedulerClass,
    s: &Settings,
    tables: &Tables,
    (spread, count): (Spread, usize),
) -> (Vec<f64>, Vec<f64>) {
    let ends = (f64::from(tables.sigmas[tables.sigmas.len() - 1]), tables.sigma_min());
    let (low, high) = if spread == Spread::Lu { (None, None) } else { (s.sigma_min, s.sigma_max) };
    let sigmas = spread.sigmas((high.unwrap_or(ends.0), low.unwrap_or(ends.1)), count);
    if s.use_flow_sigmas {
        let sigmas: Vec<f64> = sigmas.into_iter().map(|v| v / (v + 1.0)).collect();
        return (sigmas.iter().map(|v| v * s.num_train_timesteps as f64).collect(), sigmas);
    }
    let cosine = s.beta_schedule == super::BetaSchedule::SquaredCosine && class == SchedulerClass::DpmSolverMultistep;
    let rounded = matches!(spread, Spread::Karras | Spread::Lu) && !cosine;
    let logs = tables.log_sigmas();
    let time = |v: &f64| {
        let t = time_of(*v, &logs);
        if rounded { t.round_ties_even() } else { t }
    };
    (sigmas.iter().map(time).collect(), sigmas)
}

/// Flow sigmas of the multi-step solvers, without the end.
fn flow_sigmas(class: SchedulerClass, s: &Settings, request: &Request, count: usize) -> Vec<f64> {
    let floor = 1.0 / s.num_train_timesteps as f64;
    if class != SchedulerClass::UniPcMultistep {
        let shift = request.mu.map_or(s.flow_shift, f64::exp);
        let even = torch::linspace64(1.0, floor, count + 1).into_iter().map(|alpha| shifted(1.0 - alpha, shift));
        return even.collect::<Vec<_>>().into_iter().skip(1).rev().collect();
    }
    let given = match &request.visits {
        Visits::Sigmas(sigmas) => sigmas.clone(),
        _ => torch::linspace64(1.0, floor, count + 1).into_iter().take(count).collect(),
    };
    let mut sigmas = super::flow::shift(s, request.mu, s.flow_shift, given);
    if (sigmas[0] - 1.0).abs() < 1e-6 {
        sigmas[0] -= 1e-6;
    }
    sigmas
}

/// Esser et al. (arXiv:2403.03206) eq. 23.
pub(super) fn shifted(s: f64, shift: f64) -> f64 {
    shift * s / (1.0 + (shift - 1.0) * s)
}

/// iPNDM's own sines: its time is the angle between data and noise over a right angle.
pub(super) fn ipndm(s: &Settings, count: usize) -> Ladder {
    let ramp = torch::linspace(1.0, 0.0, count + 1);
    let betas: Vec<f32> = match &s.trained_betas {
        Some(betas) => betas.iter().map(|b| *b as f32).collect(),
        None => ramp.iter().map(|u| ((*u * std::f32::consts::PI / 2.0).sin()).powi(2)).collect(),
    };
    let level = |sigma: f32| {
        let alpha = (1.0 - sigma * sigma).sqrt();
        let t = sigma.atan2(alpha) / std::f32::consts::PI * 2.0;
        Level::new(f64::from(t), f64::from(alpha), f64::from(sigma))
    };
    let visited = betas.iter().take(betas.len() - 1).map(|b| level(*b)).collect();
    Ladder { visited, end: level(betas[betas.len() - 1]) }
}
