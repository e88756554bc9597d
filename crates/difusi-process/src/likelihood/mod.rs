//! The likelihood of the probability-flow ODE: Song et al. (arXiv:2011.13456) section 4.3 and appendix D.2; the trace estimator of
//! Hutchinson as in FFJORD (Grathwohl et al., arXiv:1810.01367).
//!
//! Every Gaussian process `x = alpha x_0 + sigma eps` is first turned into the variance-preserving one of the same
//! `rho = sigma / alpha`: `z = x / sqrt(alpha^2 + sigma^2)`, `tan(theta) = rho`. There the flow is
//! `dz / d(theta) = cos(theta) eps - sin(theta) x_0`, the velocity of Salimans & Ho. Its time here is `s = ln(rho)`, in which images
//! form at an even pace:
//!
//! `dz / ds = sin(theta) cos(theta) (cos(theta) eps - sin(theta) x_0) = f(z, s)`, and
//! `ln p(z(s_0)) = ln N(z(s_1); 0, prior_std^2) + integral of div f from s_0 to s_1`.
//!
//! [`Flow::log_density`] computes that for a batch, every image with steps of its own, so that no result depends on its neighbours.
//! [`Dequantisation`] makes densities of bytes' surroundings into bounds on their probability. The denoiser comes as a function that
//! autodiff can follow; networks stay out of here. Deliberately absent: gradients of the likelihood, stiff methods.

mod dequantise;
mod field;
mod integrate;
mod tableau;

use burn::tensor::Tensor;
use difusi_core::Noise;

use crate::{
    Level, ProcessError,
    bound::{DenoiseEach, image_sums},
};

pub use dequantise::{Dequantisation, Dequantised};
use field::Field;
use integrate::{Arrival, integrate};

/// How the trace of the Jacobian is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// The mean of `e^T J e` over `probes` random vectors e, the same along the whole way: unbiased.
    Hutchinson {
        /// What the vectors hold.
        probe: Probe,
        /// How many, at least 1; each costs an evaluation.
        probes: u32,
    },
    /// The trace itself: as many evaluations as an image has numbers. For very small images.
    Exact,
}

/// Random numbers of mean 0 and variance 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// 1 or -1: the least variance there is.
    #[default]
    Rademacher,
    /// Standard normal.
    Gaussian,
}

impl Default for Divergence {
    /// One Rademacher probe.
    fn default() -> Self {
        Self::Hutchinson { probe: Probe::default(), probes: 1 }
    }
}

/// How the ODE is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OdeMethod {
    /// Heun's method, order 2, in even steps of ln(rho); two evaluations each.
    Heun {
        /// How many.
        steps: u32,
    },
    /// The classical method of order 4, in even steps of ln(rho); four evaluations each.
    Rk4 {
        /// How many.
        steps: u32,
    },
    /// Dormand & Prince (1980), order 5 with an error estimate of order 4; each image takes its own steps. The error of a step is at most
    /// `atol + rtol |z|` (root mean square), and likewise that of the divergence per number.
    Rk45 {
        /// Relative tolerance, above 0.
        rtol: f64,
        /// Absolute tolerance, above 0.
        atol: f64,
    },
}

impl Default for OdeMethod {
    /// Adaptive, 1e-4 both. Loose tolerances and few steps err on the flattering side: look whether half of it changes the result.
    fn default() -> Self {
        Self::Rk45 { rtol: 1e-4, atol: 1e-4 }
    }
}

/// A probability-flow ODE.
pub struct Flow<'a> {
    /// The level of a given `sigma / alpha`.
    pub level_at_ratio: &'a (dyn Fn(f64) -> Level + 'a),
    /// `sigma / alpha` where the data are taken to lie, above 0.
    pub clean: f64,
    /// `sigma / alpha` where the prior is taken, above `clean`.
    pub noisy: f64,
    /// Standard deviation of the prior of z: 1 for variance-preserving processes.
    pub prior_std: f64,
    /// How it is solved.
    pub method: OdeMethod,
    /// How volumes are measured.
    pub divergence: Divergence,
    /// Where probes come from.
    pub noise: Noise,
}

/// Of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogDensity {
    /// `ln p(x)` in nats, of all its numbers together.
    pub nats: f64,
    /// Evaluations of the field; each is one of the denoiser and its gradient per probe.
    pub evaluations: u32,
}

impl Flow<'_> {
    /// `ln p(x)` of images `x` `[B, H, W, C]` at the cleanest level, which have the numbers `first_image ..` of the noise.
    ///
    /// `denoise` must not threshold, must treat images independently, and must be followed by autodiff: it receives a tensor that
    /// requires gradients.
    ///
    /// # Errors
    /// Those of the denoiser; [`ProcessError::Values`] for bad settings; [`ProcessError::Ode`] where the solver cannot go on.
    pub fn log_density(
        &self,
        x: Tensor<4>,
        first_image: u64,
        denoise: &DenoiseEach,
    ) -> Result<Vec<LogDensity>, ProcessError> {
        self.check()?;
        let dims = x.dims();
        let numbers = dims[1..].iter().product::<usize>() as f64;
        let start = (self.level_at_ratio)(self.clean);
        let norm = start.alpha.hypot(start.sigma);
        let mut field = Field::new(self, first_image, dims, denoise);
        let arrivals = integrate(&mut field, x.inner() / norm, [self.clean.ln(), self.noisy.ln()], self.method)?;
        let volume = numbers * norm.ln(); // of x = norm z
        let density =
            |a: &Arrival| LogDensity { nats: a.log_prior + a.divergence - volume, evaluations: a.evaluations };
        Ok(arrivals.iter().map(density).collect())
    }

    fn check(&self) -> Result<(), ProcessError> {
        let mut checks = crate::error::Checks::default();
        let finite = self.clean > 0.0 && self.noisy > self.clean && self.noisy.is_finite();
        checks.require(finite, "noise range", [self.clean, self.noisy], "two rising numbers above 0");
        checks.require(self.prior_std > 0.0, "prior_std", self.prior_std, "a number above 0");
        match self.method {
            OdeMethod::Heun { steps } | OdeMethod::Rk4 { steps } => {
                checks.require(steps >= 1, "steps", steps, "at least 1");
            }
            OdeMethod::Rk45 { rtol, atol } => {
                checks.require(rtol > 0.0 && atol > 0.0, "tolerances", [rtol, atol], "numbers above 0");
            }
        }
        if let Divergence::Hutchinson { probes, .. } = self.divergence {
            checks.require(probes >= 1, "probes", probes, "at least 1");
        }
        crate::error::all_good(checks.0)
    }

    /// `ln N(z; 0, prior_std^2)` of every image.
    fn log_prior(&self, z: Tensor<4>) -> Vec<f64> {
        let numbers = z.dims()[1..].iter().product::<usize>() as f64;
        let constant = numbers * (0.5 * std::f64::consts::TAU.ln() + self.prior_std.ln());
        let squares = image_sums(z.square()).into_data();
        squares.iter::<f64>().map(|sum| -0.5 * sum / self.prior_std.powi(2) - constant).collect()
    }
}
