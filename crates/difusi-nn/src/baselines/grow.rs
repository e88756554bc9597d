//! A vector to an image: a linear layer to the smallest image, then norm, SiLU and a convolution of the doubled image for each
//! stage. The generator of the GAN and the decoder of the VAE.
//!
//! DCGAN's (arXiv:1511.06434) with two differences: doubling pixels before a convolution instead of a transposed one, which
//! draws checkerboards, and group instead of batch norm.

use burn::module::Module;
use burn::tensor::Tensor;
use difusi_core::ImageSize;

use crate::layers::{Conv2d, GroupNorm, Init, Linear, Nearest};

/// Widths of a [`Grow`].
#[derive(Clone, Debug)]
pub(crate) struct GrowSpec {
    /// Numbers that come in.
    pub(crate) inputs: usize,
    /// Widths of the stages, outermost first.
    pub(crate) widths: Vec<usize>,
    /// Channels that come out.
    pub(crate) outputs: usize,
    /// The smallest image.
    pub(crate) innermost: ImageSize,
}

/// The network.
#[derive(Module, Debug)]
pub(crate) struct Grow {
    stem: Linear,
    norms: Vec<GroupNorm>,
    ups: Vec<Conv2d>,
    norm_out: GroupNorm,
    out: Conv2d,
    shape: [usize; 3],
}

impl Grow {
    /// Builds the network `init` names.
    pub(crate) fn new(init: &Init<'_>, spec: &GrowSpec) -> Self {
        let ImageSize { height, width } = spec.innermost;
        let inward: Vec<usize> = spec.widths.iter().rev().copied().collect();
        let first = inward.first().copied().unwrap_or_default();
        let last = inward.last().copied().unwrap_or_default();
        let norm = |i: usize, width: usize| GroupNorm::new(&init.at("norms").at(i), width, groups(width));
        let up = |(i, w): (usize, &[usize])| Conv2d::new(&init.at("ups").at(i), [w[0], w[1]], 3);
        Self {
            stem: Linear::new(&init.at("stem"), [spec.inputs, height * width * first]),
            norms: inward.windows(2).enumerate().map(|(i, w)| norm(i, w[0])).collect(),
            ups: inward.windows(2).enumerate().map(up).collect(),
            norm_out: GroupNorm::new(&init.at("norm_out"), last, groups(last)),
            out: Conv2d::new(&init.at("out"), [last, spec.outputs], 3),
            shape: [height, width, first],
        }
    }

    /// `[B, inputs]` -> `[B, H, W, outputs]`.
    pub(crate) fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let ([batch, _], [height, width, channels]) = (z.dims(), self.shape);
        let mut x = self.stem.forward(z).reshape([batch, height, width, channels]);
        for (norm, up) in self.norms.iter().zip(&self.ups) {
            x = Nearest.then(up, norm.forward_silu(x));
        }
        self.out.forward(self.norm_out.forward_silu(x))
    }
}

/// Groups of a norm over so many channels: 8, or else the largest of 4, 2 and 1 that divides them.
pub(crate) fn groups(channels: usize) -> usize {
    [8, 4, 2].into_iter().find(|g| channels.is_multiple_of(*g)).unwrap_or(1)
}
