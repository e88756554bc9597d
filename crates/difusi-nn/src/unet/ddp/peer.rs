//! The peer's own words: the arguments of its `Unet`, as `--config` files give them.

use serde::{Deserialize, Serialize};

use super::config::defaults;
use super::{Downsample, PerStage, UnetConfig};
use crate::layers::TimeFrequencies;

/// The arguments of `Unet` in denoising-diffusion-pytorch 2.3.4, under their names and with their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetArgs {
    /// Width.
    pub dim: usize,
    /// Width after the first convolution; `dim` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_dim: Option<usize>,
    /// Channels of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_dim: Option<usize>,
    /// One multiple of `dim` per stage.
    #[serde(default = "defaults::dim_mults")]
    pub dim_mults: Vec<usize>,
    /// Channels of the image.
    #[serde(default = "defaults::channels")]
    pub channels: usize,
    /// Whether the network also receives its previous estimate of x_0.
    #[serde(default)]
    pub self_condition: bool,
    /// Whether the output also holds a variance.
    #[serde(default)]
    pub learned_variance: bool,
    /// Learned frequencies of the time.
    #[serde(default)]
    pub learned_sinusoidal_cond: bool,
    /// Random frequencies of the time; wins over the former.
    #[serde(default)]
    pub random_fourier_features: bool,
    /// Twice the number of learned or random frequencies.
    #[serde(default = "learned_sinusoidal_dim")]
    pub learned_sinusoidal_dim: usize,
    /// Longest wavelength of the fixed frequencies.
    #[serde(default = "sinusoidal_pos_emb_theta")]
    pub sinusoidal_pos_emb_theta: f64,
    /// Probability of dropping a value in training.
    #[serde(default)]
    pub dropout: f64,
    /// Width of an attention head.
    #[serde(default = "defaults::attn_dim_head")]
    pub attn_dim_head: PerStage<usize>,
    /// Attention heads.
    #[serde(default = "defaults::attn_heads")]
    pub attn_heads: PerStage<usize>,
    /// Which stages have softmax attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_attn: Option<PerStage<bool>>,
    /// Which implementation of softmax attention the peer runs. It changes no result and is not kept.
    #[serde(default)]
    pub flash_attn: bool,
}

fn learned_sinusoidal_dim() -> usize {
    16
}

fn sinusoidal_pos_emb_theta() -> f64 {
    10_000.0
}

impl From<UnetArgs> for UnetConfig {
    fn from(args: UnetArgs) -> Self {
        let dim = args.learned_sinusoidal_dim;
        let time = match (args.random_fourier_features, args.learned_sinusoidal_cond) {
            (true, _) => TimeFrequencies::RandomFourier { dim },
            (false, true) => TimeFrequencies::Learned { dim },
            (false, false) => TimeFrequencies::Sinusoidal { theta: args.sinusoidal_pos_emb_theta },
        };
        Self {
            dim: args.dim,
            init_dim: args.init_dim,
            out_dim: args.out_dim,
            dim_mults: args.dim_mults,
            channels: args.channels,
            self_condition: args.self_condition,
            learned_variance: args.learned_variance,
            fourier: Vec::new(),
            classes: None,
            time,
            dropout: args.dropout,
            attn_dim_head: args.attn_dim_head,
            attn_heads: args.attn_heads,
            attn_memory: defaults::attn_memory(),
            downsample: Downsample::default(),
            full_attn: args.full_attn,
        }
    }
}

impl From<UnetConfig> for UnetArgs {
    fn from(config: UnetConfig) -> Self {
        let (theta, width) = match config.time {
            TimeFrequencies::Sinusoidal { theta } => (theta, learned_sinusoidal_dim()),
            TimeFrequencies::Learned { dim } | TimeFrequencies::RandomFourier { dim } => {
                (sinusoidal_pos_emb_theta(), dim)
            }
        };
        Self {
            dim: config.dim,
            init_dim: config.init_dim,
            out_dim: config.out_dim,
            dim_mults: config.dim_mults,
            channels: config.channels,
            self_condition: config.self_condition,
            learned_variance: config.learned_variance,
            learned_sinusoidal_cond: matches!(config.time, TimeFrequencies::Learned { .. }),
            random_fourier_features: matches!(config.time, TimeFrequencies::RandomFourier { .. }),
            learned_sinusoidal_dim: width,
            sinusoidal_pos_emb_theta: theta,
            dropout: config.dropout,
            attn_dim_head: config.attn_dim_head,
            attn_heads: config.attn_heads,
            full_attn: config.full_attn,
            flash_attn: false,
        }
    }
}
