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
}

impl GroupNorm {
    /// For `channels` channels in `groups` groups, which divide them; gain one and bias zero at first.
    pub fn new(init: &Init<'_>, channels: usize, groups: usize) -> Self {
        Self { weight: init.at("weight").ones([channels]), bias: init.at("bias").zeros([channels]), groups }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        difusi_ops::group_norm(x, Groups::new(self.groups), (self.weight.val(), self.bias.val()))
    }

    /// `silu(norm(x))`, `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        difusi_ops::group_norm_silu(x, Groups::new(self.groups), (self.weight.val(), self.bias.val()), None)
    }
}
