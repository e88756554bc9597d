//! The Frechet distance of two Gaussians (Dowson and Landau 1982), which is FID where the features are Inception's (Heusel et al. 2017,
//! arXiv:1706.08500, eq. 6) and sFID where they keep their place in the picture (Nash et al. 2021, arXiv:2103.03841):
//!
//! $d^2 = |\mu_1 - \mu_2|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})$
//!
//! The trace of the root is taken from symmetric eigen decompositions: with $\Sigma_i = F_i^T F_i$ it is the sum of the singular values of
//! $F_1 F_2^T$, real and exact to rounding for covariances of any rank. pytorch-fid takes the root of the product itself, which may come
//! out complex, and adds 1e-6 to both diagonals where it comes out infinite; for covariances of full rank the numbers are the same,
//! for singular ones these are those of the formula.

use crate::MetricsError;
use crate::linalg::{factor, nuclear_norm};

/// A mean and a covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

impl Gaussian {
    /// `mean` `[D]`, `covariance` `[D * D]`.
    ///
    /// # Errors
    /// No numbers, a covariance of another size, that is not symmetric or has a negative variance, numbers that are not finite.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, MetricsError> {
        let dim = mean.len();
        if dim == 0 || covariance.len() != dim * dim {
            let got = format!("of {} numbers for a mean of {dim}", covariance.len());
            return Err(MetricsError::value("a covariance", got, "D x D numbers for a mean of D, at least 1"));
        }
        if let Some(bad) = mean.iter().chain(&covariance).find(|v| !v.is_finite()) {
            return Err(MetricsError::value("a number of a mean or covariance", bad, "finite numbers"));
        }
        let most = (0..dim).map(|i| covariance[i * dim + i].abs()).fold(0.0, f64::max);
        for i in 0..dim {
            if covariance[i * dim + i] < 0.0 {
                let got = covariance[i * dim + i];
                return Err(MetricsError::value(format!("the variance of feature {i}"), got, "at least 0"));
            }
            // f32 files are symmetric to f32's rounding.
            if let Some(j) = (0..i).find(|j| (covariance[i * dim + j] - covariance[j * dim + i]).abs() > 1e-4 * most) {
                let got = format!("{} and {}", covariance[i * dim + j], covariance[j * dim + i]);
                return Err(MetricsError::value(format!("the covariance of features {i} and {j}"), got, "symmetric"));
            }
        }
        Ok(Self { mean, covariance })
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// `[D]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// `[D * D]`.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// Sum of the variances.
    pub fn trace(&self) -> f64 {
        self.covariance.iter().step_by(self.dim() + 1).sum()
    }
}

/// The squared Frechet distance, which is what is called FID: at least 0.
///
/// # Errors
/// Other numbers of features; a decomposition that does not converge.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64, MetricsError> {
    let dim = a.dim();
    if b.dim() != dim {
        let accepted = format!("{dim}, as of the pictures: statistics of the same features");
        return Err(MetricsError::value("the number of features of the reference", b.dim(), accepted));
    }
    let shift: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b) * (a - b)).sum();
    let (fa, fb) = rayon::join(|| factor(&a.covariance, dim), || factor(&b.covariance, dim));
    let root = nuclear_norm(&fa?, &fb?, dim)?;
    Ok((shift + (a.trace() - root) + (b.trace() - root)).max(0.0))
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise};

    use super::*;
    use crate::Moments;

    fn diagonal(mean: &[f64], variances: &[f64]) -> Gaussian {
        let d = mean.len();
        let covariance = (0..d * d).map(|i| if i / d == i % d { variances[i / d] } else { 0.0 });
        Gaussian::new(mean.to_vec(), covariance.collect()).unwrap()
    }

    fn sample(seed: u64, count: u64, dim: usize) -> Gaussian {
        let mut m = Moments::new(dim);
        m.push(&Noise::new(seed).normal(Draw::Synthetic, 0..count, 0, dim));
        m.finish().unwrap()
    }

    /// Commuting covariances: |m|^2 + sum (s1 - s2)^2 of the standard deviations; zero variances included.
    #[test]
    fn closed_form() {
        let a = diagonal(&[1.0, 0.0, -2.0, 5.0], &[4.0, 0.0, 9.0, 0.0]);
        let b = diagonal(&[0.0, 0.0, 1.0, 5.0], &[1.0, 2.25, 0.0, 0.0]);
        let expected = 1.0 + 9.0 + (1.0 + 2.25 + 9.0);
        assert!((frechet_distance(&a, &b).unwrap() - expected).abs() < 1e-12);
        assert!(frechet_distance(&a, &a).unwrap() < 1e-12);
    }

    /// Zero for identical sets, with a covariance of full rank, of rank 29 in 100 dimensions, and of rank 1.
    #[test]
    fn identical_sets() {
        for (count, dim) in [(500, 40), (30, 100), (2, 64)] {
            let a = sample(1, count, dim);
            assert!(frechet_distance(&a, &a).unwrap() < 1e-12 * a.trace(), "{count} {dim}");
        }
    }

    /// Symmetric, and unchanged by the order of features and by features that are always 0, at any rank.
    #[test]
    fn invariances() {
        let (a, b) = (sample(1, 30, 50), sample(2, 70, 50));
        let d = frechet_distance(&a, &b).unwrap();
        assert!((frechet_distance(&b, &a).unwrap() / d - 1.0).abs() < 1e-11);
        let padded = |g: &Gaussian| {
            let mean = g.mean().iter().rev().copied().chain([0.0; 5]).collect();
            let at = |i: usize, j: usize| if i < 50 && j < 50 { g.covariance()[(49 - i) * 50 + 49 - j] } else { 0.0 };
            Gaussian::new(mean, (0..55 * 55).map(|k| at(k / 55, k % 55)).collect()).unwrap()
        };
        assert!((frechet_distance(&padded(&a), &padded(&b)).unwrap() / d - 1.0).abs() < 1e-11);
    }

    /// A rank-one covariance against any other: tr root = |B^(1/2) v|, known exactly.
    #[test]
    fn rank_one() {
        let b = sample(5, 200, 20);
        let v: Vec<f64> = (0..20).map(|i| 1.0 + f64::from(i)).collect();
        let outer = (0..400).map(|k| v[k / 20] * v[k % 20]).collect();
        let a = Gaussian::new(b.mean().to_vec(), outer).unwrap();
        let vbv: f64 = (0..400).map(|k| v[k / 20] * b.covariance()[k] * v[k % 20]).sum();
        let expected = a.trace() + b.trace() - 2.0 * vbv.sqrt();
        assert!((frechet_distance(&a, &b).unwrap() / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_gaussian_is_named() {
        let fails = |mean: &[f64], covariance: &[f64], part: &str| {
            let e = Gaussian::new(mean.to_vec(), covariance.to_vec()).unwrap_err().to_string();
            assert!(e.contains(part), "{e}");
        };
        fails(&[], &[], "at least 1");
        fails(&[0.0; 2], &[1.0; 3], "3 numbers");
        fails(&[0.0, f64::NAN], &[1.0, 0.0, 0.0, 1.0], "NaN");
        fails(&[0.0; 2], &[1.0, 0.5, 0.0, 1.0], "symmetric");
        fails(&[0.0; 2], &[1.0, 0.0, 0.0, -1.0], "feature 1");
        let e = frechet_distance(&sample(1, 9, 3), &sample(1, 9, 4)).unwrap_err().to_string();
        assert!(e.contains('4') && e.contains("same features"), "{e}");
    }
}
