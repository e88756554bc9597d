//! betas, alpha-bars and sigmas of diffusers' discrete schedulers, in f32 as they have them.

use super::{BetaSchedule, SchedulerClass, Settings, torch};

/// What diffusers puts in place of the last alpha-bar where it would be 0: sigma is then 4096.
const LAST_ALPHA_BAR: f32 = 1.0 / (1 << 24) as f32;

/// Largest beta of a schedule given by alpha-bar.
const BETA_MAX: f64 = 0.999;

/// One number per training step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tables {
    pub(super) betas: Vec<f32>,
    pub(super) alpha_bars: Vec<f32>,
    /// `sqrt((1 - alpha-bar) / alpha-bar)`.
    pub(super) sigmas: Vec<f32>,
}

impl Tables {
    pub(super) fn new(class: SchedulerClass, s: &Settings) -> Self {
        let mut betas = betas(s);
        let rescale = s.rescale_betas_zero_snr && class.keys().contains(&"rescale_betas_zero_snr");
        if rescale {
            betas = zero_terminal_snr(&betas);
        }
        let mut alpha_bars = alpha_bars(&betas);
        let by_sigma = matches!(
            class,
            SchedulerClass::EulerDiscrete
                | SchedulerClass::EulerAncestralDiscrete
                | SchedulerClass::DpmSolverMultistep
                | SchedulerClass::UniPcMultistep
        );
        if let (true, true, Some(last)) = (rescale, by_sigma, alpha_bars.last_mut()) {
            *last = LAST_ALPHA_BAR;
        }
        let sigmas = alpha_bars.iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        Self { betas, alpha_bars, sigmas }
    }

    /// The smallest sigma, which is that of the first step.
    pub(super) fn sigma_min(&self) -> f64 {
        f64::from(self.sigmas[0])
    }

    /// Logarithms of the sigmas.
    pub(super) fn log_sigmas(&self) -> Vec<f32> {
        self.sigmas.iter().map(|s| f64::from(*s).ln() as f32).collect()
    }
}

fn betas(s: &Settings) -> Vec<f32> {
    let (count, start, end) = (s.num_train_timesteps, s.beta_start, s.beta_end);
    if let Some(trained) = &s.trained_betas {
        return trained.iter().map(|b| *b as f32).collect();
    }
    match s.beta_schedule {
        BetaSchedule::Linear => torch::linspace(start, end, count),
        BetaSchedule::ScaledLinear => {
            torch::linspace(start.sqrt(), end.sqrt(), count).into_iter().map(|b| b * b).collect()
        }
        BetaSchedule::Sigmoid => {
            let logistic = |x: f32| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32;
            let (span, start) = ((end - start) as f32, start as f32);
            torch::linspace(-6.0, 6.0, count).into_iter().map(|x| logistic(x) * span + start).collect()
        }
        BetaSchedule::SquaredCosine => {
            by_alpha_bar(count, |t| ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0).cos().powi(2))
        }
        BetaSchedule::Laplace => by_alpha_bar(count, laplace),
        BetaSchedule::Exponential => by_alpha_bar(count, |t| (-12.0 * t).exp()),
    }
}

/// Log-SNR distributed as a Laplacian (Hang & Gu, arXiv:2407.03297); diffusers takes the root of alpha-bar for alpha-bar.
fn laplace(t: f64) -> f64 {
    let side = if t > 0.5 { -1.0 } else { 1.0 };
    let lambda = -0.5 * side * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
    let snr = lambda.exp();
    (snr / (1.0 + snr)).sqrt()
}

fn by_alpha_bar(count: usize, curve: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| curve(i as f64 / count as f64);
    (0..count).map(|i| (1.0 - at(i + 1) / at(i)).min(BETA_MAX) as f32).collect()
}

fn alpha_bars(betas: &[f32]) -> Vec<f32> {
    torch::cumprod(&betas.iter().map(|b| 1.0 - b).collect::<Vec<_>>())
}

/// Lin et al. (arXiv:2305.08891) algorithm 1: the last alpha-bar becomes 0, the first stays.
fn zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = alpha_bars(betas).into_iter().map(f32::sqrt).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let bars: Vec<f32> = roots.into_iter().map(|r| ((r - last) * scale).powi(2)).collect();
    let before = std::iter::once(1.0).chain(bars.iter().copied());
    before.zip(&bars).map(|(before, bar)| 1.0 - bar / before).collect()
}
