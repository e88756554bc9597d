//! What a loss emphasises: its weight on the error of eps against log-SNR, and that times how often training asks there.
//!
//! Kingma & Gao (arXiv:2303.00848, section 3): of schedule, weighting and times only the product matters, as a function of log-SNR.

use difusi_process::{DiffusionConfig, Level, Prediction, Process, Schedule, Weighting};
use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};

use super::forward::linear;
use super::toy::normal;
use super::{Drawn, drawn};
use crate::Error;

/// Steps of the discrete processes.
const TIMESTEPS: usize = 1000;

/// Both panels.
pub(super) fn figure() -> Result<Drawn, Error> {
    drawn(&Figure { columns: 2, panel_size: [480, 380], ..Figure::new(vec![factors()?, emphasis()?]) })
}

/// ln SNR, and a number.
type Curve = Vec<[f64; 2]>;

fn factors() -> Result<Chart, Error> {
    let x = Axis::linear("ln SNR (noise on the left)").within(-10.0, 10.0);
    let mut chart = Chart::new("Weight on the squared error of ε", x, Axis::log("weight").within(1e-4, 1e5));
    let (epsilon, x0, velocity) = (Prediction::Epsilon {}, Prediction::X0 {}, Prediction::Velocity {});
    for (name, prediction, weighting, mark) in [
        ("simple on ε, snr", epsilon, Weighting::Simple {}, Mark::Line),
        ("simple on x₀", x0, Weighting::Simple {}, Mark::Line),
        ("simple on v", velocity, Weighting::Simple {}, Mark::Line),
        ("min_snr, γ = 5", epsilon, Weighting::MinSnr { gamma: 5.0 }, Mark::Dashed),
        ("p2, k = γ = 1", epsilon, Weighting::P2 { k: 1.0, gamma: 1.0 }, Mark::Dashed),
        ("vlb", epsilon, Weighting::Vlb {}, Mark::Line),
    ] {
        let curve = on_epsilon(Schedule::default(), prediction, weighting)?;
        chart = chart.with(Series::line(name, curve.into_iter().map(|[l, w, _]| [l, w]).collect()).marked(mark));
    }
    Ok(chart)
}

/// ln SNR, the weight on the error of eps, and the density of ln SNR under uniform times, for every step but the first.
fn on_epsilon(schedule: Schedule, prediction: Prediction, weighting: Weighting) -> Result<Vec<[f64; 3]>, Error> {
    let config =
        DiffusionConfig { timesteps: TIMESTEPS, schedule, prediction, weighting, ..DiffusionConfig::default() };
    let diffusion = config.build()?;
    let point = |t: usize| {
        let [before, level] = [t - 1, t].map(|t| diffusion.process.level(t as f64));
        // |output error|^2 = gain |x_0 error|^2 and |eps error|^2 = SNR |x_0 error|^2.
        let weight = diffusion.weight(level) * prediction.squared_gain(level) / level.snr();
        let width = 2.0 * (before.lambda() - level.lambda());
        [2.0 * level.lambda(), weight, 1.0 / (TIMESTEPS as f64 * width)]
    };
    Ok((1..TIMESTEPS).map(point).collect())
}

fn emphasis() -> Result<Chart, Error> {
    let x = Axis::linear("ln SNR (noise on the left)").within(-10.0, 10.0);
    let mut chart = Chart::new(
        "Weight times density: what training looks at",
        x,
        Axis::log("relative to ln SNR = 0").within(1e-3, 1e3),
    );
    for (name, schedule, prediction) in [
        ("linear, ε", linear(), Prediction::Epsilon {}),
        ("cosine, ε", Schedule::default(), Prediction::Epsilon {}),
        ("cosine, v", Schedule::default(), Prediction::Velocity {}),
    ] {
        let curve = on_epsilon(schedule, prediction, Weighting::Simple {})?;
        chart = chart.with(Series::line(name, scaled(curve.into_iter().map(|[l, w, p]| [l, w * p]).collect())));
    }
    let flow = Process::Flow { shift: 1.0, timesteps: TIMESTEPS };
    let edm = Prediction::Edm { sigma_data: 0.5 };
    let logit = |l: f64| normal(l / 2.0, 0.0, 1.0) / 2.0; // ln((1 - s) / s) = l / 2
    let log_normal = |l: f64| normal(-l / 2.0, -1.2, 1.44) / 2.0; // ln(sigma) = -l / 2
    let uniform = |l: f64| 1.0 / (8.0 * (l / 4.0).cosh().powi(2)); // s (1 - s) / 2
    for (name, prediction, density) in [
        ("EDM", edm, &log_normal as &dyn Fn(f64) -> f64),
        ("flow, uniform", Prediction::Flow {}, &uniform),
        ("flow, logit-normal", Prediction::Flow {}, &logit),
    ] {
        let point = |i: i32| {
            let l = f64::from(i) * 0.05;
            let ratio = (-l / 2.0).exp();
            let level = if prediction == edm { Level::new(0.0, 1.0, ratio) } else { flow.level_at_ratio(ratio) };
            [l, density(l) * prediction.squared_gain(level) / level.snr()]
        };
        chart = chart.with(Series::line(name, scaled((-200..=200).map(point).collect())).marked(Mark::Dashed));
    }
    Ok(chart)
}

/// Divided by the value where signal and noise are equal.
fn scaled(mut curve: Curve) -> Curve {
    let middle = curve.iter().min_by(|a, b| a[0].abs().total_cmp(&b[0].abs())).map_or(1.0, |p| p[1]);
    curve.iter_mut().for_each(|p| p[1] /= middle);
    curve
}
