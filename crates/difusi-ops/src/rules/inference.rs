//! Convolution and pooling of networks that are not trained: see [`crate::FixedConv`].

use burn_flex::FlexTensor;

use super::number::{Number, contiguous, dims, tensor, values};
use crate::{
    Activation, ConvSpec,
    buffer::{Shared, filled},
    kernel::{
        conv::{self, ConvShape, Kept, Target, Weights},
        pool::{self, Pool, PoolShape},
    },
    profile::timed,
};

/// Which channels of an image are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub first: usize,
    pub count: usize,
}

impl Place {
    /// Whether an image `part` has this place in `whole`.
    pub(crate) fn is_in(self, whole: [usize; 4], part: [usize; 4]) -> bool {
        whole[..3] == part[..3] && part[3] == self.count && self.first + self.count <= whole[3]
    }
}

/// `x`, weight and bias to an image of its own, or into a place.
pub(crate) fn conv2d(
    [x, weight, bias]: [FlexTensor; 3],
    kept: &Kept,
    (spec, activation): (ConvSpec, Activation),
    into: Option<(FlexTensor, Place)>,
) -> FlexTensor {
    let [x, weight, bias] = [x, weight, bias].map(|t| contiguous::<f32>(&t));
    let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec, doubled: false };
    let of = Weights { weight: values(&weight), bias: values(&bias), kept };
    let label = || shape.label();
    // SAFETY: `written` gives room for the shape it is told, to this call alone.
    let write = |target| unsafe { conv::conv2d_to(values::<f32>(&x), &of, &shape, Target { activation, ..target }) };
    timed("fixed conv2d", label, || written(shape.y(), into, write))
}

/// `x` to an image of its own, or into a place.
pub(crate) fn pool(
    x: FlexTensor,
    kind: Pool,
    (window, spec): ([usize; 2], ConvSpec),
    into: Option<(FlexTensor, Place)>,
) -> FlexTensor {
    let x = contiguous::<f32>(&x);
    let shape = PoolShape { x: dims(&x), window, spec };
    let label = || (format!("{:?} {kind:?} {window:?} /{}", shape.x, spec.stride), 0.0);
    // SAFETY: as in `conv2d`.
    let write = |target| unsafe { pool::pool_to(values::<f32>(&x), kind, &shape, target) };
    timed("pool", label, || written(shape.y(), into, write))
}

/// Lets `write` write an image of shape `y`: a new one, or into the place in an image, which is copied where somebody else uses it.
fn written(y: [usize; 4], into: Option<(FlexTensor, Place)>, write: impl FnOnce(Target<f32>)) -> FlexTensor {
    let Some((whole, place)) = into else {
        // SAFETY: the kernels write all of it.
        let values = unsafe { filled(y.iter().product(), |to| write(Target::whole(to, y[3]))) };
        return tensor(values, y);
    };
    // By value: whoever still held the tensor would make its memory look shared.
    let (shape, mut whole) = (dims::<4>(&whole), contiguous::<f32>(&{ whole }));
    assert!(place.is_in(shape, y));
    let len = shape.iter().product::<usize>();
    match f32::slice_mut(&mut whole).filter(|all| all.len() == len) {
        Some(all) => {
            write(target(all, shape[3], place));
            whole
        }
        None => {
            let mut copy = values::<f32>(&whole).to_vec();
            write(target(&mut copy, shape[3], place));
            tensor(copy, shape)
        }
    }
}

fn target(all: &mut [f32], step: usize, place: Place) -> Target<f32> {
    Target { step, ..Target::whole(Shared::new(&mut all[place.first..]), place.count) }
}
