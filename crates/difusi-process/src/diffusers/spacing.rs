//! Which training steps a scheduler visits, before any list of sigmas replaces them. Noisiest first.
//!
//! Three families: DDPM, DDIM and PNDM; the schedulers in sigma space, which visit f32 numbers between the steps; the multi-step
//! solvers, which count one step more and drop the last.

use super::{SchedulerClass, Settings, Spacing, tables::Tables, torch};

/// Of DDPM, DDIM, DDIMInverse (noisiest first here too) and PNDM.
pub(super) fn integer(s: &Settings, steps: usize) -> Vec<f64> {
    let total = s.num_train_timesteps;
    match s.timestep_spacing {
        Spacing::Linspace => {
            let even = torch::linspace64(0.0, total as f64 - 1.0, steps);
            even.into_iter().rev().map(f64::round_ties_even).collect()
        }
        Spacing::Leading => (0..steps).rev().map(|i| (i * (total / steps) + s.steps_offset) as f64).collect(),
        Spacing::Trailing => trailing(total as f64, total as f64 / steps as f64),
    }
}

/// Of Euler, Heun, LMS and KDPM2: f32.
pub(super) fn between(s: &Settings, steps: usize) -> Vec<f64> {
    match s.timestep_spacing {
        Spacing::Linspace => {
            let even = torch::linspace64(0.0, s.num_train_timesteps as f64 - 1.0, steps);
            even.into_iter().rev().map(|t| f64::from(t as f32)).collect()
        }
        Spacing::Leading | Spacing::Trailing => integer(s, steps),
    }
}

/// Of DPM-Solver, UniPC and DEIS. The steps beyond `lambda_min_clipped` are left out.
pub(super) fn one_more(class: SchedulerClass, s: &Settings, tables: &Tables, steps: usize) -> Vec<f64> {
    let total = s.num_train_timesteps;
    let last = total - clipped(class, s, tables);
    match s.timestep_spacing {
        _ if class == SchedulerClass::DpmSolverSinglestep => evenly(last, steps),
        Spacing::Linspace => evenly(last, steps),
        Spacing::Leading => {
            let ratio = last / (steps + 1);
            (1..=steps).rev().map(|i| (i * ratio + s.steps_offset) as f64).collect()
        }
        Spacing::Trailing => trailing(last as f64, total as f64 / steps as f64),
    }
}

fn evenly(last: usize, steps: usize) -> Vec<f64> {
    let even = torch::linspace64(0.0, last as f64 - 1.0, steps + 1);
    even.into_iter().skip(1).rev().map(f64::round_ties_even).collect()
}

fn trailing(start: f64, stride: f64) -> Vec<f64> {
    torch::falling(start, stride).into_iter().map(|t| t.round_ties_even() - 1.0).collect()
}

/// How many steps at the noisy end have a lambda below `lambda_min_clipped`.
fn clipped(class: SchedulerClass, s: &Settings, tables: &Tables) -> usize {
    if !class.keys().contains(&"lambda_min_clipped") {
        return 0;
    }
    let lambda = |a: &&f32| f64::from(a.sqrt()).ln() as f32 - f64::from((1.0 - **a).sqrt()).ln() as f32;
    tables.alpha_bars.iter().rev().take_while(|a| f64::from(lambda(a)) < s.lambda_min_clipped).count()
}

/// Of LCM: the steps of the distillation from the noisy end, evenly thinned.
pub(super) fn consistency(s: &Settings, steps: usize, strength: f64) -> Vec<f64> {
    let every = s.num_train_timesteps / s.original_inference_steps;
    let origin: Vec<usize> =
        (1..=(s.original_inference_steps as f64 * strength) as usize).rev().map(|i| i * every - 1).collect();
    let stride = origin.len() as f64 / steps as f64;
    (0..steps).map(|i| origin[(i as f64 * stride).floor() as usize] as f64).collect()
}
