//! What a Kullback-Leibler divergence is: an integral with a sign at every place, and not the same both ways.

use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};

use super::toy::{Mixture, divergence_at, integral, normal};
use super::{Drawn, curve, drawn, number};
use crate::Error;

/// Where everything is integrated.
const WIDE: [f64; 2] = [-12.0, 12.0];

/// Two densities, the integrand of either direction, and the Gaussian that either direction likes best.
pub(super) fn figure() -> Result<Drawn, Error> {
    let (p, q) = (|x: f64| normal(x, 0.0, 1.0), |x: f64| normal(x, 1.0, 0.36));
    let range = [-3.5, 3.5];
    let mut densities =
        Chart::new("Two densities", Axis::linear("x").within(range[0], range[1]), Axis::linear("density"));
    for (name, points) in [("p = N(0, 1)", curve(range, 500, p)), ("q = N(1, 0.6²)", curve(range, 500, q))] {
        densities =
            densities.with(Series::line("", points.clone()).marked(Mark::Area)).with(Series::line(name, points));
    }
    let there = integrand("KL(p ∥ q)", "p ln(p / q)", p, q);
    let back = integrand("KL(q ∥ p)", "q ln(q / p)", q, p);
    drawn(&Figure { columns: 2, panel_size: [480, 320], ..Figure::new(vec![densities, there, back, fits()]) })
}

/// The integrand `p ln(p / q)` with what it adds and what it takes away.
fn integrand(name: &str, formula: &str, p: impl Fn(f64) -> f64, q: impl Fn(f64) -> f64) -> Chart {
    let at = |x: f64| divergence_at(p(x), q(x));
    let (plus, minus) = (integral(WIDE, 6000, |x| at(x).max(0.0)), integral(WIDE, 6000, |x| at(x).min(0.0)));
    let total = integral(WIDE, 6000, at);
    let title = format!("{name} = {} − {} = {} nats", number(plus, 3), number(-minus, 3), number(total, 3));
    let range = [-3.5, 3.5];
    Chart::new(title, Axis::linear("x").within(range[0], range[1]), Axis::linear(formula))
        .with(Series::line("adds", curve(range, 700, |x| at(x).max(0.0))).marked(Mark::Area).coloured([44, 140, 60]))
        .with(
            Series::line("takes away", curve(range, 700, |x| at(x).min(0.0)))
                .marked(Mark::Area)
                .coloured([202, 32, 48]),
        )
        .with(Series::line(formula, curve(range, 700, at)).coloured([60, 60, 60]))
}

/// Two bumps, and the one Gaussian nearest to them either way.
fn fits() -> Chart {
    let p = Mixture::new(&[(0.6, -1.2, 0.5), (0.4, 1.5, 0.4)]);
    let (mean, variance) = (p.mean(), p.variance()); // what minimises KL(p || q) among Gaussians
    let (m, v) = seek(&p);
    let range = [-4.0, 4.0];
    let points = curve(range, 500, |x| p.density(x));
    Chart::new(
        "The Gaussian q nearest to p, either way",
        Axis::linear("x").within(range[0], range[1]),
        Axis::linear("density").within(0.0, 0.95),
    )
    .with(Series::line("", points.clone()).marked(Mark::Area))
    .with(Series::line("p, two bumps", points))
    .with(Series::line("least KL(p ∥ q): covers both", curve(range, 400, |x| normal(x, mean, variance))))
    .with(Series::line("least KL(q ∥ p): seeks one", curve(range, 400, |x| normal(x, m, v))))
}

/// Mean and variance of the Gaussian q with the least KL(q || p), by ever finer search around the best so far.
fn seek(p: &Mixture) -> (f64, f64) {
    let cost = |m: f64, sd: f64| integral([-8.0, 8.0], 800, |x| divergence_at(normal(x, m, sd * sd), p.density(x)));
    let (mut best, mut reach) = ((-1.0, 0.6), 0.4);
    while reach > 1e-4 {
        let offsets = || (-2..=2).map(|i| f64::from(i) * reach / 2.0);
        let around = offsets().flat_map(|a| offsets().map(move |b| (best.0 + a, (best.1 + b).max(0.05))));
        best = around.min_by(|a, b| cost(a.0, a.1).total_cmp(&cost(b.0, b.1))).unwrap_or(best);
        reach *= 0.5;
    }
    (best.0, best.1 * best.1)
}
