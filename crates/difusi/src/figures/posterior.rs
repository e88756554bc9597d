//! q(x_{t-1} | x_t, x_0) in one dimension, DDPM (arXiv:2006.11239) eq. 6 and 7, and the two variances that reverse steps take.

use difusi_process::{Jump, Process, Schedule, Variance};
use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};

use super::toy::normal;
use super::{Drawn, curve, drawn, process};
use crate::Error;

/// The data, and what became of it.
const X0: f64 = 1.0;
const XT: f64 = -0.4;

/// Bayes' rule, the posterior as t falls, and beta-tilde against beta.
pub(super) fn figure() -> Result<Drawn, Error> {
    let coarse = process(&Schedule::default(), 10)?;
    let panels = vec![bayes(&coarse, 6), falling(&coarse), ratio()?, spread()?];
    drawn(&Figure { columns: 2, panel_size: [480, 330], ..Figure::new(panels) })
}

/// The reverse step at the paper's t.
fn step(process: &Process, t: usize) -> Jump {
    Jump { from: process.level(t as f64 - 1.0), to: process.level(t as f64 - 2.0) }
}

/// Mean and variance of q(x_{t-1} | x_t, x_0).
fn posterior(jump: Jump) -> (f64, f64) {
    let (of_x0, of_xt) = jump.posterior_mean();
    (of_x0 * X0 + of_xt * XT, jump.posterior_variance())
}

/// A surface below a line.
fn both(name: &str, points: Vec<[f64; 2]>) -> [Series; 2] {
    [Series::line("", points.clone()).marked(Mark::Area), Series::line(name, points)]
}

fn bayes(process: &Process, t: usize) -> Chart {
    let jump = step(process, t);
    let (range, scale) = ([-2.5, 2.5], jump.scale());
    let density = |(mean, variance): (f64, f64)| curve(range, 500, |x| normal(x, mean, variance));
    let x = Axis::linear("xₜ₋₁").within(range[0], range[1]);
    let mut chart = Chart::new(format!("Bayes' rule at t = {t} of 10"), x, Axis::linear("density").within(0.0, 1.3));
    let prior = density((jump.to.alpha * X0, jump.to.sigma.powi(2)));
    let likelihood = density((XT / scale, jump.beta() / scale.powi(2)));
    chart.series.extend(both("q(xₜ₋₁ | x₀): where the data leads", prior));
    chart.series.extend(both("q(xₜ | xₜ₋₁), scaled: where xₜ may come from", likelihood));
    chart.series.extend(both("q(xₜ₋₁ | xₜ, x₀): their product", density(posterior(jump))));
    chart
}

fn falling(process: &Process) -> Chart {
    let (x, y) = (Axis::linear("xₜ₋₁").within(-1.6, 1.6), Axis::linear("density").within(0.0, 3.6));
    let mut chart = Chart::new("The same x₀ and xₜ at other t", x, y);
    for t in [10, 8, 6, 4, 2] {
        let (mean, variance) = posterior(step(process, t));
        chart.series.extend(both(&format!("t = {t}"), curve([-1.6, 1.6], 500, |x| normal(x, mean, variance))));
    }
    for (at, name) in [(X0, "x₀"), (XT, "xₜ")] {
        let line = Series::line("", vec![[at, 0.0], [at, 3.3]]).marked(Mark::Dashed).coloured([120, 120, 120]);
        chart = chart.with(line).noted([at, 3.45], name);
    }
    chart
}

fn ratio() -> Result<Chart, Error> {
    let (x, y) = (Axis::log("t / T"), Axis::linear("β̃ₜ / βₜ").within(0.0, 1.6));
    let mut chart = Chart::new("Both choices of variance agree but for the first steps", x, y);
    for timesteps in [10, 100, 1000, 10_000] {
        let process = process(&Schedule::default(), timesteps)?;
        let point = |t: usize| {
            let jump = step(&process, t);
            [t as f64 / timesteps as f64, jump.posterior_variance() / jump.beta()]
        };
        chart = chart.with(Series::line(format!("T = {timesteps}"), (1..=timesteps).map(point).collect()));
    }
    Ok(chart)
}

fn spread() -> Result<Chart, Error> {
    let (timesteps, process) = (1000, process(&Schedule::default(), 1000)?);
    let mut chart = Chart::new("Their standard deviations, T = 1000, cosine", Axis::linear("t"), Axis::log("σₜ"));
    let choices = [
        ("√βₜ: fixed_large", Variance::FixedLarge {}, Mark::Line),
        ("√β̃ₜ: fixed_small", Variance::FixedSmall {}, Mark::Dashed),
    ];
    for (name, variance, mark) in choices {
        let points = (2..=timesteps).map(|t| [t as f64, variance.of(step(&process, t)).sqrt()]);
        chart = chart.with(Series::line(name, points.collect()).marked(mark));
    }
    Ok(chart)
}
