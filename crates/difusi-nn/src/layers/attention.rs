//! Self-attention over the pixels of an image, with learned key/value pairs, four or none, that every image also attends to
//! ("memory", Sukhbaatar et al. 2019, arXiv:1907.01470): exact, or in the linear form of Shen et al. 2018 (arXiv:1812.01243).
//!
//! Both add what they find to their input.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use difusi_ops::{AttentionKind, LinearAttentionWeights};

use super::{Conv2d, Init, RmsNorm};

/// Widths of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSpec {
    /// Channels it takes and returns.
    pub channels: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub dim_head: usize,
    /// Learned key/value pairs per head; 0 for none.
    pub memory: usize,
}

impl AttentionSpec {
    /// Learned keys and values `[2, heads, ...inner]`.
    fn pairs(&self, init: &Init<'_>, inner: [usize; 2]) -> Option<Param<Tensor<4>>> {
        (self.memory > 0).then(|| init.at("mem_kv").normal([2, self.heads, inner[0], inner[1]], true))
    }
}

/// Softmax attention: cost grows with the square of the number of pixels.
#[derive(Module, Debug)]
pub struct Attention {
    mem_kv: Option<Param<Tensor<4>>>, // [2, heads, memory, dim_head]
    norm: RmsNorm,
    to_qkv: Conv2d,
    to_out: Conv2d,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    /// Builds the layer `init` names.
    pub fn new(init: &Init<'_>, spec: AttentionSpec) -> Self {
        let AttentionSpec { channels, heads, dim_head, memory } = spec;
        Self {
            mem_kv: spec.pairs(init, [memory, dim_head]),
            norm: RmsNorm::new(&init.at("norm"), channels),
            to_qkv: Conv2d::without_bias(&init.at("to_qkv"), [channels, heads * dim_head * 3], 1),
            to_out: Conv2d::new(&init.at("to_out"), [heads * dim_head, channels], 1),
            heads,
        }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [x, residual] = difusi_ops::fork(x);
        let qkv = self.to_qkv.forward(self.norm.forward(x));
        let [batch, height, width, channels] = qkv.dims();
        let (qkv, memory) = (qkv.reshape([batch, height * width, channels]), self.mem_kv.as_ref().map(Param::val));
        let y = difusi_ops::self_attention(qkv, memory, self.heads, AttentionKind::Full);
        let y = self.to_out.forward(y.reshape([batch, height, width, channels / 3]));
        difusi_ops::add(y, residual)
    }
}

/// Linear attention: queries are normalised over a head's width, keys over the pixels; cost grows with the number of pixels.
#[derive(Module, Debug)]
pub struct LinearAttention {
    mem_kv: Option<Param<Tensor<4>>>, // [2, heads, dim_head, memory]
    norm: RmsNorm,
    to_qkv: Conv2d,
    to_out: (Conv2d, RmsNorm),
    #[module(skip)]
    heads: usize,
}

impl LinearAttention {
    /// Builds the layer `init` names.
    pub fn new(init: &Init<'_>, spec: AttentionSpec) -> Self {
        let AttentionSpec { channels, heads, dim_head, memory } = spec;
        let conv = Conv2d::new(&init.at("to_out.0"), [heads * dim_head, channels], 1);
        Self {
            mem_kv: spec.pairs(init, [dim_head, memory]),
            norm: RmsNorm::new(&init.at("norm"), channels),
            to_qkv: Conv2d::without_bias(&init.at("to_qkv"), [channels, heads * dim_head * 3], 1),
            to_out: (conv, RmsNorm::new(&init.at("to_out.1"), channels)),
            heads,
        }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let [x, residual] = difusi_ops::fork(x);
        let x = self.norm.forward(x);
        let Some(memory) = &self.mem_kv else {
            let qkv = self.to_qkv.forward(x);
            let hidden = qkv.dims()[3];
            let qkv = qkv.reshape([batch, height * width, hidden]);
            let y = difusi_ops::self_attention(qkv, None, self.heads, AttentionKind::Linear);
            let y = self.to_out.0.forward(y.reshape([batch, height, width, hidden / 3]));
            return self.to_out.1.forward_add(y, residual);
        };
        let (out, bias) = self.to_out.0.matrix();
        let weights = LinearAttentionWeights {
            qkv: self.to_qkv.matrix().0,
            memory: memory.val().swap_dims(2, 3), // [2, heads, memory, dim_head]
            out,
            bias,
        };
        let y = difusi_ops::linear_attention_layer(x.reshape([batch, height * width, channels]), weights);
        self.to_out.1.forward_add(y.reshape([batch, height, width, channels]), residual)
    }
}
