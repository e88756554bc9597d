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
        let mut data = Aligned::zeros(POSITIONS * depth * padded);
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
        let len = self.depth * self.columns;
        let data = &self.data.as_slice()[position * len..(position + 1) * len];
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

impl<F: Float> Kernel<F> for Pack<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let [out, inside] = self.dims;
        let (columns, depth) = match self.direction {
            Direction::Forward => (out, inside),
            Direction::InputGradient => (inside, out),
        };
        for row in self.rows[0]..self.rows[1] {
            for &block in self.blocks {
                for first in (block.first..block.first + 16 * block.vectors).step_by(16) {
                    let mut taps = [[F::ZERO; 16]; 9];
                    for lane in 0..16.min(columns.saturating_sub(first)) {
                        let (filter, mirrored) = match self.direction {
                            Direction::Forward => ((first + lane) * inside + row, false),
                            Direction::InputGradient => (row * inside + first + lane, true),
                        };
                        for (tap, &g) in self.weight[9 * filter..9 * filter + 9].iter().enumerate() {
                            taps[if mirrored { 8 - tap } else { tap }][lane] = g;
                        }
                    }
                    let width = 16 * block.vectors;
                    let at = depth * block.first + row * width + first - block.first;
                    unsafe {
                        square::<L, Filter, F, F>(
                            Square { at: taps.as_ptr().cast(), row: 48, step: 16 },
                            Square::positions(self.to.add(at), depth * self.padded),
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
    assert_eq!(sums.len(), groups * POSITIONS * inside * padded);
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
        let panel = inside * out.next_multiple_of(16);
        for row in self.rows[0]..self.rows[1] {
            for &block in self.blocks {
                for first in (block.first..block.first + 16 * block.vectors).step_by(16) {
                    let at = inside * block.first + row * 16 * block.vectors + first - block.first;
                    let mut total = [[F::ZERO; 16]; POSITIONS];
                    let mut taps = [[F::ZERO; 16]; 9];
                    unsafe {
                        for (position, total) in total.iter_mut().enumerate() {
                            let mut sum = L::constant(0.0);
                            for group in 0..self.groups {
                                let from = (group * POSITIONS + position) * panel + at;
                                sum = sum.add(L::load(self.sums.as_ptr().add(from)));
                            }
                            sum.store(total.as_mut_ptr());
                        }
                        square::<L, FilterGradient, F, F>(
                            Square::positions(total.as_ptr().cast(), 16),
                            Square { at: taps.as_mut_ptr().cast(), row: 48, step: 16 },
                            L::constant(0.0),
                        );
                        for lane in 0..16.min(out.saturating_sub(first)) {
                            let filter = self.to.add(((first + lane) * inside + row) * 9);
                            for (tap, values) in taps.iter().enumerate() {
                                filter.add(tap).write(values[lane]);
                            }
                        }
                    }
                }
            }
        }
    }
}
