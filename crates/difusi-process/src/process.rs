//! The process as a curve: signal and noise at any time, so that solvers may stop between two steps.
//!
//! Time `u` counts the steps of a discrete process from 0 (`T - 1` is pure noise, -1 the data); the continuous processes are
//! given the same axis. Between steps the log-SNR is interpolated linearly, as k-diffusion and diffusers interpolate the logarithm
//! of sigma. Deliberately absent: which times are trained or visited ([`crate::TimeDistribution`], [`crate::Grid`]).

use crate::{Jump, Level, ProcessError, Tables};

/// Largest `sigma / alpha` that is interpolated to: where alpha-bar reaches 0, diffusers puts 2^-24 (4096 here).
pub(crate) const RATIO_MAX: f64 = 4096.0;

/// Variance of a number that is uniform within a bucket of 8-bit data, 2/255 wide.
const BUCKET_VARIANCE: f64 = (2.0 / 255.0) * (2.0 / 255.0) / 12.0;

/// Signal and noise over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Process {
    /// T steps with their tables (DDPM and everything variance-preserving).
    Discrete(Tables),
    /// `x = x_0 + sigma eps`, sigma from `sigma_min` to `sigma_max` (Karras et al., arXiv:2206.00364); the network receives
    /// `ln(sigma) / 4`.
    Edm {
        /// Noise of the cleanest step, above 0.
        sigma_min: f64,
        /// Noise of the last step, above `sigma_min`.
        sigma_max: f64,
        /// Steps that the time axis is divided into.
        timesteps: usize,
    },
    /// `x = (1 - s) x_0 + s eps` (rectified flow, Liu et al., arXiv:2209.03003); the network receives `s T`.
    Flow {
        /// `s = shift u / (1 + (shift - 1) u)` of the even `u` (Esser et al., arXiv:2403.03206, eq. 23); 1 leaves it even.
        shift: f64,
        /// Steps that the time axis is divided into.
        timesteps: usize,
    },
    /// The VE SDE (Song et al., arXiv:2011.13456, eq. 31): the sigmas of `Edm`, but the network receives sigma itself, as those of
    /// score_sde and diffusers' ScoreSdeVe do.
    Ve {
        /// Noise of the cleanest step, above 0.
        sigma_min: f64,
        /// Noise of the last step, above `sigma_min`.
        sigma_max: f64,
        /// Steps that the time axis is divided into.
        timesteps: usize,
    },
    /// The sub-VP SDE (Song et al., eq. 27): `alpha = exp(-1/2 int beta)` as in VP, `sigma = 1 - alpha^2`, its square. beta grows
    /// linearly with `v = (u + 1) / T`; the network receives `v (T - 1)`, as score_sde's continuous models do.
    SubVp {
        /// beta at v = 0, at least 0.
        beta_min: f64,
        /// beta at v = 1, above `beta_min`.
        beta_max: f64,
        /// Steps that the time axis is divided into.
        timesteps: usize,
    },
}

impl Process {
    /// T: the length of the time axis. At least 1.
    pub fn timesteps(&self) -> usize {
        match self {
            Self::Discrete(tables) => tables.timesteps(),
            Self::Edm { timesteps, .. }
            | Self::Flow { timesteps, .. }
            | Self::Ve { timesteps, .. }
            | Self::SubVp { timesteps, .. } => *timesteps,
        }
    }

    /// Whether time is divided into steps with betas.
    pub fn is_discrete(&self) -> bool {
        matches!(self, Self::Discrete(_))
    }

    /// Standard deviation of what sampling starts from at `start`: 1, where the signal is gone or drowned by noise of size 1, or sigma.
    pub fn prior_std(&self, start: Level) -> f64 {
        match self {
            Self::Discrete(_) | Self::Flow { .. } | Self::SubVp { .. } => 1.0,
            Self::Edm { .. } | Self::Ve { .. } => start.sigma,
        }
    }

    /// The tables of a discrete process.
    ///
    /// # Errors
    /// [`ProcessError::Continuous`] for the others.
    pub fn tables(&self) -> Result<&Tables, ProcessError> {
        match self {
            Self::Discrete(tables) => Ok(tables),
            Self::Edm { .. } => Err(ProcessError::Continuous { kind: "edm" }),
            Self::Flow { .. } => Err(ProcessError::Continuous { kind: "flow" }),
            Self::Ve { .. } => Err(ProcessError::Continuous { kind: "ve" }),
            Self::SubVp { .. } => Err(ProcessError::Continuous { kind: "sub_vp" }),
        }
    }

    /// What a person should know before training with it; empty when all is well.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Discrete(tables) => tables.warnings(),
            Self::Edm { .. } | Self::Flow { .. } | Self::Ve { .. } | Self::SubVp { .. } => Vec::new(),
        }
    }

    /// The level at time `u` in [-1, T - 1]; beyond either end, that end.
    pub fn level(&self, u: f64) -> Level {
        let (timesteps, u) = (self.timesteps(), u.clamp(-1.0, self.timesteps() as f64 - 1.0));
        if u <= -1.0 {
            return Level::DATA;
        }
        match self {
            Self::Discrete(tables) => discrete(tables, u),
            Self::Edm { sigma_min, sigma_max, .. } => edm(geometric(*sigma_min, *sigma_max, u, timesteps)),
            Self::Ve { sigma_min, sigma_max, .. } => ve(geometric(*sigma_min, *sigma_max, u, timesteps)),
            Self::Flow { shift, .. } => {
                let s = (u + 1.0) / timesteps as f64;
                flow(shift * s / (1.0 + (shift - 1.0) * s), timesteps)
            }
            Self::SubVp { beta_min, beta_max, .. } => {
                let v = (u + 1.0) / timesteps as f64;
                sub_vp(v, 0.5 * v * beta_min + 0.25 * v * v * (beta_max - beta_min), timesteps)
            }
        }
    }

    /// What a squared error of x_0 at `level` costs in the bound, in nats times T: half the fall of the SNR from the step before
    /// (arXiv:2107.00630, eq. 14), or half its slope in a continuous process. The first step of a discrete one is the decoder's,
    /// whose term is no square; taken for it is a Gaussian of the decoder's variance beta_1, widened by that of a bucket.
    pub fn bound_weight(&self, level: Level) -> f64 {
        let timesteps = self.timesteps() as f64;
        let fall = match self {
            Self::Discrete(_) if level.alpha_prev == 1.0 => {
                let decoder = Jump { from: level, to: Level::DATA }.beta();
                1.0 / (decoder + BUCKET_VARIANCE)
            }
            Self::Discrete(_) => level.before().snr() - level.snr(),
            Self::Edm { sigma_min, sigma_max, .. } | Self::Ve { sigma_min, sigma_max, .. } => {
                2.0 * level.snr() * (sigma_max / sigma_min).ln() / (timesteps - 1.0).max(1.0)
            }
            Self::Flow { shift, .. } => {
                let s = level.sigma;
                let slope = (shift - (shift - 1.0) * s).powi(2) / shift; // of s over the even times
                2.0 * (1.0 - s) / s.powi(3) * slope / timesteps
            }
            Self::SubVp { beta_min, beta_max, .. } => {
                let beta = beta_min + level.t / (timesteps - 1.0).max(1.0) * (beta_max - beta_min);
                level.snr() * beta / timesteps * (1.0 + level.alpha.powi(2)) / level.sigma
            }
        };
        0.5 * timesteps * fall
    }

    /// The level whose `sigma / alpha` is `ratio` (at least 0; infinite is pure noise, which EDM does not have), with the time that belongs to it. A discrete process has no times
    /// before its first step and after its last: the level is exact, its `t` stays at that end.
    pub fn level_at_ratio(&self, ratio: f64) -> Level {
        if ratio == 0.0 {
            return Level::DATA;
        }
        match self {
            Self::Discrete(tables) => {
                let (alpha, sigma) = (1.0 / ratio.hypot(1.0), 1.0 / ratio.recip().hypot(1.0));
                let t = time_of_ratio(tables, ratio);
                Level { t, alpha, sigma, alpha_prev: discrete(tables, t).alpha_prev }
            }
            Self::Edm { .. } => edm(ratio),
            Self::Flow { timesteps, .. } => flow(1.0 / (1.0 + ratio.recip()), *timesteps),
            Self::Ve { .. } => ve(ratio),
            Self::SubVp { beta_min, beta_max, timesteps } => {
                let decay = (0.5 * (ratio + ratio.hypot(2.0))).ln(); // -ln alpha, of (1 - alpha^2) / alpha = ratio
                let v = 2.0 * decay
                    / (0.5 * beta_min + (0.25 * beta_min * beta_min + (beta_max - beta_min) * decay).sqrt());
                sub_vp(v, decay, *timesteps)
            }
        }
    }

    /// The level that the network is told as `t` ([`Level::t`]).
    pub fn level_of_time(&self, t: f64) -> Level {
        match self {
            Self::Discrete(_) => self.level(t),
            Self::Edm { .. } => edm((4.0 * t).exp()),
            Self::Ve { .. } => ve(t),
            Self::Flow { timesteps, .. } => flow(t / *timesteps as f64, *timesteps),
            Self::SubVp { timesteps, .. } => self.level(t / (*timesteps as f64 - 1.0) * *timesteps as f64 - 1.0),
        }
    }
}

/// sigma of step `u`; the first one's before it.
fn geometric(sigma_min: f64, sigma_max: f64, u: f64, timesteps: usize) -> f64 {
    sigma_min * (sigma_max / sigma_min).powf(u.max(0.0) / (timesteps as f64 - 1.0).max(1.0))
}

fn edm(sigma: f64) -> Level {
    Level::new(sigma.ln() / 4.0, 1.0, sigma)
}

fn ve(sigma: f64) -> Level {
    Level::new(sigma, 1.0, sigma)
}

/// `decay` is `-ln alpha`. 1 - alpha^2 is written without the cancellation.
fn sub_vp(v: f64, decay: f64, timesteps: usize) -> Level {
    Level::new(v * (timesteps as f64 - 1.0), (-decay).exp(), -(-2.0 * decay).exp_m1())
}

fn flow(s: f64, timesteps: usize) -> Level {
    Level::new(s * timesteps as f64, 1.0 - s, s)
}

/// `sigma / alpha` of a step.
fn ratio(tables: &Tables, t: usize) -> f64 {
    let alpha_bar = tables.alpha_bars[t];
    ((1.0 - alpha_bar) / alpha_bar).sqrt().min(RATIO_MAX)
}

/// `ln(sigma / alpha)` of a step.
pub(crate) fn log_ratio(tables: &Tables, t: usize) -> f64 {
    ratio(tables, t).ln()
}

/// `u` in (-1, T - 1]. Before the first step alpha-bar goes to 1 in a straight line.
fn discrete(tables: &Tables, u: f64) -> Level {
    let (low, part) = (u.floor(), u - u.floor());
    if part == 0.0 {
        let t = low as usize;
        let alpha_bar = tables.alpha_bars[t];
        let alpha_prev = tables.alpha_bars_prev[t].sqrt();
        return Level { t: u, alpha: alpha_bar.sqrt(), sigma: (1.0 - alpha_bar).sqrt(), alpha_prev };
    }
    if low < 0.0 {
        let alpha_bar = 1.0 + part * (tables.alpha_bars[0] - 1.0);
        return Level { t: u, alpha: alpha_bar.sqrt(), sigma: (1.0 - alpha_bar).sqrt(), alpha_prev: 1.0 };
    }
    let t = low as usize;
    let [a, b] = [t, t + 1].map(|t| log_ratio(tables, t));
    let ratio = (a + part * (b - a)).exp();
    let alpha = 1.0 / (1.0 + ratio * ratio).sqrt();
    Level { t: u, alpha, sigma: ratio * alpha, alpha_prev: discrete(tables, u - 1.0).alpha }
}

/// Inverse of the interpolation, within [0, T - 1].
fn time_of_ratio(tables: &Tables, wanted: f64) -> f64 {
    let last = tables.timesteps() - 1;
    let above = tables.alpha_bars.partition_point(|a| ((1.0 - a) / a).sqrt().min(RATIO_MAX) < wanted);
    match above {
        0 => 0.0,
        above if above > last => last as f64,
        above => {
            let [a, b] = [above - 1, above].map(|t| log_ratio(tables, t));
            (above - 1) as f64 + (wanted.ln() - a) / (b - a)
        }
    }
}
