//! The numbers of a discrete process, per step, in f64: DDPM (arXiv:2006.11239) eq. 4 and 7.

use crate::{Level, ProcessError};

/// Smallest variance whose logarithm is taken. The posterior variance is 0 at the first step; denoising-diffusion-pytorch and
/// diffusers clamp here too (DDPM's own code instead repeats the second step's variance).
const VARIANCE_MIN: f64 = 1e-20;

/// Above this, x_T still shows the data and sampling from N(0, I) starts in the wrong place. Linear 1e-4..0.02 with T = 1000
/// ends at 4e-5; Stable Diffusion's scaled_linear at 4.7e-3 is known to hurt (arXiv:2305.08891).
const FINAL_ALPHA_BAR_MAX: f64 = 1e-3;

/// Every column has one number per step, at the 0-based index t.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// beta_t.
    pub betas: Vec<f64>,
    /// `alpha_t = 1 - beta_t`.
    pub alphas: Vec<f64>,
    /// `alpha-bar_t`, the product of alpha up to and including t.
    pub alpha_bars: Vec<f64>,
    /// alpha-bar of the step before; 1 at the first step.
    pub alpha_bars_prev: Vec<f64>,
    /// `alpha-bar / (1 - alpha-bar)`.
    pub snr: Vec<f64>,
    /// `(1 - alpha-bar_{t-1}) / (1 - alpha-bar_t) beta_t` (beta-tilde, eq. 7); 0 at the first step.
    pub posterior_variance: Vec<f64>,
    /// Its natural logarithm, with the variance clamped to 1e-20 from below.
    pub posterior_log_variance: Vec<f64>,
    /// Factor of x_0 in the posterior mean (eq. 7); 1 at the first step.
    pub posterior_mean_x0: Vec<f64>,
    /// Factor of x_t in the posterior mean (eq. 7); 0 at the first step.
    pub posterior_mean_xt: Vec<f64>,
}

impl Tables {
    /// From betas in (0, 1), the last perhaps 1; [`crate::Schedule::tables`] checks that.
    pub(crate) fn from_betas(betas: Vec<f64>) -> Self {
        let alphas: Vec<f64> = betas.iter().map(|b| 1.0 - b).collect();
        let alpha_bars: Vec<f64> = alphas
            .iter()
            .scan(1.0, |product, a| {
                *product *= a;
                Some(*product)
            })
            .collect();
        let alpha_bars_prev: Vec<f64> =
            std::iter::once(1.0).chain(alpha_bars.iter().copied()).take(betas.len()).collect();
        let column = |f: &dyn Fn(usize) -> f64| (0..betas.len()).map(f).collect::<Vec<_>>();
        let posterior_variance = column(&|t| (1.0 - alpha_bars_prev[t]) / (1.0 - alpha_bars[t]) * betas[t]);
        Self {
            snr: column(&|t| alpha_bars[t] / (1.0 - alpha_bars[t])),
            posterior_log_variance: column(&|t| posterior_variance[t].max(VARIANCE_MIN).ln()),
            posterior_mean_x0: column(&|t| alpha_bars_prev[t].sqrt() * betas[t] / (1.0 - alpha_bars[t])),
            posterior_mean_xt: column(&|t| alphas[t].sqrt() * (1.0 - alpha_bars_prev[t]) / (1.0 - alpha_bars[t])),
            posterior_variance,
            betas,
            alphas,
            alpha_bars,
            alpha_bars_prev,
        }
    }

    /// The same curve, bent so that the last step is pure noise: Lin et al. (arXiv:2305.08891) algorithm 1. `sqrt(alpha-bar)` keeps its
    /// first value and falls to 0. A single step stays as it is.
    #[must_use]
    pub fn zero_terminal_snr(&self) -> Self {
        let roots: Vec<f64> = self.alpha_bars.iter().map(|a| a.sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        if first == last {
            return self.clone();
        }
        let bent = roots.iter().map(|root| ((root - last) * first / (first - last)).powi(2));
        let before = std::iter::once(1.0).chain(bent.clone());
        Self::from_betas(before.zip(bent).map(|(before, a)| 1.0 - a / before).collect())
    }

    /// T, the number of steps. At least 1.
    pub fn timesteps(&self) -> usize {
        self.betas.len()
    }

    /// Signal and noise of the 0-based step `t`.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn level(&self, t: usize) -> Result<Level, ProcessError> {
        self.require_step(t)?;
        let alpha_bar = self.alpha_bars[t];
        let (alpha, sigma) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        Ok(Level { t: t as f64, alpha, sigma, alpha_prev: self.alpha_bars_prev[t].sqrt() })
    }

    /// Signal and noise of each of these 0-based steps.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless all are below T.
    pub fn levels(&self, t: &[usize]) -> Result<Vec<Level>, ProcessError> {
        t.iter().map(|&t| self.level(t)).collect()
    }

    /// alpha-bar of a 0-based step, or 1 for the data itself (`None`).
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn alpha_bar(&self, t: Option<usize>) -> Result<f64, ProcessError> {
        t.map_or(Ok(1.0), |t| self.require_step(t).map(|()| self.alpha_bars[t]))
    }

    /// What a person should know before training with these tables; empty when all is well.
    pub fn warnings(&self) -> Vec<String> {
        let last = self.alpha_bars.last().copied().unwrap_or(1.0);
        if last <= FINAL_ALPHA_BAR_MAX {
            return Vec::new();
        }
        vec![format!(
            "the schedule ends at alpha-bar {last:.2e} (above {FINAL_ALPHA_BAR_MAX:.0e}): x_T still holds {:.1} % of the \
             signal's amplitude, but sampling starts from pure noise; raise the last betas or the number of timesteps",
            100.0 * last.sqrt()
        )]
    }

    /// `t < T`, or an error that says so.
    pub(crate) fn require_step(&self, t: usize) -> Result<(), ProcessError> {
        let timesteps = self.timesteps();
        if t < timesteps { Ok(()) } else { Err(ProcessError::Step { t, timesteps }) }
    }

    /// All of `t` are below T and there is one for each of `batch` images.
    pub(crate) fn require_steps(&self, t: &[usize], batch: usize) -> Result<(), ProcessError> {
        if t.len() != batch {
            let expected = format!("one step for each of {batch} images");
            return Err(ProcessError::Shape { what: "t", found: vec![t.len()], expected });
        }
        t.iter().try_for_each(|&t| self.require_step(t))
    }
}
