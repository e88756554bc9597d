//! The one sampling loop, as an iterator: filmstrips, GIFs, progress bars and cancelling live outside.

use burn::tensor::Tensor;
use difusi_core::Cond;

use crate::{Denoise, NoiseSource, Plan, PlannedStep, ProcessError, forward::require_same};

/// What one step of sampling leaves behind.
#[derive(Clone, Debug)]
pub struct SampleStep {
    /// Number of the step, from 0.
    pub index: usize,
    /// The 0-based step the network was asked about.
    pub t: usize,
    /// The picture after the step, `[B, H, W, C]`: x_s, and at the end the sample.
    pub x: Tensor<4>,
    /// The estimate of x_0 made at `t`, thresholded, `[B, H, W, C]`.
    pub x0: Tensor<4>,
}

/// Runs a [`Plan`] from noise to data, one network evaluation per item. Ends after the first error.
///
/// Sampling needs no gradients: give a network and `start` on a device without autodiff.
pub struct Sampler<'a> {
    denoiser: &'a dyn Denoise,
    plan: &'a Plan,
    x: Tensor<4>,
    source: NoiseSource,
    cond: Cond,
    index: usize,
}

impl<'a> Sampler<'a> {
    /// Starts at `start` `[B, H, W, C]`: x at the plan's first step, from [`NoiseSource::initial`] or anything else.
    pub fn new(denoiser: &'a dyn Denoise, plan: &'a Plan, start: Tensor<4>, source: NoiseSource, cond: Cond) -> Self {
        denoiser.begin();
        Self { denoiser, plan, x: start, source, cond, index: 0 }
    }

    /// The picture as it stands, `[B, H, W, C]`.
    pub fn x(&self) -> Tensor<4> {
        self.x.clone()
    }

    /// Runs the remaining steps; the sample `[B, H, W, C]`.
    ///
    /// # Errors
    /// The first error of a step.
    pub fn finish(mut self) -> Result<Tensor<4>, ProcessError> {
        self.try_for_each(|step| step.map(drop))?;
        Ok(self.x)
    }

    fn step(&mut self, planned: &PlannedStep) -> Result<SampleStep, ProcessError> {
        let t = planned.level.t;
        let x0 = self.denoiser.denoise(self.x.clone(), planned.level, &self.cond)?.x0;
        require_same(&self.x, "the denoiser's x_0", &x0)?;
        let by = planned.transition;
        let mut x = x0.clone() * by.x0 as f32;
        if by.x_t != 0.0 {
            x = x + self.x.clone() * by.x_t as f32;
        }
        if planned.next.is_some()
            && let Some(noise) = self.source.step(&self.x, t, by.noise > 0.0)?
        {
            x = x + noise * by.noise as f32;
        }
        self.x = x.clone();
        Ok(SampleStep { index: self.index, t, x, x0 })
    }
}

impl Iterator for Sampler<'_> {
    type Item = Result<SampleStep, ProcessError>;

    fn next(&mut self) -> Option<Self::Item> {
        let planned = *self.plan.steps().get(self.index)?;
        let step = self.step(&planned);
        self.index = if step.is_ok() { self.index + 1 } else { self.plan.len() };
        Some(step)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.plan.len() - self.index))
    }
}

/// The sample `[B, H, W, C]` that the whole [`Sampler`] ends with.
///
/// # Errors
/// The first error of a step.
pub fn sample(
    denoiser: &dyn Denoise,
    plan: &Plan,
    start: Tensor<4>,
    source: NoiseSource,
    cond: Cond,
) -> Result<Tensor<4>, ProcessError> {
    Sampler::new(denoiser, plan, start, source, cond).finish()
}
