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
const ROWS: usize = 16;

/// The transformed filters: for each position a panel `[depth][columns]`.
pub(super) struct Filters<F> {
    data: Aligned<F>,
    blocks: Vec<Block>,
    depth: usize,
    columns: usize,
}

impl<F: Float> Filters<F> {
    /// Transforms `weight` `[out, in, 3, 3]`.
    pub(super) fn new(weight: &[F], [out, inside]: [usize; 2], direction: Direction) -> Self {
        assert_eq!(weight.len(), out * inside * 9);
        let (columns, depth) = match direction {
            Direction::Forward => (out, inside),
            Direction::InputGradient => (inside, out),
        };
        let padded = columns.next_multiple_of(16);
        let blocks = blocks(columns);
        // SAFETY: the jobs write every row of every panel, padding included.
        let mut data = unsafe { Aligned::unwritten(POSITIONS * panel_step(depth, padded)) };
        let to = Shared::new(data.as_mut_slice());
        (0..depth.div_ceil(ROWS)).into_par_iter().for_each(|job| {
            let rows = [job * ROWS, depth.min((job + 1) * ROWS)];
            // SAFETY: jobs write different rows of the panels, all within `data`.
            unsafe {
                dispatch(Pack { weight, dims: [out, inside], direction, blocks: &blocks, rows, to: to.at(0), padded })
            };
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

/// Transforms rows `rows[0]..rows[1]` of all panels.
struct Pack<'a, F> {
    weight: &'a [F],
    dims: [usize; 2],
    direction: Direction,
    blocks: &'a [Block],
    rows: [usize; 2],
    to: *mut F,
    padded: usize,
}

impl<F: Float> Pack<'_, F> {
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
        let [out, inside] = self.dims;
        let depth = if self.direction == Direction::Forward { inside } else { out };
        for row in self.rows[0]..self.rows[1] {
            for &block in self.blocks {
                for first in (block.first..block.first + 16 * block.vectors).step_by(16) {
                    let taps = unsafe { self.taps::<L>(row, first) };
                    let width = 16 * block.vectors;
                    let at = depth * block.first + row * width + first - block.first;
                    unsafe {
                        square::<L, Filter, F, F>(
                            Square { at: taps.as_ptr().cast(), row: 48, step: 16 },
                            Square::positions(self.to.add(at), panel_step(depth, self.padded)),
                            L::constant(0.0),
                        );
                    }
                }
            }
        }
    }
}

/// The gradient of the filters: `groups` sums in Winograd's domain, each `[position][panel]`, added in order and transformed back
/// into `[out, in, 3, 3]`.
pub(super) fn filter_gradient<F: Float>(sums: &[F], groups: usize, [out, inside]: [usize; 2]) -> Vec<F> {
    let padded = out.next_multiple_of(16);
    assert_eq!(sums.len(), groups * POSITIONS * panel_step(inside, padded));
    let blocks = blocks(out);
    let mut weight = vec![F::ZERO; out * inside * 9];
    let to = Shared::new(&mut weight);
    (0..inside.div_ceil(ROWS)).into_par_iter().for_each(|job| {
        let rows = [job * ROWS, inside.min((job + 1) * ROWS)];
        // SAFETY: jobs write the filters of different input channels, all within `weight`.
        unsafe { dispatch(Unpack { sums, groups, dims: [out, inside], blocks: &blocks, rows, to: to.at(0) }) };
    });
    weight
}

struct Unpack<'a, F> {
    sums: &'a [F],
    groups: usize,
    dims: [usize; 2],
    blocks: &'a [Block],
    rows: [usize; 2],
    to: *mut F,
}

impl<F: Float> Kernel<F> for Unpack<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let [out, inside] = self.dims;
        let panel = panel_step(inside, out.next_multiple_of(16));
        for row in self.rows[0]..self.rows[1] {
            for &block in self.blocks {
                for first in (block.first..block.first + 16 * block.vectors).step_by(16) {
                    let at = inside * block.first + row * 16 * block.vectors + first - block.first;
                    let mut total = [[F::ZERO; 16]; POSITIONS];
                    let mut taps = [[F::ZERO; 16]; 9];
                    unsafe {
                        let at = self.sums.as_ptr().add(at);
                        let mut from = Square::positions(at, panel);
                        if self.groups > 1 {
                            for position in 0..POSITIONS {
                                let mut sum = L::load(at.add(position * panel));
                                for group in 1..self.groups {
                                    sum = sum.add(L::load(at.add((group * POSITIONS + position) * panel)));
                                }
                                sum.store(total[position].as_mut_ptr());
                            }
                            from = Square::positions(total.as_ptr().cast(), 16);
                        }
                        let to = Square { at: taps.as_mut_ptr().cast(), row: 48, step: 16 };
                        square::<L, FilterGradient, F, F>(from, to, L::constant(0.0));
                        let mut filters = [L::constant(0.0); 16];
                        for tap in 0..9 {
                            filters[tap] = L::load(taps[tap].as_ptr());
                        }
                        let filters = L::transpose(filters);
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
}
