//! The parts of the network: residual blocks, attention, and what halves and doubles the image.

use burn::module::Module;
use burn::tensor::Tensor;
use difusi_core::{Dropout, Tokens};
use difusi_ops::{AttentionKind, Groups};

use super::Modulation;
use crate::layers::{Conv2d, CrossAttention, CrossAttentionSpec, GroupNorm, Init, Linear, Nearest, drop_values};

/// What happens to the size of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing.
    Level,
    /// Halved, by means of 2x2 pixels.
    Down,
    /// Doubled, by equal pixels.
    Up,
}

/// How all blocks of a network are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockKind {
    pub(super) norm: Groups,
    pub(super) modulation: Modulation,
    pub(super) told: usize,
    pub(super) dropout: f64,
}

/// `conv2(drop(silu(norm2(conv1(silu(norm1(x)))))))`, told of the time at the second norm, plus x, which goes through a 1x1 convolution if the
/// widths differ (arXiv:2006.11239, appendix B). The last convolution starts at zero.
#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    dropout: f64,
    layer: u64,
    #[module(skip)]
    modulation: Modulation,
    #[module(skip)]
    way: Way,
}

impl Block {
    pub(super) fn new(init: &Init<'_>, [inputs, outputs]: [usize; 2], kind: BlockKind, way: Way) -> Self {
        let told = match kind.modulation {
            Modulation::Add => outputs,
            Modulation::ScaleShift => 2 * outputs,
        };
        let shortcut = || Conv2d::glorot(&init.at("conv_shortcut"), [inputs, outputs], 1);
        Self {
            norm1: GroupNorm::of(&init.at("norm1"), inputs, kind.norm),
            conv1: Conv2d::glorot(&init.at("conv1"), [inputs, outputs], 3),
            time_emb_proj: Linear::glorot(&init.at("time_emb_proj"), [kind.told, told]),
            norm2: GroupNorm::of(&init.at("norm2"), outputs, kind.norm),
            conv2: Conv2d::zeros(&init.at("conv2"), [outputs, outputs], 3),
            conv_shortcut: (inputs != outputs).then(shortcut),
            dropout: kind.dropout,
            layer: init.index(),
            modulation: kind.modulation,
            way,
        }
    }

    /// `x` `[B, H, W, in]`, `told` `[B, told]`, after its SiLU -> `[B, H', W', out]`.
    pub(super) fn forward(&self, x: Tensor<4>, told: Tensor<2>, dropout: Option<Dropout>) -> Tensor<4> {
        let [x, residual] = difusi_ops::fork(x);
        let h = self.norm1.forward_silu(x);
        let (h, residual) = match self.way {
            Way::Level => (self.conv1.forward(h), residual),
            Way::Down => (self.conv1.forward(difusi_ops::downsample_mean2(h)), difusi_ops::downsample_mean2(residual)),
            Way::Up => (Nearest.then(&self.conv1, h), difusi_ops::upsample_nearest2(residual)),
        };
        let told = self.time_emb_proj.forward(told);
        let h = match self.modulation {
            Modulation::Add => self.norm2.forward_silu(difusi_ops::add_to_pixels(h, told)),
            Modulation::ScaleShift => {
                let mut parts = told.chunk(2, 1); // two of [B, out]
                let shift = parts.pop();
                self.norm2.forward_silu_with(h, parts.pop().zip(shift))
            }
        };
        let h = self.conv2.forward(drop_values(h, self.dropout, self.layer, dropout));
        let residual = match &self.conv_shortcut {
            Some(conv) => conv.forward(residual),
            None => residual,
        };
        difusi_ops::add(h, residual)
    }
}

/// Softmax attention over the pixels, after a group norm; its input is added to what it finds. The last map starts at zero. Of a network
/// that is told tokens, then attention to those.
#[derive(Module, Debug)]
pub(super) struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>, // one, whose name has a 0
    cross: Option<CrossAttention>,
    #[module(skip)]
    heads: usize,
}

/// Widths of an attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionWidths {
    pub(super) channels: usize,
    pub(super) heads: usize,
    pub(super) norm: Groups,
    /// Width of a token, where the network is told tokens.
    pub(super) tokens: Option<usize>,
}

impl Attention {
    pub(super) fn new(init: &Init<'_>, widths: AttentionWidths) -> Self {
        let AttentionWidths { channels, heads, norm, tokens } = widths;
        let cross = |tokens| CrossAttentionSpec { channels, tokens, heads, norm };
        let linear = |name: &str| Linear::glorot(&init.at(name), [channels, channels]);
        Self {
            group_norm: GroupNorm::of(&init.at("group_norm"), channels, norm),
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: vec![Linear::zeros(&init.at("to_out.0"), [channels, channels])],
            cross: tokens.map(|width| CrossAttention::new(&init.at("cross"), cross(width))),
            heads,
        }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub(super) fn forward(&self, x: Tensor<4>, tokens: Option<&Tokens>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let [x, residual] = difusi_ops::fork(x);
        let x = self.group_norm.forward(x).reshape([batch, height * width, channels]);
        let [q, k, v] = [&self.to_q, &self.to_k, &self.to_v].map(Linear::matrix);
        let (weight, bias) = (Tensor::cat(vec![q.0, k.0, v.0], 0), Tensor::cat(vec![q.1, k.1, v.1], 0));
        let qkv = difusi_ops::linear(x, weight, Some(bias)); // [B, N, 3 C]
        let y = difusi_ops::self_attention(qkv, None, self.heads, AttentionKind::Full);
        let y = self.to_out.iter().fold(y, |y, linear| linear.forward(y));
        let y = difusi_ops::add(y.reshape([batch, height, width, channels]), residual);
        match &self.cross {
            Some(cross) => cross.forward(y, tokens),
            None => y,
        }
    }
}

/// A 3x3 convolution that halves the image, or doubles it.
#[derive(Module, Debug)]
pub(super) struct Resize {
    conv: Conv2d,
    #[module(skip)]
    way: Way,
    #[module(skip)]
    border_after: bool,
}

impl Resize {
    /// `border_after`: whether the border of the one that halves is below and to the right only.
    pub(super) fn new(init: &Init<'_>, channels: usize, way: Way, border_after: bool) -> Self {
        Self { conv: Conv2d::glorot(&init.at("conv"), [channels, channels], 3), way, border_after }
    }

    /// `[B, H, W, C]` -> `[B, H', W', C]`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self.way {
            Way::Level => self.conv.forward(x),
            Way::Down => self.conv.halve(x, self.border_after),
            Way::Up => Nearest.then(&self.conv, x),
        }
    }
}
