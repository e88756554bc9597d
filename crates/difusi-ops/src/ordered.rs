//! Sums over host slices whose bits do not depend on the number of threads.
//!
//! The slice is cut into chunks of fixed length; each is summed in f64 in one order, and the chunks' sums are added in order.
//! burn's flex sums of 4 M elements and more are not like this, so whatever decides a bit of a weight goes through here.

use rayon::prelude::*;

use crate::simd::{Kernel, Lanes, dispatch};

const CHUNK: usize = 1 << 14;
const LANES: usize = 16;

/// The sum of `values`; 0 when empty.
pub fn sum(values: &[f32]) -> f64 {
    by_chunks::<false>(values)
}

/// The sum of squares of `values`; 0 when empty. Not finite exactly when some value is not finite:
/// the square of a finite f32 cannot overflow an f64.
pub fn sum_squares(values: &[f32]) -> f64 {
    by_chunks::<true>(values)
}

/// The L2 norm of several gradients as one long vector: the sums of squares of each, added in the order given.
/// Not finite exactly when some value is not finite.
pub fn grad_norm<'a>(gradients: impl IntoIterator<Item = &'a [f32]>) -> f64 {
    let gradients: Vec<&[f32]> = gradients.into_iter().collect();
    // One list of jobs for all of them, since most are short.
    let chunks: Vec<&[f32]> = gradients.iter().flat_map(|g| g.chunks(CHUNK)).collect();
    let partial: Vec<f64> = chunks.par_iter().map(|chunk| chunk_sum::<true>(chunk)).collect();
    let mut partial = partial.into_iter();
    gradients.iter().map(|g| partial.by_ref().take(g.len().div_ceil(CHUNK)).sum::<f64>()).sum::<f64>().sqrt()
}

fn by_chunks<const SQUARED: bool>(values: &[f32]) -> f64 {
    if values.len() <= CHUNK {
        return chunk_sum::<SQUARED>(values);
    }
    let partial: Vec<f64> = values.par_chunks(CHUNK).map(chunk_sum::<SQUARED>).collect();
    partial.iter().sum()
}

fn chunk_sum<const SQUARED: bool>(values: &[f32]) -> f64 {
    let mut sum = 0.0;
    // SAFETY: the kernel has no pointers of its own.
    unsafe { dispatch(ChunkSum::<SQUARED> { values, sum: &mut sum }) };
    sum
}

/// Sixteen running sums, folded pairwise: one fixed order, which the compiler makes vectors of, with the widest unit's features.
struct ChunkSum<'a, const SQUARED: bool> {
    values: &'a [f32],
    sum: &'a mut f64,
}

impl<const SQUARED: bool> Kernel for ChunkSum<'_, SQUARED> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let term = |x: f32| if SQUARED { f64::from(x) * f64::from(x) } else { f64::from(x) };
        let mut lanes = [0.0f64; LANES];
        let (whole, rest) = self.values.as_chunks::<LANES>();
        for block in whole {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane += term(x);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += term(x);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        *self.sum = lanes[0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_sum_exactly() {
        for n in [0usize, 1, 15, 16, 17, 1000, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
            let values: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            assert_eq!(sum(&values), (0..n).map(|i| (i % 7) as f64).sum::<f64>());
            assert_eq!(sum_squares(&values), (0..n).map(|i| ((i % 7) * (i % 7)) as f64).sum::<f64>());
        }
    }

    #[test]
    fn norm_joins_its_parts() {
        assert_eq!(grad_norm([&[3.0f32][..], &[], &[0.0, 4.0]]), 5.0);
        let values: Vec<f32> = (0..5 * CHUNK + 7).map(|i| (i as f32 * 0.7).sin()).collect();
        let parts = [&values[..3], &values[3..], &values[..0], &values[..CHUNK]];
        assert_eq!(grad_norm(parts), parts.iter().map(|p| sum_squares(p)).sum::<f64>().sqrt());
    }

    #[test]
    fn one_bad_value_shows() {
        let mut values = vec![f32::MAX; 40_000];
        assert!(sum_squares(&values).is_finite());
        values[33_333] = f32::INFINITY;
        assert!(!sum_squares(&values).is_finite());
        values[33_333] = f32::NAN;
        assert!(!sum_squares(&values).is_finite());
    }
}
