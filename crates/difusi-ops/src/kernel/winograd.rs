//! 3x3 convolution by Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv:1509.09308): a quarter of the multiplications.
//!
//! Tiles of 4x4 pixels become 36 positions; at each position the channels meet in one matrix product, and the result becomes tiles
//! again. The input gradient is the same with mirrored filters; the weight gradient is the sum over tiles of outer products in
//! the same domain. Jobs are runs of tiles: transform, 36 products and back while everything stays in the second-level cache.
//!
//! Rounding: the transforms' constants make f32 results about 10 times less exact than a direct sum (tested in `tests`).

mod gradient;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod weights;

pub(crate) use gradient::weight_gradient;

use std::marker::PhantomData;

use rayon::prelude::*;

use self::{
    tiles::{Grid, Read, SIDE, Squares, Write},
    transform::Patch,
    weights::Filters,
};
use super::{conv::ConvShape, pack::Direction, product::Product};
use crate::{
    buffer::{Aligned, filled, with_parts},
    simd::{Stored, dispatch},
};

/// Values of a transformed patch.
const POSITIONS: usize = 36;
/// Bytes of a job's rows, before and after the products, that stay in the second-level cache.
const RESIDENT: usize = 640 << 10;

/// Whether this way is open and pays: 3x3 kernels at stride 1, enough channels, tiles that are mostly full.
pub(crate) fn applies(shape: &ConvShape) -> bool {
    let ([_, height, width, _], [out, inside, kh, kw]) = (shape.y(), shape.weight);
    let tiles = height.div_ceil(SIDE) * width.div_ceil(SIDE);
    [kh, kw, shape.spec.stride] == [3, 3, 1]
        && shape.spec.padding < 3
        && inside.min(out) >= 16
        && 10 * tiles * POSITIONS <= 6 * (9 * height * width)
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
    let doubled = shape.doubled;
    sweep(x, &filters, bias, Sweep { source: shape.seen(), doubled, result: shape.y(), pad: shape.spec.padding })
}

/// dL/dx from dL/dy; of a doubled image, the gradient of what the kernel sees.
pub(crate) fn input_gradient<E: Stored>(dy: &[E], weight: &[E::F], shape: &ConvShape) -> Vec<E> {
    let [out, inside, _, _] = shape.weight;
    let filters = Filters::new(weight, [out, inside], Direction::InputGradient);
    let pad = 2 - shape.spec.padding;
    sweep(dy, &filters, &[], Sweep { source: shape.y(), doubled: false, result: shape.seen(), pad })
}

/// A pass from one batch of images to another.
#[derive(Clone, Copy)]
struct Sweep {
    source: [usize; 4],
    doubled: bool,
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
    let from = Squares { grid, dims: sweep.source, doubled: sweep.doubled, side: 6, before: sweep.pad };
    let to = Squares { grid, dims: sweep.result, doubled: false, side: SIDE, before: 0 };
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
