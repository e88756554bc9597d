//! How noise grows with time: beta_t for t = 1..T, from a curve of beta or from a curve of alpha-bar.
//!
//! Sources: DDPM (arXiv:2006.11239) for `constant`, `linear` and `quadratic` (its code's `quad`); latent diffusion
//! (arXiv:2112.10752) for `scaled_linear`; Nichol & Dhariwal (arXiv:2102.09672) for `cosine`; Jabri et al. (arXiv:2212.11972)
//! for `sigmoid`; Kingma et al. (arXiv:2107.00630) for `log_snr`. Deliberately absent: continuous-time schedules (edm, flow), which have no betas.

use serde::{Deserialize, Serialize};

use crate::{
    Process, ProcessError, Tables, ValueError,
    choice::{Choice, choice},
    error::{Checks, all_good},
};

/// Largest beta of a schedule given by alpha-bar, which would otherwise end at 1 (Nichol & Dhariwal, section 3.2).
const BETA_MAX: f64 = 0.999;

/// Smallest alpha-bar whose square root and its inverse are ordinary f32 numbers.
const ALPHA_BAR_MIN: f64 = 1e-60;

/// Largest supported number of steps.
const MAX_TIMESTEPS: usize = 1_000_000;

/// t -> beta_t. The first seven shape beta; `cosine`, `sigmoid` and `log_snr` shape alpha-bar, the last two are lists.
///
/// Where a formula has `u`, it runs linearly from 0 at the first step to 1 at the last; `v = t / T` with the paper's 1-based t.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// `beta_t = beta`.
    Constant {
        /// In (0, 1). Default 0.02.
        #[serde(default = "beta_end")]
        beta: f64,
    },
    /// `beta_start + u (beta_end - beta_start)`: DDPM, section 4.
    Linear {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
        /// Multiply both ends by 1000 / T, as denoising-diffusion-pytorch and guided-diffusion do, so that any T ends near
        /// the same alpha-bar. Default false, as in DDPM and diffusers.
        #[serde(default)]
        rescale: bool,
    },
    /// `(sqrt(beta_start) + u (sqrt(beta_end) - sqrt(beta_start)))^2` with Stable Diffusion's ends.
    ScaledLinear {
        /// In (0, 1). Default 0.00085.
        #[serde(default = "scaled_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.012.
        #[serde(default = "scaled_end")]
        beta_end: f64,
    },
    /// The same curve as `scaled_linear` with DDPM's ends: what DDPM's code calls `quad`.
    Quadratic {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
    },
    /// `beta_start (beta_end / beta_start)^u`. With the default ends and T = 1000 alpha-bar ends at 0.023: far from noise.
    Geometric {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
    },
    /// `beta_start + logistic(range (2u - 1)) (beta_end - beta_start)`; `range = 6` is diffusers' `sigmoid`.
    BetaSigmoid {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
        /// Above 0, at most 100. Default 6.
        #[serde(default = "six")]
        range: f64,
    },
    /// `beta_start + (1 + tanh(range (2u - 1))) / 2 (beta_end - beta_start)`: `beta_sigmoid` with twice the range.
    BetaTanh {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
        /// Above 0, at most 100. Default 6.
        #[serde(default = "six")]
        range: f64,
    },
    /// alpha-bar proportional to `cos^2(pi/2 (v + s) / (1 + s))`, 1 at v = 0: Nichol & Dhariwal, eq. 17. beta is at most 0.999.
    Cosine {
        /// Offset that keeps the first betas from vanishing, in [0, 1). Default 0.008.
        #[serde(default = "cosine_s")]
        s: f64,
    },
    /// alpha-bar is `logistic(-(start + v (end - start)) / tau)`, shifted and scaled to 1 at v = 0 and 0 at v = 1: Jabri et al.,
    /// algorithm 1. beta is at most 0.999. Good for images above 64x64.
    Sigmoid {
        /// Below `end`. Default -3.
        #[serde(default = "sigmoid_start")]
        start: f64,
        /// Default 3.
        #[serde(default = "sigmoid_end")]
        end: f64,
        /// Temperature, above 0. Default 1.
        #[serde(default = "one")]
        tau: f64,
    },
    /// alpha-bar is `logistic(-gamma)` with `gamma = gamma_min + u (gamma_max - gamma_min)`: minus log-SNR is a straight line, as at
    /// the start of variational diffusion models (arXiv:2107.00630), appendix H. With it, epsilon and simple weighting the loss
    /// is the bound, but for its ends and a constant factor.
    LogSnr {
        /// Minus log-SNR of the first step, below `gamma_max`. Default -13.3.
        #[serde(default = "gamma_min")]
        gamma_min: f64,
        /// Minus log-SNR of the last step, at most 130. Default 5.
        #[serde(default = "gamma_max")]
        gamma_max: f64,
    },
    /// The betas themselves, as many as there are steps.
    CustomBetas {
        /// Each in (0, 1).
        betas: Vec<f64>,
    },
    /// alpha-bar of each step, as many as there are steps.
    CustomAlphaBars {
        /// Each in (0, 1), strictly falling.
        alpha_bars: Vec<f64>,
    },
}

choice! { Schedule:
    Constant = "constant" false, Linear = "linear" false, ScaledLinear = "scaled_linear" false,
    Quadratic = "quadratic" false, Geometric = "geometric" false, BetaSigmoid = "beta_sigmoid" false,
    BetaTanh = "beta_tanh" false, Cosine = "cosine" false, Sigmoid = "sigmoid" false,
    LogSnr = "log_snr" false,
    CustomBetas = "custom_betas" false, CustomAlphaBars = "custom_alpha_bars" false,
}

fn beta_start() -> f64 {
    1e-4
}
fn beta_end() -> f64 {
    0.02
}
fn scaled_start() -> f64 {
    0.00085
}
fn scaled_end() -> f64 {
    0.012
}
fn cosine_s() -> f64 {
    0.008
}
fn sigmoid_start() -> f64 {
    -3.0
}
fn sigmoid_end() -> f64 {
    3.0
}
fn gamma_min() -> f64 {
    -13.3
}
fn gamma_max() -> f64 {
    5.0
}
fn one() -> f64 {
    1.0
}
fn six() -> f64 {
    6.0
}

impl Default for Schedule {
    /// Cosine with s = 0.008.
    fn default() -> Self {
        Self::Cosine { s: cosine_s() }
    }
}

impl Schedule {
    /// Every schedule that is a formula, with its documented defaults: what `difusi schedule` draws.
    pub fn examples() -> [Self; 10] {
        let (beta_start, beta_end) = (beta_start(), beta_end());
        [
            Self::Constant { beta: beta_end },
            Self::Linear { beta_start, beta_end, rescale: false },
            Self::ScaledLinear { beta_start: scaled_start(), beta_end: scaled_end() },
            Self::Quadratic { beta_start, beta_end },
            Self::Geometric { beta_start, beta_end },
            Self::BetaSigmoid { beta_start, beta_end, range: six() },
            Self::BetaTanh { beta_start, beta_end, range: six() },
            Self::default(),
            Self::Sigmoid { start: sigmoid_start(), end: sigmoid_end(), tau: one() },
            Self::LogSnr { gamma_min: gamma_min(), gamma_max: gamma_max() },
        ]
    }

    /// Everything wrong with this schedule at `timesteps` steps; keys start with `schedule.` (or are `timesteps`).
    pub fn check(&self, timesteps: usize) -> Vec<ValueError> {
        let mut checks = Checks::default();
        checks.require((1..=MAX_TIMESTEPS).contains(&timesteps), "timesteps", timesteps, "1 to 1000000");
        self.check_parameters(timesteps, &mut checks);
        if checks.0.is_empty() {
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
            Self::LogSnr { gamma_min, gamma_max } => {
                checks.require(
                    *gamma_min >= -30.0,
                    "schedule.gamma_min",
                    gamma_min,
                    "a number from -30, below `gamma_max`",
                );
                let accepted = "a number above `gamma_min`, at most 130";
                checks.require(gamma_min < gamma_max && *gamma_max <= 130.0, "schedule.gamma_max", gamma_max, accepted);
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

    /// The tables of a process with `timesteps` steps.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Schedule::check`] finds.
    pub fn tables(&self, timesteps: usize) -> Result<Tables, ProcessError> {
        all_good(self.check(timesteps))?;
        Ok(Tables::from_betas(self.betas(timesteps)))
    }

    /// The process with `timesteps` steps.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Schedule::check`] finds.
    pub fn process(&self, timesteps: usize) -> Result<Process, ProcessError> {
        Ok(Process::Discrete(self.tables(timesteps)?))
    }

    /// beta_1..beta_T of a schedule that passed its check.
    fn betas(&self, timesteps: usize) -> Vec<f64> {
        let by_beta = |curve: &dyn Fn(f64) -> f64| ramp(timesteps).map(curve).collect::<Vec<_>>();
        match *self {
            Self::Constant { beta } => vec![beta; timesteps],
            Self::Linear { beta_start, beta_end, rescale } => {
                let scale = if rescale { 1000.0 / timesteps as f64 } else { 1.0 };
                by_beta(&|u| scale * lerp(beta_start, beta_end, u))
            }
            Self::ScaledLinear { beta_start, beta_end } | Self::Quadratic { beta_start, beta_end } => {
                by_beta(&|u| lerp(beta_start.sqrt(), beta_end.sqrt(), u).powi(2))
            }
            Self::Geometric { beta_start, beta_end } => by_beta(&|u| beta_start * (beta_end / beta_start).powf(u)),
            Self::BetaSigmoid { beta_start, beta_end, range } => {
                by_beta(&|u| lerp(beta_start, beta_end, logistic(range * (2.0 * u - 1.0))))
            }
            Self::BetaTanh { beta_start, beta_end, range } => {
                by_beta(&|u| lerp(beta_start, beta_end, (1.0 + (range * (2.0 * u - 1.0)).tanh()) / 2.0))
            }
            Self::Cosine { s } => {
                let curve = |v: f64| ((v + s) / (1.0 + s) * std::f64::consts::FRAC_PI_2).cos().powi(2);
                by_alpha_bar(timesteps, curve)
            }
            Self::Sigmoid { start, end, tau } => {
                let last = logistic(end / tau);
                by_alpha_bar(timesteps, |v| last - logistic((start + v * (end - start)) / tau))
            }
            Self::LogSnr { gamma_min, gamma_max } => {
                let gammas = ramp(timesteps).map(|u| lerp(gamma_min, gamma_max, u));
                by_gamma(&gammas.collect::<Vec<_>>())
            }
            Self::CustomBetas { ref betas } => betas.clone(),
            Self::CustomAlphaBars { ref alpha_bars } => {
                let before = std::iter::once(1.0).chain(alpha_bars.iter().copied());
                before.zip(alpha_bars).map(|(before, a)| 1.0 - a / before).collect()
            }
        }
    }
}

/// `u`: `timesteps` numbers from 0 to 1.
fn ramp(timesteps: usize) -> impl Iterator<Item = f64> {
    let last = timesteps.saturating_sub(1).max(1) as f64;
    (0..timesteps).map(move |i| i as f64 / last)
}

/// `1 - alpha-bar(v_t) / alpha-bar(v_{t-1})`, at most [`BETA_MAX`]. `curve` may have any scale.
fn by_alpha_bar(timesteps: usize, curve: impl Fn(f64) -> f64) -> Vec<f64> {
    let at = |i: usize| curve(i as f64 / timesteps as f64);
    (0..timesteps).map(|i| (1.0 - at(i + 1) / at(i)).min(BETA_MAX)).collect()
}

/// beta of each step from minus its log-SNR. `1 - alpha-bar_t / alpha-bar_s` written without the cancellation: at gamma = -13 alpha-bar
/// has lost seven digits of what it is not.
fn by_gamma(gammas: &[f64]) -> Vec<f64> {
    let before = std::iter::once(f64::NEG_INFINITY).chain(gammas.iter().copied());
    // alpha-bar_t / alpha-bar_s = (1 + e^s) / (1 + e^t)
    before.zip(gammas).map(|(s, t)| logistic(*t) * (1.0 - (s - t).exp())).collect()
}

fn lerp(a: f64, b: f64, u: f64) -> f64 {
    a + u * (b - a)
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
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
