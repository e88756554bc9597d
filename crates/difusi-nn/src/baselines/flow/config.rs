//! The configuration of the flow: what may stand in it, and what follows from it.

use difusi_core::ImageSize;
use serde::{Deserialize, Serialize};

use crate::baselines::check::{check_divisible, check_width};
use crate::error::ConfigIssue;

/// A normalizing flow of the RealNVP and Glow kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowConfig {
    /// How often 2x2 pixels become channels, 0 to 8; but after the last time half of the channels then leave as latents. Default 2.
    #[serde(default = "levels")]
    pub levels: usize,
    /// Steps on each level (a scale and shift per channel, an invertible 1x1 convolution, an affine coupling of two halves of
    /// the channels), 0 to 256. Default 8.
    #[serde(default = "steps")]
    pub steps: usize,
    /// Affine couplings of two halves of a checkerboard of pixels before the first level, 0 to 64. Default 2.
    #[serde(default = "checkerboard")]
    pub checkerboard: usize,
    /// Width of the networks inside the couplings of channels; 1 to 65536. Default 64.
    #[serde(default = "dim")]
    pub dim: usize,
    /// Width of those inside the couplings of pixels; 1 to 65536. Default 32.
    #[serde(default = "checkerboard_dim")]
    pub checkerboard_dim: usize,
    /// Channels of the image. Default: the data's in a run, 1 in the library.
    #[serde(default = "channels")]
    pub channels: usize,
}

fn levels() -> usize {
    2
}

fn steps() -> usize {
    8
}

fn checkerboard() -> usize {
    2
}

fn dim() -> usize {
    64
}

fn checkerboard_dim() -> usize {
    32
}

fn channels() -> usize {
    1
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            levels: levels(),
            steps: steps(),
            checkerboard: checkerboard(),
            dim: dim(),
            checkerboard_dim: checkerboard_dim(),
            channels: channels(),
        }
    }
}

impl FlowConfig {
    /// Everything in this configuration that is not accepted; empty if it is usable.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let widths = [("dim", self.dim), ("checkerboard_dim", self.checkerboard_dim), ("channels", self.channels)];
        let mut issues: Vec<_> = widths.into_iter().filter_map(|(key, width)| check_width(key, width)).collect();
        for (key, value, most) in
            [("levels", self.levels, 8), ("steps", self.steps, 256), ("checkerboard", self.checkerboard, 64)]
        {
            if value > most {
                issues.push(ConfigIssue::new(key, value, format!("a whole number from 0 to {most}")));
            }
        }
        if self.levels * self.steps + self.checkerboard == 0 {
            let accepted = "1 or more, where there are no steps on any level: such a flow would have no weights";
            issues.push(ConfigIssue::new("checkerboard", self.checkerboard, accepted));
        }
        issues
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        let factor = 1 << self.levels.min(16);
        check_divisible(key, size, factor, &format!("`levels` halves the image {} times", self.levels))
    }

    /// Channels on each level.
    pub(super) fn level_channels(&self) -> Vec<usize> {
        let mut channels = self.channels;
        let level = |i: usize| {
            channels = 4 * if i > 0 { channels / 2 } else { channels };
            channels
        };
        (0..self.levels).map(level).collect()
    }

    /// Bytes of activations that training keeps for one image: an estimate.
    pub fn training_bytes(&self, size: ImageSize) -> usize {
        // A coupling's network: three convolutions, two norms; then the elementwise steps of the coupling.
        let one = |pixels: usize, dim: usize, channels: usize| pixels * (5 * dim + 8 * channels);
        let level =
            |(i, channels): (usize, usize)| self.steps * one(size.pixels() >> (2 * (i + 1)), self.dim, channels);
        let levels: usize = self.level_channels().into_iter().enumerate().map(level).sum();
        4 * (levels + self.checkerboard * one(size.pixels(), self.checkerboard_dim, 2 * self.channels))
    }
}
