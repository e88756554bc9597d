//! Self-attention over the pixels of an image, with four learned key/value pairs that every image also attends to
//! ("memory", Sukhbaatar et al. 2019, arXiv:1907.01470): exact, or in the linear form of Shen et al. 2018 (arXiv:1812.01243).
//!
//! Both return what is to be added to their input.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

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
        let [_, height, width, _] = x.dims();
        let qkv = self.to_qkv.forward(self.norm.forward(x));
        let [q, k, v] = with_memory(split_heads(qkv, self.mem_kv.dims()[1]), self.mem_kv.val());
        self.to_out.forward(join_heads(difusi_ops::attention(q, k, v), [height, width]))
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
        let [_, height, width, _] = x.dims();
        let qkv = self.to_qkv.forward(self.norm.forward(x));
        let memory = self.mem_kv.val().swap_dims(2, 3); // [2, heads, MEMORY, dim_head]
        let [q, k, v] = with_memory(split_heads(qkv, self.mem_kv.dims()[1]), memory);
        let out = join_heads(difusi_ops::linear_attention(q, k, v), [height, width]);
        self.to_out.1.forward(self.to_out.0.forward(out))
    }
}

/// `[B, H, W, 3 h D]` -> three of `[B, h, H W, D]`.
fn split_heads(qkv: Tensor<4>, heads: usize) -> [Tensor<4>; 3] {
    let [batch, height, width, channels] = qkv.dims();
    let hidden = channels / 3;
    let qkv = qkv.reshape([batch, height * width, channels]);
    [0, 1, 2].map(|part| {
        let part = qkv.clone().narrow(2, part * hidden, hidden);
        part.reshape([batch, height * width, heads, hidden / heads]).swap_dims(1, 2)
    })
}

/// `[B, h, H W, D]` -> `[B, H, W, h D]`.
fn join_heads(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, heads, _, dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, height, width, heads * dim])
}

/// Puts the memory `[2, h, M, D]` (keys, values) before the keys and values `[B, h, N, D]`: `[B, h, M + N, D]`.
fn with_memory([q, k, v]: [Tensor<4>; 3], memory: Tensor<4>) -> [Tensor<4>; 3] {
    let [batch, heads, _, dim] = k.dims();
    let join = |part: usize, x: Tensor<4>| {
        let own = memory.clone().narrow(0, part, 1).expand([batch, heads, MEMORY, dim]);
        Tensor::cat(vec![own, x], 2)
    };
    let (k, v) = (join(0, k), join(1, v));
    [q, k, v]
}
