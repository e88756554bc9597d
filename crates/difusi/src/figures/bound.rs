//! The variational bound, DDPM (arXiv:2006.11239) eq. 5 and 13: the decoder's buckets, and every term with an exact denoiser, by
//! the functions of [`difusi_process::bound`].

use difusi_process::bound::{Chain, Decoder, normal_kl};
use difusi_process::{Level, ProcessError, Schedule, Variance};
use difusi_store::plot::{Axis, Chart, Figure, Legend, Mark, Series};

use super::toy::{Bump, Mixture, normal};
use super::{Drawn, curve, drawn, number, power, process};
use crate::Error;

/// Half the width of a bucket.
const HALF: f64 = 1.0 / 255.0;

/// The value of a byte in `[-1, 1]`.
fn value(byte: usize) -> f64 {
    2.0 * byte as f64 / 255.0 - 1.0
}

/// Probability of a byte under N(mean, sd^2).
fn mass(byte: usize, mean: f64, sd: f64) -> f64 {
    Decoder::Discretised.log_prob(value(byte), mean, 2.0 * sd.ln()).exp()
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
    let [low, high] = [byte as f64 - 0.5, if byte == 255 { ends[1] } else { byte as f64 + 0.5 }];
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
    let (whole, table) = against_steps(&pixel)?;
    let drawn = drawn(&Figure { columns: 2, panel_size: [480, 340], ..Figure::new(vec![each_step(&pixel)?, whole]) })?;
    Ok(Drawn { table: Some(table), ..drawn })
}

/// Each L_{t-1}, times T, so that runs of different lengths compare.
fn each_step(pixel: &Pixel) -> Result<Chart, Error> {
    let (x, y) = (Axis::linear("t / T").within(0.0, 1.0), Axis::log("T · Lₜ₋₁ in bits").within(1e-3, 200.0));
    let mut chart = Chart::new("What each step costs, cosine schedule", x, y);
    for (timesteps, mark) in [(1000, Mark::Line), (100, Mark::Line), (10, Mark::Beads)] {
        let (bound, count) = (pixel.bound(timesteps, Spread::Small)?, timesteps as f64);
        let points = bound.steps.iter().enumerate().map(|(i, bits)| [(i + 2) as f64 / count, bits * count]);
        chart = chart.with(Series::line(format!("T = {timesteps}"), points.collect()).marked(mark));
    }
    Ok(chart)
}

/// The whole bound for several T and three choices of variance, as a chart and as a table.
fn against_steps(pixel: &Pixel) -> Result<(Chart, String), Error> {
    let mut table = String::from(
        "| $T$ | $L_T$ | $\\sum L_{t-1}$ | $L_0$ | $L_\\text{vlb}$, $\\tilde\\beta_t$ | $\\beta_t$ | best | entropy |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let (counts, spreads) = ([5, 10, 20, 50, 100, 200, 500, 1000], [Spread::Small, Spread::Large, Spread::Best]);
    let mut totals = vec![Vec::new(); spreads.len()];
    for timesteps in counts {
        let mut bounds = Vec::new();
        for (spread, points) in spreads.iter().zip(&mut totals) {
            let bound = pixel.bound(timesteps, *spread)?;
            points.push([timesteps as f64, bound.total()]);
            bounds.push(bound);
        }
        let (steps, each) =
            (bounds[0].steps.iter().sum::<f64>(), bounds.iter().map(Bound::total).map(|v| number(v, 3)));
        let (last, each) = (power(bounds[0].last), each.collect::<Vec<_>>().join(" | "));
        let entropy = pixel.entropy();
        table += &format!("| {timesteps} | {last} | {steps:.3} | {:.3} | {each} | {entropy:.3} |\n", bounds[0].first);
    }
    let y = Axis::linear("bound in bits per pixel");
    let mut chart = Chart::new("The bound against the number of steps", Axis::log("T"), y);
    for (name, points) in ["variance β̃ₜ", "variance βₜ", "the best variance"].iter().zip(totals) {
        chart = chart.with(Series::line(*name, points).marked(Mark::Beads));
    }
    let entropy = vec![[5.0, pixel.entropy()], [1000.0, pixel.entropy()]];
    chart = chart.with(Series::line("entropy of the data", entropy).marked(Mark::Dashed).coloured([60, 60, 60]));
    Ok((chart, table))
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
    /// What makes each term least: `beta-tilde + a^2 E[(x_0 - E[x_0 | x_t])^2]` (Bao et al., arXiv:2201.06503, theorem 1).
    Best,
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

    /// Every term with the exact denoiser: divergences in closed form, their expectations by integration over x_t.
    fn bound(&self, timesteps: usize, spread: Spread) -> Result<Bound, Error> {
        let process = process(&Schedule::default(), timesteps)?;
        let levels: Vec<Level> = (0..timesteps).rev().map(|t| process.level(t as f64)).collect();
        let variance = if spread == Spread::Large { Variance::FixedLarge {} } else { Variance::FixedSmall {} };
        let chain = self.chain(Chain::new(&levels, variance)?, spread)?;
        let bits = |nats: f64| nats / std::f64::consts::LN_2;
        let step = |position: usize| {
            let jump = chain.jumps()[position];
            // The divergence is quadratic in the difference of means: the expectation needs its mean square only.
            let off = jump.posterior_mean().0 * self.error(jump.from).sqrt();
            bits(normal_kl(off, jump.posterior_variance().ln(), chain.range(position)[0]))
        };
        let end = chain.start();
        let prior = |b: &Bump| b.share * normal_kl(end.alpha * b.mean, 2.0 * end.sigma.ln(), 0.0);
        let log_variance = chain.range(0)[0];
        let first = if spread == Spread::Best { self.best_decoder(chain.jumps()[0].from) } else { log_variance };
        Ok(Bound {
            last: bits(self.0.0.iter().map(prior).sum()),
            steps: (1..chain.len()).map(step).collect(),
            first: bits(self.decoder(chain.jumps()[0].from, first)),
        })
    }

    /// The chain with the variances of `spread`.
    fn chain(&self, chain: Chain, spread: Spread) -> Result<Chain, ProcessError> {
        if spread != Spread::Best {
            return Ok(chain);
        }
        let best = |position: usize| {
            let jump = chain.jumps()[position];
            let known = if position == 0 { chain.range(0)[0].exp() } else { jump.posterior_variance() };
            (known + jump.posterior_mean().0.powi(2) * self.error(jump.from)).ln()
        };
        let values: Vec<f64> = (0..chain.len()).map(best).collect();
        chain.with_log_variances(&values)
    }

    /// L_0 in nats, with this logarithm of the decoder's variance.
    fn decoder(&self, at: Level, log_variance: f64) -> f64 {
        self.average(at, 8.0, |guess, shares| {
            let nats =
                |(byte, share): (usize, &f64)| -share * Decoder::Discretised.log_prob(value(byte), guess, log_variance);
            shares.iter().enumerate().filter(|(_, s)| **s > 0.0).map(nats).sum()
        })
    }

    /// The logarithm of the decoder's variance with the least L_0, by golden sections.
    fn best_decoder(&self, at: Level) -> f64 {
        let (mut low, mut high) = (-14.0, 0.0);
        while high - low > 0.01 {
            let [a, b] = [0.382, 0.618].map(|part| low + part * (high - low));
            (low, high) = if self.decoder(at, a) < self.decoder(at, b) { (low, b) } else { (a, high) };
        }
        (low + high) / 2.0
    }

    /// E[(x_0 - E[x_0 | x_t])^2].
    fn error(&self, at: Level) -> f64 {
        self.average(at, 4.0, |guess, shares| {
            shares.iter().enumerate().map(|(byte, share)| share * (value(byte) - guess).powi(2)).sum()
        })
    }

    /// The expectation over x_t of `f(E[x_0 | x_t], p(x_0 | x_t))`, on a grid of `fineness` points per sigma.
    fn average(&self, at: Level, fineness: f64, f: impl Fn(f64, &[f64]) -> f64) -> f64 {
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
            let bound = pixel.bound(timesteps, Spread::Small).unwrap();
            assert!(bound.steps.iter().all(|bits| *bits >= 0.0) && bound.last >= 0.0 && bound.first >= 0.0);
            assert!(bound.total() > entropy && bound.total() < before);
            let best = pixel.bound(timesteps, Spread::Best).unwrap().total();
            assert!(best > entropy && best < bound.total().min(pixel.bound(timesteps, Spread::Large).unwrap().total()));
            before = bound.total();
        }
    }
}
