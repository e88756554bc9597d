//! Self-attention over the pixels of an image, with four learned key/value pairs that every image also attends to
//! ("memory", Sukhbaatar et al. 2019, arXiv:1907.01470): exact, or in the linear form of Shen et al. 2018 (arXiv:1812.01243).
//!
//! Both add what they find to their input.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use difusi_ops::{AttentionKind, LinearAttentionWeights};

use super::{Conv2d, Init, RmsNorm};

/// Learned key/value pairs per head.
pub const MEMORY: usize = 4;

/// Widths of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSpec {
    /// Channels it takes and returns.
    pub channels: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub dim_head: usize,
}

/// Softmax attention: cost grows with the square of the number of pixels.
#[derive(Module, Debug)]
pub struct Attention {
    mem_kv: Param<Tensor<4>>, // [2, heads, MEMORY, dim_head]
    norm: RmsNorm,
    to_qkv: Conv2d,
    to_out: Conv2d,
}

impl Attention {
    /// Builds the layer `init` names.
    pub fn new(init: &Init<'_>, spec: AttentionSpec) -> Self {
        let AttentionSpec { channels, heads, dim_head } = spec;
        Self {
            mem_kv: init.at("mem_kv").normal([2, heads, MEMORY, dim_head], true),
            norm: RmsNorm::new(&init.at("norm"), channels),
            to_qkv: Conv2d::without_bias(&init.at("to_qkv"), [channels, heads * dim_head * 3], 1),
            to_out: Conv2d::new(&init.at("to_out"), [heads * dim_head, channels], 1),
        }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [x, residual] = difusi_ops::fork(x);
        let qkv = self.to_qkv.forward(self.norm.forward(x));
        let ([batch, height, width, channels], [_, heads, _, _]) = (qkv.dims(), self.mem_kv.dims());
        let qkv = qkv.reshape([batch, height * width, channels]);
        let y = difusi_ops::self_attention(qkv, Some(self.mem_kv.val()), heads, AttentionKind::Full);
        let y = self.to_out.forward(y.reshape([batch, height, width, channels / 3]));
        difusi_ops::add(y, residual)
    }
}

/// Linear attention: queries are normalised over a head's width, keys over the pixels; cost grows with the number of pixels.
#[derive(Module, Debug)]
pub struct LinearAttention {
    mem_kv: Param<Tensor<4>>, // [2, heads, dim_head, MEMORY]
    norm: RmsNorm,
    to_qkv: Conv2d,
    to_out: (Conv2d, RmsNorm),
}

impl LinearAttention {
    /// Builds the layer `init` names.
    pub fn new(init: &Init<'_>, spec: AttentionSpec) -> Self {
        let AttentionSpec { channels, heads, dim_head } = spec;
        let conv = Conv2d::new(&init.at("to_out.0"), [heads * dim_head, channels], 1);
        Self {
            mem_kv: init.at("mem_kv").normal([2, heads, dim_head, MEMORY], true),
            norm: RmsNorm::new(&init.at("norm"), channels),
            to_qkv: Conv2d::without_bias(&init.at("to_qkv"), [channels, heads * dim_head * 3], 1),
            to_out: (conv, RmsNorm::new(&init.at("to_out.1"), channels)),
        }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let (out, bias) = self.to_out.0.matrix();
        let weights = LinearAttentionWeights {
            qkv: self.to_qkv.matrix().0,
            memory: self.mem_kv.val().swap_dims(2, 3), // [2, heads, MEMORY, dim_head]
            out,
            bias,
        };
        let [x, residual] = difusi_ops::fork(x);
        let tokens = self.norm.forward(x).reshape([batch, height * width, channels]);
        let y = difusi_ops::linear_attention_layer(tokens, weights);
        self.to_out.1.forward_add(y.reshape([batch, height, width, channels]), residual)
    }
}
