//! Moving pixels: nearest-neighbour upsampling, space to channels, joining channels.

use burn::tensor::Tensor;

use crate::composed;

/// Every pixel becomes 2x2 equal pixels. `[B, H, W, C]` → `[B, 2H, 2W, C]`.
pub fn upsample_nearest2(x: Tensor<4>) -> Tensor<4> {
    composed::upsample_nearest2(x)
}

/// 2x2 pixels become channels, in the order `(c p1 p2)` of einops' `b c (h p1) (w p2) -> b (c p1 p2) h w`.
/// `[B, H, W, C]`, `H` and `W` even → `[B, H/2, W/2, 4C]`.
///
/// # Panics
/// If `H` or `W` is odd.
pub fn pixel_unshuffle2(x: Tensor<4>) -> Tensor<4> {
    composed::pixel_unshuffle2(x)
}

/// Joins images along their channels. Each `[B, H, W, C_i]` → `[B, H, W, ΣC_i]`.
///
/// # Panics
/// If the list is empty or the images differ in batch, height or width.
pub fn cat_channels(images: Vec<Tensor<4>>) -> Tensor<4> {
    Tensor::cat(images, 3)
}
