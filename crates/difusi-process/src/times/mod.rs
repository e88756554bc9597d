//! Which times are trained, and how much each counts for having been drawn so often.
//!
//! Sources: DDPM (arXiv:2006.11239) for uniform times; Kingma et al. (arXiv:2107.00630), appendix I.1, for evenly spread ones;
//! Nichol & Dhariwal (arXiv:2102.09672), eq. 18, for `loss_second_moment`; Karras et al. (arXiv:2206.00364), table 1, for
//! `log_normal`; Esser et al. (arXiv:2403.03206), eq. 19, for `logit_normal`. The last two are part of the loss: they are not divided
//! out. Every time is counted by its image, so how batches are cut changes nothing.

mod history;

use difusi_core::{Draw, Noise, Stream};
use serde::{Deserialize, Serialize};

use crate::{
    Level, Process,
    choice::choice,
    error::{Checks, ValueError},
};

pub use history::LossHistory;

/// The time of each training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeDistribution {
    /// Every step alike; in a continuous process every point between the first step and the last.
    Uniform {},
    /// Uniform, but the images of one optimiser step spread evenly: `u_i = u_0 + i / B mod 1`. Less variance for nothing.
    Stratified {},
    /// In proportion to the root of the mean square of the last losses at each step, divided out of the loss; uniform until every
    /// step has its losses. For `loss = "vlb"`.
    LossSecondMoment {
        /// How many losses of each step are remembered, 1 to 1000. Default 10.
        #[serde(default = "ten")]
        history: usize,
        /// Share of uniform times mixed in, in (0, 1]. Default 0.001.
        #[serde(default = "thousandth")]
        uniform_prob: f64,
    },
    /// `ln sigma` is normal; for `schedule = "edm"`.
    LogNormal {
        /// Within [-10, 10]. Default -1.2.
        #[serde(default = "edm_mean")]
        mean: f64,
        /// In (0, 10]. Default 1.2.
        #[serde(default = "edm_std")]
        std: f64,
    },
    /// `ln(u / (1 - u))` is normal, where u in (0, 1) is the even time; made for `schedule = "flow"`.
    LogitNormal {
        /// Within [-10, 10]. Default 0.
        #[serde(default)]
        mean: f64,
        /// In (0, 10]. Default 1.
        #[serde(default = "one")]
        std: f64,
    },
}

choice! { TimeDistribution:
    Uniform = "uniform" true, Stratified = "stratified" true, LossSecondMoment = "loss_second_moment" false,
    LogNormal = "log_normal" false, LogitNormal = "logit_normal" false,
}

fn ten() -> usize {
    10
}
fn thousandth() -> f64 {
    0.001
}
fn edm_mean() -> f64 {
    -1.2
}
fn edm_std() -> f64 {
    1.2
}
fn one() -> f64 {
    1.0
}

impl Default for TimeDistribution {
    /// Uniform.
    fn default() -> Self {
        Self::Uniform {}
    }
}

/// How far an even time stays from 0 and 1, which are the data and pure noise.
const MARGIN: f64 = 1e-6;

/// What the times of a batch depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) noise: Noise,
    pub(crate) draw: Draw,
    /// Number of the batch's first image.
    pub(crate) first: u64,
    /// The images of an optimiser step that the batch belongs to, and the step's number; `None` in validation.
    pub(crate) step: Option<(u64, u64)>,
    pub(crate) history: Option<&'a LossHistory>,
}

/// One time, and the factor that makes up for its having been drawn more or less often than uniformly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DrawnTime {
    pub(crate) level: Level,
    pub(crate) importance: f64,
}

impl TimeDistribution {
    /// All of them with their defaults.
    pub fn examples() -> [Self; 5] {
        [
            Self::Uniform {},
            Self::Stratified {},
            Self::LossSecondMoment { history: ten(), uniform_prob: thousandth() },
            Self::LogNormal { mean: edm_mean(), std: edm_std() },
            Self::LogitNormal { mean: 0.0, std: one() },
        ]
    }

    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        match self {
            Self::Uniform {} | Self::Stratified {} => {}
            Self::LossSecondMoment { history, uniform_prob } => {
                checks.require((1..=1000).contains(history), "times.history", history, "1 to 1000");
                let good = *uniform_prob > 0.0 && *uniform_prob <= 1.0;
                checks.require(good, "times.uniform_prob", uniform_prob, "a number in (0, 1]");
            }
            Self::LogNormal { mean, std } | Self::LogitNormal { mean, std } => {
                checks.require(mean.abs() <= 10.0, "times.mean", mean, "a number in [-10, 10]");
                checks.require(*std > 0.0 && *std <= 10.0, "times.std", std, "a number in (0, 10]");
            }
        }
        checks.0
    }

    /// Whether the loss's mean is that of uniform times, so that a bound stays one.
    pub fn is_unbiased(&self) -> bool {
        !matches!(self, Self::LogNormal { .. } | Self::LogitNormal { .. })
    }

    /// Times of `batch` images.
    pub(crate) fn draw(self, process: &Process, batch: usize, place: Place) -> Vec<DrawnTime> {
        let adapted = match self {
            Self::LossSecondMoment { uniform_prob, .. } => place.history.and_then(|h| h.distribution(uniform_prob)),
            _ => None,
        };
        let numbers = (0..batch as u64).map(|b| place.first + b);
        let one = |image: u64| {
            let mut stream = place.noise.stream(place.draw, image, 0);
            match (&adapted, self) {
                (Some(adapted), _) => {
                    let (t, importance) = adapted.draw(stream.uniform());
                    DrawnTime { level: process.level(t as f64), importance }
                }
                (None, _) => DrawnTime { level: self.level(process, &mut stream, (image, place)), importance: 1.0 },
            }
        };
        numbers.map(one).collect()
    }

    fn level(self, process: &Process, stream: &mut Stream, (image, place): (u64, Place)) -> Level {
        let normal = |stream: &mut Stream, mean, std| mean + std * f64::from(stream.normal());
        match self {
            Self::LogNormal { mean, std } => process.level_at_ratio(normal(stream, mean, std).exp()),
            Self::LogitNormal { mean, std } => {
                let v = 1.0 / (1.0 + (-normal(stream, mean, std)).exp());
                let (v, timesteps) = (v.clamp(MARGIN, 1.0 - MARGIN), process.timesteps() as f64);
                let u = if process.is_discrete() { (v * timesteps).floor() } else { v * timesteps - 1.0 };
                process.level(u)
            }
            Self::Stratified {} if let Some((images, step)) = place.step => {
                let start = place.noise.stream(place.draw, step, 1).uniform();
                even(process, (start + (image % images) as f64 / images as f64).fract())
            }
            // Whole numbers without a detour over fractions, so that T steps are exactly alike.
            _ if process.is_discrete() => process.level(stream.below(process.timesteps() as u64) as f64),
            _ => even(process, stream.uniform()),
        }
    }
}

/// The level of `v` in [0, 1), spread evenly over the steps, or over what lies between the first and the last.
fn even(process: &Process, v: f64) -> Level {
    let timesteps = process.timesteps() as f64;
    process.level(if process.is_discrete() { (v * timesteps).floor() } else { v * (timesteps - 1.0) })
}
