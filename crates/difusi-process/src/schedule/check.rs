//! What can be wrong with a schedule's parameters, and with the curve they give.

use super::Schedule;
use crate::{ValueError, choice::Choice, error::Checks};

/// Smallest alpha-bar whose square root and its inverse are ordinary f32 numbers.
const ALPHA_BAR_MIN: f64 = 1e-60;

/// Largest supported number of steps.
const MAX_TIMESTEPS: usize = 1_000_000;

impl Schedule {
    /// Everything wrong with this schedule at `timesteps` steps; keys start with `schedule.` (or are `timesteps`).
    pub fn check(&self, timesteps: usize) -> Vec<ValueError> {
        let mut checks = Checks::default();
        checks.require((1..=MAX_TIMESTEPS).contains(&timesteps), "timesteps", timesteps, "1 to 1000000");
        self.check_parameters(timesteps, &mut checks);
        if checks.0.is_empty() && self.is_discrete() {
            self.check_curve(timesteps, &mut checks);
        }
        checks.0
    }

    fn check_parameters(&self, timesteps: usize, checks: &mut Checks) {
        match self {
            Self::Constant { beta } => check_beta(checks, "schedule.beta", *beta),
            Self::Linear { beta_start, beta_end, rescale } => {
                check_ends(checks, *beta_start, *beta_end);
                if *rescale && timesteps > 0 {
                    let end = beta_end * 1000.0 / timesteps as f64;
                    let accepted =
                        format!("false with {timesteps} timesteps, since beta would end at {end}, not below 1");
                    checks.require(end < 1.0, "schedule.rescale", rescale, accepted);
                }
            }
            Self::ScaledLinear { beta_start, beta_end }
            | Self::Quadratic { beta_start, beta_end }
            | Self::Geometric { beta_start, beta_end } => check_ends(checks, *beta_start, *beta_end),
            Self::BetaSigmoid { beta_start, beta_end, range } | Self::BetaTanh { beta_start, beta_end, range } => {
                check_ends(checks, *beta_start, *beta_end);
                checks.require(*range > 0.0 && *range <= 100.0, "schedule.range", range, "a number in (0, 100]");
            }
            Self::Cosine { s } => checks.require((0.0..1.0).contains(s), "schedule.s", s, "a number in [0, 1)"),
            Self::Sigmoid { start, end, tau } => {
                checks.require(*tau > 0.0 && tau.is_finite(), "schedule.tau", tau, "a number above 0");
                checks.require(start.is_finite(), "schedule.start", start, "a number below `end`");
                checks.require(start < end && end.is_finite(), "schedule.end", end, "a number above `start`");
            }
            Self::LogSnr { gamma_min, gamma_max } | Self::Learned { gamma_min, gamma_max } => {
                let accepted = "a number from -30, below `gamma_max`";
                checks.require(*gamma_min >= -30.0, "schedule.gamma_min", gamma_min, accepted);
                let accepted = "a number above `gamma_min`, at most 130";
                checks.require(gamma_min < gamma_max && *gamma_max <= 130.0, "schedule.gamma_max", gamma_max, accepted);
            }
            Self::Laplace {} => {}
            Self::Exponential { rate } => {
                checks.require(*rate > 0.0 && *rate <= 130.0, "schedule.rate", rate, "a number in (0, 130]");
            }
            Self::Edm { sigma_min, sigma_max } | Self::Ve { sigma_min, sigma_max } => {
                let accepted = "a number above 0, below `sigma_max`";
                checks.require(*sigma_min > 0.0, "schedule.sigma_min", sigma_min, accepted);
                let good = sigma_min < sigma_max && sigma_max.is_finite();
                checks.require(good, "schedule.sigma_max", sigma_max, "a number above `sigma_min`");
            }
            Self::SubVp { beta_min, beta_max } => {
                checks.require(
                    *beta_min >= 0.0,
                    "schedule.beta_min",
                    beta_min,
                    "a number, 0 or more, below `beta_max`",
                );
                let good = beta_min < beta_max && *beta_max <= 200.0;
                checks.require(good, "schedule.beta_max", beta_max, "a number above `beta_min`, at most 200");
            }
            Self::Flow { shift } => {
                checks.require(*shift > 0.0 && shift.is_finite(), "schedule.shift", shift, "a number above 0");
            }
            Self::CustomBetas { betas } => check_betas(checks, betas, timesteps),
            Self::CustomAlphaBars { alpha_bars } => check_alpha_bars(checks, alpha_bars, timesteps),
        }
    }

    /// What only the numbers themselves show.
    fn check_curve(&self, timesteps: usize, checks: &mut Checks) {
        let (kind, betas) = (self.kind(), self.betas(timesteps));
        let last: f64 = betas.iter().map(|b| 1.0 - b).product();
        if let Some((t, beta)) = betas.into_iter().enumerate().find(|(_, b)| !(*b > 0.0 && *b < 1.0)) {
            let got = format!("a {kind} curve with beta {beta} at step {t} of {timesteps}");
            checks.0.push(ValueError::new("schedule", got, "parameters that keep every beta in (0, 1)"));
        } else if last < ALPHA_BAR_MIN {
            let got = format!("a {kind} curve that ends at alpha-bar {last:e}");
            let accepted = format!("at least {ALPHA_BAR_MIN:e} there: smaller betas or fewer timesteps");
            checks.0.push(ValueError::new("schedule", got, accepted));
        }
    }
}

fn check_beta(checks: &mut Checks, key: &str, beta: f64) {
    checks.require(beta > 0.0 && beta < 1.0, key, beta, "a number in (0, 1)");
}

fn check_ends(checks: &mut Checks, start: f64, end: f64) {
    check_beta(checks, "schedule.beta_start", start);
    let accepted = "a number in (0, 1), at least `beta_start`";
    let below = end < start && start < 1.0;
    checks.require(end > 0.0 && end < 1.0 && !below, "schedule.beta_end", end, accepted);
}

fn check_length(checks: &mut Checks, key: &str, length: usize, timesteps: usize) {
    let accepted = format!("{timesteps} numbers, one per timestep");
    checks.require(length == timesteps, key, format_args!("a list of {length}"), accepted);
}

fn check_betas(checks: &mut Checks, betas: &[f64], timesteps: usize) {
    check_length(checks, "schedule.betas", betas.len(), timesteps);
    for (i, b) in betas.iter().enumerate() {
        check_beta(checks, &format!("schedule.betas[{i}]"), *b);
    }
}

fn check_alpha_bars(checks: &mut Checks, alpha_bars: &[f64], timesteps: usize) {
    check_length(checks, "schedule.alpha_bars", alpha_bars.len(), timesteps);
    let mut before = 1.0;
    for (i, a) in alpha_bars.iter().enumerate() {
        let accepted = format!("a number in (0, {before}): alpha-bar falls");
        checks.require(*a > 0.0 && *a < before, &format!("schedule.alpha_bars[{i}]"), a, accepted);
        before = *a;
    }
}
