//! Sums over pixels and over rows, in an order fixed by the shapes, and the way back: a row for all pixels of an image.

use rayon::prelude::*;

use crate::{
    buffer::{Shared, filled},
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

/// `x` `[images, pixels, C]` plus `rows` `[images, C]`, each row at every pixel of its image.
pub(crate) fn add_spread<E: Stored>(x: &[E], rows: &[E::F], channels: usize) -> Vec<E> {
    let images = rows.len() / channels;
    let image = x.len() / images.max(1);
    assert!(images * channels == rows.len() && images * image == x.len() && image.is_multiple_of(channels));
    let strip = ROWS * channels;
    // SAFETY: the strips are all of `x`, and a job writes all of its own.
    unsafe {
        filled(x.len(), |out: Shared<E>| {
            (0..images).into_par_iter().for_each(|i| {
                let row = &rows[i * channels..][..channels];
                x[i * image..][..image].par_chunks(strip).enumerate().for_each(|(j, x)| {
                    dispatch(AddRow { x, row, to: out.at(i * image + j * strip) });
                });
            });
        })
    }
}

/// The gradient of the rows of [`add_spread`] `[images, C]`: the sum over each image's pixels.
pub(crate) fn sums_by_image<E: Stored>(dy: &[E], images: usize, channels: usize) -> Vec<E::F> {
    dy.chunks_exact((dy.len() / images.max(1)).max(1)).flat_map(|image| column_sums(image, channels)).collect()
}

/// Adds one row to every pixel of `x`; there is room for as many values at `to`.
struct AddRow<'a, E: Stored> {
    x: &'a [E],
    row: &'a [E::F],
    to: *mut E,
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for AddRow<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let (channels, whole) = (self.row.len(), self.row.len() / 16 * 16);
        for (pixel, x) in self.x.chunks_exact(channels).enumerate() {
            unsafe {
                let to = self.to.add(pixel * channels);
                for i in (0..whole).step_by(16) {
                    let sum = E::load::<L>(x.as_ptr().add(i)).add(L::load(self.row.as_ptr().add(i)));
                    E::store::<L>(sum, to.add(i));
                }
                for i in whole..channels {
                    to.add(i).write(E::put(x[i].get() + self.row[i]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;
    use crate::kernel::check::{Case, check, stored, wide};

    fn all<E: Stored>([images, channels]: [usize; 2], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (x, rows, dy) = (stored::<E>(&inputs[0]), stored::<E::F>(&inputs[1]), stored::<E>(&inputs[2]));
        let sums = sums_by_image(&dy, images, channels);
        vec![wide(&add_spread(&x, &rows, channels)), wide(&dy), wide(&sums)]
    }

    #[test]
    fn gradients() {
        for (images, pixels, channels) in [(2, 5, 7), (1, 300, 16), (3, 4, 50), (2, 1, 1)] {
            let shape = [images, channels];
            let sizes = [images * pixels * channels, images * channels, images * pixels * channels];
            let cases: [Case<'_>; 3] =
                [&|x| all::<f64>(shape, x), &|x| all::<f32>(shape, x), &|x| all::<bf16>(shape, x)];
            check(cases, &sizes, &format!("{images} images of {pixels} pixels, {channels} channels"));
        }
    }
}
