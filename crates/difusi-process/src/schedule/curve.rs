//! The numbers of a discrete schedule: beta of every step.

use super::Schedule;

/// Largest beta of a schedule given by alpha-bar, which would otherwise end at 1 (Nichol & Dhariwal, section 3.2).
const BETA_MAX: f64 = 0.999;

impl Schedule {
    /// beta_1..beta_T of a schedule that passed its check.
    pub(super) fn betas(&self, timesteps: usize) -> Vec<f64> {
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
            Self::LogSnr { gamma_min, gamma_max } | Self::Learned { gamma_min, gamma_max } => {
                let gammas = ramp(timesteps).map(|u| lerp(gamma_min, gamma_max, u));
                by_gamma(&gammas.collect::<Vec<_>>())
            }
            Self::Laplace {} => by_alpha_bar(timesteps, laplace),
            Self::Exponential { rate } => vec![(-(-rate / timesteps as f64).exp_m1()).min(BETA_MAX); timesteps],
            Self::CustomBetas { ref betas } => betas.clone(),
            Self::CustomAlphaBars { ref alpha_bars } => {
                let before = std::iter::once(1.0).chain(alpha_bars.iter().copied());
                before.zip(alpha_bars).map(|(before, a)| 1.0 - a / before).collect()
            }
            Self::Edm { .. } | Self::Flow { .. } | Self::Ve { .. } | Self::SubVp { .. } => Vec::new(),
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

/// diffusers' `laplace`: the root of `SNR / (1 + SNR)` with Laplace-distributed log-SNR of mean 0 and scale 1/2.
fn laplace(v: f64) -> f64 {
    let from_middle = 0.5 - v;
    let log_snr = -0.5 * 1f64.copysign(from_middle) * (1.0 - 2.0 * from_middle.abs() + 1e-6).ln();
    (1.0 / (1.0 + (-log_snr).exp())).sqrt()
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
