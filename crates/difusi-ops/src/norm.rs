//! Norms, alone and fused with what follows them in a residual block: scale and shift, SiLU, the residual.
//!
//! RMS over channels as `RMSNorm` and `Block` of denoising-diffusion-pytorch 2.3.4 (arXiv:1910.07467); groups of channels as PyTorch's
//! `GroupNorm` (arXiv:1803.08494), modulated as in ADM (arXiv:2105.05233). Deliberately absent: layer norm.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{
    composed,
    convert::{as_in, to_f32},
    extension::CpuOps,
    route::has_kernel,
    rules::{self, Norm, Quinary},
};

/// `x / max(‖x‖₂, 1e-12) · gain · √C`, the norm taken over the last dimension. `x` `[.., C]`, `gain` `[C]` → `[.., C]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gain: Tensor<1>) -> Tensor<D> {
    if !has_kernel(&x) {
        return composed::rms_norm(x, gain);
    }
    let none = nothing(&x, gain.dims()[0]);
    run(x, gain, none, None, Norm { silu: false })
}

/// `rms_norm(x, gain) + residual`. `x` and `residual` `[B, H, W, C]`, `gain` `[C]` → `[B, H, W, C]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm_add(x: Tensor<4>, gain: Tensor<1>, residual: Tensor<4>) -> Tensor<4> {
    assert_eq!(x.dims(), residual.dims(), "the residual has another shape");
    if !has_kernel(&x) {
        return composed::rms_norm(x, gain) + residual;
    }
    let none = nothing(&x, gain.dims()[0]);
    run(x, gain, none, Some(residual), Norm { silu: false })
}

/// `silu(rms_norm(x, gain) · (1 + scale) + shift) + residual`: one block of the U-Net in one pass.
/// `x` and `residual` `[B, H, W, C]`, `gain` `[C]`, `scale_shift` = (`scale` `[B, C]`, `shift` `[B, C]`) → `[B, H, W, C]`;
/// without `scale_shift` it is `silu(rms_norm(x, gain)) + residual`.
///
/// # Panics
/// On shapes that do not fit.
pub fn rms_norm_silu(
    x: Tensor<4>,
    gain: Tensor<1>,
    scale_shift: Option<(Tensor<2>, Tensor<2>)>,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    if let Some(residual) = &residual {
        assert_eq!(x.dims(), residual.dims(), "the residual has another shape");
    }
    if !has_kernel(&x) {
        return composed::rms_norm_silu(x, gain, scale_shift, residual);
    }
    let scale_shift = scale_shift.unwrap_or_else(|| nothing(&x, gain.dims()[0]));
    run(x, gain, scale_shift, residual, Norm { silu: true })
}

/// A scale and a shift that change nothing.
fn nothing<const D: usize>(x: &Tensor<D>, channels: usize) -> (Tensor<2>, Tensor<2>) {
    let none = Tensor::zeros([1, channels], &x.device());
    (none.clone(), none)
}

fn run<const D: usize>(
    x: Tensor<D>,
    gain: Tensor<1>,
    (scale, shift): (Tensor<2>, Tensor<2>),
    residual: Option<Tensor<D>>,
    rule: Norm,
) -> Tensor<D> {
    check(x.dims(), gain.dims(), [scale.dims(), shift.dims()]);
    let residual = residual.map(|residual| as_in(residual, &x));
    let (x, gain) = (x.into_dispatch(), to_f32(gain).into_dispatch());
    let (scale, shift) = (to_f32(scale).into_dispatch(), to_f32(shift).into_dispatch());
    Tensor::from_dispatch(match residual {
        Some(residual) => Dispatch::quinary(x, gain, scale, shift, residual.into_dispatch(), Quinary::Added(rule)),
        None => Dispatch::norm(x, gain, scale, shift, rule),
    })
}

fn check<const D: usize>(x: [usize; D], [gain]: [usize; 1], [scale, shift]: [[usize; 2]; 2]) {
    let channels = x[D - 1];
    assert_eq!(channels, gain, "the tensor has {channels} channels, the gain {gain}");
    assert!(
        scale == shift && scale[1] == channels,
        "scale {scale:?} and shift {shift:?} are not for {channels} channels"
    );
    assert!(scale[0] == 1 || scale[0] == x[0], "scale and shift are for {} images, the tensor has {}", scale[0], x[0]);
}

/// How a [`group_norm`] cuts the channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Groups {
    /// How many groups; divides the channels.
    pub count: usize,
    /// What is added to the variance, above 0.
    pub epsilon: f64,
}

impl Groups {
    /// `count` groups with PyTorch's default epsilon of 1e-5.
    pub const fn new(count: usize) -> Self {
        Self { count, epsilon: 1e-5 }
    }
}

/// `(x - mean) / √(variance + ε) · gain + bias` with mean and (biased) variance over the pixels of an image and the channels of
/// a group: PyTorch's `GroupNorm`. `x` `[B, .., C]`, `affine` = (`gain` `[C]`, `bias` `[C]`) → `[B, .., C]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn group_norm<const D: usize>(x: Tensor<D>, groups: Groups, affine: (Tensor<1>, Tensor<1>)) -> Tensor<D> {
    if !has_kernel(&x) {
        return composed::group_norm(x, groups, affine);
    }
    let none = nothing(&x, affine.0.dims()[0]);
    run_groups(x, groups, affine, none, false)
}

/// `silu(group_norm(x) · (1 + scale) + shift)`. `x` `[B, H, W, C]`, `affine` = (`gain` `[C]`, `bias` `[C]`),
/// `scale_shift` = (`scale` `[B, C]`, `shift` `[B, C]`) → `[B, H, W, C]`; without `scale_shift` it is `silu(group_norm(x))`.
///
/// # Panics
/// On shapes that do not fit.
pub fn group_norm_silu(
    x: Tensor<4>,
    groups: Groups,
    affine: (Tensor<1>, Tensor<1>),
    scale_shift: Option<(Tensor<2>, Tensor<2>)>,
) -> Tensor<4> {
    if !has_kernel(&x) {
        return composed::group_norm_silu(x, groups, affine, scale_shift);
    }
    let scale_shift = scale_shift.unwrap_or_else(|| nothing(&x, affine.0.dims()[0]));
    run_groups(x, groups, affine, scale_shift, true)
}

fn run_groups<const D: usize>(
    x: Tensor<D>,
    Groups { count: groups, epsilon }: Groups,
    (gain, bias): (Tensor<1>, Tensor<1>),
    (scale, shift): (Tensor<2>, Tensor<2>),
    silu: bool,
) -> Tensor<D> {
    check(x.dims(), gain.dims(), [scale.dims(), shift.dims()]);
    let [channels] = bias.dims();
    assert!(
        gain.dims() == [channels] && groups > 0 && channels % groups == 0,
        "{groups} groups of {channels} channels"
    );
    let (gain, bias) = (to_f32(gain).into_dispatch(), to_f32(bias).into_dispatch());
    let (scale, shift) = (to_f32(scale).into_dispatch(), to_f32(shift).into_dispatch());
    let rule = Quinary::Group(rules::GroupNorm { groups, epsilon, silu });
    Tensor::from_dispatch(Dispatch::quinary(x.into_dispatch(), gain, bias, scale, shift, rule))
}
