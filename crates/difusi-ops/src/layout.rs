//! Moving pixels: nearest-neighbour upsampling, space to channels, joining channels.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, extension::CpuOps, route::has_kernel, rules::Unary};

/// Every pixel becomes 2x2 equal pixels. `[B, H, W, C]` → `[B, 2H, 2W, C]`.
pub fn upsample_nearest2(x: Tensor<4>) -> Tensor<4> {
    if !has_kernel(&x) {
        return composed::upsample_nearest2(x);
    }
    Tensor::from_dispatch(Dispatch::unary(x.into_dispatch(), Unary::Upsample2))
}

/// 2x2 pixels become channels, in the order `(c p1 p2)` of einops' `b c (h p1) (w p2) -> b (c p1 p2) h w`.
/// `[B, H, W, C]`, `H` and `W` even → `[B, H/2, W/2, 4C]`.
///
/// # Panics
/// If `H` or `W` is odd.
pub fn pixel_unshuffle2(x: Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = x.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "an image of {height} x {width} cannot be halved");
    if !has_kernel(&x) {
        return composed::pixel_unshuffle2(x);
    }
    Tensor::from_dispatch(Dispatch::unary(x.into_dispatch(), Unary::Unshuffle2))
}

/// Joins images along their channels. Each `[B, H, W, C_i]` → `[B, H, W, ΣC_i]`.
///
/// # Panics
/// If the list is empty or the images differ in batch, height or width.
pub fn cat_channels(images: Vec<Tensor<4>>) -> Tensor<4> {
    Tensor::cat(images, 3)
}
