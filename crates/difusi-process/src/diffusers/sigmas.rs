//! Lists of sigmas and the times that belong to them, in diffusers' arithmetic.

use super::{Settings, torch};

/// rho of Karras et al. (arXiv:2206.00364) eq. 5.
const RHO: f64 = 7.0;

/// Both parameters of the Beta distribution (arXiv:2407.12173).
const BETA_SHAPE: f64 = 0.6;

/// A list of sigmas that replaces the visited steps'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spread {
    /// Karras et al., eq. 5.
    Karras,
    /// Even in log sigma.
    Exponential,
    /// Quantiles of Beta(0.6, 0.6).
    Beta,
    /// Even in lambda: DPM-Solver's own (arXiv:2206.00927, section 4), in diffusers' words of Lu.
    Lu,
}

impl Spread {
    /// What a config asks for, if anything.
    pub(super) fn of(s: &Settings) -> Option<Self> {
        let wanted = [
            (s.use_karras_sigmas, Self::Karras),
            (s.use_lu_lambdas, Self::Lu),
            (s.use_exponential_sigmas, Self::Exponential),
            (s.use_beta_sigmas, Self::Beta),
        ];
        wanted.into_iter().find(|w| w.0).map(|w| w.1)
    }

    /// `count` sigmas from `high` down to `low`.
    pub(super) fn sigmas(self, (high, low): (f64, f64), count: usize) -> Vec<f64> {
        let ramp = torch::linspace64(0.0, 1.0, count);
        match self {
            Self::Karras => ramp.into_iter().map(|u| karras(u, (high, low), RHO)).collect(),
            Self::Lu => ramp.into_iter().map(|u| (high.ln() + u * (low.ln() - high.ln())).exp()).collect(),
            Self::Exponential => torch::linspace64(high.ln(), low.ln(), count).into_iter().map(f64::exp).collect(),
            Self::Beta => {
                let quantile = |u: f64| crate::beta::quantile(1.0 - u, BETA_SHAPE, BETA_SHAPE);
                ramp.into_iter().map(|u| low + quantile(u) * (high - low)).collect()
            }
        }
    }
}

/// Karras et al., eq. 5, at `u` in [0, 1].
pub(super) fn karras(u: f64, (high, low): (f64, f64), rho: f64) -> f64 {
    let (max, min) = (high.powf(1.0 / rho), low.powf(1.0 / rho));
    (max + u * (min - max)).powf(rho)
}

/// The time of a sigma: linear in log sigma between the training steps. In f64 from f32 logarithms, as numpy mixes them.
pub(super) fn time_of(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let wanted = sigma.max(1e-10).ln();
    let (low, [a, b]) = bracket(log_sigmas, |l| wanted - f64::from(l) >= 0.0);
    let part = ((f64::from(a) - wanted) / f64::from(a - b)).clamp(0.0, 1.0);
    (1.0 - part) * low as f64 + part * (low + 1) as f64
}

/// The same in f32 throughout, where diffusers holds the sigma as f32.
pub(super) fn time_of_f32(sigma: f32, log_sigmas: &[f32]) -> f64 {
    let wanted = f64::from(sigma.max(1e-10)).ln() as f32;
    let (low, [a, b]) = bracket(log_sigmas, |l| wanted - l >= 0.0);
    let part = ((a - wanted) / (a - b)).clamp(0.0, 1.0);
    f64::from((1.0 - part) * low as f32 + part * (low + 1) as f32)
}

/// The last step whose log sigma is not above the wanted one, and its logarithm and the next.
fn bracket(log_sigmas: &[f32], reached: impl Fn(f32) -> bool) -> (usize, [f32; 2]) {
    let below = log_sigmas.iter().rposition(|l| reached(*l)).unwrap_or(0);
    let low = below.min(log_sigmas.len().saturating_sub(2));
    (low, [log_sigmas[low], log_sigmas[(low + 1).min(log_sigmas.len() - 1)]])
}
