//! A classifier of noisy images: the way down of ADM, and attention that pools what it finds (Dhariwal & Nichol 2021, arXiv:2105.05233,
//! section 4.1 and appendix A; the pool is that of CLIP, arXiv:2103.00020).
//!
//! Its gradient in the image leads a diffusion model to a class. Deliberately absent: other pools, features for judges.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use difusi_core::{ImageSize, Noise};
use difusi_ops::AttentionKind;

use super::{AdmConfig, DownBlock, Heads, MidBlock, Modulation, Resample, TimeMlp, attend};
use crate::error::{ConfigIssue, NnError};
use crate::layers::{Conv2d, Either, GroupNorm, Init, Linear};
use crate::unet::ddp::PerStage;

/// Groups of its norms, or as many as divide the first stage's width.
const GROUPS: usize = 32;

/// The network, as `[model]` with `kind = "classifier"` and `noisy = true` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Classes it tells apart.
    pub classes: usize,
    /// Width; stage i is `dim * dim_mults[i]` wide.
    pub dim: usize,
    /// One multiple of `dim` per stage; between two stages the image is halved.
    pub dim_mults: Vec<usize>,
    /// Channels of the image.
    pub channels: usize,
    /// Residual blocks of a stage.
    pub res_blocks: usize,
    /// Width of a head of attention, which the middle, the pool and the stages of `attention` have.
    pub head_width: usize,
    /// Whether each stage has attention; `None` is the innermost alone.
    pub attention: Option<PerStage<bool>>,
}

impl EncoderConfig {
    /// The way down, as the U-Net has it.
    pub(super) fn adm(&self) -> AdmConfig {
        let innermost = self.dim_mults.len().saturating_sub(1);
        let usual = || PerStage::Each((0..self.dim_mults.len()).map(|i| i == innermost).collect());
        let attention = self.attention.clone().unwrap_or_else(usual);
        AdmConfig {
            dim_mults: self.dim_mults.clone(),
            channels: self.channels,
            res_blocks: self.res_blocks,
            attention,
            heads: Heads::Width { width: self.head_width },
            groups: (1..=GROUPS).rev().find(|g| self.dim.is_multiple_of(*g)).unwrap_or(1),
            modulation: Modulation::ScaleShift,
            resample: Resample::Blocks,
            ..AdmConfig::new(self.dim)
        }
    }

    /// Everything in this configuration that is not accepted.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let renamed = |mut issue: ConfigIssue| {
            if issue.key == "heads.width" {
                issue.key = "head_width".into();
            }
            issue
        };
        self.adm().check().into_iter().map(renamed).collect()
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        self.adm().check_size(key, size)
    }

    /// Bytes of activations that training keeps for one image: an estimate, half of what the U-Net of these blocks keeps.
    ///
    /// # Errors
    /// As [`EncoderConfig::init`].
    pub fn training_bytes(&self, size: ImageSize) -> Result<usize, NnError> {
        Ok(self.adm().cost(size)?.training_bytes / 2)
    }

    /// A network for images of `size` with initial weights from `noise`: the same bits everywhere.
    ///
    /// # Errors
    /// Where [`EncoderConfig::check`] or [`EncoderConfig::check_size`] finds anything.
    pub fn init(&self, size: ImageSize, noise: Noise, device: &Device) -> Result<NoisyClassifier, NnError> {
        let mut issues = self.check();
        if issues.is_empty() {
            issues.extend(self.check_size("size", size));
        }
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let (adm, root) = (self.adm(), Init::new(noise, device));
        let (first, last) = (self.dim * self.dim_mults[0], self.dim * self.dim_mults[adm.stages() - 1]);
        let (mut skips, time, factor) = (vec![first], root.at("time_embedding"), adm.downsample_factor());
        let down = |i: usize| adm.down(&root.at("down_blocks").at(i), i, &mut skips);
        Ok(NoisyClassifier {
            conv_in: Conv2d::glorot(&root.at("conv_in"), [self.channels, first], 3),
            time_embedding: TimeMlp {
                linear_1: Linear::glorot(&time.at("linear_1"), [adm.sinusoids(), adm.told()]),
                linear_2: Linear::glorot(&time.at("linear_2"), [adm.told(); 2]),
            },
            down_blocks: (0..adm.stages()).map(down).collect(),
            mid_block: adm.middle(&root.at("mid_block"), last),
            norm_out: GroupNorm::of(&root.at("norm_out"), last, adm.norm()),
            pool: Pool::new(&root.at("pool"), [size.pixels() / (factor * factor), last, self.classes], self.head_width),
            config: adm,
            classes: self.classes,
        })
    }
}

/// The mean over the pixels asks all of them and itself; a place of its own is added to each.
#[derive(Module, Debug)]
struct Pool {
    places: Param<Tensor<2>>,
    qkv: Linear,
    out: Linear,
    heads: usize,
}

impl Pool {
    fn new(init: &Init<'_>, [pixels, channels, classes]: [usize; 3], head_width: usize) -> Self {
        let bound = (3.0 / channels as f64).sqrt(); // of variance 1 / channels
        Self {
            places: init.at("places").uniform([pixels + 1, channels], bound),
            qkv: Linear::new(&init.at("qkv"), [channels, 3 * channels]),
            out: Linear::new(&init.at("out"), [channels, classes]),
            heads: channels / head_width,
        }
    }

    /// `[B, H, W, C]` -> `[B, classes]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, height, width, channels] = x.dims();
        let pixels = x.reshape([batch, height * width, channels]);
        let tokens = Tensor::cat(vec![pixels.clone().mean_dim(1), pixels], 1) + self.places.val().unsqueeze::<3>();
        let found = difusi_ops::self_attention(self.qkv.forward(tokens), None, self.heads, AttentionKind::Full);
        self.out.forward(found.narrow(1, 0, 1).reshape([batch, channels]))
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct NoisyClassifier {
    conv_in: Conv2d,
    time_embedding: TimeMlp,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    norm_out: GroupNorm,
    pool: Pool,
    #[module(skip)]
    config: AdmConfig,
    classes: usize,
}

impl NoisyClassifier {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// `log p(class | x_t)`: `x_t` `[B, H, W, C]` of the size it was made for, `t` `[B]`, the times as a diffusion network receives them
    /// -> `[B, classes]`.
    pub fn forward(&self, x_t: Tensor<4>, t: Tensor<1>) -> Tensor<2> {
        let TimeMlp { linear_1, linear_2 } = &self.time_embedding;
        let told = activation::silu(linear_2.forward(activation::silu(linear_1.forward(self.config.embed(t)))));
        let mut x = self.conv_in.forward(x_t);
        for down in &self.down_blocks {
            for (i, block) in down.resnets.iter().enumerate() {
                x = attend(&down.attentions, i, block.forward(x, told.clone(), None), None);
            }
            if let Some(Either::Right(block)) = down.downsamplers.first() {
                x = block.forward(x, told.clone(), None);
            }
        }
        for (i, block) in self.mid_block.resnets.iter().enumerate() {
            x = attend(&self.mid_block.attentions, i, block.forward(x, told.clone(), None), None);
        }
        activation::log_softmax(self.pool.forward(self.norm_out.forward_silu(x)), 1)
    }
}
