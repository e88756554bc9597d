//! Convolution, linear map, RMS norm, and the parameterless parts that hold a place in a sequence.
//!
//! Initial weights follow PyTorch's defaults: uniform within `1 / sqrt(fan in)`, which is what `kaiming_uniform(a = sqrt 5)`
//! comes to, for weights and biases alike. `glorot` is what Ho et al. start from: uniform within `sqrt(6 / (fan in + fan out))`
//! (Glorot & Bengio 2010), biases zero.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use difusi_ops::ConvSpec;

use super::Init;

/// Square convolution of channels-last images: stride 1 and "same" padding with an odd kernel; an even one halves the image.
#[derive(Module, Debug)]
pub struct Conv2d {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
}

impl Conv2d {
    /// `in_channels` to `out_channels` with a `kernel`, with a bias.
    pub fn new(init: &Init<'_>, [in_channels, out_channels]: [usize; 2], kernel: usize) -> Self {
        let mut conv = Self::without_bias(init, [in_channels, out_channels], kernel);
        conv.bias = Some(init.at("bias").uniform([out_channels], bound(in_channels * kernel * kernel)));
        conv
    }

    /// As [`Conv2d::new`], without a bias.
    pub fn without_bias(init: &Init<'_>, [in_channels, out_channels]: [usize; 2], kernel: usize) -> Self {
        let shape = [out_channels, in_channels, kernel, kernel];
        Self { weight: init.at("weight").uniform(shape, bound(in_channels * kernel * kernel)), bias: None }
    }

    /// A 1x1 convolution as a linear map: its weight `[out, in]` and bias `[out]` (zeros where there is none).
    pub(super) fn matrix(&self) -> (Tensor<2>, Tensor<1>) {
        let weight = self.weight.val();
        let [out, inside, _, _] = weight.dims();
        let bias = self.bias.as_ref().map_or_else(|| Tensor::zeros([out], &weight.device()), Param::val);
        (weight.reshape([out, inside]), bias)
    }

    /// `[B, H, W, in]` -> `[B, H, W, out]`, or half of each side with an even kernel.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val(); // [out, in, k, k]
        let [_, _, kernel, _] = weight.dims();
        let spec = if kernel % 2 == 1 { ConvSpec::same(kernel) } else { ConvSpec::new(2, kernel / 2 - 1) };
        difusi_ops::conv2d(x, weight, self.bias.as_ref().map(Param::val), spec)
    }

    /// As [`Conv2d::new`], with zeros for weights and bias: a layer that says nothing before it is trained.
    pub fn zeros(init: &Init<'_>, [in_channels, out_channels]: [usize; 2], kernel: usize) -> Self {
        let weight = init.at("weight").zeros([out_channels, in_channels, kernel, kernel]);
        Self { weight, bias: Some(init.at("bias").zeros([out_channels])) }
    }
}

impl Conv2d {
    /// As [`Conv2d::new`], by Glorot & Bengio.
    pub fn glorot(init: &Init<'_>, [in_channels, out_channels]: [usize; 2], kernel: usize) -> Self {
        let bound = glorot([in_channels, out_channels].map(|c| c * kernel * kernel));
        let weight = init.at("weight").uniform([out_channels, in_channels, kernel, kernel], bound);
        Self { weight, bias: Some(init.at("bias").zeros([out_channels])) }
    }

    /// A 3x3 convolution of stride 2 with a border of zeros: one pixel on every side, or, with `after`, one below and one to the right
    /// (TensorFlow's "same"). `[B, H, W, in]`, `H` and `W` even -> `[B, H/2, W/2, out]`.
    pub fn halve(&self, x: Tensor<4>, after: bool) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.as_ref().map(Param::val)); // [out, in, 3, 3]
        // A border after only is that of a 4x4 kernel with zeros above and to the left.
        let weight = if after { behind_zeros(behind_zeros(weight, 2), 3) } else { weight };
        difusi_ops::conv2d(x, weight, bias, ConvSpec::new(2, 1))
    }
}

/// One more line of zeros before the others along `axis`.
fn behind_zeros(weight: Tensor<4>, axis: usize) -> Tensor<4> {
    let zeros = Tensor::zeros_like(&weight.clone().narrow(axis, 0, 1));
    Tensor::cat(vec![zeros, weight], axis)
}

fn glorot([fan_in, fan_out]: [usize; 2]) -> f64 {
    (6.0 / (fan_in + fan_out) as f64).sqrt()
}

/// `y = x W^T + b`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// `inputs` to `outputs`, with a bias.
    pub fn new(init: &Init<'_>, [inputs, outputs]: [usize; 2]) -> Self {
        Self {
            weight: init.at("weight").uniform([outputs, inputs], bound(inputs)),
            bias: init.at("bias").uniform([outputs], bound(inputs)),
        }
    }

    /// As [`Linear::new`], by Glorot & Bengio.
    pub fn glorot(init: &Init<'_>, [inputs, outputs]: [usize; 2]) -> Self {
        let weight = init.at("weight").uniform([outputs, inputs], glorot([inputs, outputs]));
        Self { weight, bias: init.at("bias").zeros([outputs]) }
    }

    /// As [`Linear::new`], with zeros for weights and bias.
    pub fn zeros(init: &Init<'_>, [inputs, outputs]: [usize; 2]) -> Self {
        Self { weight: init.at("weight").zeros([outputs, inputs]), bias: init.at("bias").zeros([outputs]) }
    }

    /// Its weight `[out, in]` and bias `[out]`.
    pub fn matrix(&self) -> (Tensor<2>, Tensor<1>) {
        (self.weight.val(), self.bias.val())
    }

    /// `[.., in]` -> `[.., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        difusi_ops::linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

fn bound(fan_in: usize) -> f64 {
    (fan_in as f64).powf(-0.5)
}

/// `g sqrt(C) x / |x|` over the channels of every pixel (Zhang & Sennrich 2019, arXiv:1910.07467, without epsilon in the root).
#[derive(Module, Debug)]
pub struct RmsNorm {
    g: Param<Tensor<4>>,
}

impl RmsNorm {
    /// For `channels` channels; the gain starts at one. It is stored `[1, C, 1, 1]`.
    pub fn new(init: &Init<'_>, channels: usize) -> Self {
        Self { g: init.at("g").ones([1, channels, 1, 1]) }
    }

    /// `[B, H, W, C]` -> `[B, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        difusi_ops::rms_norm(x, self.gain())
    }

    /// `norm(x) + residual`, both `[B, H, W, C]`.
    pub fn forward_add(&self, x: Tensor<4>, residual: Tensor<4>) -> Tensor<4> {
        difusi_ops::rms_norm_add(x, self.gain(), residual)
    }

    /// `silu(norm(x) (1 + scale) + shift) + residual`; `x` and residual `[B, H, W, C]`, scale and shift `[B, C]`.
    pub fn forward_silu(
        &self,
        x: Tensor<4>,
        scale_shift: Option<(Tensor<2>, Tensor<2>)>,
        residual: Option<Tensor<4>>,
    ) -> Tensor<4> {
        difusi_ops::rms_norm_silu(x, self.gain(), scale_shift, residual)
    }

    fn gain(&self) -> Tensor<1> {
        let [_, channels, _, _] = self.g.dims();
        self.g.val().reshape([channels])
    }
}

/// `x sigmoid(x)`.
#[derive(Module, Debug)]
pub struct Silu;

impl Silu {
    /// Elementwise.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::silu(x)
    }
}

/// `x Phi(x)`, exact (by the error function).
#[derive(Module, Debug)]
pub struct Gelu;

impl Gelu {
    /// Elementwise.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::gelu(x)
    }
}

/// Every 2x2 block of pixels becomes one pixel of four times the channels.
#[derive(Module, Debug)]
pub struct PixelUnshuffle;

impl PixelUnshuffle {
    /// `[B, H, W, C]` -> `[B, H/2, W/2, 4 C]`, channels ordered (c, row, column).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        difusi_ops::pixel_unshuffle2(x)
    }
}

/// Every pixel becomes a 2x2 block, as the convolution that follows reads it.
#[derive(Module, Debug)]
pub struct Nearest;

impl Nearest {
    /// The doubled image through `conv`, in one op: `[B, H, W, in]` -> `[B, 2 H, 2 W, out]`.
    pub fn then(&self, conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (conv.weight.val(), conv.bias.as_ref().map(Param::val));
        let [_, _, kernel, _] = weight.dims();
        difusi_ops::upsample_conv2d(x, weight, bias, ConvSpec::same(kernel))
    }
}
