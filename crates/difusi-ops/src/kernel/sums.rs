//! Sums over pixels and over rows, in an order fixed by the shapes.

use rayon::prelude::*;

use crate::{
    ordered,
    simd::{Kernel, Lanes, dispatch},
};

const ROWS: usize = 256;

/// Column sums of `values` `[rows, columns]`: partial sums of 256 rows, added in order in f64.
pub(crate) fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = values
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut sums = vec![0.0f32; columns];
            // SAFETY: the kernel works on the two slices, within their lengths.
            unsafe { dispatch(Columns { rows, sums: &mut sums }) };
            sums
        })
        .collect();
    add_in_order(&partial, columns)
}

/// The sum of vectors of equal length, in order, in f64.
pub(crate) fn add_in_order(parts: &[Vec<f32>], len: usize) -> Vec<f32> {
    let mut total = vec![0.0f64; len];
    for part in parts {
        for (t, &x) in total.iter_mut().zip(part) {
            *t += f64::from(x);
        }
    }
    total.into_iter().map(|t| t as f32).collect()
}

struct Columns<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for Columns<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let columns = self.sums.len();
        let whole = columns / 16 * 16;
        for first in (0..whole).step_by(16) {
            unsafe {
                let mut sum = L::splat(0.0);
                for row in self.rows.chunks_exact(columns) {
                    sum = sum.add(L::load(row.as_ptr().add(first)));
                }
                sum.store(self.sums.as_mut_ptr().add(first));
            }
        }
        for column in whole..columns {
            self.sums[column] = self.rows.iter().skip(column).step_by(columns).sum();
        }
    }
}

/// Row sums of `values` `[rows, columns]`.
pub(crate) fn row_sums(values: &[f32], columns: usize) -> Vec<f32> {
    values.chunks_exact(columns).map(|row| ordered::sum(row) as f32).collect()
}
