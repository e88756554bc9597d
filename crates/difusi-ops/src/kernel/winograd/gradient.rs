//! The weight gradient: at each position the sum over tiles of patches times tile gradients, then back to 3x3 filters.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::{
    POSITIONS, runs, stride,
    tiles::{Grid, Read, SIDE, Squares},
    transform::{Patch, TileGradient},
    weights::{filter_gradient, panel_step},
};
use crate::{
    buffer::{Aligned, Shared, with_parts},
    kernel::{
        conv::ConvShape,
        outer::Outer,
        pack::{Block, blocks},
        sums::add_rows,
    },
    simd::{Float, Stored, dispatch},
};

/// Tiles per job where all are transformed first.
const RUN: usize = 8;
/// The position whose tile gradient is the sum over the tile: point 1 in both directions.
const SUM: usize = 7;

/// dL/dweight `[out, in, 3, 3]` and dL/dbias `[out]` from `x` and dL/dy.
pub(crate) fn weight_gradient<E: Stored>(x: &[E], dy: &[E], shape: &ConvShape) -> (Vec<E::F>, Vec<E::F>) {
    let ([batch, height, width, out], inside) = (shape.y(), shape.x[3]);
    let grid = Grid::new(batch, [height, width]);
    let gradient = Gradient {
        x,
        dy,
        patches: Squares { grid, dims: shape.seen(), doubled: shape.doubled, side: 6, before: shape.spec.padding },
        tiles: Squares { grid, dims: shape.y(), doubled: false, side: SIDE, before: 0 },
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
