//! Root-mean-square norm over channels, alone and fused with scale, shift and SiLU.
//!
//! As `RMSNorm` and `Block` of denoising-diffusion-pytorch 2.3.4. Deliberately absent: group and layer norm.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, extension::CpuOps, route::has_kernel, rules::Norm};

/// `x / max(‖x‖₂, 1e-12) · gain · √C`, the norm taken over the last dimension. `x` `[.., C]`, `gain` `[C]` → `[.., C]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gain: Tensor<1>) -> Tensor<D> {
    if !has_kernel(&x) {
        return composed::rms_norm(x, gain);
    }
    let none = Tensor::zeros([1, gain.dims()[0]], &x.device());
    run(x, gain, (none.clone(), none), Norm { silu: false })
}

/// `silu(rms_norm(x, gain) · (1 + scale) + shift)`: one block of the U-Net in one pass.
/// `x` `[B, H, W, C]`, `gain` `[C]`, `scale_shift` = (`scale` `[B, C]`, `shift` `[B, C]`) → `[B, H, W, C]`;
/// without `scale_shift` it is `silu(rms_norm(x, gain))`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm_silu(x: Tensor<4>, gain: Tensor<1>, scale_shift: Option<(Tensor<2>, Tensor<2>)>) -> Tensor<4> {
    if !has_kernel(&x) {
        return composed::rms_norm_silu(x, gain, scale_shift);
    }
    let scale_shift = scale_shift.unwrap_or_else(|| {
        let none = Tensor::zeros([1, gain.dims()[0]], &x.device());
        (none.clone(), none)
    });
    run(x, gain, scale_shift, Norm { silu: true })
}

fn run<const D: usize>(x: Tensor<D>, gain: Tensor<1>, of: (Tensor<2>, Tensor<2>), rule: Norm) -> Tensor<D> {
    let ([channels], [images, _], dims) = (gain.dims(), of.0.dims(), x.dims());
    assert_eq!(dims[D - 1], channels, "the tensor has {} channels, the gain {channels}", dims[D - 1]);
    assert!(images == 1 || images == dims[0], "scale and shift are for {images} images, the tensor has {}", dims[0]);
    let (scale, shift) = (of.0.into_dispatch(), of.1.into_dispatch());
    Tensor::from_dispatch(Dispatch::norm(x.into_dispatch(), gain.into_dispatch(), scale, shift, rule))
}
