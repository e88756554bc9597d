//! The forward process on a drawn digit, its posterior, and why its reversal is Gaussian where beta is small: DDPM
//! (arXiv:2006.11239) eq. 2 to 7.

use difusi_core::{Draw, ImageSize, Noise};
use difusi_data::{Digits, DigitsConfig};
use difusi_process::Schedule;
use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};
use difusi_store::{Panel, PanelRow, Picture};

use super::toy::{Blend, Mixture, divergence_at, integral, normal};
use super::{Drawn, alpha_bars, curve, drawn, number, panel, power};
use crate::Error;

/// Steps of the process in the strip.
const TIMESTEPS: usize = 1000;

/// Digits that stand for the whole data set.
const DIGITS: u64 = 2000;

/// A digit under two schedules, and below each picture the mean of x_0 given x_t, exact for a data set of [`DIGITS`] drawn digits
/// (the one shown among them): E[x_0 | x_t] = sum_i w_i x_i, w_i proportional to exp(-|x_t - alpha x_i|^2 / (2 sigma^2)).
pub(super) fn strip() -> Result<Drawn, Error> {
    let digits = Digits::new(&DigitsConfig::default());
    let data: Vec<Vec<f32>> = (0..DIGITS).map(|i| digits.draw(i).0).collect();
    let steps: Vec<usize> = (0..=TIMESTEPS).step_by(100).collect();
    let eps = Noise::new(1).normal(Draw::Target, 0..1, 0, data[0].len());
    let mut rows = Vec::new();
    for (name, schedule) in [("linear", linear()), ("cosine", Schedule::default())] {
        let bars = alpha_bars(&schedule, TIMESTEPS)?;
        let (mut noised, mut guesses) = (Vec::new(), Vec::new());
        for &t in &steps {
            let Blend { alpha, sigma } = Blend::of(bars[t]);
            let blend = |(x, e): (&f32, &f32)| alpha * f64::from(*x) + sigma * f64::from(*e);
            let x_t: Vec<f64> = data[3].iter().zip(&eps).map(blend).collect();
            noised.push(picture(x_t.iter().copied())?);
            guesses.push(picture(best_guess(&data, &x_t, Blend { alpha, sigma }).into_iter())?);
        }
        rows.push(PanelRow { label: format!("xₜ, {name}"), pictures: noised });
        rows.push(PanelRow { label: "E[x₀ | xₜ]".into(), pictures: guesses });
    }
    let columns = steps.iter().map(|t| format!("t = {t}")).collect();
    panel(&Panel { columns, ..Panel::new(rows) })
}

/// DDPM's own schedule.
pub(super) fn linear() -> Schedule {
    Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false }
}

fn picture(values: impl Iterator<Item = f64>) -> Result<Picture, Error> {
    let values: Vec<f32> = values.map(|v| v as f32).collect();
    Ok(Picture::from_unit(ImageSize::square(28), 1, &values)?.upscaled(3))
}

/// The mean of the data points, each weighted by how likely it became `x_t`.
fn best_guess(data: &[Vec<f32>], x_t: &[f64], at: Blend) -> Vec<f64> {
    let far = |x: &Vec<f32>| x.iter().zip(x_t).map(|(x, x_t)| (x_t - at.alpha * f64::from(*x)).powi(2)).sum::<f64>();
    let distances: Vec<f64> = data.iter().map(far).collect();
    let least = distances.iter().copied().fold(f64::MAX, f64::min);
    // At t = 0 there is no noise: the nearest point, and no other.
    let weight = |d: &f64| (-(d - least) / (2.0 * at.sigma * at.sigma).max(1e-12)).exp();
    let weights: Vec<f64> = distances.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let mut mean = vec![0.0; x_t.len()];
    for (weight, x) in weights.iter().zip(data).filter(|(w, _)| **w > 0.0) {
        mean.iter_mut().zip(x).for_each(|(m, x)| *m += weight / total * f64::from(*x));
    }
    mean
}

/// Bayes' rule in one dimension, the posterior as t falls, and beta-tilde against beta.
pub(super) fn posterior() -> Result<Drawn, Error> {
    let (steps, x0, x_t) = (10, 1.0, -0.4);
    let bars = alpha_bars(&Schedule::default(), steps)?;
    let range = [-2.5, 2.5];
    let density = |mean: f64, variance: f64| curve(range, 500, |x| normal(x, mean, variance));
    let posterior = |t: usize| {
        let (before, after) = (bars[t - 1], bars[t]);
        let (alpha, beta) = (after / before, 1.0 - after / before);
        let mean = (before.sqrt() * beta * x0 + alpha.sqrt() * (1.0 - before) * x_t) / (1.0 - after);
        (mean, (1.0 - before) / (1.0 - after) * beta)
    };
    let t = 6;
    let alpha = bars[t] / bars[t - 1];
    let (mean, variance) = posterior(t);
    let both = |name: &str, points: Vec<[f64; 2]>| {
        [Series::line("", points.clone()).marked(Mark::Area), Series::line(name, points)]
    };
    let axis = |label: &str| Axis::linear(label);
    let mut bayes = Chart::new(
        format!("Bayes' rule at t = {t} of {steps}"),
        axis("xₜ₋₁").within(range[0], range[1]),
        axis("density"),
    );
    bayes
        .series
        .extend(both("q(xₜ₋₁ | x₀): where the data leads", density(bars[t - 1].sqrt() * x0, 1.0 - bars[t - 1])));
    bayes.series.extend(both(
        "q(xₜ | xₜ₋₁), scaled: where xₜ may come from",
        density(x_t / alpha.sqrt(), (1.0 - alpha) / alpha),
    ));
    bayes.series.extend(both("q(xₜ₋₁ | xₜ, x₀): their product", density(mean, variance)));
    bayes.y = bayes.y.within(0.0, 1.3);
    let mut falling =
        Chart::new("The same x₀ and xₜ at other t", axis("xₜ₋₁").within(-1.6, 1.6), axis("density").within(0.0, 3.6));
    for t in [10, 8, 6, 4, 2] {
        let (mean, variance) = posterior(t);
        falling.series.extend(both(&format!("t = {t}"), curve([-1.6, 1.6], 500, |x| normal(x, mean, variance))));
    }
    for (at, name) in [(x0, "x₀"), (x_t, "xₜ")] {
        let line = Series::line("", vec![[at, 0.0], [at, 3.3]]).marked(Mark::Dashed).coloured([120, 120, 120]);
        falling = falling.with(line).noted([at, 3.45], name);
    }
    let mut ratio = Chart::new(
        "Both choices of variance agree but for the first steps",
        Axis::log("t / T"),
        axis("β̃ₜ / βₜ").within(0.0, 1.6),
    );
    for timesteps in [10, 100, 1000, 10_000] {
        let bars = alpha_bars(&Schedule::default(), timesteps)?;
        let point = |t: usize| [t as f64 / timesteps as f64, (1.0 - bars[t - 1]) / (1.0 - bars[t])];
        ratio = ratio.with(Series::line(format!("T = {timesteps}"), (1..=timesteps).map(point).collect()));
    }
    let mut spread = Chart::new("Their standard deviations, T = 1000, cosine", Axis::linear("t"), Axis::log("σₜ"));
    let bars = alpha_bars(&Schedule::default(), TIMESTEPS)?;
    let beta = |t: usize| 1.0 - bars[t] / bars[t - 1];
    let small = |t: usize| ((1.0 - bars[t - 1]) / (1.0 - bars[t]) * beta(t)).sqrt();
    spread =
        spread.with(Series::line("√βₜ: fixed_large", (1..=TIMESTEPS).map(|t| [t as f64, beta(t).sqrt()]).collect()));
    spread = spread.with(
        Series::line("√β̃ₜ: fixed_small", (1..=TIMESTEPS).map(|t| [t as f64, small(t)]).collect()).marked(Mark::Dashed),
    );
    drawn(&Figure { columns: 2, panel_size: [480, 330], ..Figure::new(vec![bayes, falling, ratio, spread]) })
}

/// q(x_{t-1} | x_t) for data with two bumps, exactly, against the Gaussian with its mean and variance.
pub(super) fn reverse() -> Result<Drawn, Error> {
    let before = Mixture::new(&[(0.5, -1.0, 0.3), (0.5, 1.0, 0.3)]);
    let range = [-2.2, 2.2];
    let mut panels = Vec::new();
    for beta in [0.9, 0.5, 0.1, 0.01] {
        let at = Blend::of(1.0 - beta);
        let x_t = 0.25 * at.alpha;
        let exact = before.origin(x_t, at);
        let (mean, variance) = (exact.mean(), exact.variance());
        let gap = integral([-8.0, 8.0], 4000, |x| divergence_at(exact.density(x), normal(x, mean, variance)));
        let points = curve(range, 700, |x| exact.density(x));
        let nats = if gap < 1e-2 { power(gap) } else { number(gap, 3) };
        let chart = Chart::new(
            format!("β = {beta}: KL(exact ∥ Gaussian) = {nats} nats"),
            Axis::linear("xₜ₋₁").within(range[0], range[1]),
            Axis::linear("density"),
        )
        .with(Series::line("", curve(range, 400, |x| before.density(x))).marked(Mark::Area).coloured([120, 120, 120]))
        .with(Series::line("q(xₜ₋₁), two bumps", curve(range, 400, |x| before.density(x))).coloured([150, 150, 150]))
        .with(Series::line("", points.clone()).marked(Mark::Area))
        .with(Series::line("q(xₜ₋₁ | xₜ), exact", points))
        .with(
            Series::line("Gaussian, same mean and variance", curve(range, 400, |x| normal(x, mean, variance)))
                .marked(Mark::Dashed),
        );
        panels.push(chart);
    }
    let legend = difusi_store::plot::Legend::Shared;
    drawn(&Figure { columns: 2, panel_size: [480, 300], legend, ..Figure::new(panels) })
}
