//! Explicit Runge-Kutta methods as tables (Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, chapter II).

use super::OdeMethod;

/// `k_i = f(z + h sum_j a_ij k_j, s + c_i h)`, `z' = z + h sum_i b_i k_i`.
pub(super) struct Tableau {
    pub(super) c: &'static [f64],
    /// Row i has i entries.
    pub(super) a: &'static [&'static [f64]],
    pub(super) b: &'static [f64],
    /// b less that of the embedded method: h times their sum with k is the estimate of the error. Its last stage is f at the step's
    /// end, the first of the step after.
    pub(super) error: Option<&'static [f64]>,
}

const HEUN: Tableau = Tableau { c: &[0.0, 1.0], a: &[&[], &[1.0]], b: &[0.5, 0.5], error: None };

const RK4: Tableau = Tableau {
    c: &[0.0, 0.5, 0.5, 1.0],
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    error: None,
};

const DOPRI5: Tableau = Tableau {
    c: &[0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0],
    a: &[
        &[],
        &[0.2],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
    error: Some(&[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339_200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ]),
};

impl OdeMethod {
    pub(super) fn tableau(self) -> Tableau {
        match self {
            Self::Heun { .. } => HEUN,
            Self::Rk4 { .. } => RK4,
            Self::Rk45 { .. } => DOPRI5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a add up to c; b adds up to 1 and is exact for polynomials up to the order; the error's weights add up to 0.
    #[test]
    fn order_conditions() {
        for (method, order) in [(HEUN, 2), (RK4, 4), (DOPRI5, 5)] {
            for (row, c) in method.a.iter().zip(method.c) {
                assert!((row.iter().sum::<f64>() - c).abs() < 1e-14);
            }
            for power in 0..order {
                let sum: f64 = method.b.iter().zip(method.c).map(|(b, c)| b * c.powi(power)).sum();
                assert!((sum - 1.0 / f64::from(power + 1)).abs() < 1e-14, "{order} {power}");
            }
            if let Some(error) = method.error {
                for power in 0..4 {
                    let sum: f64 = error.iter().zip(method.c).map(|(e, c)| e * c.powi(power)).sum();
                    assert!(sum.abs() < 1e-14, "{power}");
                }
            }
        }
    }
}
