//! What training fixes, as one value; the loss it minimises is in `training`.

use crate::{
    CondKind, Level, Loss, Plan, Prediction, Process, ProcessError, SampleConfig, Solver, TimeDistribution, Variance,
    Weighting,
};

/// A trained process without its network. Built by [`crate::DiffusionConfig::build`].
#[derive(Clone, Debug, PartialEq)]
pub struct Diffusion {
    /// Signal and noise of every time.
    pub process: Process,
    /// What the network outputs.
    pub prediction: Prediction,
    /// How far its output is from the target.
    pub loss: Loss,
    /// How much each time counts.
    pub weighting: Weighting,
    /// Which times are trained.
    pub times: TimeDistribution,
    /// Deviation of the noise that a whole channel of an image has in common, 0 for none.
    pub offset_noise: f64,
    /// What the network is told of each image.
    pub cond: CondKind,
    /// Share of training images whose condition is dropped.
    pub cond_dropout: f64,
    /// Variance of ancestral sampling and of the bound.
    pub variance: Variance,
}

impl Diffusion {
    /// The steps of a sampling run.
    ///
    /// # Errors
    /// Values of `sample` that do not fit this process.
    pub fn plan(&self, sample: &SampleConfig) -> Result<Plan, ProcessError> {
        self.plan_over(sample.grid.levels_to(&self.process, sample.steps, sample.end)?, sample.solver)
    }

    /// The part of a sampling run at or below the 0-based step `t`, started at `t` itself: for pictures noised to `t`. Of a solver that
    /// goes from data to noise, the way up to `t`.
    ///
    /// # Errors
    /// As [`Diffusion::plan`], and steps outside the schedule.
    pub fn plan_from(&self, sample: &SampleConfig, t: usize) -> Result<Plan, ProcessError> {
        let start = self.level(t)?;
        let below = sample.grid.levels_to(&self.process, sample.steps, sample.end)?;
        let below = below.into_iter().filter(|level| level.ratio() < start.ratio());
        self.plan_over(std::iter::once(start).chain(below).collect(), sample.solver)
    }

    /// Over falling levels.
    fn plan_over(&self, mut levels: Vec<Level>, solver: Solver) -> Result<Plan, ProcessError> {
        if solver.rises() {
            levels.reverse();
        }
        Plan::on(&self.process, &levels, solver, self.variance)
    }

    /// The level of the 0-based step `t`.
    ///
    /// # Errors
    /// [`ProcessError::Step`] unless `t < T`.
    pub fn level(&self, t: usize) -> Result<Level, ProcessError> {
        let timesteps = self.process.timesteps();
        if t < timesteps { Ok(self.process.level(t as f64)) } else { Err(ProcessError::Step { t, timesteps }) }
    }
}
