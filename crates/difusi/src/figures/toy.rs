//! Data whose every density is known: Gaussian mixtures on a line, and what noise makes of them.
//!
//! With x_0 from a mixture of N(m_k, s_k^2) and x_t = alpha x_0 + sigma eps, x_t is a mixture of N(alpha m_k, alpha^2 s_k^2 +
//! sigma^2), and x_0 given x_t is one again: its mean is what a perfect network would say.

use std::f64::consts::PI;

use difusi_process::Level;

/// One part of a mixture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bump {
    /// Its share; shares sum to 1.
    pub(super) share: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
}

/// A mixture of Gaussians on a line.
#[derive(Clone, Debug)]
pub(super) struct Mixture(pub(super) Vec<Bump>);

/// Variance-preserving signal and noise.
pub(super) fn preserving(alpha_bar: f64) -> Level {
    Level::new(0.0, alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt())
}

impl Mixture {
    /// `(share, mean, standard deviation)` of each part.
    pub(super) fn new(parts: &[(f64, f64, f64)]) -> Self {
        Self(parts.iter().map(|&(share, mean, sd)| Bump { share, mean, variance: sd * sd }).collect())
    }

    /// The density of alpha x + sigma eps.
    pub(super) fn noised(&self, Level { alpha, sigma, .. }: Level) -> Self {
        let noised = |b: &Bump| Bump {
            mean: alpha * b.mean,
            variance: alpha * alpha * b.variance + sigma * sigma,
            share: b.share,
        };
        Self(self.0.iter().map(noised).collect())
    }

    pub(super) fn density(&self, x: f64) -> f64 {
        self.0.iter().map(|b| b.share * normal(x, b.mean, b.variance)).sum()
    }

    /// d/dx log density.
    pub(super) fn score(&self, x: f64) -> f64 {
        let shares = self.responsibilities(x);
        shares.zip(&self.0).map(|(share, b)| share * (b.mean - x) / b.variance).sum()
    }

    /// The mixture of x_0 given x_t = `x` at `at`.
    pub(super) fn origin(&self, x: f64, at: Level) -> Self {
        let noised = self.noised(at);
        let part = |(share, b): (f64, &Bump)| {
            let gain = at.alpha * b.variance / (at.alpha * at.alpha * b.variance + at.sigma * at.sigma);
            let variance = b.variance * (1.0 - gain * at.alpha);
            Bump { share, mean: b.mean + gain * (x - at.alpha * b.mean), variance }
        };
        Self(noised.responsibilities(x).zip(&self.0).map(part).collect())
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.iter().map(|b| b.share * b.mean).sum()
    }

    pub(super) fn variance(&self) -> f64 {
        let mean = self.mean();
        self.0.iter().map(|b| b.share * (b.variance + (b.mean - mean).powi(2))).sum()
    }

    /// The share of each part at `x`, from logarithms, so that no place is too far away.
    fn responsibilities(&self, x: f64) -> impl Iterator<Item = f64> {
        let log = |b: &Bump| b.share.ln() - 0.5 * b.variance.ln() - (x - b.mean).powi(2) / (2.0 * b.variance);
        let logs: Vec<f64> = self.0.iter().map(log).collect();
        let top = logs.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logs.iter().map(|l| (l - top).exp()).sum();
        logs.into_iter().map(move |l| (l - top).exp() / sum)
    }
}

/// Density of N(mean, variance).
pub(super) fn normal(x: f64, mean: f64, variance: f64) -> f64 {
    (-(x - mean).powi(2) / (2.0 * variance)).exp() / (2.0 * PI * variance).sqrt()
}

/// The integral of `f` over `[low, high]` by the trapezoidal rule, which is exact to rounding for what vanishes smoothly at both ends.
pub(super) fn integral([low, high]: [f64; 2], count: usize, f: impl Fn(f64) -> f64) -> f64 {
    let step = (high - low) / count as f64;
    (0..=count).map(|i| f(low + step * i as f64) * if i == 0 || i == count { 0.5 } else { 1.0 }).sum::<f64>() * step
}

/// `p log(p / q)`, 0 where p is.
pub(super) fn divergence_at(p: f64, q: f64) -> f64 {
    if p > 0.0 { p * (p / q.max(f64::MIN_POSITIVE)).ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Mixture {
        Mixture::new(&[(0.3, -1.0, 0.2), (0.7, 0.8, 0.4)])
    }

    /// Everything integrates to one, and x_0 given x_t agrees with Bayes' rule and with Tweedie's formula.
    #[test]
    fn the_toy_is_exact() {
        let at = Level::new(0.0, 0.8, 0.6);
        let (data, noised) = (two(), two().noised(at));
        assert!((integral([-9.0, 9.0], 900, |x| noised.density(x)) - 1.0).abs() < 1e-12);
        for x in [-1.5, 0.0, 0.4, 2.0] {
            let origin = data.origin(x, at);
            let joint = |x0: f64| data.density(x0) * normal(x, at.alpha * x0, at.sigma * at.sigma);
            let mean = integral([-6.0, 6.0], 1200, |x0| x0 * joint(x0)) / noised.density(x);
            assert!((origin.mean() - mean).abs() < 1e-10, "{x}");
            let tweedie = (x + at.sigma * at.sigma * noised.score(x)) / at.alpha;
            assert!((origin.mean() - tweedie).abs() < 1e-12, "{x}");
            assert!((origin.density(0.1) - joint(0.1) / noised.density(x)).abs() < 1e-10);
        }
    }
}
