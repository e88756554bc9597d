//! Convolution as an implicit matrix product: a register tile of pixels by output channels walks down the kernel's rows,
//! each of which is one contiguous run of `kw · channels` floats in a channels-last image.
//!
//! The input gradient is the same sweep over the output gradient with mirrored weights. No im2col: the only copy is the border.

use rayon::prelude::*;

use super::{
    pack::{Block, Direction, Packed},
    plane::{Strip, Sweep},
};
use crate::{
    ConvSpec,
    buffer::{Aligned, Shared, filled, with_scratch},
    simd::{Kernel, Lanes, dispatch},
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
    assert_eq!(packed.depth, sweep.kernel[0] * sweep.kernel[1] * sweep.source[3]);
    let mut start = Aligned::zeros(packed.columns);
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let start = start.as_slice();
    let len = sweep.source[0] * height * width * packed.columns;
    // SAFETY: the strips cover every output pixel once, and a job writes all columns of its strip's pixels.
    unsafe {
        filled(len, |out| {
            sweep.strips().into_par_iter().for_each(|strip| {
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
    let (runs, run) = (sweep.kernel[0], sweep.kernel[1] * channels);
    let furthest = pixels.last().map_or(0, |&last| last + (runs - 1) * at.row + run);
    assert!(furthest <= input.len() && start.len() >= packed.columns);
    let first = (strip.first * sweep.out[0] + strip.y0) * sweep.out[1];
    let out = unsafe { out.at(first * packed.columns) };
    let job = Tiles { input: input.as_ptr(), pixels: &pixels, runs, run, row: at.row, packed, start, out };
    unsafe { dispatch(job) };
}

/// All output channels of a list of pixels.
///
/// Valid when every pixel's offset plus `(runs - 1) · row + run` is inside the input,
/// `start` covers the columns rounded up to 16, and `out` has room for `pixels · columns` floats.
struct Tiles<'a> {
    input: *const f32,
    pixels: &'a [usize],
    runs: usize,
    run: usize,
    row: usize,
    packed: &'a Packed,
    start: &'a [f32],
    out: *mut f32,
}

impl Kernel for Tiles<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for &block in &self.packed.blocks {
            unsafe {
                match block.vectors {
                    4 => self.block::<L, 6, 4>(block),
                    3 => self.block::<L, 8, 3>(block),
                    2 => self.block::<L, 8, 2>(block),
                    _ => self.block::<L, 6, 1>(block),
                }
            }
        }
    }
}

impl Tiles<'_> {
    #[inline(always)]
    unsafe fn block<L: Lanes, const P: usize, const V: usize>(&self, block: Block) {
        let weight = self.packed.block(block).as_ptr();
        let columns = self.packed.columns;
        let valid = (16 * V).min(columns - block.first);
        let count = self.pixels.len();
        let mut done = 0;
        while done < count {
            let live = P.min(count - done);
            let mut x = [self.input; P];
            for (p, x) in x.iter_mut().enumerate() {
                *x = unsafe { self.input.add(self.pixels[done + p.min(live - 1)]) };
            }
            unsafe {
                let sums = self.tile::<L, P, V>(x, weight, self.start.as_ptr().add(block.first));
                let out = self.out.add(done * columns + block.first);
                for p in 0..P {
                    if p < live {
                        store::<L, V>(sums[p], out.add(p * columns), valid);
                    }
                }
            }
            done += P;
        }
    }

    /// The register tile: `P` pixels by `V` vectors of output channels.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const P: usize, const V: usize>(
        &self,
        x: [*const f32; P],
        mut weight: *const f32,
        start: *const f32,
    ) -> [[L; V]; P] {
        unsafe {
            let mut sums = [[L::splat(0.0); V]; P];
            for sum in &mut sums {
                for v in 0..V {
                    sum[v] = L::load(start.add(16 * v));
                }
            }
            for r in 0..self.runs {
                let mut x = x;
                for x in &mut x {
                    *x = x.add(r * self.row);
                }
                for k in 0..self.run {
                    let mut w = [L::splat(0.0); V];
                    for v in 0..V {
                        w[v] = L::load(weight.add(16 * v));
                    }
                    weight = weight.add(16 * V);
                    for p in 0..P {
                        let value = L::splat(*x[p].add(k));
                        for v in 0..V {
                            sums[p][v] = value.fma(w[v], sums[p][v]);
                        }
                    }
                }
            }
            sums
        }
    }
}

/// Writes the first `valid` of `16 V` values.
#[inline(always)]
unsafe fn store<L: Lanes, const V: usize>(sums: [L; V], to: *mut f32, valid: usize) {
    unsafe {
        if valid == 16 * V {
            for v in 0..V {
                sums[v].store(to.add(16 * v));
            }
            return;
        }
        let mut spill = [[0.0f32; 16]; V];
        for v in 0..V {
            sums[v].store(spill[v].as_mut_ptr());
        }
        std::ptr::copy_nonoverlapping(spill.as_ptr().cast::<f32>(), to, valid);
    }
}
