//! 3x3 convolution by Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv:1509.09308): a quarter of the multiplications.
//!
//! Tiles of 4x4 pixels become 36 positions; at each position the channels meet in one matrix product, and the result becomes tiles
//! again. The input gradient is the same with mirrored filters; the weight gradient is the sum over tiles of outer products in
//! the same domain. Jobs are runs of tiles: transform, 36 products and back while everything stays in the second-level cache.
//!
//! Rounding: the transforms' constants make f32 results about 10 times less exact than a direct sum (tested in `tests`).

mod tiles;
mod transform;
mod weights;

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use self::{
    tiles::{Grid, Read, SIDE, Squares, Write},
    transform::{Patch, TileGradient},
    weights::{Filters, filter_gradient, panel_step},
};
use super::{
    conv::ConvShape,
    outer::Outer,
    pack::{Block, Direction, blocks},
    product::Product,
    sums::add_rows,
};
use crate::{
    buffer::{Aligned, Shared, filled, with_parts},
    simd::{Float, Stored, dispatch},
};

/// Values of a transformed patch.
const POSITIONS: usize = 36;
/// Bytes of a job's rows, before and after the products, that stay in the second-level cache.
const RESIDENT: usize = 640 << 10;
/// Tiles per job where all are transformed first.
const RUN: usize = 8;
/// The position whose tile gradient is the sum over the tile: point 1 in both directions.
const SUM: usize = 7;

/// Whether this way is open and pays: 3x3 kernels at stride 1, enough channels, tiles that are mostly full.
pub(crate) fn applies(shape: &ConvShape) -> bool {
    let ([_, height, width, inside], [out, _, kh, kw]) = (shape.y(), shape.weight);
    let inside = inside.min(shape.x[3]);
    let products = height.div_ceil(SIDE) * width.div_ceil(SIDE) * POSITIONS;
    [kh, kw, shape.spec.stride] == [3, 3, 1]
        && shape.spec.padding < 3
        && inside.min(out) >= 16
        && 10 * products <= 6 * (9 * height * width)
}

/// Rows of numbers per position are this long: not a multiple of 4096 bytes, which would share a place in the cache.
fn stride(count: usize, padded: usize) -> usize {
    count * padded + 16
}

/// Cuts `tiles` into equal runs for one job each.
fn runs(tiles: usize, channels: usize, bytes: usize) -> (usize, usize) {
    let most = (RESIDENT / (POSITIONS * channels * bytes)).max(32);
    let jobs = tiles.div_ceil(most).next_multiple_of(4).min(tiles.div_ceil(12)).max(1);
    let run = tiles.div_ceil(jobs);
    (tiles.div_ceil(run), run)
}

/// `y = x ⋆ weight + bias`.
pub(crate) fn conv2d<E: Stored>(x: &[E], weight: &[E::F], bias: &[E::F], shape: &ConvShape) -> Vec<E> {
    let [out, inside, _, _] = shape.weight;
    let filters = Filters::new(weight, [out, inside], Direction::Forward);
    sweep(x, &filters, bias, Sweep { source: shape.x, result: shape.y(), pad: shape.spec.padding })
}

/// dL/dx from dL/dy.
pub(crate) fn input_gradient<E: Stored>(dy: &[E], weight: &[E::F], shape: &ConvShape) -> Vec<E> {
    let [out, inside, _, _] = shape.weight;
    let filters = Filters::new(weight, [out, inside], Direction::InputGradient);
    sweep(dy, &filters, &[], Sweep { source: shape.y(), result: shape.x, pad: 2 - shape.spec.padding })
}

/// A pass from one batch of images to another.
#[derive(Clone, Copy)]
struct Sweep {
    source: [usize; 4],
    result: [usize; 4],
    pad: usize,
}

fn sweep<E: Stored>(source: &[E], filters: &Filters<E::F>, bias: &[E::F], sweep: Sweep) -> Vec<E> {
    let [batch, height, width, channels] = sweep.result;
    let grid = Grid::new(batch, [height, width]);
    let depth = sweep.source[3];
    let (wide, columns) = (depth.next_multiple_of(16), filters.columns());
    let mut start = Aligned::zeros(2 * columns);
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let (bias, zeros) = start.as_slice()[..2 * columns].split_at(columns);
    let from = Squares { grid, dims: sweep.source, side: 6, before: sweep.pad };
    let to = Squares { grid, dims: sweep.result, side: SIDE, before: 0 };
    let (jobs, run) = runs(grid.count(), wide + columns, size_of::<E::F>());
    // SAFETY: the jobs cover every tile once, and the tiles cover every pixel; a job writes all channels of its tiles' pixels.
    unsafe {
        filled(batch * height * width * channels, |result| {
            (0..jobs).into_par_iter().for_each(|job| {
                let first = job * run;
                let count = run.min(grid.count() - first);
                let strides = [stride(count, wide), stride(count, columns)];
                let copy = from.scratch().max(to.scratch());
                with_parts([POSITIONS * strides[0], POSITIONS * strides[1], copy], |[rows, products, copy]| {
                    let (at, transform) = (rows.as_mut_ptr(), PhantomData::<Patch>);
                    let stride = strides[0];
                    dispatch(Read { source, squares: from, first, count, to: at, stride, copy, transform });
                    let pixels: Vec<usize> = (0..count).map(|i| i * wide).collect();
                    for position in 0..POSITIONS {
                        let (input, panel) = (&rows[position * strides[0]..], filters.panel(position));
                        let product =
                            Product { input, pixels: &pixels, runs: 1, run: depth, row: 0, panel, start: zeros };
                        product.into(&mut products[position * strides[1]..], columns);
                    }
                    let (at, stride) = (products.as_ptr(), strides[1]);
                    dispatch(Write { from: at, stride, bias, squares: to, first, count, to: result.at(0), copy });
                });
            });
        })
    }
}

/// dL/dweight `[out, in, 3, 3]` and dL/dbias `[out]` from `x` and dL/dy.
pub(crate) fn weight_gradient<E: Stored>(x: &[E], dy: &[E], shape: &ConvShape) -> (Vec<E::F>, Vec<E::F>) {
    let ([batch, height, width, out], inside) = (shape.y(), shape.x[3]);
    let grid = Grid::new(batch, [height, width]);
    let gradient = Gradient {
        x,
        dy,
        patches: Squares { grid, dims: shape.x, side: 6, before: shape.spec.padding },
        tiles: Squares { grid, dims: shape.y(), side: SIDE, before: 0 },
        blocks: blocks(out),
    };
    let [depth, padded] = [inside, out.next_multiple_of(16)];
    // Few tiles of many channels: the filters' sums are larger than the tiles' rows. Decided by the shapes alone.
    let (sums, bias, groups) = if grid.count() * (depth + padded) < 16 * depth * padded {
        gradient.by_position()
    } else {
        gradient.by_group()
    };
    let total = (0..out).map(|c| E::F::of_f64((0..groups).map(|g| bias[g * padded + c].to_f64()).sum()));
    let bias = total.collect();
    (filter_gradient(&sums.as_slice()[..groups * POSITIONS * panel_step(depth, padded)], groups, [out, inside]), bias)
}

/// A weight gradient: the sum over tiles of outer products of patches and tile gradients, at each position.
struct Gradient<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    patches: Squares,
    tiles: Squares,
    blocks: Vec<Block>,
}

/// Sums of filters `[group][position][panel]`, of biases `[group][padded channels]`, and how many groups.
type Sums<F> = (Aligned<F>, Vec<F>, usize);

impl<F: Float, E: Stored<F = F>> Gradient<'_, E> {
    /// Rows per position of patches and of tile gradients.
    fn widths(&self) -> [usize; 2] {
        [self.patches, self.tiles].map(|s| s.dims[3].next_multiple_of(16))
    }

    /// Groups of tiles with sums of their own, to be added in order.
    fn by_group(&self) -> Sums<F> {
        let ([_, padded], count) = (self.widths(), self.patches.grid.count());
        let len = POSITIONS * panel_step(self.patches.dims[3], padded);
        let groups = ((1 << 20) / len).clamp(4, 8).next_power_of_two().min(count.div_ceil(8));
        let mut sums = Aligned::zeros(groups * len);
        let mut bias = vec![F::ZERO; groups * padded];
        let (shared, bias_of) = (Shared::new(sums.as_mut_slice()), Shared::new(&mut bias));
        (0..groups).into_par_iter().for_each(|group| {
            let tiles = count * group / groups..count * (group + 1) / groups;
            // SAFETY: groups own disjoint parts of both sums.
            let (sums, bias) = unsafe { (shared.slice(group * len, len), bias_of.slice(group * padded, padded)) };
            self.add_group(tiles, sums, bias);
        });
        (sums, bias, groups)
    }

    fn add_group(&self, tiles: Range<usize>, sums: &mut [F], bias: &mut [F]) {
        let [wide, padded] = self.widths();
        let (_, run) = runs(tiles.len(), wide + padded, size_of::<F>());
        let strides = [stride(run, wide), stride(run, padded)];
        let copy = self.patches.scratch().max(self.tiles.scratch());
        let panel = panel_step(self.patches.dims[3], padded);
        with_parts([POSITIONS * strides[0], POSITIONS * strides[1], copy], |[rows, gradients, copy]| {
            for first in tiles.clone().step_by(run) {
                let count = run.min(tiles.end - first);
                // SAFETY: the rows have room for `run` tiles at every position.
                unsafe { self.read([first, count], [rows.as_mut_ptr(), gradients.as_mut_ptr()], strides, copy) };
                for (position, sums) in sums.chunks_exact_mut(panel).enumerate() {
                    self.outer([&rows[position * strides[0]..], &gradients[position * strides[1]..]], count, sums);
                }
                add_rows(&gradients[SUM * strides[1]..][..count * padded], bias);
            }
        });
    }

    /// All tiles are transformed first; then each position makes its sums.
    fn by_position(&self) -> Sums<F> {
        let ([wide, padded], count) = (self.widths(), self.patches.grid.count());
        let strides = [stride(count, wide), stride(count, padded)];
        let (mut rows, mut gradients) =
            // SAFETY: the jobs write the rows of all tiles; the 16 numbers behind each position are never read.
            unsafe { (Aligned::<F>::unwritten(POSITIONS * strides[0]), Aligned::<F>::unwritten(POSITIONS * strides[1])) };
        let to = [Shared::new(rows.as_mut_slice()), Shared::new(gradients.as_mut_slice())];
        let copy = self.patches.scratch().max(self.tiles.scratch());
        (0..count.div_ceil(RUN)).into_par_iter().for_each(|job| {
            let first = job * RUN;
            with_parts([copy], |[copy]| {
                // SAFETY: there is room for `count` tiles at every position, and jobs write different tiles.
                unsafe {
                    let to = [to[0].at(first * wide), to[1].at(first * padded)];
                    self.read([first, RUN.min(count - first)], to, strides, copy);
                }
            });
        });
        let panel = panel_step(self.patches.dims[3], padded);
        let mut sums = Aligned::zeros(POSITIONS * panel);
        let (rows, gradients) = (rows.as_slice(), gradients.as_slice());
        sums.as_mut_slice()[..POSITIONS * panel].par_chunks_exact_mut(panel).enumerate().for_each(
            |(position, sums)| {
                self.outer([&rows[position * strides[0]..], &gradients[position * strides[1]..]], count, sums);
            },
        );
        let mut bias = vec![F::ZERO; padded];
        add_rows(&gradients[SUM * strides[1]..][..count * padded], &mut bias);
        (sums, bias, 1)
    }

    /// Transforms `count` tiles from `first` on, both patches and gradients.
    ///
    /// # Safety
    /// There is room for the rows of `count` tiles at every position behind both pointers, which no other job touches.
    unsafe fn read(&self, [first, count]: [usize; 2], to: [*mut F; 2], strides: [usize; 2], copy: &mut [F]) {
        let ([x, dy], [patches, tiles]) = ([self.x, self.dy], [self.patches, self.tiles]);
        unsafe {
            let (transform, [to, other], [stride, next]) = (PhantomData::<Patch>, to, strides);
            dispatch(Read { source: x, squares: patches, first, count, to, stride, copy, transform });
            let (transform, to, stride) = (PhantomData::<TileGradient>, other, next);
            dispatch(Read { source: dy, squares: tiles, first, count, to, stride, copy, transform });
        }
    }

    /// Adds the outer products of `count` rows at one position to its panel.
    fn outer(&self, [rows, gradients]: [&[F]; 2], count: usize, sums: &mut [F]) {
        let ([wide, padded], depth) = (self.widths(), self.patches.dims[3]);
        for &block in &self.blocks {
            let outer = Outer {
                input: rows,
                grad: &gradients[block.first..],
                pixels: [1, count],
                input_row: 0,
                input_step: wide,
                grad_row: 0,
                grad_step: padded,
                runs: 1,
                run: depth,
                row: 0,
            };
            outer.add_to(&mut sums[depth * block.first..], block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConvSpec;

    fn numbers<F: Float>(n: usize, seed: u64) -> Vec<F> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from((state >> 40) as u32) / f64::from(1 << 23) - 1.0
        };
        (0..n).map(|_| F::of_f64(next())).collect()
    }

    /// The convolution by its definition.
    fn defined(x: &[f64], weight: &[f64], bias: &[f64], shape: &ConvShape) -> Vec<f64> {
        let ([batch, height, width, out], [_, h, w, inside]) = (shape.y(), shape.x);
        let pad = shape.spec.padding as isize;
        let mut y = Vec::new();
        for at in 0..batch * height * width * out {
            let (o, column, row, image) =
                (at % out, at / out % width, at / out / width % height, at / out / width / height);
            let mut sum = bias[o];
            for (tap, i) in (0..9).flat_map(|tap| (0..inside).map(move |i| (tap, i))) {
                let (r, c) = ((row + tap / 3) as isize - pad, (column + tap % 3) as isize - pad);
                if (0..h as isize).contains(&r) && (0..w as isize).contains(&c) {
                    let pixel = (image * h + r as usize) * w + c as usize;
                    sum += x[pixel * inside + i] * weight[(o * inside + i) * 9 + tap];
                }
            }
            y.push(sum);
        }
        y
    }

    const SHAPES: [([usize; 4], usize, usize); 6] = [
        ([2, 8, 8, 32], 48, 1),
        ([1, 9, 7, 16], 17, 1),
        ([3, 5, 13, 21], 33, 0),
        ([1, 16, 12, 70], 100, 2),
        ([2, 12, 8, 130], 20, 1),
        ([1, 4, 4, 256], 256, 1),
    ];

    fn shape((x, out, padding): ([usize; 4], usize, usize)) -> ConvShape {
        ConvShape { x, weight: [out, x[3], 3, 3], spec: ConvSpec { stride: 1, padding } }
    }

    fn largest(values: &[f64]) -> f64 {
        values.iter().fold(0.0, |m, x| m.max(x.abs()))
    }

    fn error(a: &[f64], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest(b)
    }

    /// In f64 it is the convolution, and its gradients are the adjoints: <y, conv x> is linear in x and in the weight.
    #[test]
    fn it_is_the_convolution_and_its_adjoints() {
        for given in SHAPES {
            let s = shape(given);
            let (x, w) = (numbers::<f64>(s.x.iter().product(), 1), numbers::<f64>(s.weight.iter().product(), 2));
            let (b, dy) = (numbers::<f64>(s.weight[0], 3), numbers::<f64>(s.y().iter().product(), 4));
            let y = conv2d(&x, &w, &b, &s);
            assert!(error(&y, &defined(&x, &w, &b, &s)) < 1e-13, "{s:?}");
            let none = vec![0.0; b.len()];
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let through = dot(&defined(&x, &w, &none, &s), &dy);
            let dx = input_gradient(&dy, &w, &s);
            let (dw, db) = weight_gradient(&x, &dy, &s);
            assert!((dot(&x, &dx) - through).abs() < 1e-10 && (dot(&w, &dw) - through).abs() < 1e-10, "{s:?}");
            let ones = vec![1.0; dy.len()];
            assert!((db.iter().sum::<f64>() - dot(&ones, &dy)).abs() < 1e-10);
            // One element of each against a unit vector, through the definition.
            for at in [0, dx.len() / 2, dx.len() - 1] {
                let mut unit = vec![0.0; dx.len()];
                unit[at] = 1.0;
                assert!((dot(&defined(&unit, &w, &none, &s), &dy) - dx[at]).abs() < 1e-11);
            }
            for at in [0, dw.len() / 2, dw.len() - 1] {
                let mut unit = vec![0.0; dw.len()];
                unit[at] = 1.0;
                assert!((dot(&defined(&x, &unit, &none, &s), &dy) - dw[at]).abs() < 1e-11);
            }
        }
    }

    /// What f32 loses against f64: the bound that the module's documentation names.
    #[test]
    fn rounding_is_bounded() {
        let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        for given in SHAPES {
            let s = shape(given);
            let (x, w) = (numbers::<f32>(s.x.iter().product(), 1), numbers::<f32>(s.weight.iter().product(), 2));
            let (b, dy) = (numbers::<f32>(s.weight[0], 3), numbers::<f32>(s.y().iter().product(), 4));
            let exact = conv2d(&wide(&x), &wide(&w), &wide(&b), &s);
            let (dw, db) = weight_gradient(&wide(&x), &wide(&dy), &s);
            let dx = input_gradient(&wide(&dy), &wide(&w), &s);
            let got = weight_gradient(&x, &dy, &s);
            let errors = [
                error(&wide(&conv2d(&x, &w, &b, &s)), &exact),
                error(&wide(&input_gradient(&dy, &w, &s)), &dx),
                error(&wide(&got.0), &dw),
                error(&wide(&got.1), &db),
            ];
            assert!(errors.iter().all(|&e| e < 3e-5), "{s:?} {errors:?}");
        }
    }

    #[test]
    #[ignore = "prints times"]
    fn packing() {
        crate::keep_freed_memory();
        for n in [32, 64, 128, 256] {
            let w = numbers::<f32>(n * n * 9, 2);
            let best = |f: &dyn Fn()| {
                let mut best = f64::MAX;
                for _ in 0..12 {
                    let t = std::time::Instant::now();
                    f();
                    best = best.min(t.elapsed().as_secs_f64());
                }
                best * 1e6
            };
            let a = best(&|| {
                std::hint::black_box(Filters::new(&w, [n, n], Direction::Forward));
            });
            let b = best(&|| {
                std::hint::black_box(Filters::new(&w, [n, n], Direction::InputGradient));
            });
            let sums = vec![1.0f32; 4 * 36 * (n * n + 16)];
            let c = best(&|| {
                std::hint::black_box(filter_gradient(&sums, 4, [n, n]));
            });
            let d = best(&|| {
                std::hint::black_box(filter_gradient(&sums[..36 * (n * n + 16)], 1, [n, n]));
            });
            println!("{n}: forward {a:.0} dx {b:.0} gradient of 4 {c:.0} of 1 {d:.0} us");
        }
    }

    #[test]
    #[ignore = "prints times"]
    fn speed() {
        crate::keep_freed_memory();
        for (dims, out) in [
            ([32, 32, 32, 32], 32),
            ([32, 32, 32, 64], 32),
            ([32, 32, 32, 64], 64),
            ([32, 16, 16, 96], 64),
            ([32, 16, 16, 128], 128),
            ([32, 8, 8, 128], 128),
            ([32, 8, 8, 192], 128),
            ([32, 8, 8, 256], 256),
        ] {
            let s = shape((dims, out, 1));
            let (x, w) = (numbers::<f32>(s.x.iter().product(), 1), numbers::<f32>(s.weight.iter().product(), 2));
            let (b, dy) = (numbers::<f32>(s.weight[0], 3), numbers::<f32>(s.y().iter().product(), 4));
            let flops = s.label().1 / 1e9;
            let best = |f: &dyn Fn()| {
                let mut best = f64::MAX;
                for _ in 0..12 {
                    let t = std::time::Instant::now();
                    f();
                    best = best.min(t.elapsed().as_secs_f64());
                }
                flops / best
            };
            let f = best(&|| {
                std::hint::black_box(conv2d(&x, &w, &b, &s));
            });
            let i = best(&|| {
                std::hint::black_box(input_gradient(&dy, &w, &s));
            });
            let g = best(&|| {
                std::hint::black_box(weight_gradient(&x, &dy, &s));
            });
            println!("{:36} {:8.2} GFLOP  forward {f:6.0} dx {i:6.0} dw {g:6.0} GFLOP/s", s.label().0, flops);
        }
    }
}
