//! How much each time counts in the loss.
//!
//! Weights are defined by what they do to the squared error of x_0 (DDPM, arXiv:2006.11239, section 3.4; min-SNR: Hang et al.,
//! arXiv:2303.09556, section 3.4; the bound: Kingma et al., arXiv:2107.00630, eq. 14) and converted to the network's output, so that one name means one thing for every prediction.

use serde::{Deserialize, Serialize};

use crate::{
    Level, Prediction, Process,
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
}

choice! { Weighting: Simple = "simple" true, Snr = "snr" true, MinSnr = "min_snr" false, Vlb = "vlb" true }

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

    /// Factor of the loss on the output of `prediction` at `level` of `process`.
    pub fn weight(self, prediction: Prediction, level: Level, process: &Process) -> f64 {
        let snr = level.snr();
        match self {
            Self::Simple {} => 1.0,
            Self::Snr {} => snr / prediction.squared_gain(level),
            Self::MinSnr { gamma } => snr.min(gamma) / prediction.squared_gain(level),
            Self::Vlb {} => process.bound_weight(level) / prediction.squared_gain(level),
        }
    }
}
