//! Moving pixels: nearest-neighbour upsampling and means of 2x2 pixels, space to channels, joining channels.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{
    composed,
    convert::as_in,
    extension::CpuOps,
    route::has_kernel,
    rules::{Join, Move},
};

/// Every pixel becomes 2x2 equal pixels. `[B, H, W, C]` → `[B, 2H, 2W, C]`.
pub fn upsample_nearest2(x: Tensor<4>) -> Tensor<4> {
    if !has_kernel(&x) {
        return composed::upsample_nearest2(x);
    }
    Tensor::from_dispatch(Dispatch::moved(x.into_dispatch(), Move::Upsample2))
}

/// 2x2 pixels become their mean. `[B, H, W, C]`, `H` and `W` even → `[B, H/2, W/2, C]`.
///
/// # Panics
/// If `H` or `W` is odd.
pub fn downsample_mean2(x: Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = x.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "an image of {height} x {width} cannot be halved");
    if !has_kernel(&x) {
        return composed::downsample_mean2(x);
    }
    Tensor::from_dispatch(Dispatch::moved(x.into_dispatch(), Move::Mean2))
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
    Tensor::from_dispatch(Dispatch::moved(x.into_dispatch(), Move::Unshuffle2))
}

/// Joins two images along their channels, in the number of the first. `[B, H, W, C]` and `[B, H, W, D]` → `[B, H, W, C + D]`.
///
/// # Panics
/// If the images differ in batch, height or width.
pub fn cat_channels(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    let ([batch, height, width, first], [.., second]) = (a.dims(), b.dims());
    assert_eq!([batch, height, width, second], b.dims(), "images of different sizes joined");
    let b = as_in(b, &a);
    if !has_kernel(&a) {
        return Tensor::cat(vec![a, b], 3);
    }
    let rule = Join::Channels([first, second]);
    Tensor::from_dispatch(Dispatch::joined(a.into_dispatch(), b.into_dispatch(), rule))
}
