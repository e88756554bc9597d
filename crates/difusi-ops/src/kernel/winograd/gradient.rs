//! The weight gradient: at each position the sum over tiles of patches times tile gradients, then back to 3x3 filters.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::{
    POSITIONS, read_all, runs, stride,
    tiles::{Grid, Read, SIDE, Squares},
    transform::{Patch, TileGradient},
    weights::{FilterSums, ROWS, panel_step},
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

/// Input channels whose filters one job sums.
const PART: usize = 32;
/// The position whose tile gradient is the sum over the tile: point 1 in both directions.
const SUM: usize = 7;

/// dL/dweight `[out, in, 3, 3]` and dL/dbias `[out]` from `x` and dL/dy.
pub(crate) fn weight_gradient<E: Stored>(x: &[E], dy: &[E], shape: &ConvShape) -> (Vec<E::F>, Vec<E::F>) {
    let ([batch, height, width, out], inside) = (shape.y(), shape.x[3]);
    let grid = Grid::new(batch, [height, width]);
    let gradient = Gradient {
        x,
        dy,
        patches: Squares {
            grid,
            dims: shape.seen(),
            step: shape.x[3],
            doubled: shape.doubled,
            side: 6,
            before: shape.spec.padding[0],
        },
        tiles: Squares { grid, dims: shape.y(), step: shape.weight[0], doubled: false, side: SIDE, before: 0 },
        blocks: blocks(out),
    };
    let [depth, padded] = [inside, out.next_multiple_of(16)];
    let mut weight = vec![E::F::ZERO; out * inside * 9];
    let to = Shared::new(&mut weight);
    // Few tiles of many channels: the filters' sums are larger than the tiles' rows. Decided by the shapes alone.
    let bias = if grid.count() * (depth + padded) < 16 * depth * padded {
        gradient.by_filters(to)
    } else {
        gradient.by_group(to)
    };
    let groups = bias.len() / padded;
    let total = (0..out).map(|c| E::F::of_f64((0..groups).map(|g| bias[g * padded + c].to_f64()).sum()));
    let bias = total.collect();
    (weight, bias)
}

/// A weight gradient: the sum over tiles of outer products of patches and tile gradients, at each position.
struct Gradient<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    patches: Squares,
    tiles: Squares,
    blocks: Vec<Block>,
}

impl<F: Float, E: Stored<F = F>> Gradient<'_, E> {
    /// Rows per position of patches and of tile gradients.
    fn widths(&self) -> [usize; 2] {
        [self.patches, self.tiles].map(|s| s.dims[3].next_multiple_of(16))
    }

    /// `[out, in]`.
    fn dims(&self) -> [usize; 2] {
        [self.tiles.dims[3], self.patches.dims[3]]
    }

    /// Groups of tiles with sums of their own, to be added in order. Writes all filters' gradients; gives the groups' biases'.
    fn by_group(&self, to: Shared<F>) -> Vec<F> {
        let ([_, padded], count, inside) = (self.widths(), self.patches.grid.count(), self.patches.dims[3]);
        let step = panel_step(inside, padded);
        let len = POSITIONS * step;
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
        let sums = sums.as_slice();
        (0..inside.div_ceil(ROWS)).into_par_iter().for_each(|job| {
            let rows = [job * ROWS, inside.min((job + 1) * ROWS)];
            for &block in &self.blocks {
                let sums = &sums[inside * block.first + rows[0] * 16 * block.vectors..];
                // SAFETY: jobs write the filters of different input channels.
                unsafe { FilterSums { sums, groups, steps: [len, step], block, rows }.write(to, self.dims()) };
            }
        });
        bias
    }

    fn add_group(&self, tiles: Range<usize>, sums: &mut [F], bias: &mut [F]) {
        let [wide, padded] = self.widths();
        let (_, run) = runs(tiles.len(), wide + padded, size_of::<F>());
        let strides = [stride(run, wide), stride(run, padded)];
        let copy = self.patches.scratch().max(self.tiles.scratch());
        let depth = self.patches.dims[3];
        let panel = panel_step(depth, padded);
        with_parts([POSITIONS * strides[0], POSITIONS * strides[1], copy], |[rows, gradients, copy]| {
            for first in tiles.clone().step_by(run) {
                let count = run.min(tiles.end - first);
                // SAFETY: the rows have room for `run` tiles at every position.
                unsafe { self.read([first, count], [rows.as_mut_ptr(), gradients.as_mut_ptr()], strides, copy) };
                for (position, sums) in sums.chunks_exact_mut(panel).enumerate() {
                    let (rows, gradients) = (&rows[position * strides[0]..], &gradients[position * strides[1]..]);
                    for &block in &self.blocks {
                        self.outer([rows, gradients], (count, depth), block, &mut sums[depth * block.first..]);
                    }
                }
                add_rows(&gradients[SUM * strides[1]..][..count * padded], bias);
            }
        });
    }

    /// All tiles are transformed first; then jobs sum a part of the filters each, which stays in the cache until it is done.
    fn by_filters(&self, to: Shared<F>) -> Vec<F> {
        let ([wide, padded], count) = (self.widths(), self.patches.grid.count());
        let rows = read_all::<_, Patch>(self.x, self.patches);
        let gradients = read_all::<_, TileGradient>(self.dy, self.tiles);
        let (rows, gradients, inside) = (rows.as_slice(), gradients.as_slice(), self.patches.dims[3]);
        let strides = [stride(count, wide), stride(count, padded)];
        let parts = inside.div_ceil(PART);
        (0..parts * self.blocks.len()).into_par_iter().for_each(|job| {
            let (part, block) = (job % parts * PART, self.blocks[job / parts]);
            let depth = PART.min(inside - part);
            let step = depth * 16 * block.vectors + 16;
            with_parts([POSITIONS * step], |[sums]| {
                sums.fill(F::ZERO);
                for (position, sums) in sums.chunks_exact_mut(step).enumerate() {
                    let rows = &rows[position * strides[0] + part..];
                    self.outer([rows, &gradients[position * strides[1]..]], (count, depth), block, sums);
                }
                let rows = [part, part + depth];
                // SAFETY: jobs write filters of different channels.
                unsafe { FilterSums { sums, groups: 1, steps: [0, step], block, rows }.write(to, self.dims()) };
            });
        });
        let mut bias = vec![F::ZERO; padded];
        add_rows(&gradients[SUM * strides[1]..][..count * padded], &mut bias);
        bias
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

    /// Adds the outer products of `count` rows, `depth` channels of the patches by a block of the gradients', to `sums`.
    fn outer(&self, [rows, gradients]: [&[F]; 2], (count, depth): (usize, usize), block: Block, sums: &mut [F]) {
        let [wide, padded] = self.widths();
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
        outer.add_to(sums, block);
    }
}
