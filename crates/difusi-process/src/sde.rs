//! The process as a stochastic differential equation: Song et al. (arXiv:2011.13456).
//!
//! Every process of this crate, `x = alpha x_0 + sigma eps`, is the solution of `dx = f x du + g dw` with `f = d ln alpha / du` and
//! `g^2 = d sigma^2 / du - 2 f sigma^2` (Kingma et al., arXiv:2107.00630, eq. 19): a discrete process is the VP SDE with beta constant within
//! each step, [`Process::Ve`] the VE SDE, [`Process::SubVp`] the sub-VP SDE. Time `u` is that of [`Process::level`]: it grows by 1 per
//! step. Deliberately absent: solvers, which are written for two levels and need no derivative ([`crate::Solver`]), and
//! likelihood.

use burn::tensor::Tensor;

use crate::{Process, ProcessError, Tables, forward::require_same};

/// Drift and diffusion at one time: `dx = f x du + g dw`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// `f = d ln alpha / du`, at most 0; minus infinity where alpha is 0.
    pub drift: f64,
    /// `g^2`, at least 0; infinite where alpha is 0.
    pub diffusion_squared: f64,
}

impl Rates {
    /// Of a process whose `ln alpha` and `ln(sigma / alpha)` have these slopes where the noise is `sigma`.
    fn new(drift: f64, log_ratio: f64, sigma: f64) -> Self {
        Self { drift, diffusion_squared: 2.0 * sigma * sigma * log_ratio }
    }

    /// The right-hand side of the probability-flow ODE, eq. 13: `dx / du = f x - g^2 score / 2`. `x` and the score at it are
    /// `[B, H, W, C]`.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn flow(self, x: Tensor<4>, score: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        self.toward_data(x, score, 0.5)
    }

    /// The drift of the reverse-time SDE, eq. 6: `f x - g^2 score`; its diffusion is g. `x` and the score at it are
    /// `[B, H, W, C]`.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn reverse_drift(self, x: Tensor<4>, score: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        self.toward_data(x, score, 1.0)
    }

    fn toward_data(self, x: Tensor<4>, score: Tensor<4>, share: f64) -> Result<Tensor<4>, ProcessError> {
        require_same(&x, "the score", &score)?;
        Ok(x * self.drift - score * (share * self.diffusion_squared))
    }

    /// One Euler-Maruyama step of the forward SDE over `du`: `x + f x du + g sqrt(du) noise`. `x` and standard normal `noise` are
    /// `[B, H, W, C]`.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn forward_step(self, x: Tensor<4>, noise: Tensor<4>, du: f64) -> Result<Tensor<4>, ProcessError> {
        require_same(&x, "the noise", &noise)?;
        Ok(x * (1.0 + self.drift * du) + noise * (self.diffusion_squared * du).sqrt())
    }
}

impl Process {
    /// Drift and diffusion at time `u` in [-1, T - 1]; beyond either end, that end. At the steps of a discrete process, where beta
    /// jumps, those of the interval that ends there. Below its first step an edm or ve process stands still.
    pub fn rates(&self, u: f64) -> Rates {
        let timesteps = self.timesteps() as f64;
        let u = u.clamp(-1.0, timesteps - 1.0);
        let level = self.level(u);
        match self {
            Self::Discrete(tables) => discrete(tables, u, level.sigma),
            Self::Edm { sigma_min, sigma_max, .. } | Self::Ve { sigma_min, sigma_max, .. } => {
                let slope = (sigma_max / sigma_min).ln() / (timesteps - 1.0).max(1.0);
                Rates::new(0.0, if u < 0.0 { 0.0 } else { slope }, level.sigma)
            }
            Self::Flow { shift, .. } => {
                let even = (u + 1.0) / timesteps;
                let slope = shift / (1.0 + (shift - 1.0) * even).powi(2) / timesteps; // ds / du
                let drift = -slope / level.alpha;
                Rates { drift, diffusion_squared: -2.0 * drift * level.sigma }
            }
            Self::SubVp { beta_min, beta_max, .. } => {
                let v = (u + 1.0) / timesteps;
                let drift = -0.5 * (beta_min + v * (beta_max - beta_min)) / timesteps;
                Rates { drift, diffusion_squared: -2.0 * drift * (1.0 - level.alpha.powi(4)) } // eq. 28
            }
        }
    }
}

fn discrete(tables: &Tables, u: f64, sigma: f64) -> Rates {
    if u <= 0.0 {
        let alpha_bar = 1.0 + (u + 1.0) * (tables.alpha_bars[0] - 1.0); // a straight line, see Process::level
        let drift = 0.5 * (tables.alpha_bars[0] - 1.0) / alpha_bar;
        return Rates { drift, diffusion_squared: -2.0 * drift };
    }
    let t = u.ceil() as usize;
    let slope = crate::process::log_ratio(tables, t) - crate::process::log_ratio(tables, t - 1);
    Rates::new(-sigma * sigma * slope, slope, sigma)
}
