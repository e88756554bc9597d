//! Filters in Winograd's domain: `U = G g Gᵀ`, packed as one panel per position, and the way back for their gradient.

use rayon::prelude::*;

use super::{
    POSITIONS,
    transform::{Filter, FilterGradient, Square, square},
};
use crate::{
    buffer::{Aligned, Shared},
    kernel::pack::{Block, Direction, Panel, blocks},
    simd::{Float, Kernel, Lanes, dispatch},
};

/// Numbers from one position's panel to the next: not a power of two, which would share a place in the cache.
pub(super) fn panel_step(depth: usize, columns: usize) -> usize {
    depth * columns + 16
}

/// Rows of a panel per job.
pub(super) const ROWS: usize = 16;

/// Filters `[out, in, 3, 3]`, and which way they are used.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, F> {
    weight: &'a [F],
    dims: [usize; 2],
    direction: Direction,
}

impl<'a, F: Float> Source<'a, F> {
    pub(super) fn new(weight: &'a [F], dims: [usize; 2], direction: Direction) -> Self {
        assert_eq!(weight.len(), dims[0] * dims[1] * 9);
        Self { weight, dims, direction }
    }

    /// Channels read, which are summed over, and channels written.
    pub(super) fn channels(&self) -> [usize; 2] {
        let [out, inside] = self.dims;
        match self.direction {
            Direction::Forward => [inside, out],
            Direction::InputGradient => [out, inside],
        }
    }

    /// Transforms rows `rows[0]..rows[1]` of one block of columns into `to`, `[position][row][16 · vectors]` with `step` numbers
    /// from one position to the next.
    pub(super) fn pack(&self, rows: [usize; 2], block: Block, to: &mut [F], step: usize) {
        assert!((POSITIONS - 1) * step + (rows[1] - rows[0]) * 16 * block.vectors <= to.len());
        // SAFETY: there is room, as was just checked.
        unsafe { dispatch(Pack { of: *self, rows, block, to: to.as_mut_ptr(), step }) };
    }
}

/// The transformed filters: for each position a panel `[depth][columns]`.
pub(crate) struct Filters<F> {
    data: Aligned<F>,
    blocks: Vec<Block>,
    depth: usize,
    columns: usize,
}

impl<F: Float> Filters<F> {
    /// Transforms all of `of`.
    pub(super) fn new(of: Source<'_, F>) -> Self {
        let [depth, columns] = of.channels();
        let padded = columns.next_multiple_of(16);
        let (blocks, step) = (blocks(columns), panel_step(depth, padded));
        // SAFETY: the jobs write every row of every panel, padding included; what lies between panels is never read.
        let mut data = unsafe { Aligned::unwritten(POSITIONS * step) };
        let to = Shared::new(data.as_mut_slice());
        (0..depth.div_ceil(ROWS)).into_par_iter().for_each(|job| {
            let rows = [job * ROWS, depth.min((job + 1) * ROWS)];
            for &block in &blocks {
                // SAFETY: jobs write different rows of the panels, all within `data`.
                unsafe {
                    let to = to.at(depth * block.first + rows[0] * 16 * block.vectors);
                    dispatch(Pack { of, rows, block, to, step });
                }
            }
        });
        Self { data, blocks, depth, columns: padded }
    }

    /// The panel of one position. Its columns are rounded up to whole vectors, with zeros.
    pub(super) fn panel(&self, position: usize) -> Panel<'_, F> {
        let start = position * panel_step(self.depth, self.columns);
        let data = &self.data.as_slice()[start..start + self.depth * self.columns];
        Panel { data, blocks: &self.blocks, depth: self.depth, columns: self.columns }
    }

    /// Columns of a panel with their padding.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }
}

/// See [`Source::pack`]; there is room at `to`.
struct Pack<'a, F> {
    of: Source<'a, F>,
    rows: [usize; 2],
    block: Block,
    to: *mut F,
    step: usize,
}

impl<F: Float> Source<'_, F> {
    /// Sixteen filters, tap by tap: of row `row` the columns from `first` on, mirrored for the input gradient.
    #[inline(always)]
    unsafe fn taps<L: Lanes<F = F>>(&self, row: usize, first: usize) -> [[F; 16]; 9] {
        let [out, inside] = self.dims;
        let (columns, start, step) = match self.direction {
            Direction::Forward => (out, first * inside + row, inside),
            Direction::InputGradient => (inside, row * inside + first, 1),
        };
        let lanes = 16.min(columns.saturating_sub(first));
        let mut taps = [[F::ZERO; 16]; 9];
        if lanes == 16 && 9 * (start + 15 * step) + 16 <= self.weight.len() {
            // Sixteen numbers from where each filter begins: nine of its own, and what comes after.
            unsafe {
                let from = self.weight.as_ptr().add(9 * start);
                let mut filters = [L::constant(0.0); 16];
                for lane in 0..16 {
                    filters[lane] = L::load(from.add(9 * lane * step));
                }
                let turned = L::transpose(filters);
                for tap in 0..9 {
                    turned[tap].store(taps[tap].as_mut_ptr());
                }
            }
        } else {
            for lane in 0..lanes {
                let filter = 9 * (start + lane * step);
                for (to, &tap) in taps.iter_mut().zip(&self.weight[filter..filter + 9]) {
                    to[lane] = tap;
                }
            }
        }
        if self.direction == Direction::InputGradient {
            taps.reverse();
        }
        taps
    }
}

impl<F: Float> Kernel<F> for Pack<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let (width, first) = (16 * self.block.vectors, self.block.first);
        for row in self.rows[0]..self.rows[1] {
            for column in (0..width).step_by(16) {
                unsafe {
                    let taps = self.of.taps::<L>(row, first + column);
                    square::<L, Filter, F, F, false>(
                        Square { at: taps.as_ptr().cast(), row: 48, step: 16 },
                        Square::positions(self.to.add((row - self.rows[0]) * width + column), self.step),
                        L::constant(0.0),
                    );
                }
            }
        }
    }
}

/// Sums of filters in Winograd's domain, `[group][position][row][16 · vectors]`: of one block of output channels, for some rows.
#[derive(Clone, Copy)]
pub(super) struct FilterSums<'a, F> {
    pub sums: &'a [F],
    pub groups: usize,
    /// Numbers from one group to the next, and from one position to the next.
    pub steps: [usize; 2],
    pub block: Block,
    /// Input channels: from, to.
    pub rows: [usize; 2],
}

impl<F: Float> FilterSums<'_, F> {
    /// Adds the groups in order and writes the filters' gradient into `to`, `[out, in, 3, 3]`.
    ///
    /// # Safety
    /// `to` has room for all filters, and no other job writes those of this block and these rows.
    pub(super) unsafe fn write(self, to: Shared<F>, dims: [usize; 2]) {
        let reach = (self.groups - 1) * self.steps[0] + (POSITIONS - 1) * self.steps[1];
        assert!(reach + (self.rows[1] - self.rows[0]) * 16 * self.block.vectors <= self.sums.len());
        unsafe { dispatch(Unpack { of: self, dims, to: to.at(0) }) };
    }
}

struct Unpack<'a, F> {
    of: FilterSums<'a, F>,
    dims: [usize; 2],
    to: *mut F,
}

impl<F: Float> Unpack<'_, F> {
    /// The gradient of sixteen filters, tap by tap, from where their first sum lies.
    #[inline(always)]
    unsafe fn taps<L: Lanes<F = F>>(&self, at: *const F) -> [[F; 16]; 9] {
        let [next_group, step] = self.of.steps;
        let mut total = [[F::ZERO; 16]; POSITIONS];
        let mut taps = [[F::ZERO; 16]; 9];
        unsafe {
            let mut from = Square::positions(at, step);
            if self.of.groups > 1 {
                for position in 0..POSITIONS {
                    let mut sum = L::load(at.add(position * step));
                    for group in 1..self.of.groups {
                        sum = sum.add(L::load(at.add(group * next_group + position * step)));
                    }
                    sum.store(total[position].as_mut_ptr());
                }
                from = Square::positions(total.as_ptr().cast(), 16);
            }
            let to = Square { at: taps.as_mut_ptr().cast(), row: 48, step: 16 };
            square::<L, FilterGradient, F, F, false>(from, to, L::constant(0.0));
        }
        taps
    }
}

impl<F: Float> Kernel<F> for Unpack<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let ([out, inside], FilterSums { rows, block, .. }) = (self.dims, self.of);
        let width = 16 * block.vectors;
        for row in rows[0]..rows[1] {
            for column in (0..width).step_by(16) {
                unsafe {
                    let taps = self.taps::<L>(self.of.sums.as_ptr().add((row - rows[0]) * width + column));
                    let mut filters = [L::constant(0.0); 16];
                    for tap in 0..9 {
                        filters[tap] = L::load(taps[tap].as_ptr());
                    }
                    let filters = L::transpose(filters);
                    let first = block.first + column;
                    for lane in 0..16.min(out.saturating_sub(first)) {
                        let mut values = [F::ZERO; 16];
                        filters[lane].store(values.as_mut_ptr());
                        let to = self.to.add(((first + lane) * inside + row) * 9);
                        std::ptr::copy_nonoverlapping(values.as_ptr(), to, 9);
                    }
                }
            }
        }
    }
}
