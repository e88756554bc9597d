//! What training fixes: schedules and weightings over log-SNR.

use difusi_process::{Level, Schedule};
use difusi_store::plot::{Axis, Chart, Figure, Legend, Mark, Series};

use super::forward::linear;
use super::{Drawn, drawn, process};
use crate::Error;

/// alpha-bar and log-SNR of schedules, two of them as they should not be.
pub(super) fn schedules() -> Result<Drawn, Error> {
    let timesteps = 1000;
    let all = [
        ("linear, 1e-4 to 0.02", linear(), Mark::Line),
        ("cosine", Schedule::default(), Mark::Line),
        ("sigmoid", Schedule::Sigmoid { start: -3.0, end: 3.0, tau: 1.0 }, Mark::Line),
        (
            "scaled linear (Stable Diffusion)",
            Schedule::ScaledLinear { beta_start: 0.00085, beta_end: 0.012 },
            Mark::Line,
        ),
        (
            "linear to 0.2: the misprint",
            Schedule::Linear { beta_start: 1e-4, beta_end: 0.2, rescale: false },
            Mark::Dashed,
        ),
        (
            "geometric, 1e-4 to 0.02: ends at 0.023",
            Schedule::Geometric { beta_start: 1e-4, beta_end: 0.02 },
            Mark::Dashed,
        ),
    ];
    let mut bar =
        Chart::new("α\u{304}ₜ: the share of signal in the variance", Axis::linear("t"), Axis::linear("α\u{304}ₜ"));
    let mut snr = Chart::new(
        "ln SNR: every schedule falls, each in its own time",
        Axis::linear("t"),
        Axis::linear("ln SNR").within(-16.0, 12.0),
    );
    for (name, schedule, mark) in all {
        let process = process(&schedule, timesteps)?;
        let points = |f: fn(Level) -> f64| {
            (1..=timesteps).map(|t| [t as f64, f(process.level(t as f64 - 1.0))]).collect::<Vec<_>>()
        };
        bar = bar.with(Series::line(name, points(|at| at.alpha.powi(2))).marked(mark));
        snr = snr.with(Series::line(name, points(|at| at.snr().ln())).marked(mark));
    }
    drawn(&Figure { columns: 2, panel_size: [480, 330], legend: Legend::Shared, ..Figure::new(vec![bar, snr]) })
}
