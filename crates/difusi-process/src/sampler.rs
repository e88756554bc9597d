//! The one sampling loop, as an iterator: filmstrips, GIFs, progress bars and cancelling live outside.

use burn::tensor::Tensor;
use difusi_core::Cond;

use crate::{
    Denoise, Denoised, Jump, NoiseSource, Plan, ProcessError, Stage,
    forward::require_same,
    solver::{Estimate, Moment, Noises, weighted},
};

/// What one step of sampling leaves behind.
#[derive(Clone, Debug)]
pub struct SampleStep {
    /// Number of the network evaluation, from 0.
    pub index: usize,
    /// The time the network was asked about.
    pub t: f64,
    /// The picture after the step, `[B, H, W, C]`: x_s, and at the end the sample.
    pub x: Tensor<4>,
    /// The estimate of x_0 made at `t`, thresholded, `[B, H, W, C]`.
    pub x0: Tensor<4>,
}

/// What else happens to x, besides the solver's steps: the known part of a picture that is put back, for one.
pub trait Constrain {
    /// x right before the network is asked about it at `stage.at`, `[B, H, W, C]`.
    ///
    /// # Errors
    /// Whatever stops it.
    fn constrain(&mut self, x: Tensor<4>, stage: &Stage) -> Result<Tensor<4>, ProcessError>;

    /// The sample, `[B, H, W, C]`. Unchanged by default.
    ///
    /// # Errors
    /// Whatever stops it.
    fn finish(&mut self, x: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        Ok(x)
    }
}

/// Runs a [`Plan`] from noise to data, one network evaluation per item. Ends after the first error.
///
/// Sampling needs no gradients: give a network and `start` on a device without autodiff.
pub struct Sampler<'a> {
    denoiser: &'a dyn Denoise,
    plan: &'a Plan,
    x: Tensor<4>,
    past: Vec<Estimate>,
    noises: Noises,
    constraint: Option<&'a mut dyn Constrain>,
    cond: Cond,
    index: usize,
}

impl<'a> Sampler<'a> {
    /// Starts at `start` `[B, H, W, C]`: x at the plan's first level, from [`NoiseSource::initial`] or anything else.
    pub fn new(denoiser: &'a dyn Denoise, plan: &'a Plan, start: Tensor<4>, source: NoiseSource, cond: Cond) -> Self {
        denoiser.begin();
        let noises = Noises::new(source);
        Self { denoiser, plan, x: start, past: Vec::new(), noises, constraint: None, cond, index: 0 }
    }

    /// The same run under a constraint.
    #[must_use]
    pub fn constrained(self, constraint: &'a mut dyn Constrain) -> Self {
        Self { constraint: Some(constraint), ..self }
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

    fn step(&mut self, stage: &Stage, last: bool) -> Result<SampleStep, ProcessError> {
        let mut x = self.lifted(stage)?;
        if let Some(constraint) = &mut self.constraint {
            x = constraint.constrain(x, stage)?;
        }
        let said = self.denoiser.denoise(x.clone(), stage.at, &self.cond)?;
        require_same(&x, "the denoiser's x_0", &said.x0)?;
        if self.past.len() == self.plan.solver().memory() {
            self.past.remove(0);
        }
        let Denoised { x0, eps, variance, renoise } = said;
        self.past.push(Estimate { at: stage.at, x, x0: x0.clone(), eps, variance, renoise });
        let moment = Moment {
            stages: self.plan.stages(),
            index: self.index,
            past: &self.past,
            variance: self.plan.variance(),
            rounding: self.plan.rounding(),
        };
        self.x = self.plan.solver().advance(&moment, &mut self.noises)?;
        self.noises.end_stage(&self.x, last)?;
        if let (true, Some(constraint)) = (last, &mut self.constraint) {
            self.x = constraint.finish(self.x.clone())?;
        }
        Ok(SampleStep { index: self.index, t: stage.at.t, x: self.x.clone(), x0 })
    }

    /// x at the stage's level: noised where the stage lifts it.
    fn lifted(&mut self, stage: &Stage) -> Result<Tensor<4>, ProcessError> {
        let Some(lift) = stage.lift else { return Ok(self.x.clone()) };
        self.past.clear(); // of another way down
        let jump = Jump { from: stage.at, to: lift.from };
        let noise = self.noises.normal(&self.x)?;
        Ok(weighted(&[(jump.scale(), &self.x), (jump.beta().sqrt() * lift.scale, &noise)]))
    }
}

impl Iterator for Sampler<'_> {
    type Item = Result<SampleStep, ProcessError>;

    fn next(&mut self) -> Option<Self::Item> {
        let stage = *self.plan.stages().get(self.index)?;
        let step = self.step(&stage, self.index + 1 == self.plan.len());
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
