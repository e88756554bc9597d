//! How a model is led to what it is asked for: classifier-free guidance (Ho & Salimans, arXiv:2207.12598) with an interval
//! (Kynkaanniemi et al., arXiv:2404.07724), rescaling (Lin et al., arXiv:2305.08891, section 3.4) and CFG++ (Chung et al.,
//! arXiv:2406.08070), and classifier guidance (Dhariwal & Nichol, arXiv:2105.05233).
//!
//! `scale` multiplies the difference of the conditional and the unconditional answer, `u + scale (c - u)`: 0 is unconditional, 1 is the
//! plain conditional model, so guidance is off. This is Imagen's w and diffusers' `guidance_scale`; Ho & Salimans' w is `scale - 1`.
//! Classifier guidance counts from the unconditional model: its scale 0 is off, and scale 1 is Bayes' rule.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{Level, ProcessError, Solver, ValueError, choice::choice, error::Checks, forward::per_image};

/// How the answers with and without the condition are combined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Guidance {
    /// The condition alone.
    None {},
    /// `u + scale (c - u)`, where c and u are what the network says with the condition and with the null (or a negative) one.
    Cfg {
        /// 0 ignores the condition, 1 is off, more exaggerates it. Within [-100, 100]. Default 2.
        #[serde(default = "two")]
        scale: f64,
        /// Share of the way back to the conditional answer's standard deviation, in [0, 1]; Lin et al. take 0.7. Default 0.
        #[serde(default)]
        rescale: f64,
        /// Smallest and largest sigma / alpha that are guided; elsewhere the condition stands alone. Default all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<[f64; 2]>,
    },
    /// CFG++: x_0 is that of `u + scale (c - u)`, but the noise that DDIM puts back is u's. Of the solver `ddim` with eta = 0.
    CfgPp {
        /// In [0, 1]. Default 0.6.
        #[serde(default = "six_tenths")]
        scale: f64,
    },
}

choice! { Guidance: None = "none" true, Cfg = "cfg" false, CfgPp = "cfg_pp" false }

fn two() -> f64 {
    2.0
}
fn six_tenths() -> f64 {
    0.6
}

impl Default for Guidance {
    /// None.
    fn default() -> Self {
        Self::None {}
    }
}

impl Guidance {
    /// Plain classifier-free guidance.
    pub fn scale(scale: f64) -> Self {
        Self::Cfg { scale, rescale: 0.0, interval: None }
    }

    /// Whether the network is never asked twice.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::None {} | Self::Cfg { scale: 1.0, .. })
    }

    /// Everything wrong with the parameters, and with the solver they go with.
    pub(crate) fn check(&self, solver: Solver) -> Vec<ValueError> {
        let mut checks = Checks::default();
        match *self {
            Self::None {} => {}
            Self::Cfg { scale, rescale, interval } => {
                checks.require((-100.0..=100.0).contains(&scale), "guidance.scale", scale, "a number in [-100, 100]");
                checks.require((0.0..=1.0).contains(&rescale), "guidance.rescale", rescale, "a number in [0, 1]");
                let ordered = interval.is_none_or(|[low, high]| low >= 0.0 && low < high);
                let accepted = "[low, high], two values of sigma / alpha of at least 0, the second larger";
                checks.require(ordered, "guidance.interval", interval, accepted);
            }
            Self::CfgPp { scale } => {
                checks.require((0.0..=1.0).contains(&scale), "guidance.scale", scale, "a number in [0, 1] with cfg_pp");
                let ddim = matches!(solver, Solver::Ddim { eta: 0.0, .. });
                checks.require(ddim, "guidance.kind", "cfg_pp", "cfg with this solver; cfg_pp is of ddim with eta = 0");
            }
        }
        checks.0
    }

    /// The scale at each level.
    fn scales(&self, levels: &[Level]) -> Vec<f64> {
        let at = |level: &Level| match *self {
            Self::None {} => 1.0,
            Self::Cfg { scale, interval, .. } => match interval {
                Some([low, high]) if !(low..=high).contains(&level.ratio()) => 1.0,
                _ => scale,
            },
            Self::CfgPp { scale } => scale,
        };
        levels.iter().map(at).collect()
    }

    /// Whether the unconditional answer is needed at any of these levels.
    pub(crate) fn asks_twice(&self, levels: &[Level]) -> bool {
        matches!(self, Self::CfgPp { .. }) || self.scales(levels).iter().any(|scale| *scale != 1.0)
    }

    /// One answer of both, `[B, H, W, C]` each.
    pub(crate) fn combine(&self, cond: Tensor<4>, uncond: Tensor<4>, levels: &[Level]) -> Tensor<4> {
        let scales = self.scales(levels);
        let scale = per_image(&scales, &cond);
        let guided = uncond.clone() + (cond.clone() - uncond) * scale;
        match *self {
            Self::Cfg { rescale, .. } if rescale > 0.0 => rescaled(guided, cond, rescale),
            _ => guided,
        }
    }
}

/// `guided`, of which a share has the standard deviation of `cond`, image by image.
fn rescaled(guided: Tensor<4>, cond: Tensor<4>, share: f64) -> Tensor<4> {
    let ratio = deviation(cond) / deviation(guided.clone()).clamp_min(1e-12);
    guided * (ratio * share + (1.0 - share))
}

/// Standard deviation of each image's numbers, `[B, 1, 1, 1]`.
fn deviation(x: Tensor<4>) -> Tensor<4> {
    let [batch, h, w, c] = x.dims();
    let flat = x.reshape([batch, h * w * c]);
    let centred = flat.clone() - flat.mean_dim(1);
    (centred.clone() * centred).mean_dim(1).sqrt().reshape([batch, 1, 1, 1])
}

/// A classifier of noisy images: how likely it finds what was asked for.
pub trait Classify {
    /// `log p(y | x_t)` of each image, `[B]`; `x_t` `[B, H, W, C]` is followed by autodiff. The same classes and sizes as the model's.
    ///
    /// # Errors
    /// Whatever stops the classifier from answering.
    fn log_prob(&self, x_t: Tensor<4>, levels: &[Level], cond: &difusi_core::Cond) -> Result<Tensor<1>, ProcessError>;
}

/// The gradient of `log p(y | x_t)` in x_t, `[B, H, W, C]`, without autodiff.
pub(crate) fn class_gradient(
    classifier: &dyn Classify,
    x_t: &Tensor<4>,
    levels: &[Level],
    cond: &difusi_core::Cond,
) -> Result<Tensor<4>, ProcessError> {
    let x = x_t.clone().autodiff().require_grad();
    let log_prob = classifier.log_prob(x.clone(), levels, cond)?;
    let found = log_prob.dims();
    if found != [levels.len()] {
        let expected = format!("[{}], one for each image", levels.len());
        return Err(ProcessError::Shape { what: "the classifier's log-probability", found: found.to_vec(), expected });
    }
    let mut gradients = log_prob.sum().backward();
    // A classifier that does not look has no gradient.
    Ok(x.grad_remove(&mut gradients).unwrap_or_else(|| x_t.zeros_like()))
}
