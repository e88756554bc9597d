//! What the network outputs, and how x_0 and eps follow from it.
//!
//! Every parameterisation is linear in (x_0, eps), so two pairs of numbers per step say everything. Sources: DDPM
//! (arXiv:2006.11239) section 3.2 for epsilon and the posterior mean; Salimans & Ho (arXiv:2202.00512) appendix D for velocity.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    ProcessError, Tables,
    forward::{check_pair, combine},
};

/// What the network is trained to output, given x_t and t.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise eps.
    #[serde(alias = "eps")]
    Epsilon,
    /// The data x_0, which diffusers calls `sample`.
    #[serde(alias = "sample")]
    X0,
    /// `v = alpha eps - sigma x_0`: well conditioned at both ends.
    #[default]
    #[serde(alias = "v")]
    Velocity,
    /// The mean of q(x_{t-1} | x_t, x_0), eq. 7; at the first step that is x_0.
    PosteriorMean,
}

impl Prediction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Epsilon, Self::X0, Self::Velocity, Self::PosteriorMean];

    /// The name configs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::X0 => "x0",
            Self::Velocity => "velocity",
            Self::PosteriorMean => "posterior_mean",
        }
    }

    /// `(a, b)` with `target = a x_0 + b eps` at the valid step `t`.
    pub(crate) fn target_factors(self, tables: &Tables, t: usize) -> (f64, f64) {
        let (alpha, sigma) = (tables.alpha_bars[t].sqrt(), (1.0 - tables.alpha_bars[t]).sqrt());
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::X0 => (1.0, 0.0),
            Self::Velocity => (-sigma, alpha),
            Self::PosteriorMean => {
                let (c0, ct) = (tables.posterior_mean_x0[t], tables.posterior_mean_xt[t]);
                (c0 + ct * alpha, ct * sigma)
            }
        }
    }

    /// `(a, b)` with `x_0 = a output + b x_t` at the valid step `t`.
    fn x0_factors(self, tables: &Tables, t: usize) -> (f64, f64) {
        let (alpha, sigma) = (tables.alpha_bars[t].sqrt(), (1.0 - tables.alpha_bars[t]).sqrt());
        match self {
            Self::Epsilon => (-sigma / alpha, 1.0 / alpha),
            Self::X0 => (1.0, 0.0),
            Self::Velocity => (-sigma, alpha),
            Self::PosteriorMean => {
                let (c0, ct) = (tables.posterior_mean_x0[t], tables.posterior_mean_xt[t]);
                (1.0 / c0, -ct / c0)
            }
        }
    }

    /// `(a, b)` with `eps = a output + b x_t` at the valid step `t`.
    fn eps_factors(self, tables: &Tables, t: usize) -> (f64, f64) {
        let (alpha, sigma) = (tables.alpha_bars[t].sqrt(), (1.0 - tables.alpha_bars[t]).sqrt());
        match self {
            Self::Epsilon => (1.0, 0.0),
            Self::Velocity => (alpha, sigma),
            Self::X0 | Self::PosteriorMean => {
                let (a, b) = self.x0_factors(tables, t);
                (-alpha * a / sigma, (1.0 - alpha * b) / sigma)
            }
        }
    }

    /// By how much the error of the output exceeds the error of x_0, both squared: `|output error|^2 / |x_0 error|^2`.
    pub(crate) fn squared_gain(self, tables: &Tables, t: usize) -> f64 {
        self.x0_factors(tables, t).0.powi(-2)
    }

    /// The number the network should output for one pixel.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn target_at(self, tables: &Tables, t: usize, x0: f64, eps: f64) -> Result<f64, ProcessError> {
        tables.require_step(t)?;
        let (a, b) = self.target_factors(tables, t);
        Ok(a * x0 + b * eps)
    }

    /// x_0 of one pixel from the network's output.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn to_x0_at(self, tables: &Tables, t: usize, output: f64, x_t: f64) -> Result<f64, ProcessError> {
        tables.require_step(t)?;
        let (a, b) = self.x0_factors(tables, t);
        Ok(a * output + b * x_t)
    }

    /// eps of one pixel from the network's output.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn to_eps_at(self, tables: &Tables, t: usize, output: f64, x_t: f64) -> Result<f64, ProcessError> {
        tables.require_step(t)?;
        let (a, b) = self.eps_factors(tables, t);
        Ok(a * output + b * x_t)
    }

    /// What the network should output. `x0`, `eps` `[B, H, W, C]`; one 0-based step per image.
    ///
    /// # Errors
    /// Steps outside the schedule, or shapes that differ.
    pub fn target(
        self,
        tables: &Tables,
        t: &[usize],
        x0: Tensor<4>,
        eps: Tensor<4>,
    ) -> Result<Tensor<4>, ProcessError> {
        apply(tables, t, (x0, eps), |t| self.target_factors(tables, t))
    }

    /// x_0 from the network's output. `output`, `x_t` `[B, H, W, C]`; one 0-based step per image.
    ///
    /// # Errors
    /// Steps outside the schedule, or shapes that differ.
    pub fn to_x0(
        self,
        tables: &Tables,
        t: &[usize],
        output: Tensor<4>,
        x_t: Tensor<4>,
    ) -> Result<Tensor<4>, ProcessError> {
        apply(tables, t, (output, x_t), |t| self.x0_factors(tables, t))
    }

    /// eps from the network's output. `output`, `x_t` `[B, H, W, C]`; one 0-based step per image.
    ///
    /// # Errors
    /// Steps outside the schedule, or shapes that differ.
    pub fn to_eps(
        self,
        tables: &Tables,
        t: &[usize],
        output: Tensor<4>,
        x_t: Tensor<4>,
    ) -> Result<Tensor<4>, ProcessError> {
        apply(tables, t, (output, x_t), |t| self.eps_factors(tables, t))
    }
}

/// `a x + b y` with the factors of each image's step.
fn apply(
    tables: &Tables,
    t: &[usize],
    (x, y): (Tensor<4>, Tensor<4>),
    factors: impl Fn(usize) -> (f64, f64),
) -> Result<Tensor<4>, ProcessError> {
    check_pair(tables, &x, t, &y)?;
    let (a, b) = t.iter().map(|&t| factors(t)).unzip();
    Ok(combine((a, x), (b, y)))
}
