//! The variational bound, DDPM (arXiv:2006.11239) eq. 5 and 13: the decoder's buckets, and every term with an exact denoiser.

use difusi_process::Schedule;
use difusi_store::plot::{Axis, Chart, Figure, Legend, Mark, Series};

use super::toy::{Blend, Bump, Mixture, normal, normal_mass};
use super::{Drawn, alpha_bars, curve, drawn, number};
use crate::Error;

/// Half the width of a bucket.
const HALF: f64 = 1.0 / 255.0;

/// The value of a byte in `[-1, 1]`.
fn value(byte: usize) -> f64 {
    2.0 * byte as f64 / 255.0 - 1.0
}

/// Both edges of a byte's bucket: eq. 13, open at both ends of the range.
fn bucket(byte: usize) -> [f64; 2] {
    let (low, high) = (value(byte) - HALF, value(byte) + HALF);
    [if byte == 0 { f64::NEG_INFINITY } else { low }, if byte == 255 { f64::INFINITY } else { high }]
}

/// Probability of a byte under N(mean, sd^2).
fn mass(byte: usize, mean: f64, sd: f64) -> f64 {
    normal_mass(bucket(byte).map(|edge| (edge - mean) / sd))
}

/// A bucket inside and the one at the end, with the last reverse step's density over them.
pub(super) fn decoder() -> Result<Drawn, Error> {
    let sd = 0.01; // sqrt(beta_1) of DDPM's schedule
    let inner = buckets([124, 136], 131, value(130) + 0.3 * HALF, sd);
    let end = buckets([248, 262], 255, value(253), sd);
    let title = format!("The last step's Gaussian N(μ, {sd}²), cut into buckets of one byte");
    let legend = Legend::Shared;
    drawn(&Figure { title, columns: 2, legend, panel_size: [480, 320], ..Figure::new(vec![inner, end]) })
}

/// Buckets of bytes `from..to` in units of bytes, that of `byte` filled.
fn buckets([from, to]: [usize; 2], byte: usize, mean: f64, sd: f64) -> Chart {
    let (unit, ends) = (2.0 * HALF, [from as f64 - 0.5, to as f64 - 0.5]);
    let density = |b: f64| normal(b * unit - 1.0, mean, sd * sd) * unit; // per byte
    let top = density((mean + 1.0) / unit) * 1.2;
    let share = mass(byte, mean, sd);
    let [low, high] = bucket(byte).map(|edge| ((edge + 1.0) / unit).clamp(ends[0], ends[1]));
    let open = if byte == 255 { ", open to +∞" } else { "" };
    let title = format!("p({byte}) = {}{open}: {} bits", number(share, 3), number(-share.log2(), 2));
    let x = Axis::linear("255 (x + 1) / 2").within(ends[0], ends[1]);
    let mut chart = Chart::new(title, x, Axis::linear("density per byte").within(0.0, top));
    for b in from..to.min(256) {
        let edge = b as f64 - 0.5;
        chart = chart.with(Series::line("", vec![[edge, 0.0], [edge, top]]).marked(Mark::Faint).coloured([60, 60, 60]));
    }
    if to > 255 {
        chart = chart.noted([(255.5 + ends[1]) / 2.0, top * 0.93], "no edge here");
    }
    chart
        .with(
            Series::line("bucket of the data", curve([low, high], 200, density))
                .marked(Mark::Area)
                .coloured([230, 97, 1]),
        )
        .with(Series::line("density of the decoder", curve(ends, 600, density)))
}

/// Bits of every term for one pixel whose 256 values have known probabilities, with the exact E[x_0 | x_t] as the network; and the
/// whole bound against T, beside the entropy that no model goes below.
pub(super) fn terms() -> Result<Drawn, Error> {
    let pixel = Pixel::new();
    let x = Axis::linear("t / T").within(0.0, 1.0);
    let y = Axis::log("T · Lₜ₋₁ in bits").within(1e-3, 200.0);
    let mut each = Chart::new("What each step costs, cosine schedule", x, y);
    for (timesteps, mark) in [(1000, Mark::Line), (100, Mark::Line), (10, Mark::Beads)] {
        let bound = pixel.bound(&Schedule::default(), timesteps, Spread::Small)?;
        let count = timesteps as f64;
        let points = bound.steps.iter().enumerate().map(|(i, bits)| [(i + 2) as f64 / count, bits * count]);
        each = each.with(Series::line(format!("T = {timesteps}"), points.collect()).marked(mark));
    }
    let mut whole = Chart::new("The bound against the number of steps", Axis::log("T"), Axis::linear("bits per pixel"));
    let mut table = String::from(
        "| T | L_T | Σ L_{t−1} | L_0 | L_vlb, β̃ₜ | L_vlb, βₜ | entropy |\n|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let counts = [5, 10, 20, 50, 100, 200, 500, 1000];
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for timesteps in counts {
        let bound = pixel.bound(&Schedule::default(), timesteps, Spread::Small)?;
        let wide = pixel.bound(&Schedule::default(), timesteps, Spread::Large)?;
        small.push([timesteps as f64, bound.total()]);
        large.push([timesteps as f64, wide.total()]);
        let steps: f64 = bound.steps.iter().sum();
        table += &format!(
            "| {timesteps} | {:.4} | {steps:.4} | {:.4} | {:.4} | {:.4} | {:.4} |\n",
            bound.last,
            bound.first,
            bound.total(),
            wide.total(),
            pixel.entropy()
        );
    }
    let entropy = vec![[counts[0] as f64, pixel.entropy()], [1000.0, pixel.entropy()]];
    whole = whole
        .with(Series::line("L_vlb with variance β̃ₜ", small).marked(Mark::Beads))
        .with(Series::line("L_vlb with variance βₜ", large).marked(Mark::Beads))
        .with(Series::line("entropy of the data", entropy).marked(Mark::Dashed).coloured([60, 60, 60]));
    let drawn = drawn(&Figure { columns: 2, panel_size: [480, 340], ..Figure::new(vec![each, whole]) })?;
    Ok(Drawn { table: Some(table), ..drawn })
}

/// A pixel that takes each of the 256 values with a known probability.
struct Pixel(Mixture);

/// Variance of the reverse steps.
#[derive(Clone, Copy, PartialEq)]
enum Spread {
    /// beta-tilde.
    Small,
    /// beta.
    Large,
}

/// All terms in bits.
struct Bound {
    /// L_T.
    last: f64,
    /// L_{t-1} for the paper's t = 2..T.
    steps: Vec<f64>,
    /// L_0.
    first: f64,
}

impl Bound {
    fn total(&self) -> f64 {
        self.last + self.steps.iter().sum::<f64>() + self.first
    }
}

impl Pixel {
    /// Dark paper, and two shades of ink.
    fn new() -> Self {
        let shades = Mixture::new(&[(0.6, -0.8, 0.04), (0.25, 0.2, 0.15), (0.15, 0.75, 0.05)]);
        let probability =
            |byte: usize| -> f64 { shades.0.iter().map(|s| s.share * mass(byte, s.mean, s.variance.sqrt())).sum() };
        Self(Mixture((0..256).map(|b| Bump { share: probability(b), mean: value(b), variance: 0.0 }).collect()))
    }

    fn entropy(&self) -> f64 {
        self.0.0.iter().filter(|b| b.share > 0.0).map(|b| -b.share * b.share.log2()).sum()
    }

    /// Every term with the exact denoiser, the KL divergences in closed form, their expectations by integration over x_t.
    fn bound(&self, schedule: &Schedule, timesteps: usize, spread: Spread) -> Result<Bound, Error> {
        let bars = alpha_bars(schedule, timesteps)?;
        let beta = |t: usize| 1.0 - bars[t] / bars[t - 1];
        let tilde = |t: usize| (1.0 - bars[t - 1]) / (1.0 - bars[t]) * beta(t);
        let steps = (2..=timesteps).map(|t| {
            let variance = if spread == Spread::Small { tilde(t) } else { beta(t) };
            let gain = bars[t - 1].sqrt() * beta(t) / (1.0 - bars[t]);
            let ratio = tilde(t) / variance;
            let nats =
                0.5 * (ratio - 1.0 - ratio.ln()) + gain * gain * self.error(Blend::of(bars[t])) / (2.0 * variance);
            nats / std::f64::consts::LN_2
        });
        let end = Blend::of(bars[timesteps]);
        let kl = |b: &Bump| 0.5 * (end.sigma.powi(2) + (end.alpha * b.mean).powi(2) - 1.0 - 2.0 * end.sigma.ln());
        let last = self.0.0.iter().map(|b| b.share * kl(b)).sum::<f64>() / std::f64::consts::LN_2;
        // beta-tilde_1 = 0, so the decoder takes that of the next step, as DDPM does.
        let sd = tilde(2).sqrt();
        let first = self.average(Blend::of(bars[1]), 16.0, |guess, shares| {
            let bits = |(byte, share): (usize, &f64)| share * -mass(byte, guess, sd).max(1e-300).log2();
            shares.iter().enumerate().filter(|(_, s)| **s > 0.0).map(bits).sum()
        });
        Ok(Bound { last, steps: steps.collect(), first })
    }

    /// E[(x_0 - E[x_0 | x_t])^2].
    fn error(&self, at: Blend) -> f64 {
        self.average(at, 4.0, |guess, shares| {
            shares.iter().enumerate().map(|(byte, share)| share * (value(byte) - guess).powi(2)).sum()
        })
    }

    /// The expectation over x_t of `f(E[x_0 | x_t], p(x_0 | x_t))`, on a grid of `fineness` points per sigma.
    fn average(&self, at: Blend, fineness: f64, f: impl Fn(f64, &[f64]) -> f64) -> f64 {
        let (reach, step) = (at.alpha + 9.0 * at.sigma, at.sigma / fineness);
        let count = (2.0 * reach / step).ceil() as i64;
        let mut shares = vec![0.0; 256];
        let mut sum = 0.0;
        for i in 0..=count {
            let x = -reach + i as f64 * step;
            for (share, b) in shares.iter_mut().zip(&self.0.0) {
                let far = (x - at.alpha * b.mean) / at.sigma;
                *share = if far.abs() < 9.0 { b.share * (-0.5 * far * far).exp() } else { 0.0 };
            }
            let total: f64 = shares.iter().sum();
            if total > 0.0 {
                shares.iter_mut().for_each(|s| *s /= total);
                let guess = shares.iter().enumerate().map(|(byte, s)| s * value(byte)).sum();
                sum += total * f(guess, &shares);
            }
        }
        sum * step / (at.sigma * (2.0 * std::f64::consts::PI).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The buckets hold everything, and the bound lies above the entropy and falls with T.
    #[test]
    fn the_bound_bounds() {
        let all: f64 = (0..256).map(|b| mass(b, 0.97, 0.05)).sum();
        assert!((all - 1.0).abs() < 1e-12);
        let pixel = Pixel::new();
        let entropy = pixel.entropy();
        assert!((pixel.0.0.iter().map(|b| b.share).sum::<f64>() - 1.0).abs() < 1e-12);
        let mut before = f64::MAX;
        for timesteps in [5, 10, 20, 50] {
            let bound = pixel.bound(&Schedule::default(), timesteps, Spread::Small).unwrap();
            assert!(bound.steps.iter().all(|bits| *bits >= 0.0) && bound.last >= 0.0 && bound.first >= 0.0);
            assert!(bound.total() > entropy && bound.total() < before);
            before = bound.total();
        }
    }
}
