//! Sums over host slices whose bits do not depend on the number of threads.
//!
//! The slice is cut into chunks of fixed length; each is summed in f64 in one order, and the chunks' sums are added in order.
//! burn's flex sums of 4 M elements and more are not like this, so whatever decides a bit of a weight goes through here.

use rayon::prelude::*;

const CHUNK: usize = 1 << 14;
const LANES: usize = 16;

/// The sum of `values`; 0 when empty.
pub fn sum(values: &[f32]) -> f64 {
    by_chunks(values, |x| x)
}

/// The sum of squares of `values`; 0 when empty. Not finite exactly when some value is not finite:
/// the square of a finite f32 cannot overflow an f64.
pub fn sum_squares(values: &[f32]) -> f64 {
    by_chunks(values, |x| x * x)
}

/// The L2 norm of several gradients as one long vector, added in the order given.
pub fn grad_norm<'a>(gradients: impl IntoIterator<Item = &'a [f32]>) -> f64 {
    gradients.into_iter().map(sum_squares).sum::<f64>().sqrt()
}

fn by_chunks(values: &[f32], term: impl Fn(f64) -> f64 + Sync) -> f64 {
    if values.len() <= CHUNK {
        return chunk_sum(values, &term);
    }
    let partial: Vec<f64> = values.par_chunks(CHUNK).map(|chunk| chunk_sum(chunk, &term)).collect();
    partial.iter().sum()
}

/// Sixteen running sums, folded pairwise: one fixed order that the compiler can vectorise.
fn chunk_sum(values: &[f32], term: &impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder();
    for block in whole {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += term(f64::from(x));
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += term(f64::from(x));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
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
