//! Why the reverse step is Gaussian where beta is small: q(x_{t-1} | x_t) of known data, exactly.

use difusi_store::plot::{Axis, Chart, Figure, Legend, Mark, Series};

use super::toy::{Mixture, divergence_at, integral, normal, preserving};
use super::{Drawn, curve, drawn, number, power};
use crate::Error;

/// For data with two bumps and four sizes of beta, against the Gaussian of the same mean and variance.
pub(super) fn figure() -> Result<Drawn, Error> {
    let panels = [0.9, 0.5, 0.1, 0.01].map(panel).to_vec();
    drawn(&Figure { columns: 2, panel_size: [480, 300], legend: Legend::Shared, ..Figure::new(panels) })
}

fn panel(beta: f64) -> Chart {
    let before = Mixture::new(&[(0.5, -1.0, 0.3), (0.5, 1.0, 0.3)]);
    let (at, range) = (preserving(1.0 - beta), [-2.2, 2.2]);
    let exact = before.origin(0.25 * at.alpha, at);
    let fit = |x: f64| normal(x, exact.mean(), exact.variance());
    let gap = integral([-8.0, 8.0], 4000, |x| divergence_at(exact.density(x), fit(x)));
    let nats = if gap < 1e-2 { power(gap) } else { number(gap, 3) };
    let (data, points) = (curve(range, 400, |x| before.density(x)), curve(range, 700, |x| exact.density(x)));
    Chart::new(
        format!("β = {beta}: KL(exact ∥ Gaussian) = {nats} nats"),
        Axis::linear("xₜ₋₁").within(range[0], range[1]),
        Axis::linear("density"),
    )
    .with(Series::line("", data.clone()).marked(Mark::Area).coloured([120, 120, 120]))
    .with(Series::line("q(xₜ₋₁), two bumps", data).coloured([150, 150, 150]))
    .with(Series::line("", points.clone()).marked(Mark::Area))
    .with(Series::line("q(xₜ₋₁ | xₜ), exact", points))
    .with(Series::line("Gaussian, same mean and variance", curve(range, 400, fit)).marked(Mark::Dashed))
}
