//! Convolution as a rule: image, weight, bias.

use burn_flex::FlexTensor;

use super::number::{Number, contiguous, dims, tensor, values, with_number};
use crate::{
    ConvSpec,
    kernel::{
        conv::{self, ConvShape},
        conv_grad,
    },
    profile::timed,
};

pub(super) fn forward([x, weight, bias]: [FlexTensor; 3], (spec, doubled): (ConvSpec, bool)) -> FlexTensor {
    let [weight, bias] = [weight, bias].map(|t| contiguous::<f32>(&t));
    let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec, doubled };
    with_number!(&x, E => {
        let x = contiguous::<E>(&x);
        let y = || conv::conv2d(values::<E>(&x), values(&weight), values(&bias), &shape);
        tensor(timed("conv2d", || shape.label(), y), shape.y())
    })
}

pub(super) fn backward(
    [x, weight, _]: [FlexTensor; 3],
    dy: FlexTensor,
    needed: [bool; 3],
    (spec, doubled): (ConvSpec, bool),
) -> [Option<FlexTensor>; 3] {
    let weight = contiguous::<f32>(&weight);
    let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec, doubled };
    with_number!(&x, E => {
        let (x, dy) = (contiguous::<E>(&x), contiguous::<E>(&dy));
        gradients::<E>([values(&x), values(&dy)], values(&weight), &shape, needed)
    })
}

fn gradients<E: Number>(
    [x, dy]: [&[E]; 2],
    weight: &[f32],
    shape: &ConvShape,
    needed: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let dx = || timed("conv2d dx", || shape.label(), || conv::input_gradient(dy, weight, shape));
    let dx = needed[0].then(|| tensor(dx(), shape.x));
    if !needed[1] && !needed[2] {
        return [dx, None, None];
    }
    let (dw, db) = timed("conv2d dw", || shape.label(), || conv_grad::weight_gradient(x, dy, shape));
    [dx, Some(tensor(dw, shape.weight)), Some(tensor(db, [shape.weight[0]]))]
}
