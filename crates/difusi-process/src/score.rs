//! The score, `grad log q(x_t)`, and Langevin dynamics, which need nothing else.
//!
//! Tweedie's formula (Robbins 1956; Efron 2011): `E[x_0 | x_t] = (x_t + sigma^2 score) / alpha`, so that a denoiser is a score. Song &
//! Ermon (arXiv:1907.05600) algorithm 1 anneals the step with the noise; Song et al. (arXiv:2011.13456) algorithms 4 and 5 take it from a
//! signal-to-noise ratio. Deliberately absent: the sampling loop, which the solvers share.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    Denoised, Level, Prediction, ProcessError, ValueError,
    choice::choice,
    error::Checks,
    forward::{combine, require_same},
    solver::weighted,
};

/// The score at `x_t` whose x_0 is estimated as `x0`, each `[B, H, W, C]`: `(alpha x_0 - x_t) / sigma^2`. Not of the data, where
/// sigma is 0.
///
/// # Errors
/// Shapes that differ.
pub fn score(x_t: &Tensor<4>, x0: &Tensor<4>, level: Level) -> Result<Tensor<4>, ProcessError> {
    require_same(x_t, "x_0", x0)?;
    let variance = level.sigma * level.sigma;
    Ok(weighted(&[(level.alpha / variance, x0), (-1.0 / variance, x_t)]))
}

/// x_0 from the score, Tweedie's formula: `(x_t + sigma^2 score) / alpha`, each `[B, H, W, C]`. Not of pure noise, where alpha
/// is 0.
///
/// # Errors
/// Shapes that differ.
pub fn tweedie(x_t: &Tensor<4>, score: &Tensor<4>, level: Level) -> Result<Tensor<4>, ProcessError> {
    require_same(x_t, "the score", score)?;
    Ok(weighted(&[(1.0 / level.alpha, x_t), (level.sigma * level.sigma / level.alpha, score)]))
}

impl Denoised {
    /// The score that the thresholded x_0 stands for, `[B, H, W, C]`: see [`score`].
    ///
    /// # Errors
    /// An `x_t` of another shape.
    pub fn score(&self, x_t: &Tensor<4>, level: Level) -> Result<Tensor<4>, ProcessError> {
        score(x_t, &self.x0, level)
    }
}

impl Prediction {
    /// `(a, b)` with `score = a output + b x_t`: minus eps over sigma.
    pub fn score_factors(self, level: Level) -> (f64, f64) {
        let (a, b) = self.eps_factors(level);
        (-a / level.sigma, -b / level.sigma)
    }
}

/// One step of Langevin dynamics, `x + epsilon score + sqrt(2 epsilon) noise`, whose stationary distribution for small epsilon is the
/// one that the score belongs to. `x`, the score at it and standard normal `noise` are `[B, H, W, C]`; one epsilon per image.
///
/// # Errors
/// Shapes that differ, another number of epsilons than images.
pub fn langevin(x: Tensor<4>, score: Tensor<4>, noise: Tensor<4>, epsilons: &[f64]) -> Result<Tensor<4>, ProcessError> {
    require_same(&x, "the score", &score)?;
    require_same(&x, "the noise", &noise)?;
    let images = x.dims()[0];
    if epsilons.len() != images {
        let expected = format!("one for each of {images} images");
        return Err(ProcessError::Shape { what: "the list of step sizes", found: vec![epsilons.len()], expected });
    }
    let spread = epsilons.iter().map(|e| (2.0 * e).sqrt()).collect();
    Ok(x + combine((epsilons.to_vec(), score), (spread, noise)))
}

/// How far one step of Langevin dynamics goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepSize {
    /// `x + epsilon / 2 score + sqrt(epsilon) noise` at every level. Stable where epsilon is below 4 times the variance of x along
    /// its narrowest direction, sigma^2 at least.
    Fixed {
        /// Above 0. Default 2e-5.
        #[serde(default = "fixed_epsilon")]
        epsilon: f64,
    },
    /// The same with `epsilon = ratio sigma^2` (Song & Ermon, algorithm 1, where ratio is epsilon over the last sigma^2).
    Annealed {
        /// In (0, 4). Default 0.2, the paper's 2e-5 at its last sigma of 0.01.
        #[serde(default = "annealed_ratio")]
        ratio: f64,
    },
    /// `2 alpha_i (snr |noise| / |score|)^2` as epsilon of [`langevin`] (Song et al., algorithms 4 and 5); alpha_i is the factor of
    /// the signal's variance in the step to the next level, 1 in a VE process.
    Snr {
        /// Above 0. Default 0.16.
        #[serde(default = "default_snr")]
        snr: f64,
        /// Whose norms. Default `image`.
        #[serde(default)]
        norms: Norms,
    },
}

choice! { StepSize: Fixed = "fixed" false, Annealed = "annealed" false, Snr = "snr" false }

/// Norms of the noise and the score in [`StepSize::Snr`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norms {
    /// Each image's own, so that a picture does not depend on its batch.
    #[default]
    Image,
    /// Their means over the batch, as score_sde and diffusers have it.
    Batch,
}

fn fixed_epsilon() -> f64 {
    2e-5
}

fn annealed_ratio() -> f64 {
    0.2
}

pub(crate) fn default_snr() -> f64 {
    0.16
}

impl Default for StepSize {
    /// Annealed.
    fn default() -> Self {
        Self::Annealed { ratio: annealed_ratio() }
    }
}

impl StepSize {
    /// Everything wrong with the parameters; keys are relative to the step size.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        match self {
            Self::Fixed { epsilon } => {
                checks.require(*epsilon > 0.0 && epsilon.is_finite(), "epsilon", epsilon, "a number above 0");
            }
            Self::Annealed { ratio } => {
                checks.require(*ratio > 0.0 && *ratio < 4.0, "ratio", ratio, "a number in (0, 4)");
            }
            Self::Snr { snr, .. } => {
                checks.require(*snr > 0.0 && snr.is_finite(), "snr", snr, "a number above 0");
            }
        }
        checks.0
    }

    /// Epsilon of [`langevin`] for each image at a level of noise `sigma`, whose next step down keeps `signal` of the signal's
    /// variance. `score` and `noise` are `[B, H, W, C]`.
    pub(crate) fn epsilons(self, (sigma, signal): (f64, f64), score: &Tensor<4>, noise: &Tensor<4>) -> Vec<f64> {
        let images = score.dims()[0];
        match self {
            Self::Fixed { epsilon } => vec![epsilon / 2.0; images],
            Self::Annealed { ratio } => vec![ratio * sigma * sigma / 2.0; images],
            Self::Snr { snr, norms } => {
                let [score, noise] = [score, noise].map(|x| self::norms(x, norms));
                score.iter().zip(noise).map(|(s, z)| 2.0 * signal * (snr * z / s).powi(2)).collect()
            }
        }
    }
}

/// Euclidean norms of the images of `x` `[B, H, W, C]`, summed in one order in f64.
fn norms(x: &Tensor<4>, whose: Norms) -> Vec<f64> {
    let [b, h, w, c] = x.dims();
    let values: Vec<f64> = x.to_data().iter::<f64>().collect();
    let norm = |image: &[f64]| image.iter().map(|v| v * v).sum::<f64>().sqrt();
    let own: Vec<f64> = values.chunks(h * w * c).map(norm).collect();
    match whose {
        Norms::Image => own,
        Norms::Batch => vec![own.iter().sum::<f64>() / b as f64; b],
    }
}
