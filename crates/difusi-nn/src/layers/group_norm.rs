//! Group normalisation with a gain and a bias per channel (Wu & He 2018, arXiv:1803.08494).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use difusi_ops::Groups;

use super::Init;

/// Every image alone is brought to mean 0 and variance 1 in each group of channels, then scaled and shifted.
#[derive(Module, Debug)]
pub struct GroupNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// For `channels` channels in `groups` groups, which divide them; gain one and bias zero at first, and PyTorch's default epsilon.
    pub fn new(init: &Init<'_>, channels: usize, groups: usize) -> Self {
        Self::of(init, channels, Groups::new(groups))
    }

    /// As [`GroupNorm::new`], with an epsilon.
    pub fn of(init: &Init<'_>, channels: usize, Groups { count, epsilon }: Groups) -> Self {
        let (weight, bias) = (init.at("weight").ones([channels]), init.at("bias").zeros([channels]));
        Self { weight, bias, groups: count, epsilon }
    }

    fn groups(&self) -> Groups {
        Groups { count: self.groups, epsilon: self.epsilon }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        difusi_ops::group_norm(x, self.groups(), (self.weight.val(), self.bias.val()))
    }

    /// `silu(norm(x))`, `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_silu_with(x, None)
    }

    /// `silu(norm(x) (1 + scale) + shift)`: `x` `[B, H, W, C]`, scale and shift `[B, C]` -> `[B, H, W, C]`.
    pub fn forward_silu_with(&self, x: Tensor<4>, scale_shift: Option<(Tensor<2>, Tensor<2>)>) -> Tensor<4> {
        difusi_ops::group_norm_silu(x, self.groups(), (self.weight.val(), self.bias.val()), scale_shift)
    }
}
