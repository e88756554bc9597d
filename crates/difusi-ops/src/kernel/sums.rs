//! Sums over pixels and over rows, in an order fixed by the shapes.

use rayon::prelude::*;

use crate::{
    ordered,
    simd::{Float, Kernel, Lanes, Stored, dispatch},
};

const ROWS: usize = 256;

/// Column sums of `values` `[rows, columns]`: partial sums of 256 rows, added in order in f64.
pub(crate) fn column_sums<E: Stored>(values: &[E], columns: usize) -> Vec<E::F> {
    let partial: Vec<Vec<E::F>> = values
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut sums = vec![E::F::ZERO; columns];
            // SAFETY: the kernel works on the two slices, within their lengths.
            unsafe { dispatch(Columns { rows, sums: &mut sums }) };
            sums
        })
        .collect();
    let total = (0..columns).map(|c| E::F::of_f64(partial.iter().map(|part| part[c].to_f64()).sum()));
    total.collect()
}

struct Columns<'a, E: Stored> {
    rows: &'a [E],
    sums: &'a mut [E::F],
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for Columns<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let columns = self.sums.len();
        let whole = columns / 16 * 16;
        for first in (0..whole).step_by(16) {
            unsafe {
                let mut sum = L::constant(0.0);
                for row in self.rows.chunks_exact(columns) {
                    sum = sum.add(E::load::<L>(row.as_ptr().add(first)));
                }
                sum.store(self.sums.as_mut_ptr().add(first));
            }
        }
        for column in whole..columns {
            let values = self.rows.iter().skip(column).step_by(columns);
            self.sums[column] = values.fold(F::ZERO, |sum, x| sum + x.get());
        }
    }
}

/// Adds rows to their sum.
pub(crate) fn add_rows<F: Float>(rows: &[F], sum: &mut [F]) {
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum = *sum + x);
    }
}

/// Row sums of `values` `[rows, columns]`.
pub(crate) fn row_sums(values: &[f32], columns: usize) -> Vec<f32> {
    values.chunks_exact(columns).map(|row| ordered::sum(row) as f32).collect()
}
