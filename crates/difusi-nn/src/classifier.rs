//! A small residual network that tells classes apart: He et al. 2016 in the order of "identity mappings" (arXiv:1603.05027), with
//! group norm. Its features, one vector per image before the last layer, are what generated pictures are judged by.
//!
//! With `noisy = true` the network is another one, of noisy images ([`crate::unet::adm::NoisyClassifier`]): what leads a diffusion model to
//! a class. Deliberately absent: dropout, augmentation.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use difusi_core::{ImageSize, Noise};
use serde::{Deserialize, Serialize};

use crate::baselines::{Pyramid, groups};
use crate::error::{ConfigIssue, NnError};
use crate::layers::{Conv2d, GroupNorm, Init, Linear, PixelUnshuffle};
use crate::unet::adm::EncoderConfig;
use crate::unet::ddp::PerStage;

/// A residual classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Number of classes, 2 to 65536: the data's. No default.
    pub classes: usize,
    /// Width; stage i is `dim * dim_mults[i]` wide, and the features are as many as the last stage is wide. 1 to 65536. Default 16.
    #[serde(default = "dim")]
    pub dim: usize,
    /// One multiple of `dim` per stage, 1 to 16 stages; between two stages the image is halved. Default `[1, 2, 4]`.
    #[serde(default = "dim_mults")]
    pub dim_mults: Vec<usize>,
    /// Channels of the image. Default: the data's in a run, 1 in the library.
    #[serde(default = "channels")]
    pub channels: usize,
    /// Whether it is shown noisy images and their time, to lead a diffusion model (`difusi sample --classifier`): the way down of ADM with
    /// a pool of attention, and a section `[diffusion]` that says the noise. Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noisy: bool,
    /// With `noisy`, residual blocks of a stage, 1 to 64. Default 1.
    #[serde(default = "res_blocks", skip_serializing_if = "is_usual_res_blocks")]
    pub res_blocks: usize,
    /// With `noisy`, the width of a head of attention; it must divide the widths of the last stage and of
    /// every stage with attention. Default 32.
    #[serde(default = "head_width", skip_serializing_if = "is_usual_head_width")]
    pub head_width: usize,
    /// With `noisy`, whether there is attention after each block of a stage; one value, or one per stage, outermost first. Default the
    /// innermost stage alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<PerStage<bool>>,
}

fn dim() -> usize {
    16
}

fn dim_mults() -> Vec<usize> {
    vec![1, 2, 4]
}

fn channels() -> usize {
    1
}

fn res_blocks() -> usize {
    1
}

fn head_width() -> usize {
    32
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_default(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_usual_res_blocks(value: &usize) -> bool {
    *value == res_blocks()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_usual_head_width(value: &usize) -> bool {
    *value == head_width()
}

impl ClassifierConfig {
    /// For `classes` classes of grey pictures, everything else at its default.
    pub fn new(classes: usize) -> Self {
        let (dim, dim_mults, channels) = (dim(), dim_mults(), channels());
        let (res_blocks, head_width) = (res_blocks(), head_width());
        Self { classes, dim, dim_mults, channels, noisy: false, res_blocks, head_width, attention: None }
    }

    /// The network of noisy images that it describes, where it does.
    pub fn encoder(&self) -> Option<EncoderConfig> {
        let Self { classes, dim, dim_mults, channels, noisy, res_blocks, head_width, attention } = self.clone();
        noisy.then_some(EncoderConfig { classes, dim, dim_mults, channels, res_blocks, head_width, attention })
    }

    fn pyramid(&self) -> Pyramid<'_> {
        Pyramid { dim: self.dim, dim_mults: &self.dim_mults, channels: self.channels }
    }

    /// Everything in this configuration that is not accepted; empty if it is usable.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = match self.encoder() {
            Some(encoder) => encoder.check(),
            None => self.pyramid().check(),
        };
        let mut of_noise = |key: &str, value: &dyn std::fmt::Debug, is_usual: bool| {
            if !self.noisy && !is_usual {
                issues.push(ConfigIssue::new(key, value, "no such key, or `noisy = true`, whose network has it"));
            }
        };
        of_noise("res_blocks", &self.res_blocks, self.res_blocks == res_blocks());
        of_noise("head_width", &self.head_width, self.head_width == head_width());
        of_noise("attention", &self.attention, self.attention.is_none());
        if !(2..=65_536).contains(&self.classes) {
            issues.push(ConfigIssue::new("classes", self.classes, "a whole number from 2 to 65536"));
        }
        issues
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        if let Some(encoder) = self.encoder() {
            return encoder.check_size(key, size);
        }
        self.pyramid().check_size(key, size)
    }

    /// Bytes of activations that training keeps for one image: an estimate.
    pub fn training_bytes(&self, size: ImageSize) -> usize {
        4 * 7 * self.pyramid().activations(size)
    }

    /// A network of clean images with initial weights from `noise`: the same bits everywhere. Weights are drawn when first read.
    ///
    /// # Errors
    /// Where [`ClassifierConfig::check`] finds anything.
    pub fn init(&self, noise: Noise, device: &Device) -> Result<Classifier, NnError> {
        let issues = self.check();
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let (root, widths) = (Init::new(noise, device), self.pyramid().widths());
        let [first, last] = [widths.first(), widths.last()].map(|w| w.copied().unwrap_or_default());
        let block = |(i, w): (usize, &usize)| Block::new(&root.at("blocks").at(i), *w);
        let down = |(i, w): (usize, &[usize])| Conv2d::new(&root.at("downs").at(i), [4 * w[0], w[1]], 1);
        Ok(Classifier {
            stem: Conv2d::new(&root.at("stem"), [self.channels, first], 3),
            blocks: widths.iter().enumerate().map(block).collect(),
            downs: widths.windows(2).enumerate().map(down).collect(),
            norm_out: GroupNorm::new(&root.at("norm_out"), last, groups(last)),
            out: Linear::new(&root.at("out"), [last, self.classes]),
            features: last,
            classes: self.classes,
        })
    }
}

/// `x + conv(silu(norm(conv(silu(norm(x))))))`.
#[derive(Module, Debug)]
struct Block {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
}

impl Block {
    fn new(init: &Init<'_>, width: usize) -> Self {
        let norm = |name: &str| GroupNorm::new(&init.at(name), width, groups(width));
        let conv = |name: &str| Conv2d::new(&init.at(name), [width, width], 3);
        Self { norm1: norm("norm1"), conv1: conv("conv1"), norm2: norm("norm2"), conv2: conv("conv2") }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [x, residual] = difusi_ops::fork(x);
        let h = self.conv1.forward(self.norm1.forward_silu(x));
        difusi_ops::add(self.conv2.forward(self.norm2.forward_silu(h)), residual)
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Classifier {
    stem: Conv2d,
    blocks: Vec<Block>,
    downs: Vec<Conv2d>,
    norm_out: GroupNorm,
    out: Linear,
    features: usize,
    classes: usize,
}

impl Classifier {
    /// Number of features.
    pub fn dim(&self) -> usize {
        self.features
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// What the last layer sees: `[B, H, W, C]` in [-1, 1] -> `[B, dim]`, means over the pixels.
    pub fn features(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = self.stem.forward(x);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if let Some(down) = self.downs.get(i) {
                x = down.forward(PixelUnshuffle.forward(x));
            }
        }
        let x = self.norm_out.forward_silu(x);
        let [b, h, w, c] = x.dims();
        let by_channel = x.reshape([b, h * w, c]).swap_dims(1, 2).reshape([b * c, h * w]);
        difusi_ops::row_sums(by_channel).reshape([b, c]) / (h * w) as f64
    }

    /// The last layer: features `[B, dim]` -> logits `[B, classes]`.
    pub fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.out.forward(features)
    }

    /// `log p(class | x)`: `[B, H, W, C]` -> `[B, classes]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        activation::log_softmax(self.logits(self.features(x)), 1)
    }
}
