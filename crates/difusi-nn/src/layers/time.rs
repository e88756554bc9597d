//! Embeddings of the time: fixed sinusoids (Vaswani et al. 2017, arXiv:1706.03762) or sinusoids of learned or random
//! frequencies (Tancik et al. 2020, arXiv:2006.10739), which also pass the time itself on.

use std::f64::consts::PI;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::Init;

/// Which frequencies the time is embedded with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeFrequencies {
    /// `theta^(-i / (dim/2 - 1))`, `i` in `0..dim/2`, where `dim` is the network's.
    Sinusoidal {
        /// The longest wavelength over 2 pi; above 0.
        #[serde(default = "default_theta")]
        theta: f64,
    },
    /// `dim / 2` frequencies, learned, standard normal at first.
    Learned {
        /// Even.
        #[serde(default = "default_dim")]
        dim: usize,
    },
    /// `dim / 2` standard normal frequencies that training leaves as they are.
    RandomFourier {
        /// Even.
        #[serde(default = "default_dim")]
        dim: usize,
    },
}

fn default_theta() -> f64 {
    10_000.0
}

fn default_dim() -> usize {
    16
}

impl Default for TimeFrequencies {
    fn default() -> Self {
        Self::Sinusoidal { theta: default_theta() }
    }
}

impl TimeFrequencies {
    /// Width of the embedding in a network of width `dim`.
    pub fn width(&self, dim: usize) -> usize {
        match *self {
            Self::Sinusoidal { .. } => dim,
            Self::Learned { dim } | Self::RandomFourier { dim } => dim + 1,
        }
    }
}

/// Time to a vector of sines and cosines.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    weights: Option<Param<Tensor<1>>>,
    #[module(skip)]
    fixed: Vec<f32>,
}

impl TimeEmbedding {
    /// For a network of width `dim`; fixed sinusoids need an even one, 4 or more.
    pub fn new(init: &Init<'_>, frequencies: TimeFrequencies, dim: usize) -> Self {
        let init = init.at("weights");
        match frequencies {
            TimeFrequencies::Sinusoidal { theta } => Self { weights: None, fixed: sinusoids(dim / 2, theta) },
            TimeFrequencies::Learned { dim } => Self { weights: Some(init.normal([dim / 2], true)), fixed: vec![] },
            TimeFrequencies::RandomFourier { dim } => {
                Self { weights: Some(init.normal([dim / 2], false)), fixed: vec![] }
            }
        }
    }

    /// `[B]` -> `[B, width]`: sines, then cosines; with learned or random frequencies the time before them.
    pub fn forward(&self, t: Tensor<1>) -> Tensor<2> {
        let t = t.unsqueeze_dim::<2>(1); // [B, 1]
        match &self.weights {
            Some(weights) => {
                let angles = t.clone() * weights.val().unsqueeze::<2>() * 2.0 * PI; // [B, dim / 2]
                Tensor::cat(vec![t, angles.clone().sin(), angles.cos()], 1)
            }
            None => {
                let frequencies = TensorData::new(self.fixed.clone(), [1, self.fixed.len()]);
                let angles = t.clone() * Tensor::<2>::from_data(frequencies, &t.device());
                Tensor::cat(vec![angles.clone().sin(), angles.cos()], 1)
            }
        }
    }
}

/// The exponents are rounded to `f32` as the peer's are: at t = 999 a frequency's last bit shows in the sine's fourth digit.
fn sinusoids(half: usize, theta: f64) -> Vec<f32> {
    let step = -(theta.ln() / (half as f64 - 1.0)) as f32;
    (0..half).map(|i| f64::from(i as f32 * step).exp() as f32).collect()
}
