//! The forward process on a drawn digit: DDPM (arXiv:2006.11239) eq. 4, and the best guess of where each x_t came from.

use difusi_core::{Draw, ImageSize, Noise};
use difusi_data::{Digits, DigitsConfig};
use difusi_process::{Level, Schedule};
use difusi_store::{Panel, PanelRow, Picture};

use super::{Drawn, panel, process};
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
        let process = process(&schedule, TIMESTEPS)?;
        let (mut noised, mut guesses) = (Vec::new(), Vec::new());
        for &t in &steps {
            let at = process.level(t as f64 - 1.0);
            let blend = |(x, e): (&f32, &f32)| at.alpha * f64::from(*x) + at.sigma * f64::from(*e);
            let x_t: Vec<f64> = data[3].iter().zip(&eps).map(blend).collect();
            noised.push(picture(x_t.iter().copied())?);
            guesses.push(picture(best_guess(&data, &x_t, at).into_iter())?);
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
fn best_guess(data: &[Vec<f32>], x_t: &[f64], at: Level) -> Vec<f64> {
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
