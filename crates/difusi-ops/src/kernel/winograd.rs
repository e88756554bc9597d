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
pub(crate) use weights::Filters;

use std::{marker::PhantomData, sync::OnceLock};

use rayon::prelude::*;

use self::{
    tiles::{Grid, Read, SIDE, Squares, Write},
    transform::{Patch, Transform},
    weights::Source,
};
use super::{
    conv::{self, ConvShape, Target, Weights},
    pack::{Block, Direction, Panel, blocks},
    product::Product,
};
use crate::{
    Activation,
    buffer::{Aligned, Shared, filled, with_parts},
    simd::{Stored, dispatch},
};

/// Values of a transformed patch.
const POSITIONS: usize = 36;
/// Bytes of a job's rows, before and after the products, that stay in the second-level cache.
const RESIDENT: usize = 640 << 10;

/// With at most so many tiles …
const FEW: usize = 192;
/// … and more bytes of transformed filters, these are made part by part in the cache.
const LARGE: usize = 1 << 20;
/// Channels read per part.
const PART: usize = 64;
/// Tiles per job where all are transformed first.
const RUN: usize = 8;

/// Whether this way is open and pays: 3x3 kernels at stride 1, enough channels, tiles that are mostly full.
pub(crate) fn applies(shape: &ConvShape) -> bool {
    let ([_, height, width, _], [out, inside, kh, kw]) = (shape.y(), shape.weight);
    let tiles = height.div_ceil(SIDE) * width.div_ceil(SIDE);
    [kh, kw, shape.spec.stride] == [3, 3, 1]
        && shape.spec.padding[0] == shape.spec.padding[1]
        && shape.spec.padding[0] < 3
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
///
/// # Safety
/// As [`conv::conv2d_to`].
pub(crate) unsafe fn conv2d_to<E: Stored>(x: &[E], of: &Weights<'_, E::F>, shape: &ConvShape, target: Target<E>) {
    let [out, inside, _, _] = shape.weight;
    let filters = (Source::new(of.weight, [out, inside], Direction::Forward), &of.kept.filters);
    let (doubled, step) = (shape.doubled, target.step);
    let sweep = Sweep { source: shape.seen(), doubled, result: shape.y(), step, pad: shape.spec.padding[0] };
    // SAFETY: the caller's promise is handed on.
    unsafe { sweep_to(x, filters, of.bias, (sweep, target)) }
}

/// dL/dx from dL/dy; of a doubled image, the gradient of what the kernel sees.
pub(crate) fn input_gradient<E: Stored>(dy: &[E], weight: &[E::F], shape: &ConvShape) -> Vec<E> {
    let [out, inside, _, _] = shape.weight;
    let filters = Source::new(weight, [out, inside], Direction::InputGradient);
    let pad = 2 - shape.spec.padding[0];
    let (result, filters) = (shape.seen(), (filters, &OnceLock::new()));
    let sweep = Sweep { source: shape.y(), doubled: false, result, step: result[3], pad };
    // SAFETY: there is room for the gradient, all of which is written.
    unsafe { filled(result.iter().product(), |to| sweep_to(dy, filters, &[], (sweep, Target::whole(to, result[3])))) }
}

/// A pass from one batch of images to another.
#[derive(Clone, Copy)]
struct Sweep {
    source: [usize; 4],
    doubled: bool,
    result: [usize; 4],
    /// Values from one pixel of the result to the next.
    step: usize,
    pad: usize,
}

impl Sweep {
    fn grid(&self) -> Grid {
        Grid::new(self.result[0], [self.result[1], self.result[2]])
    }

    /// What is read of a tile, and what is written.
    fn squares(&self) -> [Squares; 2] {
        let grid = self.grid();
        let (dims, step) = (self.source, self.source[3]);
        let from = Squares { grid, dims, step, doubled: self.doubled, side: 6, before: self.pad };
        [from, Squares { grid, dims: self.result, step: self.step, doubled: false, side: SIDE, before: 0 }]
    }
}

/// The jobs of either way cover every tile once in all channels, and the tiles cover every pixel.
///
/// # Safety
/// There is room for the result at the target.
unsafe fn sweep_to<E: Stored>(
    source: &[E],
    (filters, made): (Source<'_, E::F>, &OnceLock<Filters<E::F>>),
    bias: &[E::F],
    (sweep, target): (Sweep, Target<E>),
) {
    let [depth, columns] = filters.channels();
    // Transformed filters that do not fit into the cache are better not written to memory for a few tiles.
    let large = POSITIONS * depth * columns * size_of::<E::F>() > LARGE;
    // SAFETY: the caller's promise is handed on.
    unsafe {
        match large && sweep.grid().count() <= FEW {
            true => by_columns(source, filters, (bias, target), sweep),
            false => by_tiles(source, conv::kept(made, || Filters::new(filters)), (bias, target), sweep),
        }
    }
}

/// Jobs are runs of tiles in all channels.
///
/// # Safety
/// There is room for the result.
unsafe fn by_tiles<E: Stored>(
    source: &[E],
    filters: &Filters<E::F>,
    (bias, target): (&[E::F], Target<E>),
    sweep: Sweep,
) {
    let Target { to: result, activation: last, .. } = target;
    let (grid, [from, to], depth) = (sweep.grid(), sweep.squares(), sweep.source[3]);
    let (wide, columns) = (depth.next_multiple_of(16), filters.columns());
    let mut start = Aligned::zeros(2 * columns);
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let (bias, zeros) = start.as_slice()[..2 * columns].split_at(columns);
    let (jobs, run) = runs(grid.count(), wide + columns, size_of::<E::F>());
    (0..jobs).into_par_iter().for_each(|job| {
        let first = job * run;
        let count = run.min(grid.count() - first);
        let strides = [stride(count, wide), stride(count, columns)];
        let copy = from.scratch().max(to.scratch());
        with_parts([POSITIONS * strides[0], POSITIONS * strides[1], copy], |[rows, products, copy]| {
            let (at, transform, stride) = (rows.as_mut_ptr(), PhantomData::<Patch>, strides[0]);
            // SAFETY: the rows have room for `count` tiles at every position.
            unsafe { dispatch(Read { source, squares: from, first, count, to: at, stride, copy, transform }) };
            let pixels: Vec<usize> = (0..count).map(|i| i * wide).collect();
            for position in 0..POSITIONS {
                let (input, panel) = (&rows[position * strides[0]..], filters.panel(position));
                let (start, activation) = (zeros, Activation::None);
                let product = Product {
                    input,
                    pixels: &pixels,
                    runs: 1,
                    run: depth,
                    row: 0,
                    panel,
                    start,
                    more: false,
                    activation,
                };
                product.into(&mut products[position * strides[1]..], columns);
            }
            let (from, stride, channels) = (products.as_ptr(), strides[1], [0, columns]);
            // SAFETY: the products are those of `count` tiles; there is room for the result, and these tiles are this job's.
            unsafe {
                let to = (to, result.at(0));
                dispatch(Write { from, stride, bias, last, squares: to.0, channels, first, count, to: to.1, copy });
            }
        });
    });
}

/// All tiles are transformed first; jobs are blocks of channels of all tiles, whose filters are transformed part by part.
///
/// # Safety
/// There is room for the result.
unsafe fn by_columns<E: Stored>(
    source: &[E],
    filters: Source<'_, E::F>,
    (bias, target): (&[E::F], Target<E>),
    sweep: Sweep,
) {
    let Target { to: result, activation: last, .. } = target;
    let ([from, to], [depth, columns], count) = (sweep.squares(), filters.channels(), sweep.grid().count());
    let (wide, padded) = (depth.next_multiple_of(16), columns.next_multiple_of(16));
    let rows = read_all::<_, Patch>(source, from);
    let (rows, stride_in) = (rows.as_slice(), stride(count, wide));
    let mut start = Aligned::zeros(2 * padded);
    start.as_mut_slice()[..bias.len()].copy_from_slice(bias);
    let (bias, zeros) = start.as_slice()[..2 * padded].split_at(padded);
    narrow_blocks(columns).into_par_iter().for_each(|block| {
        let width = 16 * block.vectors;
        let (step, stride) = (PART * width + 16, stride(count, width));
        with_parts([POSITIONS * step, POSITIONS * stride, to.scratch()], |[panels, products, copy]| {
            for part in (0..depth).step_by(PART) {
                let run = PART.min(depth - part);
                filters.pack([part, part + run], block, panels, step);
                let pixels: Vec<usize> = (0..count).map(|i| i * wide + part).collect();
                for position in 0..POSITIONS {
                    let data = &panels[position * step..][..run * width];
                    let panel = Panel { data, blocks: &[Block { first: 0, ..block }], depth: run, columns: width };
                    let input = &rows[position * stride_in..];
                    let more = part > 0;
                    let (start, activation) = (zeros, Activation::None);
                    let product =
                        Product { input, pixels: &pixels, runs: 1, run, row: 0, panel, start, more, activation };
                    product.into(&mut products[position * stride..], width);
                }
            }
            let (from, channels, first) = (products.as_ptr(), [block.first, width], 0);
            // SAFETY: the products are those of all tiles; there is room for the result, and these channels are this job's.
            unsafe {
                let to = (to, result.at(0));
                dispatch(Write { from, stride, bias, last, squares: to.0, channels, first, count, to: to.1, copy });
            }
        });
    });
}

/// Blocks for at least four jobs where there are enough channels.
fn narrow_blocks(columns: usize) -> Vec<Block> {
    let vectors = columns.div_ceil(16);
    let width = vectors.div_ceil(4).clamp(1, blocks(columns)[0].vectors.max(1));
    (0..vectors).step_by(width).map(|v| Block { first: 16 * v, vectors: width.min(vectors - v) }).collect()
}

/// The squares of all tiles through `T`, rows as [`Read`] writes them, `stride` numbers per position.
fn read_all<E: Stored, T: Transform + Sync>(source: &[E], squares: Squares) -> Aligned<E::F> {
    let (count, padded) = (squares.grid.count(), squares.dims[3].next_multiple_of(16));
    let stride = stride(count, padded);
    // SAFETY: the jobs write the rows of all tiles; what lies behind each position is never read.
    let mut rows = unsafe { Aligned::<E::F>::unwritten(POSITIONS * stride) };
    let to = Shared::new(rows.as_mut_slice());
    (0..count.div_ceil(RUN)).into_par_iter().for_each(|job| {
        let first = job * RUN;
        with_parts([squares.scratch()], |[copy]| {
            let (count, transform) = (RUN.min(count - first), PhantomData::<T>);
            // SAFETY: there is room for all tiles at every position, and jobs write different tiles.
            unsafe {
                dispatch(Read { source, squares, first, count, to: to.at(first * padded), stride, copy, transform })
            };
        });
    });
    rows
}
