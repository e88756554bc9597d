//! Pictures of the mathematics: schedules, the forward process on a picture, and everything `docs/mathematics.md` shows.
//!
//! Nothing here is a sketch: every curve is computed from the formula beside which the page shows it, on data whose densities are
//! known exactly ([`toy`]). Deliberately absent: networks, files.

mod bound;
mod forward;
mod grids;
mod kl;
mod noise;
mod objective;
mod paths;
mod plane;
mod posterior;
mod reverse;
mod schedule;
mod solvers;
mod toy;
mod trajectories;
mod weights;

pub use noise::{NoiseOptions, NoiseStrip, noise_strip};
pub use schedule::schedule_figure;

use difusi_process::{Process, Schedule};
use difusi_store::plot::Figure;
use difusi_store::{Panel, Picture};

use crate::Error;

/// One picture of `docs/mathematics.md`.
#[derive(Clone, Copy, Debug)]
pub struct Drawing {
    /// Its name, and that of its file without the ending.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    draw: fn() -> Result<Drawn, Error>,
}

/// What a drawing became.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The picture.
    pub picture: Picture,
    /// The numbers in it as a Markdown table, where the page shows them too.
    pub table: Option<String>,
}

impl Drawing {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 12] = [
        drawing(
            "forward",
            "the forward process on a drawn digit, and the best possible guess of where it came from",
            forward::strip,
        ),
        drawing("schedules", "alpha-bar and log-SNR of schedules, good and bad", objective::schedules),
        drawing("posterior", "q(x_{t-1} | x_t, x_0) as prior times likelihood, and its variance", posterior::figure),
        drawing("reverse-gaussian", "why a small beta makes the reverse step Gaussian", reverse::figure),
        drawing("kl", "what a KL divergence is", kl::figure),
        drawing("decoder", "the buckets of the discretised decoder", bound::decoder),
        drawing("kl-per-t", "the terms of the variational bound, with an exact denoiser", bound::terms),
        drawing("weights", "what each loss emphasises, against log-SNR", weights::figure),
        drawing("paths", "the reverse SDE and the probability-flow ODE through the same densities", paths::figure),
        drawing("trajectories", "eight network evaluations in the plane, beside the exact paths", trajectories::figure),
        drawing("grids", "which levels each grid visits", grids::figure),
        drawing(
            "solvers",
            "how far each solver ends from the exact path, against network evaluations",
            solvers::figure,
        ),
    ];

    /// Their names.
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut i = 0;
        while i < names.len() {
            names[i] = Self::ALL[i].name;
            i += 1;
        }
        names
    };

    /// Computes and draws it: up to some seconds.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn draw(&self) -> Result<Drawn, Error> {
        (self.draw)()
    }
}

const fn drawing(name: &'static str, about: &'static str, draw: fn() -> Result<Drawn, Error>) -> Drawing {
    Drawing { name, about, draw }
}

/// A figure without numbers to tell.
fn drawn(figure: &Figure) -> Result<Drawn, Error> {
    Ok(Drawn { picture: figure.draw()?, table: None })
}

/// Labelled pictures without numbers to tell.
fn panel(panel: &Panel) -> Result<Drawn, Error> {
    Ok(Drawn { picture: panel.draw()?, table: None })
}

/// The process of a schedule: the paper's step t has time `t - 1`.
fn process(schedule: &Schedule, timesteps: usize) -> Result<Process, Error> {
    Ok(schedule.process(timesteps)?)
}

/// `count` points of `f` over `[low, high]`, ends included.
fn curve([low, high]: [f64; 2], count: usize, f: impl Fn(f64) -> f64) -> Vec<[f64; 2]> {
    let last = count.max(2) - 1;
    let at = |i: usize| low + (high - low) * i as f64 / last as f64;
    (0..=last).map(|i| [at(i), f(at(i))]).collect()
}

/// A number with `decimals` decimals and a real minus.
fn number(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}").replace('-', "−")
}

/// A small number as `a.b·10⁻ⁿ`.
fn power(value: f64) -> String {
    let exponent = value.abs().log10().floor();
    let raised: String = format!("{:.0}", -exponent)
        .chars()
        .filter_map(|c| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(c.to_digit(10)? as usize))
        .collect();
    format!("{}·10⁻{raised}", number(value / 10f64.powf(exponent), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every drawing draws something, under a name of its own.
    #[test]
    fn drawings_draw() {
        for (i, drawing) in Drawing::ALL.iter().enumerate() {
            assert!(!Drawing::NAMES[..i].contains(&drawing.name), "{} twice", drawing.name);
            let picture = drawing.draw().unwrap().picture;
            let ink = picture.pixels().iter().filter(|v| **v < 128).count();
            assert!(ink > 2000 && picture.width() > 900, "{}", drawing.name);
        }
    }

    #[test]
    fn small_numbers_read_well() {
        assert_eq!([power(5.91e-4), power(0.012), power(3e-12)], ["5.9·10⁻⁴", "1.2·10⁻²", "3.0·10⁻¹²"]);
        assert_eq!(number(-0.25, 1), "−0.2");
    }
}
