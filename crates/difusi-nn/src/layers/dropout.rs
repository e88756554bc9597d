//! Values dropped at random in training: which ones depends on the noise, the layer's name and the image's number, on nothing else.

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Draw, Dropout};

use super::{in_precision, precision_of};

/// The product of `h` `[B, H, W, C]` with zeros, and with `1 / (1 - p)` with probability `1 - p`; computed in f32. `layer` is a number
/// of this layer's own ([`super::Init::index`]), `p` is in `[0, 1)`: with 0, or without `dropout`, nothing is dropped.
pub fn drop_values(h: Tensor<4>, p: f64, layer: u64, dropout: Option<Dropout>) -> Tensor<4> {
    match dropout {
        Some(dropout) if p > 0.0 => {
            let precision = precision_of(&h);
            let h = difusi_ops::to_f32(h);
            let mask = mask(&h, p, layer, dropout);
            in_precision(h * mask, precision)
        }
        _ => h,
    }
}

fn mask(like: &Tensor<4>, p: f64, layer: u64, Dropout { noise, first_image }: Dropout) -> Tensor<4> {
    let shape = like.dims();
    let per_image = shape[1] * shape[2] * shape[3];
    let keep = 1.0 - p;
    let (limit, value) = ((keep * 4_294_967_296.0) as u64, (1.0 / keep) as f32);
    let mut mask = Vec::with_capacity(shape[0] * per_image);
    let noise = noise.derive(Draw::Dropout, layer, 0); // numbers of this layer's own
    for image in first_image..first_image + shape[0] as u64 {
        let mut stream = noise.stream(Draw::Dropout, image, 0);
        mask.extend((0..per_image).map(|_| if u64::from(stream.next_u32()) < limit { value } else { 0.0 }));
    }
    Tensor::from_data(TensorData::new(mask, shape), &like.device())
}
