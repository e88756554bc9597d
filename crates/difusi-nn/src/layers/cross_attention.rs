//! Attention of an image's pixels to a sequence of tokens: how texts are heard (arXiv:2112.10752, section 3.3; Imagen,
//! arXiv:2205.11487, section D.3.1, whose layers norm the tokens and can always look at one learned token instead).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use difusi_core::Tokens;
use difusi_ops::Groups;

use super::{GroupNorm, Init, Linear, in_precision, precision_of};

/// Widths of a layer of cross-attention.
#[derive(Clone, Copy, Debug)]
pub struct CrossAttentionSpec {
    /// Channels of the image.
    pub channels: usize,
    /// Width of a token.
    pub tokens: usize,
    /// Heads, which divide the channels.
    pub heads: usize,
    /// Groups of the image's norm.
    pub norm: Groups,
}

/// Softmax attention to the tokens that are seen and to one that is learned, which is all there is where none is; its input is added to
/// what it finds. The last map starts at zero.
#[derive(Module, Debug)]
pub struct CrossAttention {
    group_norm: GroupNorm,
    token_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    null_kv: Param<Tensor<2>>, // [2, C]
    to_out: Vec<Linear>,       // one, whose name has a 0
    #[module(skip)]
    heads: usize,
}

impl CrossAttention {
    /// Builds the layer `init` names.
    pub fn new(init: &Init<'_>, spec: CrossAttentionSpec) -> Self {
        let CrossAttentionSpec { channels, tokens, heads, norm } = spec;
        let linear = |name: &str, inputs: usize| Linear::glorot(&init.at(name), [inputs, channels]);
        Self {
            group_norm: GroupNorm::of(&init.at("group_norm"), channels, norm),
            token_norm: GroupNorm::of(&init.at("token_norm"), tokens, Groups { count: 1, ..norm }),
            to_q: linear("to_q", channels),
            to_k: linear("to_k", tokens),
            to_v: linear("to_v", tokens),
            null_kv: init.at("null_kv").normal([2, channels], true),
            to_out: vec![Linear::zeros(&init.at("to_out.0"), [channels, channels])],
            heads,
        }
    }

    /// `[B, H, W, C]`, tokens of as many images or none -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>, tokens: Option<&Tokens>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let (heads, depth) = (self.heads, channels / self.heads);
        let [x, residual] = difusi_ops::fork(x);
        let split = |x: Tensor<3>| {
            let [batch, count, _] = x.dims();
            x.reshape([batch, count, heads, depth]).swap_dims(1, 2)
        };
        let q = self.to_q.forward(self.group_norm.forward(x).reshape([batch, height * width, channels]));
        let mut kv = [0, 1].map(|i| vec![self.learned(i, batch)]);
        let mut seen = vec![true; batch];
        if let Some(tokens) = tokens {
            let states = self.normed(tokens.states().clone());
            let length = states.dims()[1];
            kv[0].push(self.to_k.forward(states.clone()));
            kv[1].push(self.to_v.forward(states));
            let rows = tokens.mask().chunks(length);
            seen = rows.flat_map(|row| std::iter::once(true).chain(row.iter().copied())).collect();
        }
        let [k, v] = kv.map(|parts| split(Tensor::cat(parts, 1)));
        let y = difusi_ops::attention_where(difusi_ops::to_f32(split(q)), k, v, &seen);
        let y = y.swap_dims(1, 2).reshape([batch, height * width, channels]);
        let y = in_precision(y, precision_of(&residual));
        let y = self.to_out.iter().fold(y, |y, linear| linear.forward(y));
        difusi_ops::add(y.reshape([batch, height, width, channels]), residual)
    }

    /// The learned token's key (0) or value (1) for every image, `[B, 1, C]`. A product with ones: its gradient is summed in the order of the
    /// images.
    fn learned(&self, which: usize, batch: usize) -> Tensor<3> {
        let row = self.null_kv.val().narrow(0, which, 1).transpose(); // [C, 1]
        let ones = Tensor::<2>::ones([batch, 1], &row.device());
        difusi_ops::linear(ones, row, None).unsqueeze_dim(1)
    }

    /// Every token alone is brought to mean 0 and variance 1: `[B, L, D]` -> the same.
    fn normed(&self, states: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = states.dims();
        self.token_norm.forward(states.reshape([batch * length, 1, 1, width])).reshape([batch, length, width])
    }
}
