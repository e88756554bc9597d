//! How much each time counts in the loss.
//!
//! Weights are defined by what they do to the squared error of x_0 (DDPM, arXiv:2006.11239, section 3.4; min-SNR: Hang et al.,
//! arXiv:2303.09556, section 3.4; the bound: Kingma et al., arXiv:2107.00630, eq. 14; P2: Choi et al.,
//! arXiv:2204.00227, eq. 8) and converted to the network's output, so that one name means one thing for every prediction.

use serde::{Deserialize, Serialize};

use crate::{
    Diffusion, Jump, Level,
    choice::choice,
    error::{Checks, ValueError},
};

/// Factor of each image's loss, by its step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weighting {
    /// 1 on the network's own output: L_simple, DDPM eq. 14.
    Simple {},
    /// SNR on the error of x_0, which is 1 on the error of eps: what denoising-diffusion-pytorch does for every prediction.
    Snr {},
    /// `min(SNR, gamma)` on the error of x_0.
    MinSnr {
        /// Above 0. Default 5.
        #[serde(default = "five")]
        gamma: f64,
    },
    /// `T / 2 (SNR(t - 1) - SNR(t))` on the error of x_0: with `l2` and uniform times the mean loss is the bound without its constant
    /// end, in nats per number. At the first step: see [`Process::bound_weight`].
    Vlb {},
    /// `SNR / (k + SNR)^gamma` on the error of x_0: perception prioritised.
    P2 {
        /// Above 0. Default 1.
        #[serde(default = "one")]
        k: f64,
        /// At least 0; 0 is `snr`. Default 1.
        #[serde(default = "one")]
        gamma: f64,
    },
    /// `1 / (2 sigma_t^2)` on the error of the posterior mean, sigma_t^2 being the `variance` (DDPM eq. 8); at the first step, where
    /// that is 0, as `vlb`. With `fixed_small` it is `vlb` over T.
    PosteriorMean {},
}

choice! { Weighting:
    Simple = "simple" true, Snr = "snr" true, MinSnr = "min_snr" false, Vlb = "vlb" true, P2 = "p2" false,
    PosteriorMean = "posterior_mean" true,
}

fn one() -> f64 {
    1.0
}
fn five() -> f64 {
    5.0
}

impl Default for Weighting {
    /// Simple.
    fn default() -> Self {
        Self::Simple {}
    }
}

impl Weighting {
    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        if let Self::MinSnr { gamma } = self {
            checks.require(*gamma > 0.0 && gamma.is_finite(), "weighting.gamma", gamma, "a number above 0");
        }
        if let Self::P2 { k, gamma } = self {
            checks.require(*k > 0.0 && k.is_finite(), "weighting.k", k, "a number above 0");
            checks.require(*gamma >= 0.0 && gamma.is_finite(), "weighting.gamma", gamma, "a number, 0 or more");
        }
        checks.0
    }
}

impl Diffusion {
    /// Factor of the loss on the network's output at `level`.
    pub fn weight(&self, level: Level) -> f64 {
        let snr = level.snr();
        let on_x0 = match self.weighting {
            Weighting::Simple {} => return 1.0,
            Weighting::Snr {} => snr,
            Weighting::MinSnr { gamma } => snr.min(gamma),
            Weighting::P2 { k, gamma } => snr / (k + snr).powf(gamma),
            Weighting::Vlb {} => self.process.bound_weight(level),
            Weighting::PosteriorMean {} if level.alpha_prev == 1.0 => {
                self.process.bound_weight(level) / self.process.timesteps() as f64
            }
            Weighting::PosteriorMean {} => {
                let jump = Jump { from: level, to: level.before() };
                jump.posterior_mean().0.powi(2) / (2.0 * self.variance.of(jump))
            }
        };
        on_x0 / self.prediction.squared_gain(level)
    }
}
