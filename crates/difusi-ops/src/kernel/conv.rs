//! Convolution as an implicit matrix product: under each output pixel lie the kernel's rows, each of them one contiguous run
//! of `kw · channels` floats in a channels-last image, and [`Product`] reads them there.
//!
//! The input gradient is the same sweep over the output gradient with mirrored weights. No im2col: the only copy is the border.
//!
//! A result may be some channels of a wider image ([`Target`]), and what the weights become for the kernels may be kept ([`Kept`]):
//! this is for networks that are not trained.

use std::sync::OnceLock;

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
    Activation, ConvSpec,
    buffer::{Aligned, Shared, filled, with_parts},
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

/// Where the channels of a result go, and what is done to them last.
#[derive(Clone, Copy)]
pub(crate) struct Target<E> {
    /// The first channel of the first pixel.
    pub to: Shared<E>,
    /// Values from one pixel to the next: all channels of the image that these are some of.
    pub step: usize,
    pub activation: Activation,
}

impl<E> Target<E> {
    /// An image of its own, of `channels`.
    pub(crate) fn whole(to: Shared<E>, channels: usize) -> Self {
        Self { to, step: channels, activation: Activation::None }
    }
}

/// What a convolution's weights become for the kernels, made when first asked for.
pub(crate) struct Kept<F = f32> {
    packed: OnceLock<Packed<F>>,
    pub(super) filters: OnceLock<winograd::Filters<F>>,
}

impl<F> Default for Kept<F> {
    fn default() -> Self {
        Self { packed: OnceLock::new(), filters: OnceLock::new() }
    }
}

/// What is in `place`, made if need be. Nobody waits for another thread to make it, which might be waiting for this one.
pub(super) fn kept<T>(place: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match place.get() {
        Some(made) => made,
        None => {
            let made = make();
            place.get_or_init(|| made)
        }
    }
}

/// Weights `[out, in, kh, kw]`, bias `[out]`, and what was made of them.
pub(crate) struct Weights<'a, F> {
    pub weight: &'a [F],
    pub bias: &'a [F],
    pub kept: &'a Kept<F>,
}

/// `y = x ⋆ weight + bias`, flat, shaped `shape.y()`.
pub(crate) fn conv2d<E: Stored>(x: &[E], weight: &[E::F], bias: &[E::F], shape: &ConvShape) -> Vec<E> {
    let (y, kept) = (shape.y(), Kept::default());
    // SAFETY: there is room for y, all of which is written.
    unsafe {
        filled(y.iter().product(), |to| {
            conv2d_to(x, &Weights { weight, bias, kept: &kept }, shape, Target::whole(to, y[3]));
        })
    }
}

/// [`conv2d`] into a part of an image's channels. Writes all of them, and reads none.
///
/// # Safety
/// There is room at the target for `shape.y()`, `target.step` values from pixel to pixel, which nobody else touches.
pub(crate) unsafe fn conv2d_to<E: Stored>(x: &[E], of: &Weights<'_, E::F>, shape: &ConvShape, target: Target<E>) {
    // SAFETY: the caller's promise is handed on.
    unsafe {
        if winograd::applies(shape) {
            winograd::conv2d_to(x, of, shape, target);
        } else if shape.doubled {
            conv2d_to(&upsample2(x, shape.x), of, &shape.on_doubled(), target);
        } else {
            let packed = kept(&of.kept.packed, || Packed::new(of.weight, shape.weight, Direction::Forward));
            sweep(x, (packed, of.bias), shape.forward(), target);
        }
    }
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
    let target = |to| Target::whole(to, shape.x[3]);
    // SAFETY: there is room for dx, all of which is written.
    unsafe { filled(shape.x.iter().product(), |to| sweep(dy, (&packed, &[]), shape.input_gradient(), target(to))) }
}

/// # Safety
/// As [`conv2d_to`].
unsafe fn sweep<E: Stored>(source: &[E], (packed, bias): (&Packed<E::F>, &[E::F]), sweep: Sweep, target: Target<E>) {
    let ([height, width], panel) = (sweep.out, packed.panel());
    assert_eq!(source.len(), sweep.source.iter().product::<usize>());
    assert_eq!(panel.depth, sweep.kernel[0] * sweep.kernel[1] * sweep.source[3]);
    let mut start = Aligned::zeros(panel.columns.next_multiple_of(16));
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let start = start.as_slice();
    let numbers = E::as_numbers(source).filter(|_| sweep.in_place());
    let Target { to, step, activation } = target;
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
            let product = Product { input, pixels: &pixels, runs, run, row, panel, start, more: false, activation };
            // SAFETY: the strips cover every output pixel once; a strip's pixels follow one another, and they are this job's own.
            unsafe {
                let to = to.at((strip.first * height + strip.y0) * width * step);
                match E::as_numbers_mut(to) {
                    Some(to) => product.write(to, step),
                    None => {
                        product.into(rows, panel.columns);
                        // All at once where nothing lies between the pixels.
                        let together = if step == panel.columns { pixels.len() } else { 1 };
                        for (i, row) in rows.chunks(panel.columns * together).enumerate() {
                            narrow(row, to.add(i * step));
                        }
                    }
                }
            }
        });
    });
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
