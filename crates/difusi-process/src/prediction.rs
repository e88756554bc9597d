//! What the network outputs, and how x_0 and eps follow from it.
//!
//! Every parameterisation is linear in (x_0, eps), so two pairs of numbers per level say everything. Sources: DDPM
//! (arXiv:2006.11239) section 3.2 for epsilon and the posterior mean; Salimans & Ho (arXiv:2202.00512) appendix D for velocity;
//! Karras et al. (arXiv:2206.00364) section 5 for EDM; Liu et al. (arXiv:2209.03003) for flow.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    Jump, Level, ProcessError,
    choice::choice,
    error::{Checks, ValueError},
    forward::{combine, require_levels},
};

/// What the network is trained to output, given x_t and t.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Prediction {
    /// The noise eps.
    #[serde(alias = "eps")]
    Epsilon {},
    /// The data x_0, which diffusers calls `sample`.
    #[serde(alias = "sample")]
    X0 {},
    /// `v = alpha eps - sigma x_0`: well conditioned at both ends.
    #[serde(alias = "v")]
    Velocity {},
    /// The score, `-eps / sigma`: NCSN++ and other score networks. With `weighting = "snr"` its loss is that of eps.
    Score {},
    /// The mean of q(x_{t-1} | x_t, x_0), eq. 7; at the first step that is x_0. Of discrete processes only.
    PosteriorMean {},
    /// `eps - x_0`, the velocity of the straight line from data to noise.
    Flow {},
    /// `x_0 - eps`: the same line walked from noise to data, as schedulers with `invert_sigmas` have it.
    FlowToData {},
    /// EDM's F: `x_0 = c_skip x + c_out F` with the network seeing `c_in x`, all of unit variance.
    Edm {
        /// Standard deviation of the data, above 0. Default 0.5.
        #[serde(default = "half")]
        sigma_data: f64,
    },
    /// Minus EDM's F: the velocity of the normalised picture, which networks like CosXL predict.
    EdmVelocity {
        /// As of `edm`. Default 0.5.
        #[serde(default = "half")]
        sigma_data: f64,
    },
}

choice! { Prediction:
    Epsilon = "epsilon" true, X0 = "x0" true, Velocity = "velocity" true, Score = "score" true,
    PosteriorMean = "posterior_mean" true, Flow = "flow" true, FlowToData = "flow_to_data" true, Edm = "edm" false, EdmVelocity = "edm_velocity" false,
}

fn half() -> f64 {
    0.5
}

impl Default for Prediction {
    /// Velocity.
    fn default() -> Self {
        Self::Velocity {}
    }
}

impl Prediction {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Epsilon {},
        Self::X0 {},
        Self::Velocity {},
        Self::Score {},
        Self::PosteriorMean {},
        Self::Flow {},
        Self::FlowToData {},
        Self::Edm { sigma_data: 0.5 },
        Self::EdmVelocity { sigma_data: 0.5 },
    ];

    /// -1 for what is the negative of another prediction.
    fn sign(self) -> f64 {
        if matches!(self, Self::FlowToData {} | Self::EdmVelocity { .. }) { -1.0 } else { 1.0 }
    }

    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        if let Self::Edm { sigma_data } | Self::EdmVelocity { sigma_data } = self {
            let good = *sigma_data > 0.0 && sigma_data.is_finite();
            checks.require(good, "prediction.sigma_data", sigma_data, "a number above 0");
        }
        checks.0
    }

    /// Factor of x_t in what the network sees; 1 for all but EDM, whose `c_in` belongs to `x_t / alpha`.
    pub fn input_scale(self, level: Level) -> f64 {
        match self {
            Self::Edm { sigma_data } | Self::EdmVelocity { sigma_data } => {
                1.0 / (level.alpha * sigma_data).hypot(level.sigma)
            }
            _ => 1.0,
        }
    }

    /// `(a, b)` with `output = a x_0 + b eps`.
    pub fn target_factors(self, level: Level) -> (f64, f64) {
        let Level { alpha, sigma, .. } = level;
        match self {
            Self::Epsilon {} => (0.0, 1.0),
            Self::X0 {} => (1.0, 0.0),
            Self::Velocity {} => (-sigma, alpha),
            Self::Score {} => (0.0, -1.0 / sigma),
            Self::Flow {} | Self::FlowToData {} => (-self.sign(), self.sign()),
            Self::PosteriorMean {} => {
                let (c0, ct) = before(level).posterior_mean();
                (c0 + ct * alpha, ct * sigma)
            }
            Self::Edm { sigma_data } | Self::EdmVelocity { sigma_data } => {
                let total = (alpha * sigma_data).hypot(sigma); // deviation of x_t
                let sign = self.sign();
                (sign * sigma / (sigma_data * total), -sign * sigma_data * alpha / total)
            }
        }
    }

    /// `(a, b)` with `x_0 = a output + b x_t`.
    pub fn x0_factors(self, level: Level) -> (f64, f64) {
        let Level { alpha, sigma, .. } = level;
        match self {
            Self::Epsilon {} => (-sigma / alpha, 1.0 / alpha),
            Self::X0 {} => (1.0, 0.0),
            Self::Velocity {} => {
                let norm = alpha * alpha + sigma * sigma;
                (-sigma / norm, alpha / norm)
            }
            Self::Score {} => (sigma * sigma / alpha, 1.0 / alpha), // Tweedie's formula
            Self::Flow {} | Self::FlowToData {} => (-self.sign() * sigma / (alpha + sigma), 1.0 / (alpha + sigma)),
            Self::PosteriorMean {} => {
                let (c0, ct) = before(level).posterior_mean();
                (1.0 / c0, -ct / c0)
            }
            Self::Edm { sigma_data } | Self::EdmVelocity { sigma_data } => {
                let total = (alpha * sigma_data).hypot(sigma);
                (self.sign() * sigma * sigma_data / total, alpha * (sigma_data / total).powi(2)) // c_out, c_skip / alpha
            }
        }
    }

    /// `(a, b)` with `eps = a output + b x_t`.
    pub fn eps_factors(self, level: Level) -> (f64, f64) {
        let Level { alpha, sigma, .. } = level;
        match self {
            Self::Epsilon {} => (1.0, 0.0),
            Self::Velocity {} => {
                let norm = alpha * alpha + sigma * sigma;
                (alpha / norm, sigma / norm)
            }
            Self::Score {} => (-sigma, 0.0),
            Self::Flow {} | Self::FlowToData {} => (self.sign() * alpha / (alpha + sigma), 1.0 / (alpha + sigma)),
            Self::Edm { sigma_data } | Self::EdmVelocity { sigma_data } => {
                let total = (alpha * sigma_data).hypot(sigma);
                (-self.sign() * sigma_data * alpha / total, sigma / (total * total))
            }
            Self::X0 {} | Self::PosteriorMean {} => {
                let (a, b) = self.x0_factors(level);
                (-alpha * a / sigma, (1.0 - alpha * b) / sigma)
            }
        }
    }

    /// By how much the error of the output exceeds the error of x_0, both squared: `|output error|^2 / |x_0 error|^2`.
    pub fn squared_gain(self, level: Level) -> f64 {
        self.x0_factors(level).0.powi(-2)
    }

    /// What the network should output. `x0`, `eps` `[B, H, W, C]`; one level per image.
    ///
    /// # Errors
    /// Another number of levels than images, or shapes that differ.
    pub fn target(self, levels: &[Level], x0: Tensor<4>, eps: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        apply(levels, (x0, eps), |level| self.target_factors(level))
    }

    /// x_0 from the network's output. `output`, `x_t` `[B, H, W, C]`; one level per image.
    ///
    /// # Errors
    /// Another number of levels than images, or shapes that differ.
    pub fn to_x0(self, levels: &[Level], output: Tensor<4>, x_t: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        apply(levels, (output, x_t), |level| self.x0_factors(level))
    }

    /// eps from the network's output. `output`, `x_t` `[B, H, W, C]`; one level per image.
    ///
    /// # Errors
    /// Another number of levels than images, or shapes that differ.
    pub fn to_eps(self, levels: &[Level], output: Tensor<4>, x_t: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        apply(levels, (output, x_t), |level| self.eps_factors(level))
    }
}

/// The single step into a level.
fn before(level: Level) -> Jump {
    Jump { from: level, to: level.before() }
}

/// `a x + b y` with the factors of each image's level.
fn apply(
    levels: &[Level],
    (x, y): (Tensor<4>, Tensor<4>),
    factors: impl Fn(Level) -> (f64, f64),
) -> Result<Tensor<4>, ProcessError> {
    require_levels(levels, &x, &y)?;
    let (a, b) = levels.iter().map(|&level| factors(level)).unzip();
    Ok(combine((a, x), (b, y)))
}
