//! Root-mean-square norm over channels, alone and fused with scale, shift and SiLU.
//!
//! As `RMSNorm` and `Block` of denoising-diffusion-pytorch 2.3.4. Deliberately absent: group and layer norm.

use burn::tensor::Tensor;

use crate::composed;

/// `x / max(‖x‖₂, 1e-12) · gain · √C`, the norm taken over the last dimension. `x` `[.., C]`, `gain` `[C]` → `[.., C]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gain: Tensor<1>) -> Tensor<D> {
    composed::rms_norm(x, gain)
}

/// `silu(rms_norm(x, gain) · (1 + scale) + shift)`: one block of the U-Net in one pass.
/// `x` `[B, H, W, C]`, `gain` `[C]`, `scale_shift` = (`scale` `[B, C]`, `shift` `[B, C]`) → `[B, H, W, C]`;
/// without `scale_shift` it is `silu(rms_norm(x, gain))`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm_silu(x: Tensor<4>, gain: Tensor<1>, scale_shift: Option<(Tensor<2>, Tensor<2>)>) -> Tensor<4> {
    composed::rms_norm_silu(x, gain, scale_shift)
}
