//! The weight gradient: for every kernel position and channel pair, the sum over pixels of input times output gradient.
//!
//! The batch is cut into groups by the shapes alone; each group has its own sums, and these are added in order,
//! so the bits do not depend on the number of threads.

use rayon::prelude::*;

use super::{
    conv::ConvShape,
    pack::{Block, blocks, unpack_sum},
    plane::{Strip, Sweep},
};
use crate::{
    buffer::{Aligned, Shared, with_scratch},
    simd::{Kernel, Lanes, dispatch},
};

/// Pixels whose inputs and output gradients stay in the first-level cache while all tiles pass over them.
const PIXELS: usize = 112;

/// dL/dweight `[out, in, kh, kw]` from `x` and dL/dy.
pub(crate) fn weight_gradient(x: &[f32], dy: &[f32], shape: &ConvShape) -> Vec<f32> {
    let shape = flattened(shape);
    let [out, inside, kh, kw] = shape.weight;
    let padded = 16 * out.div_ceil(16);
    let len = kh * kw * inside * padded;
    let images = shape.x[0];
    let groups = ((1 << 22) / len).clamp(2, 16).min(images);
    let mut sums = Aligned::zeros(groups * len);
    let blocks = blocks(out);
    let shared = Shared::new(sums.as_mut_slice());
    (0..groups * blocks.len()).into_par_iter().for_each(|job| {
        let (group, block) = (job / blocks.len(), blocks[job % blocks.len()]);
        let range = images * group / groups..images * (group + 1) / groups;
        // SAFETY: groups and blocks own disjoint parts of the sums, each `depth · 16 · vectors` long.
        let sums = unsafe { shared.at(group * len + kh * kw * inside * block.first) };
        Job { x, dy, sweep: shape.forward(), out, block, sums }.run(range);
    });
    unpack_sum(sums.as_mut_slice(), groups, shape.weight)
}

/// A 1x1 convolution has no neighbours: its pixels may be regrouped into images of a convenient size.
fn flattened(shape: &ConvShape) -> ConvShape {
    let ([batch, height, width, channels], [_, _, kh, kw]) = (shape.x, shape.weight);
    let pixels = batch * height * width;
    let pointwise = kh * kw == 1 && shape.spec.stride == 1 && shape.spec.padding == 0;
    match (1..=PIXELS).rev().find(|n| pixels.is_multiple_of(*n)) {
        Some(n) if pointwise => ConvShape { x: [pixels / n, 1, n, channels], ..*shape },
        _ => *shape,
    }
}

/// One block of output channels over one group of images.
struct Job<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    sweep: Sweep,
    out: usize,
    block: Block,
    sums: *mut f32,
}

impl Job<'_> {
    fn run(&self, images: std::ops::Range<usize>) {
        let [height, width] = self.sweep.out;
        let whole = |first| Strip { first, images: 1, y0: 0, y1: height };
        let plane = self.sweep.scratch(whole(0));
        let lanes = 16 * self.block.vectors;
        // Where the last block is not full, its columns are copied out with zeros behind them.
        let ragged = self.block.first + lanes > self.out;
        let copy = if ragged { height * width * lanes } else { 0 };
        with_scratch(plane + copy, |scratch| {
            let (plane, copy) = scratch.split_at_mut(plane);
            for image in images {
                let at = self.sweep.geometry(whole(image));
                let input = if self.sweep.in_place() {
                    self.x
                } else {
                    self.sweep.fill(self.x, whole(image), plane);
                    &*plane
                };
                let dy = &self.dy[image * height * width * self.out..(image + 1) * height * width * self.out];
                let (dy, step) = if ragged {
                    self.copy_columns(dy, copy);
                    (&*copy, lanes)
                } else {
                    (&dy[self.block.first..], self.out)
                };
                let tiles = Tiles { job: self, input: &input[at.start..], row: at.row, dy, step };
                tiles.check();
                // SAFETY: `check` has compared every reach with the slices; `sums` is this job's own.
                unsafe { dispatch(tiles) };
            }
        });
    }

    fn copy_columns(&self, dy: &[f32], copy: &mut [f32]) {
        let lanes = 16 * self.block.vectors;
        for (to, from) in copy.chunks_exact_mut(lanes).zip(dy.chunks_exact(self.out)) {
            let from = &from[self.block.first..];
            to[..from.len()].copy_from_slice(from);
            to[from.len()..].fill(0.0);
        }
    }
}

/// One image: `input` starts at its first row, `dy` at the block's first column, with `step` floats from pixel to pixel.
struct Tiles<'a> {
    job: &'a Job<'a>,
    input: &'a [f32],
    row: usize,
    dy: &'a [f32],
    step: usize,
}

/// A rectangle of output pixels.
#[derive(Clone, Copy)]
struct Pixels {
    y0: usize,
    x0: usize,
    rows: usize,
    columns: usize,
}

impl Tiles<'_> {
    fn check(&self) {
        let Sweep { source, kernel, stride, out, .. } = self.job.sweep;
        let last_row = (out[0] - 1) * stride + kernel[0] - 1;
        assert!(last_row * self.row + ((out[1] - 1) * stride + kernel[1]) * source[3] <= self.input.len());
        assert!((out[0] * out[1] - 1) * self.step + 16 * self.job.block.vectors <= self.dy.len());
    }

    #[inline(always)]
    unsafe fn vectors<L: Lanes, const P: usize, const V: usize>(&self) {
        let [height, width] = self.job.sweep.out;
        let columns = width.div_ceil(width.div_ceil(PIXELS));
        let rows = height.div_ceil(height.div_ceil((PIXELS / columns).max(1)));
        for y0 in (0..height).step_by(rows) {
            for x0 in (0..width).step_by(columns) {
                let (rows, columns) = (rows.min(height - y0), columns.min(width - x0));
                unsafe { self.pixels::<L, P, V>(Pixels { y0, x0, rows, columns }) };
            }
        }
    }

    /// All tiles of the gradient over a few pixels: `P` rows of the depth at a time, then 4, 2, 1 for what is left of a run.
    #[inline(always)]
    unsafe fn pixels<L: Lanes, const P: usize, const V: usize>(&self, area: Pixels) {
        let run = self.job.sweep.kernel[1] * self.job.sweep.source[3];
        for ky in 0..self.job.sweep.kernel[0] {
            let mut k = 0;
            unsafe {
                while k + P <= run {
                    self.tile::<L, P, V>(area, ky, k);
                    k += P;
                }
                while k + 4 <= run {
                    self.tile::<L, 4, V>(area, ky, k);
                    k += 4;
                }
                while k + 2 <= run {
                    self.tile::<L, 2, V>(area, ky, k);
                    k += 2;
                }
                if k < run {
                    self.tile::<L, 1, V>(area, ky, k);
                }
            }
        }
    }

    /// The register tile: `P` rows of the depth by `V` vectors of output channels, summed over the pixels.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const P: usize, const V: usize>(&self, area: Pixels, ky: usize, k: usize) {
        let Sweep { source, kernel, stride, out, .. } = self.job.sweep;
        let pixel = stride * source[3];
        unsafe {
            let sums = self.job.sums.add((ky * kernel[1] * source[3] + k) * 16 * V);
            let mut tile = [[L::splat(0.0); V]; P];
            for p in 0..P {
                for v in 0..V {
                    tile[p][v] = L::load(sums.add((p * V + v) * 16));
                }
            }
            for y in area.y0..area.y0 + area.rows {
                let mut x = self.input.as_ptr().add((y * stride + ky) * self.row + area.x0 * pixel + k);
                let mut dy = self.dy.as_ptr().add((y * out[1] + area.x0) * self.step);
                for _ in 0..area.columns {
                    let mut g = [L::splat(0.0); V];
                    for v in 0..V {
                        g[v] = L::load(dy.add(16 * v));
                    }
                    for p in 0..P {
                        let value = L::splat(*x.add(p));
                        for v in 0..V {
                            tile[p][v] = value.fma(g[v], tile[p][v]);
                        }
                    }
                    x = x.wrapping_add(pixel);
                    dy = dy.wrapping_add(self.step);
                }
            }
            for p in 0..P {
                for v in 0..V {
                    tile[p][v].store(sums.add((p * V + v) * 16));
                }
            }
        }
    }
}

impl Kernel for Tiles<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        unsafe {
            match self.job.block.vectors {
                4 => self.vectors::<L, 6, 4>(),
                3 => self.vectors::<L, 8, 3>(),
                2 => self.vectors::<L, 8, 2>(),
                _ => self.vectors::<L, 6, 1>(),
            }
        }
    }
}
