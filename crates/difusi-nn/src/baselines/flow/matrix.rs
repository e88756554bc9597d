//! Small square matrices on the host in f64: a random rotation, its factors, and inverses.

use difusi_core::Stream;

/// A square matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Square {
    n: usize,
    values: Vec<f64>,
}

/// `P L (U + diag)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Factors {
    pub(super) permutation: Vec<f64>,
    /// The part below the diagonal; ones on the diagonal are not written.
    pub(super) lower: Vec<f64>,
    /// The part above the diagonal.
    pub(super) upper: Vec<f64>,
    pub(super) diagonal: Vec<f64>,
}

/// Orthogonal: normal numbers made orthonormal row by row (twice, so that they are to the last digits).
pub(super) fn random_rotation(mut stream: Stream, n: usize) -> Square {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    while rows.len() < n {
        let mut row: Vec<f64> = (0..n).map(|_| f64::from(stream.normal())).collect();
        for _ in 0..2 {
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 1e-3 {
            rows.push(row.iter().map(|v| v / norm).collect());
        }
    }
    Square { n, values: rows.concat() }
}

impl Square {
    /// `values` are `n * n`.
    pub(super) fn new(n: usize, values: Vec<f64>) -> Self {
        Self { n, values }
    }

    /// Gaussian elimination with the largest element of a column as its pivot.
    pub(super) fn factors(&self) -> Factors {
        let (n, mut a) = (self.n, self.values.clone());
        let mut rows: Vec<usize> = (0..n).collect();
        for k in 0..n {
            let size = |i: &usize| a[i * n + k].abs();
            let pivot = (k..n).max_by(|i, j| size(i).total_cmp(&size(j))).unwrap_or(k);
            rows.swap(k, pivot);
            for j in 0..n {
                a.swap(k * n + j, pivot * n + j);
            }
            for i in k + 1..n {
                let factor = a[i * n + k] / a[k * n + k];
                a[i * n + k] = factor;
                for j in k + 1..n {
                    a[i * n + j] -= factor * a[k * n + j];
                }
            }
        }
        let part = |keep: fn(usize, usize) -> bool| -> Vec<f64> {
            (0..n * n).map(|i| if keep(i / n, i % n) { a[i] } else { 0.0 }).collect()
        };
        let mut permutation = vec![0.0; n * n];
        rows.iter().enumerate().for_each(|(k, row)| permutation[row * n + k] = 1.0);
        Factors {
            permutation,
            lower: part(|i, j| i > j),
            upper: part(|i, j| i < j),
            diagonal: (0..n).map(|i| a[i * n + i]).collect(),
        }
    }

    /// Its inverse, row-major; not finite where there is none.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let (n, Factors { permutation, lower, upper, diagonal }) = (self.n, self.factors());
        let mut inverse = vec![0.0; n * n];
        for column in 0..n {
            // P^T e_column, then forward and backward substitution.
            let mut x: Vec<f64> = (0..n).map(|k| permutation[column * n + k]).collect();
            for i in 0..n {
                x[i] -= (0..i).map(|j| lower[i * n + j] * x[j]).sum::<f64>();
            }
            for i in (0..n).rev() {
                x[i] = (x[i] - (i + 1..n).map(|j| upper[i * n + j] * x[j]).sum::<f64>()) / diagonal[i];
            }
            x.iter().enumerate().for_each(|(i, v)| inverse[i * n + column] = *v);
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise};

    use super::*;

    fn product(n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
        (0..n * n).map(|i| (0..n).map(|k| a[i / n * n + k] * b[k * n + i % n]).sum()).collect()
    }

    fn identity(n: usize) -> Vec<f64> {
        (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect()
    }

    fn close(a: &[f64], b: &[f64]) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?}\n{b:?}");
    }

    #[test]
    fn rotations_are_rotations_and_factors_give_them_back() {
        for n in [1, 2, 4, 12, 48] {
            let square = random_rotation(Noise::new(3).stream(Draw::Weights, n as u64, 0), n);
            let q = &square.values;
            let turned: Vec<f64> = (0..n * n).map(|i| q[i % n * n + i / n]).collect();
            close(&product(n, q, &turned), &identity(n));
            close(&square.inverse(), &turned);
            let Factors { permutation, lower, upper, diagonal } = square.factors();
            let lower: Vec<f64> = lower.iter().zip(identity(n)).map(|(a, b)| a + b).collect();
            let upper: Vec<f64> = (0..n * n).map(|i| if i / n == i % n { diagonal[i / n] } else { upper[i] }).collect();
            close(&product(n, &permutation, &product(n, &lower, &upper)), q);
            let volume: f64 = diagonal.iter().map(|s| s.abs().ln()).sum();
            assert!(volume.abs() < 1e-12, "{volume}");
        }
    }
}
