//! The residual block: two convolutions, each with RMS norm and SiLU, the first modulated by the time.

use burn::module::Module;
use burn::tensor::Tensor;
use difusi_core::Dropout;

use super::{Conv2d, Init, Linear, RmsNorm, Silu, drop_values};

/// Widths of a [`ResnetBlock`], and its dropout.
#[derive(Clone, Copy, Debug)]
pub struct ResnetSpec {
    /// Channels it takes.
    pub inputs: usize,
    /// Channels it returns.
    pub outputs: usize,
    /// Width of the time vector.
    pub time: usize,
    /// Probability in `[0, 1)` that a value after the first activation is zeroed in training.
    pub dropout: f64,
}

/// Convolution, norm, SiLU, and a residual.
#[derive(Module, Debug)]
struct Block {
    proj: Conv2d,
    norm: RmsNorm,
}

impl Block {
    fn new(init: &Init<'_>, channels: [usize; 2]) -> Self {
        Self { proj: Conv2d::new(&init.at("proj"), channels, 3), norm: RmsNorm::new(&init.at("norm"), channels[1]) }
    }

    fn forward(
        &self,
        x: Tensor<4>,
        scale_shift: Option<(Tensor<2>, Tensor<2>)>,
        residual: Option<Tensor<4>>,
    ) -> Tensor<4> {
        self.norm.forward_silu(self.proj.forward(x), scale_shift, residual)
    }
}

/// `block2(dropout(block1(x, time))) + x`, where `x` goes through a 1x1 convolution if the widths differ.
#[derive(Module, Debug)]
pub struct ResnetBlock {
    mlp: (Silu, Linear),
    block1: Block,
    block2: Block,
    res_conv: Option<Conv2d>,
    dropout: f64,
    layer: u64,
}

impl ResnetBlock {
    /// Builds the block `init` names.
    pub fn new(init: &Init<'_>, spec: ResnetSpec) -> Self {
        let ResnetSpec { inputs, outputs, time, dropout } = spec;
        Self {
            mlp: (Silu, Linear::new(&init.at("mlp.1"), [time, outputs * 2])),
            block1: Block::new(&init.at("block1"), [inputs, outputs]),
            block2: Block::new(&init.at("block2"), [outputs, outputs]),
            res_conv: (inputs != outputs).then(|| Conv2d::new(&init.at("res_conv"), [inputs, outputs], 1)),
            dropout,
            layer: init.index(),
        }
    }

    /// `x` `[B, H, W, in]`, `time` `[B, time]` -> `[B, H, W, out]`. Without `dropout` nothing is dropped.
    pub fn forward(&self, x: Tensor<4>, time: Tensor<2>, dropout: Option<Dropout>) -> Tensor<4> {
        let (silu, linear) = &self.mlp;
        let [x, residual] = difusi_ops::fork(x);
        let mut scale_shift = linear.forward(silu.forward(time)).chunk(2, 1); // two of [B, out]
        let shift = scale_shift.pop();
        let scale = scale_shift.pop();
        let h = self.block1.forward(x, scale.zip(shift), None);
        let h = drop_values(h, self.dropout, self.layer, dropout);
        let residual = match &self.res_conv {
            Some(conv) => conv.forward(residual),
            None => residual,
        };
        self.block2.forward(h, None, Some(residual))
    }
}
