//! Convolution and linear layers over channels-last images.
//!
//! Deliberately absent: groups, dilation, unequal strides (no network here has them).

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, convert::to_f32, extension::CpuOps, route::has_kernel, rules::Ternary};

/// How a kernel moves over the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Pixels between neighbouring outputs, 1 or more; the same in both directions.
    pub stride: usize,
    /// Zeros added above and below, and left and right.
    pub padding: [usize; 2],
}

impl ConvSpec {
    /// The same padding on every side.
    pub const fn new(stride: usize, padding: usize) -> Self {
        Self { stride, padding: [padding; 2] }
    }

    /// Stride 1 and the padding that keeps the size for an odd `kernel`.
    pub const fn same(kernel: usize) -> Self {
        Self::new(1, kernel / 2)
    }

    /// Output height and width for `input` height and width under a kernel of `kernel`: PyTorch's `Conv2d` formula.
    ///
    /// # Panics
    /// If the padded input is smaller than the kernel.
    pub const fn output(&self, input: [usize; 2], kernel: [usize; 2]) -> [usize; 2] {
        let Self { stride, padding: [rows, columns] } = *self;
        [(input[0] + 2 * rows - kernel[0]) / stride + 1, (input[1] + 2 * columns - kernel[1]) / stride + 1]
    }
}

/// 2-D convolution (cross-correlation, as PyTorch's `Conv2d`).
/// `x` `[B, H, W, in]` (f32 or bf16, and so is the result), `weight` `[out, in, kh, kw]`, `bias` `[out]` → `[B, H', W', out]`, `H' = (H + 2 padding - kh) / stride + 1`.
///
/// # Panics
/// On shapes that do not fit.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, spec: ConvSpec) -> Tensor<4> {
    run(x, weight, bias, (spec, false))
}

/// [`conv2d`] of the image doubled by [`crate::upsample_nearest2`], which is never written to memory.
/// `x` `[B, H, W, in]` is seen as `[B, 2 H, 2 W, in]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn upsample_conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, spec: ConvSpec) -> Tensor<4> {
    run(x, weight, bias, (spec, true))
}

fn run(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, (spec, doubled): (ConvSpec, bool)) -> Tensor<4> {
    let ([_, _, _, channels], [out, inside, kh, kw]) = (x.dims(), weight.dims());
    assert_eq!(channels, inside, "the image has {channels} channels, the kernel reads {inside}");
    // The input gradient sweeps with padding `k - 1 - padding`, so a wider border than the kernel goes the long way.
    if !has_kernel(&x) || spec.padding[0] >= kh || spec.padding[1] >= kw {
        let x = if doubled { composed::upsample_nearest2(x) } else { x };
        return composed::conv2d(x, weight, bias, spec);
    }
    let bias = bias.map_or_else(|| Tensor::zeros([out], &x.device()), to_f32);
    let weight = to_f32(weight);
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::ternary(x, weight, bias, Ternary::Conv { spec, doubled }))
}

/// `x weightᵀ + bias` over the last dimension. `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]` → `[.., out]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    if !has_kernel(&x) {
        return composed::linear(x, weight, bias);
    }
    let (mut dims, [out, inside]) = (x.dims(), weight.dims());
    let rows = dims.iter().product::<usize>() / inside;
    dims[D - 1] = out;
    let spec = ConvSpec::new(1, 0);
    conv2d(x.reshape([rows, 1, 1, inside]), weight.reshape([out, inside, 1, 1]), bias, spec).reshape(dims)
}
