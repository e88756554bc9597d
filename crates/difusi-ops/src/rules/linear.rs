//! The ops that move, join, add and convert: linear, and their gradients need no input.

use burn::{backend::TensorMetadata, tensor::bf16};
use burn_flex::FlexTensor;

use super::{
    LinearRule,
    number::{Number, contiguous, dims, shaped, tensor, values, with_number},
};
use crate::{
    kernel::{convert, layout, sums},
    profile::timed,
};

/// Ops of one image or matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    Upsample2,
    /// The mean of 2x2 pixels.
    Mean2,
    Unshuffle2,
    /// Of an f32 matrix with this many columns.
    RowSums(usize),
    /// To bf16 from f32, or back.
    Narrow,
    Widen,
}

impl Move {
    fn name(self) -> &'static str {
        match self {
            Move::Upsample2 => "upsample",
            Move::Mean2 => "mean of 2x2",
            Move::Unshuffle2 => "unshuffle",
            Move::RowSums(_) => "row sums",
            Move::Narrow => "to bf16",
            Move::Widen => "to f32",
        }
    }

    fn compute<E: Number>(self, x: &FlexTensor) -> FlexTensor {
        let x = contiguous::<E>(x);
        match self {
            Move::Upsample2 => {
                let [batch, height, width, channels] = dims(&x);
                let y = layout::upsample2(values::<E>(&x), [batch, height, width, channels]);
                tensor(y, [batch, 2 * height, 2 * width, channels])
            }
            Move::Mean2 => {
                let [batch, height, width, channels] = dims(&x);
                let half = [batch, height / 2, width / 2, channels];
                tensor(quarter(layout::upsample2_backward(values::<E>(&x), half)), half)
            }
            Move::Unshuffle2 => {
                let [batch, height, width, channels] = dims(&x);
                let y = layout::unshuffle2(values::<E>(&x), [batch, height, width, channels]);
                tensor(y, [batch, height / 2, width / 2, 4 * channels])
            }
            Move::RowSums(columns) => {
                tensor(sums::row_sums(values(&contiguous::<f32>(&x)), columns), [dims::<2>(&x)[0]])
            }
            Move::Narrow => contiguous::<bf16>(&x),
            Move::Widen => contiguous::<f32>(&x),
        }
    }

    fn gradient<E: Number>(self, dy: &FlexTensor) -> FlexTensor {
        let dy = contiguous::<E>(dy);
        match self {
            Move::Upsample2 => {
                let [batch, height, width, channels] = dims(&dy);
                let dims = [batch, height / 2, width / 2, channels];
                tensor(layout::upsample2_backward(values::<E>(&dy), dims), dims)
            }
            Move::Mean2 => {
                let [batch, height, width, channels] = dims(&dy);
                let dx = layout::upsample2(&quarter(values::<E>(&dy).to_vec()), [batch, height, width, channels]);
                tensor(dx, [batch, 2 * height, 2 * width, channels])
            }
            Move::Unshuffle2 => {
                let [batch, height, width, channels] = dims(&dy);
                let dims = [batch, 2 * height, 2 * width, channels / 4];
                tensor(layout::shuffle2(values::<E>(&dy), dims), dims)
            }
            Move::RowSums(columns) => {
                let dx = values::<E>(&dy).iter().flat_map(|&g| std::iter::repeat_n(g, columns)).collect();
                tensor::<E, 2>(dx, [dims::<1>(&dy)[0], columns])
            }
            Move::Narrow => contiguous::<f32>(&dy),
            Move::Widen => contiguous::<bf16>(&dy),
        }
    }
}

/// A quarter of each value: exact, but for numbers too small to have one.
fn quarter<E: Number>(mut values: Vec<E>) -> Vec<E> {
    values.iter_mut().for_each(|x| *x = E::put(x.get() * 0.25));
    values
}

impl LinearRule<1> for Move {
    fn forward(&self, [x]: [FlexTensor; 1]) -> FlexTensor {
        let work = || with_number!(&x, E => self.compute::<E>(&x));
        timed(self.name(), || (format!("{:?}", x.shape()), 0.0), work)
    }

    fn backward(&self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let work = || with_number!(&dy, E => self.gradient::<E>(&dy));
        [Some(timed(self.name(), || (format!("{:?}", dy.shape()), 0.0), work))]
    }
}

/// Ops of two images of one number, or of an image and a row for each of its images.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Join {
    /// Of equal shapes.
    Add,
    /// The channels of the first, then those of the second: so many.
    Channels([usize; 2]),
    /// The second, `[B, C]` of f32, at every pixel of the first, which has so many images and channels.
    Spread([usize; 2]),
}

impl LinearRule<2> for Join {
    fn forward(&self, [a, b]: [FlexTensor; 2]) -> FlexTensor {
        match *self {
            Join::Add => add(a, b),
            Join::Channels(channels) => {
                let label = || (format!("{:?} + {}", a.shape(), channels[1]), 0.0);
                let work = || with_number!(&a, E => join::<E>([&a, &b], channels));
                timed("join channels", label, work)
            }
            Join::Spread([_, channels]) => {
                let label = || (format!("{:?}", a.shape()), 0.0);
                timed("add to pixels", label, || with_number!(&a, E => spread::<E>([&a, &b], channels)))
            }
        }
    }

    fn backward(&self, dy: FlexTensor, needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        match *self {
            Join::Add => [needed[0].then(|| dy.clone()), needed[1].then_some(dy)],
            Join::Channels(channels) => {
                let label = || (format!("{:?}", dy.shape()), 0.0);
                let [a, b] = timed("split channels", label, || with_number!(&dy, E => split::<E>(&dy, channels)));
                [needed[0].then_some(a), needed[1].then_some(b)]
            }
            Join::Spread([images, channels]) => {
                let label = || (format!("{:?}", dy.shape()), 0.0);
                let work = || with_number!(&dy, E => spread_sums::<E>(&dy, [images, channels]));
                let rows = needed[1].then(|| timed("sums of images", label, work));
                [needed[0].then_some(dy), rows]
            }
        }
    }
}

fn join<E: Number>(images: [&FlexTensor; 2], channels: [usize; 2]) -> FlexTensor {
    let [a, b] = images.map(contiguous::<E>);
    let [batch, height, width, _] = dims(&a);
    let y = layout::join([values::<E>(&a), values(&b)], channels);
    tensor(y, [batch, height, width, channels[0] + channels[1]])
}

fn spread<E: Number>([x, rows]: [&FlexTensor; 2], channels: usize) -> FlexTensor {
    let (x, rows) = (contiguous::<E>(x), contiguous::<f32>(rows));
    shaped(sums::add_spread(values::<E>(&x), values::<f32>(&rows), channels), x.shape())
}

fn spread_sums<E: Number>(dy: &FlexTensor, [images, channels]: [usize; 2]) -> FlexTensor {
    let dy = contiguous::<E>(dy);
    tensor(sums::sums_by_image(values::<E>(&dy), images, channels), [images, channels])
}

fn split<E: Number>(dy: &FlexTensor, channels: [usize; 2]) -> [FlexTensor; 2] {
    let dy = contiguous::<E>(dy);
    let [batch, height, width, _] = dims(&dy);
    let [a, b] = layout::split(values::<E>(&dy), channels);
    [tensor(a, [batch, height, width, channels[0]]), tensor(b, [batch, height, width, channels[1]])]
}

/// The sum of two tensors of one shape, in the memory of one that nothing else uses, where there is one.
pub(super) fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let label = format!("{:?}", a.shape());
    timed("add", || (label, 0.0), || with_number!(&a, E => add_numbers::<E>(a, b)))
}

fn add_numbers<E: Number>(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    // By value: whoever still held the tensor would make its memory look shared.
    let [mut a, mut b] = [a, b].map(|x| contiguous::<E>(&x));
    if let Some(sum) = whole_mut::<E>(&mut a) {
        convert::add_to(sum, values(&b));
        return a;
    }
    if let Some(sum) = whole_mut::<E>(&mut b) {
        convert::add_to(sum, values(&a));
        return b;
    }
    shaped(convert::sum(values::<E>(&a), values(&b)), a.shape())
}

/// The values of a contiguous tensor that is alone in its memory and fills it.
fn whole_mut<E: Number>(tensor: &mut FlexTensor) -> Option<&mut [E]> {
    let len = tensor.shape().num_elements();
    E::slice_mut(tensor).filter(|values| values.len() == len)
}
