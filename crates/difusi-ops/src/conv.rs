//! Convolution and linear layers over channels-last images.
//!
//! Deliberately absent: groups, dilation, unequal strides or paddings (no network here has them).

use burn::tensor::Tensor;

use crate::composed;

/// How a kernel moves over the image: the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Pixels between neighbouring outputs, 1 or more.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
}

impl ConvSpec {
    /// Stride 1 and the padding that keeps the size for an odd `kernel`.
    pub const fn same(kernel: usize) -> Self {
        Self { stride: 1, padding: kernel / 2 }
    }

    /// Output length for `input` pixels under a kernel of `kernel`: PyTorch's `Conv2d` formula.
    ///
    /// # Panics
    /// If the padded input is shorter than the kernel.
    pub const fn output(&self, input: usize, kernel: usize) -> usize {
        (input + 2 * self.padding - kernel) / self.stride + 1
    }
}

/// 2-D convolution (cross-correlation, as PyTorch's `Conv2d`).
/// `x` `[B, H, W, in]`, `weight` `[out, in, kh, kw]`, `bias` `[out]` → `[B, H', W', out]`, `H' = (H + 2 padding - kh) / stride + 1`.
///
/// # Panics
/// On shapes that do not fit.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, spec: ConvSpec) -> Tensor<4> {
    composed::conv2d(x, weight, bias, spec)
}

/// `x weightᵀ + bias` over the last dimension. `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]` → `[.., out]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    composed::linear(x, weight, bias)
}
