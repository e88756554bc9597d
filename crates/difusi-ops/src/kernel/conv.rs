//! Convolution as an implicit matrix product: under each output pixel lie the kernel's rows, each of them one contiguous run
//! of `kw · channels` floats in a channels-last image, and [`Product`] reads them there.
//!
//! The input gradient is the same sweep over the output gradient with mirrored weights. No im2col: the only copy is the border.

use rayon::prelude::*;

use super::{
    convert::narrow,
    layout::{upsample2, upsample2_backward},
    pack::{Direction, Packed},
    plane::{Strip, Sweep},
    product::Product,
    winograd,
};
use crate::{
    ConvSpec,
    buffer::{Aligned, filled, with_parts},
    simd::Stored,
};

/// The shapes of one convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    /// `[batch, height, width, in]`.
    pub x: [usize; 4],
    /// `[out, in, kh, kw]`.
    pub weight: [usize; 4],
    pub spec: ConvSpec,
    /// Whether every pixel of x counts for two by two equal ones.
    pub doubled: bool,
}

impl ConvShape {
    /// The image that the kernel sees: x, or x doubled.
    pub(crate) fn seen(&self) -> [usize; 4] {
        let [batch, height, width, channels] = self.x;
        if self.doubled { [batch, 2 * height, 2 * width, channels] } else { self.x }
    }

    /// The same without doubling, for an image that has been doubled already.
    fn on_doubled(&self) -> Self {
        Self { x: self.seen(), doubled: false, ..*self }
    }

    /// `[batch, height', width', out]`.
    pub(crate) fn y(&self) -> [usize; 4] {
        let ([batch, height, width, _], [out, _, kh, kw]) = (self.seen(), self.weight);
        let [height, width] = self.spec.output([height, width], [kh, kw]);
        [batch, height, width, out]
    }

    /// The shapes in words, and the floating-point operations of one pass.
    pub(crate) fn label(&self) -> (String, f64) {
        let ([b, h, w, i], [o, _, kh, kw]) = (self.x, self.weight);
        let doubled = if self.doubled { "doubled " } else { "" };
        let stride = if self.spec.stride > 1 { format!(" /{}", self.spec.stride) } else { String::new() };
        let pixels: usize = self.y()[..3].iter().product();
        (format!("{doubled}{b}x{h}x{w}x{i} -> {o}, {kh}x{kw}{stride}"), 2.0 * (pixels * i * o * kh * kw) as f64)
    }

    /// `x → y`.
    pub(crate) fn forward(&self) -> Sweep {
        let ([_, height, width, _], [_, _, kh, kw]) = (self.y(), self.weight);
        Sweep {
            source: self.x,
            dilation: 1,
            pad: self.spec.padding,
            kernel: [kh, kw],
            stride: self.spec.stride,
            out: [height, width],
        }
    }

    /// `dy → dx`. Needs a padding below the kernel's size.
    fn input_gradient(&self) -> Sweep {
        let ([_, height, width, _], [_, _, kh, kw]) = (self.x, self.weight);
        Sweep {
            source: self.y(),
            dilation: self.spec.stride,
            pad: [kh - 1 - self.spec.padding[0], kw - 1 - self.spec.padding[1]],
            kernel: [kh, kw],
            stride: 1,
            out: [height, width],
        }
    }
}

/// `y = x ⋆ weight + bias`, flat, shaped `shape.y()`.
pub(crate) fn conv2d<E: Stored>(x: &[E], weight: &[E::F], bias: &[E::F], shape: &ConvShape) -> Vec<E> {
    if winograd::applies(shape) {
        return winograd::conv2d(x, weight, bias, shape);
    }
    if shape.doubled {
        return conv2d(&upsample2(x, shape.x), weight, bias, &shape.on_doubled());
    }
    let packed = Packed::new(weight, shape.weight, Direction::Forward);
    sweep(x, &packed, bias, shape.forward())
}

/// dL/dx from dL/dy, flat, shaped `shape.x`.
pub(crate) fn input_gradient<E: Stored>(dy: &[E], weight: &[E::F], shape: &ConvShape) -> Vec<E> {
    if shape.doubled {
        return upsample2_backward(&input_gradient(dy, weight, &shape.on_doubled()), shape.x);
    }
    if winograd::applies(shape) {
        return winograd::input_gradient(dy, weight, shape);
    }
    let packed = Packed::new(weight, shape.weight, Direction::InputGradient);
    sweep(dy, &packed, &[], shape.input_gradient())
}

fn sweep<E: Stored>(source: &[E], packed: &Packed<E::F>, bias: &[E::F], sweep: Sweep) -> Vec<E> {
    let ([height, width], panel) = (sweep.out, packed.panel());
    assert_eq!(source.len(), sweep.source.iter().product::<usize>());
    assert_eq!(panel.depth, sweep.kernel[0] * sweep.kernel[1] * sweep.source[3]);
    let mut start = Aligned::zeros(panel.columns.next_multiple_of(16));
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let start = start.as_slice();
    let numbers = E::as_numbers(source).filter(|_| sweep.in_place());
    let len = sweep.source[0] * height * width * panel.columns;
    // SAFETY: the strips cover every output pixel once, and a job writes all columns of its strip's pixels.
    unsafe {
        filled(len, |out| {
            sweep.strips(panel.columns).into_par_iter().for_each(|strip| {
                let plane = sweep.scratch(strip, numbers.is_some());
                let rows = if E::IS_NUMBER { 0 } else { strip.pixels(&sweep) * panel.columns };
                with_parts([plane, rows], |[plane, rows]| {
                    let input = numbers.unwrap_or_else(|| {
                        sweep.fill(source, strip, plane);
                        plane
                    });
                    let pixels = pixels(&sweep, strip, numbers.is_some());
                    let (runs, run) = (sweep.kernel[0], sweep.kernel[1] * sweep.source[3]);
                    let row = sweep.geometry(strip, numbers.is_some()).row;
                    let product = Product { input, pixels: &pixels, runs, run, row, panel, start, more: false };
                    let to = out.at((strip.first * height + strip.y0) * width * panel.columns);
                    // The strip's pixels lie together in the output, and they are this job's own.
                    match E::as_numbers_mut(to) {
                        Some(to) => product.write(to, panel.columns),
                        None => {
                            product.into(rows, panel.columns);
                            narrow(rows, to);
                        }
                    }
                });
            });
        })
    }
}

/// Where in its input each output pixel of a strip begins.
fn pixels(sweep: &Sweep, strip: Strip, in_place: bool) -> Vec<usize> {
    let at = sweep.geometry(strip, in_place);
    let mut pixels = Vec::with_capacity(strip.pixels(sweep));
    for image in 0..strip.images {
        for y in 0..strip.y1 - strip.y0 {
            let row = at.start + image * at.image + y * sweep.stride * at.row;
            pixels.extend((0..sweep.out[1]).map(|x| row + x * sweep.stride * sweep.source[3]));
        }
    }
    pixels
}
