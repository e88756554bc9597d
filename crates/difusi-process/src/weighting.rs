//! How much each time counts in the loss.
//!
//! Weights are defined by what they do to the squared error of x_0 (DDPM, arXiv:2006.11239, section 3.4; min-SNR: Hang et al.,
//! arXiv:2303.09556, section 3.4) and converted to the network's output, so that one name means one thing for every prediction.

use serde::{Deserialize, Serialize};

use crate::{
    Level, Prediction,
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
}

choice! { Weighting: Simple = "simple" true, Snr = "snr" true, MinSnr = "min_snr" false }

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
        checks.0
    }

    /// Factor of the loss on the output of `prediction` at `level`.
    pub fn weight(self, prediction: Prediction, level: Level) -> f64 {
        let snr = level.snr();
        match self {
            Self::Simple {} => 1.0,
            Self::Snr {} => snr / prediction.squared_gain(level),
            Self::MinSnr { gamma } => snr.min(gamma) / prediction.squared_gain(level),
        }
    }
}
