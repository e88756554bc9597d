//! The `[diffusion]` and `[sample]` tables of a config. Every key has a default; unknown keys and bad values are errors.

use difusi_core::Precision;
use serde::{Deserialize, Serialize};

use crate::{
    Diffusion, End, Grid, Guidance, Loss, Prediction, Process, ProcessError, Schedule, Solver, Threshold,
    TimeDistribution, ValueError, Variance, Weighting,
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
    /// `l1`, `l2`, `huber`, `hybrid` or `vlb`. Default l2.
    #[serde(with = "crate::choice")]
    pub loss: Loss,
    /// `simple`, `snr`, `min_snr`, `p2`, `vlb` or `posterior_mean`. Default simple.
    #[serde(with = "crate::choice")]
    pub weighting: Weighting,
    /// Which times are trained: `uniform`, `stratified`, `loss_second_moment`, `log_normal` or `logit_normal`. Default uniform.
    #[serde(with = "crate::choice")]
    pub times: TimeDistribution,
    /// Strength of the noise that a whole channel of an image has in common, 0 to 10: 0.1 lets a model draw very dark and very bright
    /// pictures. Default 0.
    pub offset_noise: f64,
    /// Bend the schedule so that the last step is pure noise (arXiv:2305.08891). Not with `epsilon`. Default false.
    pub zero_terminal_snr: bool,
    /// What the network is told of each image besides the time: `"none"`, its `"label"`, or `"tokens"` (through the library only: no data
    /// set here has them). Default none.
    #[serde(skip_serializing_if = "is_default")]
    pub cond: CondKind,
    /// Share of the images whose condition is dropped in training, so that the network learns the null condition that guidance needs,
    /// in [0, 1]. Default 0.1.
    #[serde(skip_serializing_if = "is_usual_dropout")]
    pub cond_dropout: f64,
    /// Noise of ancestral sampling and of the bound: `fixed_small`, `fixed_large` or `learned_range`. Default fixed_small.
    #[serde(with = "crate::choice")]
    pub variance: Variance,
}

/// What a network is told of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CondKind {
    /// Nothing.
    #[default]
    None,
    /// The class of the image.
    Label,
    /// A sequence of tokens that goes with the image, alone or beside a class.
    Tokens,
}

/// Ho & Salimans (arXiv:2207.12598), table 1.
const COND_DROPOUT: f64 = 0.1;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_usual_dropout(value: &f64) -> bool {
    *value == COND_DROPOUT
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        Self {
            timesteps: 1000,
            schedule: Schedule::default(),
            prediction: Prediction::default(),
            loss: Loss::default(),
            weighting: Weighting::default(),
            times: TimeDistribution::default(),
            offset_noise: 0.0,
            zero_terminal_snr: false,
            cond: CondKind::None,
            cond_dropout: COND_DROPOUT,
            variance: Variance::default(),
        }
    }
}

impl DiffusionConfig {
    /// Everything wrong, with keys that start with `diffusion.`.
    pub fn check(&self) -> Vec<ValueError> {
        let schedule = self.schedule.check(self.timesteps);
        let parts = [self.prediction.check(), self.loss.check(), self.weighting.check(), self.times.check()];
        let mut checks = Checks::default();
        let strength = self.offset_noise;
        checks.require((0.0..=10.0).contains(&strength), "offset_noise", strength, "a number in [0, 10]");
        let dropout = self.cond_dropout;
        checks.require((0.0..=1.0).contains(&dropout), "cond_dropout", dropout, "a number in [0, 1]");
        let found = [schedule, parts.concat(), checks.0, self.check_pairs()];
        found.concat().into_iter().map(|e| e.under("diffusion")).collect()
    }

    /// The process itself.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`DiffusionConfig::check`] finds.
    pub fn build(&self) -> Result<Diffusion, ProcessError> {
        all_good(self.check())?;
        let process = match self.schedule.process(self.timesteps)? {
            Process::Discrete(tables) if self.zero_terminal_snr => Process::Discrete(tables.zero_terminal_snr()),
            process => process,
        };
        Ok(Diffusion {
            process,
            prediction: self.prediction,
            loss: self.loss,
            weighting: self.weighting,
            times: self.times,
            offset_noise: self.offset_noise,
            cond: self.cond,
            cond_dropout: self.cond_dropout,
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
    /// How a model with a condition is led to it: `none`, `cfg` or `cfg_pp`. Default none.
    #[serde(with = "crate::choice", skip_serializing_if = "is_default")]
    pub guidance: Guidance,
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
        let guidance = Guidance::default();
        Self { solver, grid, end: End::Data, steps: 50, guidance, threshold, count: 64, precision: None }
    }
}

impl SampleConfig {
    /// Everything wrong for a process of `timesteps` steps, with keys that start with `sample.`.
    pub fn check(&self, timesteps: usize) -> Vec<ValueError> {
        let mut checks = Checks::default();
        checks.require(self.count >= 1, "count", self.count, "at least 1");
        let parts = [self.solver.check(), self.grid.check(timesteps, self.steps), self.guidance.check(self.solver)];
        let found = [parts.concat(), self.threshold.check(), checks.0];
        found.concat().into_iter().map(|e| e.under("sample")).collect()
    }
}
