//! Weights of multi-step methods: estimates at several places, a polynomial through them, its integral.
//!
//! Adams-Bashforth, LMS, DEIS, the exponential integrators of DPM-Solver and UniPC differ only in what a power of the time
//! integrates to. All are written around the newest estimate m_0: the integral is that of a constant m_0 plus
//! `sum_k w_k (m_k - m_0)`, so that an interval with one estimate needs no weights.

/// `w` with `sum_k w_k d_k^j = moments[j - 1]` for j = 1 up to the number of nodes: what a polynomial through (0, 0) and
/// (d_k, m_k - m_0) integrates to. Nodes differ from each other and from 0.
pub(super) fn weights(nodes: &[f64], moments: &[f64]) -> Vec<f64> {
    let of = |(k, at): (usize, &f64)| {
        // Lagrange's polynomial of node k, lowest power first: 1 at it, 0 at the others and at 0.
        let mut basis = vec![0.0, 1.0 / at];
        for (i, other) in nodes.iter().enumerate() {
            if i != k {
                basis = times(&basis, (-other / (at - other), 1.0 / (at - other)));
            }
        }
        basis[1..].iter().zip(moments).map(|(coefficient, moment)| coefficient * moment).sum()
    };
    nodes.iter().enumerate().map(of).collect()
}

/// `polynomial * (constant + slope d)`.
fn times(polynomial: &[f64], (constant, slope): (f64, f64)) -> Vec<f64> {
    let at = |i: usize| polynomial.get(i).copied().unwrap_or(0.0);
    (0..=polynomial.len()).map(|i| constant * at(i) + if i > 0 { slope * at(i - 1) } else { 0.0 }).collect()
}

/// `integral of d^j` from 0 to `step`, for j = 1 to `count`.
pub(super) fn power_moments(step: f64, count: usize) -> Vec<f64> {
    (1..=count).map(|j| step.powi(j as i32 + 1) / (j as f64 + 1.0)).collect()
}

/// Adams and Bashforth's weights of the estimates before the newest, for even steps of length 1; `count` of them.
pub(super) fn adams_bashforth(count: usize) -> Vec<f64> {
    let nodes: Vec<f64> = (1..=count).map(|k| -(k as f64)).collect();
    weights(&nodes, &power_moments(1.0, count))
}

/// `z phi_k(z)` with `phi_0 = e^z` and `phi_{k+1} = (phi_k - 1 / k!) / z`, the functions of exponential integrators; k at least 1.
pub(super) fn z_phi(k: usize, z: f64) -> f64 {
    if z.abs() < 0.5 {
        // sum_{n >= 0} z^{n+1} / (n + k)!
        let mut term = z / factorial(k);
        let mut sum = 0.0;
        for n in 1..=20 {
            sum += term;
            term *= z / (n + k) as f64;
        }
        return sum;
    }
    (1..k).fold(z.exp_m1(), |value, j| value / z - 1.0 / factorial(j))
}

pub(super) fn factorial(k: usize) -> f64 {
    (1..=k).map(|i| i as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-13, "{found:?} {expected:?}");
        }
    }

    /// The coefficients of every textbook, that of the newest estimate left out.
    #[test]
    fn known_coefficients() {
        close(&adams_bashforth(1), &[-0.5]);
        close(&adams_bashforth(2), &[-16.0 / 12.0, 5.0 / 12.0]);
        close(&adams_bashforth(3), &[-59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0]);
    }

    /// Polynomials of the nodes' degree are integrated exactly on uneven nodes.
    #[test]
    fn polynomials_are_integrated() {
        let (nodes, step) = ([-0.3, -0.8, -1.7], 0.6);
        let w = weights(&nodes, &power_moments(step, 3));
        for j in 1..=3 {
            let found: f64 = w.iter().zip(nodes).map(|(w, d)| w * d.powi(j)).sum();
            assert!((found - step.powi(j + 1) / f64::from(j + 1)).abs() < 1e-14);
        }
    }

    /// The series and the recursion meet; `z phi_2 = (e^z - 1) / z - 1`.
    #[test]
    fn phi() {
        for z in [-3.0, -0.7, 0.6, 2.0f64] {
            assert!((z_phi(2, z) - (z.exp_m1() / z - 1.0)).abs() < 1e-14);
        }
        for k in 1..=4 {
            let (below, above) = (z_phi(k, 0.5 - 1e-12), z_phi(k, 0.5 + 1e-12));
            assert!((below - above).abs() < 1e-11, "{k}: {below} {above}");
        }
        assert_eq!((z_phi(1, 0.0), z_phi(3, 0.0)), (0.0, 0.0));
        assert_eq!(z_phi(1, f64::NEG_INFINITY), -1.0);
    }
}
