//! What diffusers is told besides the config: the arguments of `set_timesteps` and of `step`.

use crate::edit::Resampling;

/// Which steps a run visits.
#[derive(Clone, Debug, PartialEq)]
pub enum Visits {
    /// This many, spread as the config says.
    Count(usize),
    /// These times, falling; the sigmas follow from them. Of DDPM, LCM, Euler, Heun, DPM-Solver and flow matching.
    Times(Vec<f64>),
    /// These sigmas, falling. Euler's list ends with the last sigma; those of UniPC and flow matching do not.
    Sigmas(Vec<f64>),
}

impl Visits {
    /// How many evaluations are asked for; Euler's sigmas hold one more.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Times(list) | Self::Sigmas(list) => list.len(),
        }
    }
}

/// One run of a scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The visited steps.
    pub visits: Visits,
    /// The shift of dynamic shifting, which pipelines compute from the picture's size ([`Request::mu_of`]). Default none.
    pub mu: Option<f64>,
    /// LCM's share of the distillation's steps, in (0, 1]. Default 1.
    pub strength: f64,
    /// DDIM's noise, in [0, 1]. Default 0. RePaint has its own in its config.
    pub eta: f64,
    /// Whether DDIM derives eps from the clipped x_0 (diffusers' `use_clipped_model_output`). Default false.
    pub use_clipped_model_output: bool,
    /// How far and how often RePaint goes up again. Default 10 and 10.
    pub resampling: Resampling,
}

impl Request {
    /// `count` steps and the defaults.
    pub fn steps(count: usize) -> Self {
        Self::of(Visits::Count(count))
    }

    /// These visits and the defaults.
    pub fn of(visits: Visits) -> Self {
        Self {
            visits,
            mu: None,
            strength: 1.0,
            eta: 0.0,
            use_clipped_model_output: false,
            resampling: Resampling::default(),
        }
    }

    /// The shift that pipelines of flow models compute for a picture of `tokens` patches: a straight line through the config's
    /// `(base_image_seq_len, base_shift)` and `(max_image_seq_len, max_shift)`.
    pub fn mu_of(settings: &super::Settings, tokens: usize) -> f64 {
        let (low, high) = (settings.base_image_seq_len as f64, settings.max_image_seq_len as f64);
        let slope = (settings.max_shift - settings.base_shift) / (high - low);
        settings.base_shift + slope * (tokens as f64 - low)
    }
}
