//! Dense linear algebra in f64, on faer.
//!
//! faer runs on one thread here (its `rayon` feature is off), and whatever is cut for several threads is cut by shapes alone: the bits
//! of a result do not depend on the number of threads. Matrices are row-major slices.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par, Side};

use crate::MetricsError;

/// `a [N, D]` times the transpose of `b [M, D]`: `[N, M]`.
pub(crate) fn times_transposed(a: &[f64], b: &[f64], dim: usize, out: &mut Vec<f64>) {
    let (n, m) = (a.len() / dim, b.len() / dim);
    out.resize(n * m, 0.0);
    let [a, b] = [(a, n), (b, m)].map(|(x, rows)| MatRef::from_row_major_slice(x, rows, dim));
    matmul(MatMut::from_row_major_slice_mut(out, n, m), Accum::Replace, a, b.transpose(), 1.0, Par::Seq);
}

/// Adds `x[:, rows]` transposed times `x[:, columns]` to `out [rows, columns]`, for `x [K, D]`; ranges are (first, number).
pub(crate) fn add_inner(x: &[f64], dim: usize, rows: (usize, usize), columns: (usize, usize), out: &mut [f64]) {
    let x = MatRef::from_row_major_slice(x, x.len() / dim, dim);
    let [a, b] = [rows, columns].map(|(first, count)| x.subcols(first, count));
    let out = MatMut::from_row_major_slice_mut(out, rows.1, columns.1);
    matmul(out, Accum::Add, a.transpose(), b, 1.0, Par::Seq);
}

/// A factor `F [R, D]` of a covariance `[D, D]`: `F^T F` is the covariance, R its numerical rank.
pub(crate) struct Factor {
    rows: Vec<f64>,
    rank: usize,
}

/// Eigenvectors times the roots of their eigenvalues. Eigenvalues below D epsilons of the largest are rounding, and count as 0: where the
/// covariance has no full rank (fewer pictures than features, features that are always 0), its null space adds nothing.
///
/// # Errors
/// A decomposition that does not converge.
pub(crate) fn factor(covariance: &[f64], dim: usize) -> Result<Factor, MetricsError> {
    let eigen = MatRef::from_row_major_slice(covariance, dim, dim)
        .self_adjoint_eigen(Side::Lower)
        .map_err(|e| MetricsError::value("the eigen decomposition of a covariance", format!("{e:?}"), CONVERGENT))?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let cut = values.iter().fold(0.0, |most: f64, v| most.max(*v)) * dim as f64 * f64::EPSILON;
    let kept: Vec<usize> = (0..dim).filter(|i| values[*i] > cut).collect();
    let rows = kept.iter().flat_map(|&i| {
        let root = values[i].sqrt();
        vectors.col(i).iter().map(move |v| v * root)
    });
    Ok(Factor { rows: rows.collect(), rank: kept.len() })
}

const CONVERGENT: &str = "one that converges; are its numbers finite and of one scale?";

/// The sum of the singular values of `A B^T` for factors `A [R, D]`, `B [S, D]`: the trace of the square root of the product of what
/// they are factors of. Unlike that root, it is exact to rounding for singular covariances too, and never imaginary.
///
/// # Errors
/// A decomposition that does not converge.
pub(crate) fn nuclear_norm(a: &Factor, b: &Factor, dim: usize) -> Result<f64, MetricsError> {
    if a.rank == 0 || b.rank == 0 {
        return Ok(0.0);
    }
    let mut product = Vec::new();
    times_transposed(&a.rows, &b.rows, dim, &mut product);
    let values = MatRef::from_row_major_slice(&product, a.rank, b.rank)
        .singular_values()
        .map_err(|e| MetricsError::value("the singular values of two covariances", format!("{e:?}"), CONVERGENT))?;
    Ok(values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_multiply_to_the_covariance() {
        // Rank 2 in 3 dimensions: (1, 2, 2) and (0, 3, -3).
        let covariance: Vec<f64> =
            [[1.0, 2.0, 2.0], [2.0, 13.0, -5.0], [2.0, -5.0, 13.0]].into_iter().flatten().collect();
        let f = factor(&covariance, 3).unwrap();
        assert_eq!(f.rank, 2);
        let mut back = vec![0.0; 9];
        add_inner(&f.rows, 3, (0, 3), (0, 3), &mut back);
        assert!(back.iter().zip(&covariance).all(|(a, b)| (a - b).abs() < 1e-13), "{back:?}");
        // Of identical covariances the nuclear norm is the trace.
        assert!((nuclear_norm(&f, &f, 3).unwrap() - 27.0).abs() < 1e-13);
    }
}
