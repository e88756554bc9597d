//! Convolution as an implicit matrix product: under each output pixel lie the kernel's rows, each of them one contiguous run
//! of `kw · channels` floats in a channels-last image, and [`Product`] reads them there.
//!
//! The input gradient is the same sweep over the output gradient with mirrored weights. No im2col: the only copy is the border.

use rayon::prelude::*;

use super::{
    pack::{Direction, Packed},
    plane::{Strip, Sweep},
    product::Product,
};
use crate::{
    ConvSpec,
    buffer::{Aligned, Shared, filled, with_scratch},
};

/// The shapes of one convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    /// `[batch, height, width, in]`.
    pub x: [usize; 4],
    /// `[out, in, kh, kw]`.
    pub weight: [usize; 4],
    pub spec: ConvSpec,
}

impl ConvShape {
    /// `[batch, height', width', out]`.
    pub(crate) fn y(&self) -> [usize; 4] {
        let ([batch, height, width, _], [out, _, kh, kw]) = (self.x, self.weight);
        [batch, self.spec.output(height, kh), self.spec.output(width, kw), out]
    }

    /// The shapes in words, and the floating-point operations of one pass.
    pub(crate) fn label(&self) -> (String, f64) {
        let ([b, h, w, i], [o, _, kh, kw]) = (self.x, self.weight);
        let stride = if self.spec.stride > 1 { format!(" /{}", self.spec.stride) } else { String::new() };
        let pixels: usize = self.y()[..3].iter().product();
        (format!("{b}x{h}x{w}x{i} -> {o}, {kh}x{kw}{stride}"), 2.0 * (pixels * i * o * kh * kw) as f64)
    }

    /// `x → y`.
    pub(crate) fn forward(&self) -> Sweep {
        let ([_, height, width, _], [_, _, kh, kw]) = (self.y(), self.weight);
        Sweep {
            source: self.x,
            dilation: 1,
            pad: [self.spec.padding; 2],
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
            pad: [kh - 1 - self.spec.padding, kw - 1 - self.spec.padding],
            kernel: [kh, kw],
            stride: 1,
            out: [height, width],
        }
    }
}

/// `y = x ⋆ weight + bias`, flat, shaped `shape.y()`.
pub(crate) fn conv2d(x: &[f32], weight: &[f32], bias: &[f32], shape: &ConvShape) -> Vec<f32> {
    let packed = Packed::new(weight, shape.weight, Direction::Forward);
    sweep(x, &packed, bias, shape.forward())
}

/// dL/dx from dL/dy, flat, shaped `shape.x`.
pub(crate) fn input_gradient(dy: &[f32], weight: &[f32], shape: &ConvShape) -> Vec<f32> {
    let packed = Packed::new(weight, shape.weight, Direction::InputGradient);
    sweep(dy, &packed, &[], shape.input_gradient())
}

fn sweep(source: &[f32], packed: &Packed, bias: &[f32], sweep: Sweep) -> Vec<f32> {
    let [height, width] = sweep.out;
    assert_eq!(source.len(), sweep.source.iter().product::<usize>());
    assert_eq!(packed.panel().depth, sweep.kernel[0] * sweep.kernel[1] * sweep.source[3]);
    let mut start = Aligned::zeros(packed.panel().columns);
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let start = start.as_slice();
    let len = sweep.source[0] * height * width * packed.panel().columns;
    // SAFETY: the strips cover every output pixel once, and a job writes all columns of its strip's pixels.
    unsafe {
        filled(len, |out| {
            sweep.strips(packed.panel().columns).into_par_iter().for_each(|strip| {
                with_scratch(sweep.scratch(strip), |plane| {
                    run_strip(source, plane, &sweep, strip, (packed, start, out))
                });
            });
        })
    }
}

/// # Safety
/// `out` has room for the whole output, and no other job writes this strip.
unsafe fn run_strip(source: &[f32], plane: &mut [f32], sweep: &Sweep, strip: Strip, to: (&Packed, &[f32], Shared)) {
    let (packed, start, out) = to;
    let channels = sweep.source[3];
    let at = sweep.geometry(strip);
    let input = if sweep.in_place() {
        source
    } else {
        sweep.fill(source, strip, plane);
        plane
    };
    let mut pixels = Vec::with_capacity(strip.images * (strip.y1 - strip.y0) * sweep.out[1]);
    for image in 0..strip.images {
        for y in 0..strip.y1 - strip.y0 {
            let row = at.start + image * at.image + y * sweep.stride * at.row;
            pixels.extend((0..sweep.out[1]).map(|x| row + x * sweep.stride * channels));
        }
    }
    let (panel, [runs, width]) = (packed.panel(), sweep.kernel);
    let first = (strip.first * sweep.out[0] + strip.y0) * sweep.out[1];
    let product = Product { input, pixels: &pixels, runs, run: width * channels, row: at.row, panel, start };
    // SAFETY: the strip's pixels lie together in the output, and they are this job's own.
    unsafe { product.write(out.at(first * panel.columns), panel.columns) };
}
