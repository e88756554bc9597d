//! Which levels sampling visits: steps of the training process (Lin et al., arXiv:2305.08891, table 2, for leading, linspace and
//! trailing), or values of sigma / alpha (Karras et al., arXiv:2206.00364, eq. 5; Sabour et al., arXiv:2404.14507).

mod sigmas;

use serde::{Deserialize, Serialize};

use crate::{
    Level, Process, ProcessError, ValueError, beta,
    choice::{Choice, choice},
    error::{Checks, all_good},
};

pub use sigmas::AlignedModel;

/// How S visited levels are spread, noisiest first. Of grids over steps, `T = 10`, `S = 5` as an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Grid {
    /// Multiples of `T / S` rounded down, from 0: 8 6 4 2 0. Misses the last steps, so it starts where noise is not yet pure.
    Leading {},
    /// From T-1 to 0, rounded to the even neighbour: 9 7 4 2 0. A single step is T-1.
    Linspace {},
    /// From T-1 down by `T / S`, rounded: 9 7 5 3 1.
    Trailing {},
    /// As denoising-diffusion-pytorch's DDIM: S+1 even points from -1 to T-1 in f32, cut to integers, without the -1: 9 7 5 3 1.
    /// Differs from trailing by one where S does not divide T.
    Even {},
    /// These steps; the number of steps asked for is not used.
    Custom {
        /// 0-based, strictly falling, each below T.
        steps: Vec<usize>,
    },
    /// These times, between steps too; the number of steps asked for is not used.
    Times {
        /// 0-based, strictly falling, from T-1 to 0.
        times: Vec<f64>,
    },
    /// Even in `(sigma / alpha)^(1 / rho)`: EDM, eq. 5.
    Karras {
        /// Above 0; larger crowds the levels near the data. Default 7.
        #[serde(default = "seven")]
        rho: f64,
        /// Smallest sigma / alpha, above 0. Default that of step 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_min: Option<f64>,
        /// Largest, above the smallest. Default that of step T-1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_max: Option<f64>,
    },
    /// Even in `log(sigma / alpha)`, which is even in the log-SNR and in DPM-Solver's lambda (diffusers' `use_lu_lambdas` too).
    #[serde(alias = "log_snr")]
    Exponential {
        /// Smallest sigma / alpha, above 0. Default that of step 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_min: Option<f64>,
        /// Largest, above the smallest. Default that of step T-1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_max: Option<f64>,
    },
    /// Quantiles of a Beta distribution over time: crowded at both ends (Lee et al., arXiv:2407.12173). diffusers' `use_beta_sigmas`
    /// spreads sigma instead; a loaded scheduler config keeps that.
    Beta {
        /// First shape, above 0. Default 0.6.
        #[serde(default = "beta_shape")]
        alpha: f64,
        /// Second shape, above 0. Default 0.6.
        #[serde(default = "beta_shape")]
        beta: f64,
    },
    /// Of flow processes: even times from 1, moved by `s = shift u / (1 + (shift - 1) u)` in place of the process's own shift (Esser et
    /// al., arXiv:2403.03206, eq. 23).
    FlowShift {
        /// Above 0; more than 1 spends more steps on noise. Default 3.
        #[serde(default = "three")]
        shift: f64,
    },
    /// A list of sigma / alpha, read off between its entries in the logarithm where another number of steps is asked for.
    Sigmas {
        /// Strictly falling, at least two, above 0; the last is where the last step ends, unless it goes on to the data.
        sigmas: Vec<f64>,
    },
    /// The published optimised lists for 10 steps, used as `sigmas` is.
    AlignYourSteps {
        /// Whose: `"sd15"`, `"sdxl"` or `"svd"`. Default sd15.
        #[serde(default)]
        model: AlignedModel,
    },
}

choice! { Grid:
    Leading = "leading" true, Linspace = "linspace" true, Trailing = "trailing" true, Even = "even" true,
    Custom = "custom" false, Times = "times" false, Karras = "karras" false, Exponential = "exponential" false,
    Beta = "beta" false, FlowShift = "flow_shift" false, Sigmas = "sigmas" false,
    AlignYourSteps = "align_your_steps" false,
}

fn seven() -> f64 {
    7.0
}
fn beta_shape() -> f64 {
    0.6
}
fn three() -> f64 {
    3.0
}

/// Where the last step ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// At the data.
    #[default]
    Data,
    /// At the cleanest level of the grid or of the process: a little noise stays, and no step is infinitely long in log sigma.
    SigmaMin,
}

impl Default for Grid {
    /// Trailing.
    fn default() -> Self {
        Self::Trailing {}
    }
}

impl Grid {
    /// Everything wrong with visiting `steps` of `timesteps` steps.
    pub fn check(&self, timesteps: usize, steps: usize) -> Vec<ValueError> {
        let mut checks = Checks::default();
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self {
            Self::Custom { steps: list } => {
                let list: Vec<f64> = list.iter().map(|t| *t as f64).collect();
                check_falling("grid.steps", &list, timesteps as f64 - 1.0, &mut checks);
                return checks.0;
            }
            Self::Times { times } => {
                check_falling("grid.times", times, timesteps as f64 - 1.0, &mut checks);
                return checks.0;
            }
            Self::Karras { rho, sigma_min, sigma_max } => {
                checks.require(positive(*rho), "grid.rho", rho, "a number above 0");
                check_ends(*sigma_min, *sigma_max, &mut checks);
            }
            Self::Exponential { sigma_min, sigma_max } => check_ends(*sigma_min, *sigma_max, &mut checks),
            Self::Beta { alpha, beta } => {
                checks.require(positive(*alpha), "grid.alpha", alpha, "a number above 0");
                checks.require(positive(*beta), "grid.beta", beta, "a number above 0");
            }
            Self::FlowShift { shift } => checks.require(positive(*shift), "grid.shift", shift, "a number above 0"),
            Self::Sigmas { sigmas } => check_sigmas(sigmas, &mut checks),
            _ => {}
        }
        let accepted = format!("1 to {timesteps}, the number of timesteps");
        checks.require((1..=timesteps).contains(&steps), "steps", steps, accepted);
        checks.0
    }

    /// The visited steps, 0-based, strictly falling: the order of sampling. Of grids that visit whole steps.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Grid::check`] finds; grids that visit other levels.
    pub fn steps(&self, timesteps: usize, steps: usize) -> Result<Vec<usize>, ProcessError> {
        all_good(self.check(timesteps, steps))?;
        let (last, count) = ((timesteps - 1) as f64, steps as f64);
        Ok(match self {
            Self::Leading {} => (0..steps).rev().map(|i| i * (timesteps / steps)).collect(),
            Self::Linspace {} if steps == 1 => vec![timesteps - 1],
            Self::Linspace {} => {
                (0..steps).rev().map(|i| (i as f64 * (last / (count - 1.0))).round_ties_even() as usize).collect()
            }
            Self::Trailing {} => {
                let end = timesteps as f64;
                let stride = end - (end - end / count); // numpy's arange rounds its stride so, which decides ties
                let at = |i: usize| (end - i as f64 * stride).round_ties_even();
                (0..steps).map(|i| (at(i) as usize).saturating_sub(1)).collect()
            }
            Self::Even {} => even(timesteps, steps),
            Self::Custom { steps } => steps.clone(),
            other => {
                let accepted = "leading, linspace, trailing, even or custom, which visit whole steps";
                return Err(ValueError::new("grid", other.kind(), accepted).into());
            }
        })
    }

    /// The levels of a run of `steps` steps: the visited ones, then the data.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Grid::check`] finds; a flow shift of a process that is no flow.
    pub fn levels(&self, process: &Process, steps: usize) -> Result<Vec<Level>, ProcessError> {
        self.levels_to(process, steps, End::Data)
    }

    /// The levels of a run of `steps` steps: the visited ones, then the end. A run that ends at the cleanest level and visits it too
    /// has one step less.
    ///
    /// # Errors
    /// As [`Grid::levels`]; a run without any step.
    pub fn levels_to(&self, process: &Process, steps: usize, end: End) -> Result<Vec<Level>, ProcessError> {
        let timesteps = process.timesteps();
        all_good(self.check(timesteps, steps))?;
        let last = timesteps as f64 - 1.0;
        let at_times = |times: Vec<f64>| -> Vec<Level> { times.into_iter().map(|u| process.level(u)).collect() };
        let at_ratios = |ratios: Vec<f64>| ratios.into_iter().map(|ratio| process.level_at_ratio(ratio)).collect();
        // One more where the end is a level of the grid itself.
        let count = if end == End::SigmaMin { steps + 1 } else { steps };
        let ends = |low: &Option<f64>, high: &Option<f64>| {
            let [own_high, own_low] = [last, 0.0].map(|u| process.level(u).ratio().min(crate::process::RATIO_MAX));
            (high.unwrap_or(own_high), low.unwrap_or(own_low))
        };
        let mut levels: Vec<Level> = match self {
            Self::Times { times } => at_times(times.clone()),
            Self::Karras { rho, sigma_min, sigma_max } => {
                at_ratios(sigmas::karras(ends(sigma_min, sigma_max), *rho, count))
            }
            Self::Exponential { sigma_min, sigma_max } => {
                at_ratios(sigmas::exponential(ends(sigma_min, sigma_max), count))
            }
            Self::Beta { alpha, beta } => {
                let at =
                    |i: usize| last * beta::quantile(1.0 - i as f64 / (count as f64 - 1.0).max(1.0), *alpha, *beta);
                at_times((0..count).map(at).collect())
            }
            Self::FlowShift { shift } => sigmas::flow(process, *shift, count, steps)?,
            Self::Sigmas { sigmas } => at_ratios(sigmas::read_off(sigmas, steps + 1, count)),
            Self::AlignYourSteps { model } => at_ratios(sigmas::read_off(model.sigmas(), steps + 1, count)),
            whole => at_times(whole.steps(timesteps, steps)?.into_iter().map(|t| t as f64).collect()),
        };
        match (end, self) {
            (End::Data, _) => levels.push(Level::DATA),
            (End::SigmaMin, Self::Karras { .. } | Self::Exponential { .. } | Self::Beta { .. }) => {}
            (End::SigmaMin, Self::FlowShift { .. } | Self::Sigmas { .. } | Self::AlignYourSteps { .. }) => {}
            (End::SigmaMin, _) => {
                let cleanest = process.level(0.0);
                levels.retain(|level| level.ratio() > cleanest.ratio());
                levels.push(cleanest);
            }
        }
        Ok(levels)
    }
}

fn check_falling(key: &str, list: &[f64], most: f64, checks: &mut Checks) {
    checks.require(!list.is_empty(), key, "an empty list", "at least one step");
    let mut limit = None;
    for (i, &t) in list.iter().enumerate() {
        let good = t >= 0.0 && limit.map_or(t <= most, |limit| t < limit);
        let accepted = match limit {
            None => format!("a step from 0 to {most}: the first is below the number of timesteps"),
            Some(limit) => format!("a step below {limit}: steps fall to 0 at the lowest"),
        };
        checks.require(good, &format!("{key}[{i}]"), t, accepted);
        limit = Some(t);
    }
}

fn check_ends(low: Option<f64>, high: Option<f64>, checks: &mut Checks) {
    for (key, value) in [("grid.sigma_min", low), ("grid.sigma_max", high)] {
        let good = value.is_none_or(|v| v > 0.0 && v.is_finite());
        checks.require(good, key, value.unwrap_or_default(), "a number above 0");
    }
    if let (Some(low), Some(high)) = (low, high) {
        checks.require(low < high, "grid.sigma_max", high, "a number above `sigma_min`");
    }
}

fn check_sigmas(sigmas: &[f64], checks: &mut Checks) {
    checks.require(
        sigmas.len() >= 2,
        "grid.sigmas",
        format_args!("a list of {}", sigmas.len()),
        "at least two numbers",
    );
    let mut limit = f64::INFINITY;
    for (i, &sigma) in sigmas.iter().enumerate() {
        let good = sigma > 0.0 && sigma < limit;
        checks.require(good, &format!("grid.sigmas[{i}]"), sigma, "a number above 0 and below the one before");
        limit = sigma;
    }
}

/// PyTorch's `linspace(-1, T - 1, S + 1)` in f32, cut towards zero, falling, without the -1. PyTorch fills it from both ends with
/// fused multiply-adds, which decides some cuts.
fn even(timesteps: usize, steps: usize) -> Vec<usize> {
    let (start, end) = (-1.0f32, (timesteps - 1) as f32);
    let stride = (end - start) / steps as f32;
    let at = |i: usize| match i < steps.div_ceil(2) {
        true => stride.mul_add(i as f32, start),
        false => (-stride).mul_add((steps - i) as f32, end),
    };
    (1..=steps).rev().map(|i| at(i) as usize).collect()
}
