//! Quantiles of the Beta distribution, for grids whose steps crowd at both ends (arXiv:2407.12173).
//!
//! The regularised incomplete beta function by its continued fraction (DLMF 8.17.22, evaluated by Lentz's method), inverted by
//! Newton's method between bounds. Good to about 1e-14.

/// Terms of the continued fraction; a dozen suffice for shapes near 1.
const TERMS: usize = 300;

/// x with `I_x(a, b) = p`; `p` in [0, 1] (beyond it, the nearer end), `a` and `b` above 0.
pub(crate) fn quantile(p: f64, a: f64, b: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    let (mut low, mut high, mut x) = (0.0, 1.0, a / (a + b));
    for _ in 0..200 {
        let error = cumulative(x, a, b) - p;
        if error > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let density = ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_beta(a, b)).exp();
        let newton = x - error / density;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - x).abs() <= 1e-16 * x {
            return next;
        }
        x = next;
    }
    x
}

/// `I_x(a, b)`: the share of Beta(a, b) below `x` in (0, 1).
pub(crate) fn cumulative(x: f64, a: f64, b: f64) -> f64 {
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - cumulative(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
    front / continued_fraction(x, a, b)
}

/// `1 + d_1 / (1 + d_2 / (1 + ...))` with the d of DLMF 8.17.23.
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let guard = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut value, mut c, mut d) = (1.0, 1.0, 0.0);
    for n in 1..=TERMS {
        let m = (n / 2) as f64;
        let term = match n % 2 {
            0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        d = 1.0 / guard(1.0 + term * d);
        c = guard(1.0 + term / c);
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::{cumulative, quantile};

    /// Beta(1, 1) is uniform, Beta(2, 1) has the cumulative x^2, Beta(1/2, 1/2) is the arcsine law.
    #[test]
    fn known_laws() {
        for p in [1e-6, 0.01, 0.3, 0.5, 0.77, 0.999] {
            assert!((quantile(p, 1.0, 1.0) - p).abs() < 1e-14);
            assert!((quantile(p, 2.0, 1.0) - p.sqrt()).abs() < 1e-14);
            let arcsine = (std::f64::consts::FRAC_PI_2 * p).sin().powi(2);
            assert!((quantile(p, 0.5, 0.5) - arcsine).abs() < 1e-14, "{p}");
        }
    }

    /// The quantile inverts the cumulative, and mirrors with its shapes.
    #[test]
    fn inverse() {
        for (a, b) in [(0.6, 0.6), (0.6, 2.5), (3.0, 1.4)] {
            for p in [0.001, 0.1, 0.5, 0.9] {
                let x = quantile(p, a, b);
                assert!((cumulative(x, a, b) - p).abs() < 1e-13, "{a} {b} {p}");
                assert!((1.0 - quantile(1.0 - p, b, a) - x).abs() < 1e-13, "{a} {b} {p}");
            }
        }
    }

    /// `scipy.stats.beta.ppf(p, 0.6, 0.6)`.
    #[test]
    fn scipy() {
        for (p, x) in [(0.1, 0.039_584_405_588_780_79), (0.25, 0.175_680_378_652_694_98), (0.5, 0.5)] {
            assert!((quantile(p, 0.6, 0.6) - x).abs() < 1e-13, "{p}: {}", quantile(p, 0.6, 0.6));
        }
    }
}
