//! How noise grows with time: beta_t for t = 1..T, from a curve of beta or of alpha-bar; or a curve without betas.
//!
//! Sources: DDPM (arXiv:2006.11239) for `constant`, `linear` and `quadratic` (its code's `quad`); latent diffusion
//! (arXiv:2112.10752) for `scaled_linear`; Nichol & Dhariwal (arXiv:2102.09672) for `cosine`; Jabri et al. (arXiv:2212.11972)
//! for `sigmoid`; Kingma et al. (arXiv:2107.00630) for `log_snr` and `learned`; Karras et al. (arXiv:2206.00364) for `edm`; Liu et al.
//! (arXiv:2209.03003) and Esser et al. (arXiv:2403.03206) for `flow`; Song et al. (arXiv:2011.13456) for `ve` and `sub_vp`.
//! Deliberately absent: the network of a learned schedule, which is trained elsewhere and comes back as a list of alpha-bars.

mod check;
mod curve;

use serde::{Deserialize, Serialize};

use crate::{Process, ProcessError, Tables, choice::choice, error::all_good};

/// t -> signal and noise. The first seven shape beta, those from `cosine` to `exponential` shape alpha-bar, then come two lists, a
/// schedule that is trained with the network, and the continuous ones, which have no betas.
///
/// Where a formula has `u`, it runs linearly from 0 at the first step to 1 at the last; `v = t / T` with the paper's 1-based t.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// `beta_t = beta`.
    Constant {
        /// In (0, 1). Default 0.02.
        #[serde(default = "beta_end")]
        beta: f64,
    },
    /// `beta_start + u (beta_end - beta_start)`: DDPM, section 4.
    Linear {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
        /// Multiply both ends by 1000 / T, as denoising-diffusion-pytorch and guided-diffusion do, so that any T ends near
        /// the same alpha-bar. Default false, as in DDPM and diffusers.
        #[serde(default)]
        rescale: bool,
    },
    /// `(sqrt(beta_start) + u (sqrt(beta_end) - sqrt(beta_start)))^2` with Stable Diffusion's ends.
    ScaledLinear {
        /// In (0, 1). Default 0.00085.
        #[serde(default = "scaled_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.012.
        #[serde(default = "scaled_end")]
        beta_end: f64,
    },
    /// The same curve as `scaled_linear` with DDPM's ends: what DDPM's code calls `quad`.
    Quadratic {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
    },
    /// `beta_start (beta_end / beta_start)^u`. With the default ends and T = 1000 alpha-bar ends at 0.023: far from noise.
    Geometric {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
    },
    /// `beta_start + logistic(range (2u - 1)) (beta_end - beta_start)`; `range = 6` is diffusers' `sigmoid`.
    BetaSigmoid {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
        /// Above 0, at most 100. Default 6.
        #[serde(default = "six")]
        range: f64,
    },
    /// `beta_start + (1 + tanh(range (2u - 1))) / 2 (beta_end - beta_start)`: `beta_sigmoid` with twice the range.
    BetaTanh {
        /// In (0, 1). Default 1e-4.
        #[serde(default = "beta_start")]
        beta_start: f64,
        /// In (0, 1), at least `beta_start`. Default 0.02.
        #[serde(default = "beta_end")]
        beta_end: f64,
        /// Above 0, at most 100. Default 6.
        #[serde(default = "six")]
        range: f64,
    },
    /// alpha-bar proportional to `cos^2(pi/2 (v + s) / (1 + s))`, 1 at v = 0: Nichol & Dhariwal, eq. 17. beta is at most 0.999.
    Cosine {
        /// Offset that keeps the first betas from vanishing, in [0, 1). Default 0.008.
        #[serde(default = "cosine_s")]
        s: f64,
    },
    /// alpha-bar is `logistic(-(start + v (end - start)) / tau)`, shifted and scaled to 1 at v = 0 and 0 at v = 1: Jabri et al.,
    /// algorithm 1. beta is at most 0.999. Good for images above 64x64.
    Sigmoid {
        /// Below `end`. Default -3.
        #[serde(default = "sigmoid_start")]
        start: f64,
        /// Default 3.
        #[serde(default = "sigmoid_end")]
        end: f64,
        /// Temperature, above 0. Default 1.
        #[serde(default = "one")]
        tau: f64,
    },
    /// alpha-bar is `logistic(-gamma)` with `gamma = gamma_min + u (gamma_max - gamma_min)`: minus log-SNR is a straight line, as at
    /// the start of variational diffusion models (arXiv:2107.00630), appendix H. With it, epsilon and simple weighting the loss
    /// is the bound, but for its ends and a constant factor.
    LogSnr {
        /// Minus log-SNR of the first step, below `gamma_max`. Default -13.3.
        #[serde(default = "gamma_min")]
        gamma_min: f64,
        /// Minus log-SNR of the last step, at most 130. Default 5.
        #[serde(default = "gamma_max")]
        gamma_max: f64,
    },
    /// What diffusers calls `laplace`: `sqrt(alpha-bar(v))` falls like a Laplace distribution's log-SNR (Hang et al., arXiv:2407.03297),
    /// but diffusers takes this root for alpha-bar itself, and so does this. beta is at most 0.999.
    Laplace {},
    /// alpha-bar is `exp(-rate v)`; rate 12 is what diffusers calls `exp`. beta is the same at every step.
    Exponential {
        /// Above 0, at most 130. Default 12.
        #[serde(default = "twelve")]
        rate: f64,
    },
    /// The betas themselves, as many as there are steps.
    CustomBetas {
        /// Each in (0, 1).
        betas: Vec<f64>,
    },
    /// alpha-bar of each step, as many as there are steps.
    CustomAlphaBars {
        /// Each in (0, 1), strictly falling.
        alpha_bars: Vec<f64>,
    },
    /// Minus log-SNR is a monotone network of the time, trained with the denoiser on the bound (arXiv:2107.00630, appendices H and
    /// I.2); it starts as `log_snr`. A finished model holds the curve as `custom_alpha_bars`.
    Learned {
        /// Where minus log-SNR of the first step starts. Default -13.3.
        #[serde(default = "gamma_min")]
        gamma_min: f64,
        /// Where minus log-SNR of the last step starts. Default 5.
        #[serde(default = "gamma_max")]
        gamma_max: f64,
    },
    /// `x = x_0 + sigma eps` with the logarithm of sigma a straight line over the time; see `prediction = "edm"` and
    /// `times = "log_normal"`. The network receives `ln(sigma) / 4`.
    Edm {
        /// Noise of the cleanest step, above 0. Default 0.002.
        #[serde(default = "sigma_min")]
        sigma_min: f64,
        /// Noise of the last step, above `sigma_min`. Default 80.
        #[serde(default = "sigma_max")]
        sigma_max: f64,
    },
    /// `x = (1 - s) x_0 + s eps`, the straight line of rectified flow; see `prediction = "flow"` and `times = "logit_normal"`. The
    /// network receives `s T`.
    Flow {
        /// `s = shift u / (1 + (shift - 1) u)` of the even u; above 0. Default 1, which leaves them even.
        #[serde(default = "one")]
        shift: f64,
    },
    /// The sigmas of `edm`, which the network receives as they are: the VE SDE (Song et al., arXiv:2011.13456).
    Ve {
        /// Noise of the cleanest step, above 0. Default 0.01.
        #[serde(default = "ve_sigma_min")]
        sigma_min: f64,
        /// Noise of the last step, above `sigma_min`. Default 50.
        #[serde(default = "ve_sigma_max")]
        sigma_max: f64,
    },
    /// The sub-VP SDE (Song et al.): the signal of a linear beta, with noise of deviation `1 - alpha^2`.
    SubVp {
        /// beta at the data, at least 0. Default 0.1.
        #[serde(default = "tenth")]
        beta_min: f64,
        /// beta at the end, above `beta_min`. Default 20.
        #[serde(default = "twenty")]
        beta_max: f64,
    },
}

choice! { Schedule:
    Constant = "constant" false, Linear = "linear" false, ScaledLinear = "scaled_linear" false,
    Quadratic = "quadratic" false, Geometric = "geometric" false, BetaSigmoid = "beta_sigmoid" false,
    BetaTanh = "beta_tanh" false, Cosine = "cosine" false, Sigmoid = "sigmoid" false,
    LogSnr = "log_snr" false, Laplace = "laplace" true, Exponential = "exponential" false,
    CustomBetas = "custom_betas" false, CustomAlphaBars = "custom_alpha_bars" false, Learned = "learned" false,
    Edm = "edm" false, Flow = "flow" false, Ve = "ve" false, SubVp = "sub_vp" false,
}

fn beta_start() -> f64 {
    1e-4
}
fn beta_end() -> f64 {
    0.02
}
fn scaled_start() -> f64 {
    0.00085
}
fn scaled_end() -> f64 {
    0.012
}
fn cosine_s() -> f64 {
    0.008
}
fn sigmoid_start() -> f64 {
    -3.0
}
fn sigmoid_end() -> f64 {
    3.0
}
fn gamma_min() -> f64 {
    -13.3
}
fn gamma_max() -> f64 {
    5.0
}
fn one() -> f64 {
    1.0
}
fn sigma_min() -> f64 {
    0.002
}
fn sigma_max() -> f64 {
    80.0
}
fn ve_sigma_min() -> f64 {
    0.01
}
fn ve_sigma_max() -> f64 {
    50.0
}
fn tenth() -> f64 {
    0.1
}
fn twenty() -> f64 {
    20.0
}
fn twelve() -> f64 {
    12.0
}
fn six() -> f64 {
    6.0
}

impl Default for Schedule {
    /// Cosine with s = 0.008.
    fn default() -> Self {
        Self::Cosine { s: cosine_s() }
    }
}

impl Schedule {
    /// Every discrete schedule that is a formula, with its documented defaults: what `difusi schedule` draws.
    pub fn examples() -> [Self; 12] {
        let (beta_start, beta_end) = (beta_start(), beta_end());
        [
            Self::Constant { beta: beta_end },
            Self::Linear { beta_start, beta_end, rescale: false },
            Self::ScaledLinear { beta_start: scaled_start(), beta_end: scaled_end() },
            Self::Quadratic { beta_start, beta_end },
            Self::Geometric { beta_start, beta_end },
            Self::BetaSigmoid { beta_start, beta_end, range: six() },
            Self::BetaTanh { beta_start, beta_end, range: six() },
            Self::default(),
            Self::Sigmoid { start: sigmoid_start(), end: sigmoid_end(), tau: one() },
            Self::LogSnr { gamma_min: gamma_min(), gamma_max: gamma_max() },
            Self::Laplace {},
            Self::Exponential { rate: twelve() },
        ]
    }

    /// Those with their documented defaults that `examples` leaves out: trained or continuous.
    pub fn others() -> [Self; 5] {
        [
            Self::Learned { gamma_min: gamma_min(), gamma_max: gamma_max() },
            Self::Edm { sigma_min: sigma_min(), sigma_max: sigma_max() },
            Self::Flow { shift: 1.0 },
            Self::Ve { sigma_min: ve_sigma_min(), sigma_max: ve_sigma_max() },
            Self::SubVp { beta_min: tenth(), beta_max: twenty() },
        ]
    }

    /// The schedule with these values of minus log-SNR, step by step: what became of a learned one.
    ///
    /// # Errors
    /// [`ProcessError::Values`] unless they rise strictly and stay where alpha-bar is neither 0 nor 1.
    pub fn from_gammas(gammas: &[f64]) -> Result<Self, ProcessError> {
        let alpha_bars = gammas.iter().map(|gamma| 1.0 / (1.0 + gamma.exp())).collect();
        let schedule = Self::CustomAlphaBars { alpha_bars };
        all_good(schedule.check(gammas.len())).map(|()| schedule)
    }

    /// Whether time is divided into steps with betas.
    pub fn is_discrete(&self) -> bool {
        !matches!(self, Self::Edm { .. } | Self::Flow { .. } | Self::Ve { .. } | Self::SubVp { .. })
    }

    /// The tables of a process with `timesteps` steps.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Schedule::check`] finds; [`ProcessError::Continuous`] where there are no betas.
    pub fn tables(&self, timesteps: usize) -> Result<Tables, ProcessError> {
        match self.process(timesteps)? {
            Process::Discrete(tables) => Ok(tables),
            other => other.tables().cloned(),
        }
    }

    /// The process with `timesteps` steps; of a learned schedule, as it starts.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Schedule::check`] finds.
    pub fn process(&self, timesteps: usize) -> Result<Process, ProcessError> {
        all_good(self.check(timesteps))?;
        Ok(match *self {
            Self::Edm { sigma_min, sigma_max } => Process::Edm { sigma_min, sigma_max, timesteps },
            Self::Flow { shift } => Process::Flow { shift, timesteps },
            Self::Ve { sigma_min, sigma_max } => Process::Ve { sigma_min, sigma_max, timesteps },
            Self::SubVp { beta_min, beta_max } => Process::SubVp { beta_min, beta_max, timesteps },
            _ => Process::Discrete(Tables::from_betas(self.betas(timesteps))),
        })
    }
}
