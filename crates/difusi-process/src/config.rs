//! The `[diffusion]` and `[sample]` tables of a config. Every key has a default; unknown keys and bad values are errors.

use difusi_core::Precision;
use serde::{Deserialize, Serialize};

use crate::{
    Diffusion, End, Grid, Loss, Prediction, ProcessError, Schedule, Solver, Threshold, ValueError, Variance, Weighting,
    error::{Checks, all_good},
};

/// What training fixes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionConfig {
    /// T, the number of steps, 1 to 1000000. Default 1000.
    pub timesteps: usize,
    /// How noise grows. Default cosine with s = 0.008.
    #[serde(with = "crate::choice")]
    pub schedule: Schedule,
    /// What the network outputs: `epsilon`, `x0`, `velocity`, `score`, `posterior_mean`, `flow`, `flow_to_data`, `edm` or
    /// `edm_velocity`. Default velocity.
    #[serde(with = "crate::choice")]
    pub prediction: Prediction,
    /// `l1`, `l2` or `huber`. Default l2.
    #[serde(with = "crate::choice")]
    pub loss: Loss,
    /// `simple`, `snr`, `min_snr` or `vlb`. Default simple.
    #[serde(with = "crate::choice")]
    pub weighting: Weighting,
    /// Noise of ancestral sampling: `fixed_small` or `fixed_large`. Default fixed_small.
    #[serde(with = "crate::choice")]
    pub variance: Variance,
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        Self {
            timesteps: 1000,
            schedule: Schedule::default(),
            prediction: Prediction::default(),
            loss: Loss::default(),
            weighting: Weighting::default(),
            variance: Variance::default(),
        }
    }
}

impl DiffusionConfig {
    /// Everything wrong, with keys that start with `diffusion.`.
    pub fn check(&self) -> Vec<ValueError> {
        let schedule = self.schedule.check(self.timesteps);
        let found = [schedule, self.prediction.check(), self.loss.check(), self.weighting.check()];
        found.concat().into_iter().map(|e| e.under("diffusion")).collect()
    }

    /// The process itself.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`DiffusionConfig::check`] finds.
    pub fn build(&self) -> Result<Diffusion, ProcessError> {
        all_good(self.check())?;
        Ok(Diffusion {
            process: self.schedule.process(self.timesteps)?,
            prediction: self.prediction,
            loss: self.loss,
            weighting: self.weighting,
            variance: self.variance,
        })
    }
}

/// What sampling chooses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// How sampling moves: see `sample.solver`. Default ddim with eta = 0.
    #[serde(with = "crate::choice")]
    pub solver: Solver,
    /// Which levels are visited: steps (`leading`, `linspace`, `trailing`, `even`, `custom`, `times`, `beta`) or values of sigma / alpha
    /// (`karras`, `exponential`, `flow_shift`, `sigmas`, `align_your_steps`). Default trailing.
    #[serde(with = "crate::choice")]
    pub grid: Grid,
    /// Where the last step ends: `"data"` or `"sigma_min"`. Default the data.
    #[serde(skip_serializing_if = "is_default")]
    pub end: End,
    /// How many steps are visited, 1 to T. A custom grid brings its own number. Default 50.
    pub steps: usize,
    /// What happens to predicted x_0: `none`, `static`, `clip` or `dynamic`. Default static.
    #[serde(with = "crate::choice")]
    pub threshold: Threshold,
    /// How many images, at least 1. Default 64.
    pub count: usize,
    /// Number format of the network's activations, `"f32"` or `"bf16"` (on the CPU only). Default: that of training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for SampleConfig {
    fn default() -> Self {
        let (solver, grid, threshold) = (Solver::default(), Grid::default(), Threshold::default());
        Self { solver, grid, end: End::Data, steps: 50, threshold, count: 64, precision: None }
    }
}

impl SampleConfig {
    /// Everything wrong for a process of `timesteps` steps, with keys that start with `sample.`.
    pub fn check(&self, timesteps: usize) -> Vec<ValueError> {
        let mut checks = Checks::default();
        checks.require(self.count >= 1, "count", self.count, "at least 1");
        let found = [self.solver.check(), self.grid.check(timesteps, self.steps), self.threshold.check(), checks.0];
        found.concat().into_iter().map(|e| e.under("sample")).collect()
    }
}
