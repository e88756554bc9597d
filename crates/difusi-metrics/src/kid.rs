//! Kernel Inception Distance (Binkowski et al. 2018, arXiv:1801.01401, section 3): the unbiased squared maximum mean discrepancy of
//! features under the kernel $k(x, y) = (x^T y / D + 1)^3$, as mean over random subsets.
//!
//! Mean and standard deviation over the subsets are torch-fidelity's. The deviation says how much one subset varies, not how sure the mean
//! is; [`Kid::standard_error`] does: subsets overlap, so it is taken from blocks that do not.
//! Deliberately absent: other kernels, the biased estimate.

use difusi_core::{Draw, Noise};
use rayon::prelude::*;

use crate::linalg::times_transposed;
use crate::{Features, MetricsError};

/// Rows and columns of the kernel matrix in memory at a time.
const TILE: usize = 256;
/// Blocks for the standard error, where a subset is not smaller than so many parts.
const BLOCKS: usize = 10;

/// How many subsets of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KidOptions {
    /// Number of subsets.
    pub subsets: usize,
    /// Pictures in each; where there are fewer, all of them.
    pub subset_size: usize,
    /// Which subsets.
    pub seed: u64,
}

impl Default for KidOptions {
    fn default() -> Self {
        Self { subsets: 100, subset_size: 1000, seed: 0 }
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Kid {
    /// Mean over the subsets. Unbiased, so it may be below 0 where the distance is small.
    pub mean: f64,
    /// Standard deviation over the subsets (of a population, as torch-fidelity has it).
    pub deviation: f64,
    /// How far the mean may be from that of another draw of as many pictures: the spread over disjoint blocks of pictures, and that of the
    /// choice of subsets. An upper bound in expectation. `None` where there are too few pictures.
    pub standard_error: Option<f64>,
    /// Subsets taken.
    pub subsets: usize,
    /// Pictures in each.
    pub subset_size: usize,
}

/// KID between two sets of features.
///
/// # Errors
/// Other numbers of features; fewer than 2 pictures; no subsets.
pub fn kid(a: Features<'_>, b: Features<'_>, options: &KidOptions) -> Result<Kid, MetricsError> {
    a.same_dim(&b)?;
    let fewest = a.count().min(b.count());
    if fewest < 2 || options.subset_size < 2 {
        let got = fewest.min(options.subset_size);
        return Err(MetricsError::value("the number of pictures in a subset for KID", got, "at least 2"));
    }
    if options.subsets == 0 {
        return Err(MetricsError::value("the number of subsets for KID", 0, "at least 1"));
    }
    let (size, noise) = (options.subset_size.min(fewest), Noise::new(options.seed));
    // Where a subset is everything, all are alike.
    let subsets = if size == a.count() && size == b.count() { 1 } else { options.subsets };
    let draw = |i: usize| [(a, 2 * i), (b, 2 * i + 1)].map(|(x, key)| subset(noise, key as u64, x.count(), size));
    let distances = kid_of_subsets(a, b, &(0..subsets).map(draw).collect::<Vec<_>>())?;
    let mean = mean(&distances);
    let variance = distances.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / subsets as f64;
    let block = size.min(fewest / BLOCKS);
    let standard_error = match block {
        0 | 1 => None,
        _ => Some((error_of_data(a, b, block, noise)? + variance / subsets as f64).sqrt()),
    };
    Ok(Kid { mean, deviation: variance.sqrt(), standard_error, subsets, subset_size: size })
}

/// The squared MMD of each pair of subsets: rows of `a` and as many rows of `b`.
///
/// # Errors
/// Other numbers of features; subsets of unequal or too small size; rows that are not there.
pub fn kid_of_subsets(a: Features<'_>, b: Features<'_>, subsets: &[[Vec<usize>; 2]]) -> Result<Vec<f64>, MetricsError> {
    a.same_dim(&b)?;
    for [x, y] in subsets {
        if x.len() != y.len() || x.len() < 2 {
            let got = format!("of {} and {} pictures", x.len(), y.len());
            return Err(MetricsError::value("a pair of subsets", got, "as many in both, at least 2"));
        }
        let beyond = |of: &[usize], n: usize| of.iter().copied().find(|i| *i >= n);
        if let Some(i) = beyond(x, a.count()).or(beyond(y, b.count())) {
            return Err(MetricsError::value("a picture of a subset", i, "below the number of pictures"));
        }
    }
    Ok(subsets.par_iter().map(|[x, y]| mmd(&gather(a, x), &gather(b, y), a.dim())).collect())
}

/// Variance of the mean over disjoint blocks of `size`.
fn error_of_data(a: Features<'_>, b: Features<'_>, size: usize, noise: Noise) -> Result<f64, MetricsError> {
    let fewest = a.count().min(b.count());
    let order = [(a, u64::MAX >> 9), (b, (u64::MAX >> 9) - 1)].map(|(x, key)| subset(noise, key, x.count(), fewest));
    let [x, y] = order.map(|all| all.chunks_exact(size).map(<[usize]>::to_vec).collect::<Vec<_>>());
    let blocks: Vec<[Vec<usize>; 2]> = x.into_iter().zip(y).map(|(x, y)| [x, y]).collect();
    let found = kid_of_subsets(a, b, &blocks)?;
    let (mean, n) = (mean(&found), found.len() as f64);
    Ok(found.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n * (n - 1.0)))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// `size` of `count` rows, each at most once, in random order.
fn subset(noise: Noise, key: u64, count: usize, size: usize) -> Vec<usize> {
    let mut stream = noise.stream(Draw::Subset, key, 0);
    let mut all: Vec<usize> = (0..count).collect();
    for i in 0..size {
        all.swap(i, i + stream.below((count - i) as u64) as usize);
    }
    all.truncate(size);
    all
}

fn gather(from: Features<'_>, rows: &[usize]) -> Vec<f64> {
    rows.iter().flat_map(|i| from.row(*i).iter().map(|v| f64::from(*v))).collect()
}

/// Unbiased squared MMD of `x` and `y` `[M, D]`.
fn mmd(x: &[f64], y: &[f64], dim: usize) -> f64 {
    let m = (x.len() / dim) as f64;
    (within(x, dim) + within(y, dim)) / (m * (m - 1.0)) - 2.0 * between(x, y, dim) / (m * m)
}

fn kernel(product: f64, dim: f64) -> f64 {
    let v = product / dim + 1.0;
    v * v * v
}

/// Sum of the kernel over all pairs.
fn between(x: &[f64], y: &[f64], dim: usize) -> f64 {
    let (mut products, mut sum) = (Vec::new(), 0.0);
    for a in x.chunks(TILE * dim) {
        for b in y.chunks(TILE * dim) {
            times_transposed(a, b, dim, &mut products);
            sum += products.iter().map(|v| kernel(*v, dim as f64)).sum::<f64>();
        }
    }
    sum
}

/// Sum of the kernel over all pairs of different rows.
fn within(x: &[f64], dim: usize) -> f64 {
    let (mut products, mut sum) = (Vec::new(), 0.0);
    for (i, a) in x.chunks(TILE * dim).enumerate() {
        sum += 2.0 * between(a, &x[..i * TILE * dim], dim);
        times_transposed(a, a, dim, &mut products);
        let rows = a.len() / dim;
        for (r, row) in products.chunks_exact(rows).enumerate() {
            sum += 2.0 * row[..r].iter().map(|v| kernel(*v, dim as f64)).sum::<f64>();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(seed: u64, count: u64, dim: usize, shift: f32) -> Vec<f32> {
        Noise::new(seed).normal(Draw::Synthetic, 0..count, 0, dim).iter().map(|v| v + shift).collect()
    }

    fn of(a: &[f32], b: &[f32], dim: usize, options: &KidOptions) -> Kid {
        kid(Features::new(a, dim).unwrap(), Features::new(b, dim).unwrap(), options).unwrap()
    }

    /// In one dimension: k(0, 0) = 1, k(0, 1) = 1, k(1, 1) = 8; {0, 1} against {1, 1}.
    #[test]
    fn by_hand() {
        let found = of(&[0.0, 1.0], &[1.0, 1.0], 1, &KidOptions::default());
        let expected = (2.0 * 1.0 + 2.0 * 8.0) / 2.0 - 2.0 * (1.0 + 1.0 + 8.0 + 8.0) / 4.0;
        assert_eq!((found.mean, found.subsets, found.subset_size, found.standard_error), (expected, 1, 2, None));
    }

    /// Unbiased: for equal distributions the mean is 0 within its error, which is what repetitions show.
    #[test]
    fn unbiased_with_an_honest_error() {
        let options = KidOptions { subsets: 30, subset_size: 50, seed: 1 };
        let runs: Vec<Kid> =
            (0..40).map(|i| of(&normal(2 * i, 200, 8, 0.0), &normal(2 * i + 1, 200, 8, 0.0), 8, &options)).collect();
        let told = (runs.iter().map(|k| k.standard_error.unwrap().powi(2)).sum::<f64>() / 40.0).sqrt();
        let spread = (runs.iter().map(|k| k.mean * k.mean).sum::<f64>() / 40.0).sqrt();
        assert!(spread < 1.3 * told && told < 6.0 * spread, "{spread} {told}");
        let mean = runs.iter().map(|k| k.mean).sum::<f64>() / 40.0;
        assert!(mean.abs() < 4.0 * spread / 40f64.sqrt(), "{mean} {spread}");
        let far = of(&normal(1, 200, 8, 0.0), &normal(2, 200, 8, 0.5), 8, &options);
        assert!(far.mean > 10.0 * told, "{far:?}");
    }

    /// The sum over tiles is the sum over pairs.
    #[test]
    fn tiles() {
        let x: Vec<f64> = normal(1, 600, 3, 0.1).iter().map(|v| f64::from(*v)).collect();
        let rows: Vec<&[f64]> = x.chunks_exact(3).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let pairs = (0..600).flat_map(|i| (0..600).filter(move |j| *j != i).map(move |j| (i, j)));
        let expected: f64 = pairs.map(|(i, j)| kernel(dot(rows[i], rows[j]), 3.0)).sum();
        assert!((within(&x, 3) / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn subsets_hold_each_row_once_and_are_the_same_at_any_thread_count() {
        let mut s = subset(Noise::new(3), 1, 100, 60);
        assert_ne!(s, subset(Noise::new(3), 2, 100, 60));
        s.sort_unstable();
        s.dedup();
        assert_eq!((s.len(), s.iter().all(|i| *i < 100)), (60, true));
        let (a, b) = (normal(1, 90, 4, 0.0), normal(2, 80, 4, 0.2));
        let options = KidOptions { subsets: 9, subset_size: 30, seed: 4 };
        let with = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| of(&a, &b, 4, &options))
        };
        assert_eq!(with(1), with(3));
    }
}
