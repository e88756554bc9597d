//! How much signal and noise a point of the process holds, and what lies between two points.
//!
//! Everything here is for a general Gaussian process `x_t = alpha x_0 + sigma eps` (Kingma et al., arXiv:2107.00630, section 3 and
//! appendix A); `alpha^2 + sigma^2 = 1` is the variance-preserving case of DDPM.

/// Signal and noise of one point: `x_t = alpha x_0 + sigma eps`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// What the network receives: the 0-based step of a discrete process, which may lie between two steps; -1 is the data.
    pub t: f64,
    /// Factor of x_0, in [0, 1]; `sqrt(alpha-bar)` of a discrete process.
    pub alpha: f64,
    /// Standard deviation of the noise, at least 0; `sqrt(1 - alpha-bar)` of a discrete process.
    pub sigma: f64,
    /// `alpha` of the step before, which the posterior mean needs; 1 where there is none.
    pub alpha_prev: f64,
}

impl Level {
    /// The data itself.
    pub const DATA: Self = Self { t: -1.0, alpha: 1.0, sigma: 0.0, alpha_prev: 1.0 };

    /// A point of a continuous process.
    pub const fn new(t: f64, alpha: f64, sigma: f64) -> Self {
        Self { t, alpha, sigma, alpha_prev: 1.0 }
    }

    /// Signal-to-noise ratio `alpha^2 / sigma^2`; infinite for the data.
    pub fn snr(self) -> f64 {
        (self.alpha / self.sigma).powi(2)
    }

    /// The step before, in a variance-preserving process.
    pub fn before(self) -> Self {
        let alpha = self.alpha_prev;
        Self::new(self.t - 1.0, alpha, (1.0 - alpha * alpha).max(0.0).sqrt())
    }

    /// `ln(alpha / sigma)`, half the logarithm of the SNR: the time of DPM-Solver.
    pub fn lambda(self) -> f64 {
        self.alpha.ln() - self.sigma.ln()
    }

    /// `sigma / alpha`: the noise level of `x_t / alpha`, which k-diffusion, EDM and diffusers call sigma.
    pub fn ratio(self) -> f64 {
        self.sigma / self.alpha
    }

    /// Whether this is the data: no noise at all.
    pub fn is_data(self) -> bool {
        self.sigma == 0.0
    }
}

/// From a noisier point to a cleaner one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jump {
    /// Where x_t lies.
    pub from: Level,
    /// Where x_s lies, at least as clean.
    pub to: Level,
}

impl Jump {
    /// `alpha_{t|s}`: the factor of x_s in q(x_t | x_s).
    pub fn scale(self) -> f64 {
        self.from.alpha / self.to.alpha
    }

    /// `sigma_{t|s}^2`, the variance of q(x_t | x_s): beta of the merged steps, `1 - alpha-bar_t / alpha-bar_s`.
    pub fn beta(self) -> f64 {
        (self.from.sigma.powi(2) - (self.scale() * self.to.sigma).powi(2)).max(0.0)
    }

    /// Variance of q(x_s | x_t, x_0): beta-tilde of the merged steps (DDPM eq. 7); 0 onto the data.
    pub fn posterior_variance(self) -> f64 {
        (self.to.sigma / self.from.sigma).powi(2) * self.beta()
    }

    /// `(a, b)` with `a x_0 + b x_t` the mean of q(x_s | x_t, x_0) (DDPM eq. 7).
    pub fn posterior_mean(self) -> (f64, f64) {
        let variance = self.from.sigma.powi(2);
        (self.to.alpha * self.beta() / variance, self.scale() * self.to.sigma.powi(2) / variance)
    }
}
