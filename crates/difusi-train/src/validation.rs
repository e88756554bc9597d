//! The loss of held-out images.

use difusi_core::{Draw, Noise};

use crate::loader::HostBatch;
use crate::objective::{Objective, Phase, StepContext};
use crate::{TrainError, Trainer, Weights, params};

/// What the held-out images say.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Mean loss.
    pub loss: f64,
    /// What it is made of, in the order of [`Objective::part_names`].
    pub parts: Vec<f64>,
}

impl<O: Objective> Trainer<O> {
    /// Mean loss over the held-out images, `None` where none are held out. The same images, times and noise each time.
    ///
    /// # Errors
    /// Those of the data set and the objective; an index that `train.ema` does not have.
    pub fn validation_loss(&mut self, weights: Weights) -> Result<Option<f64>, TrainError> {
        Ok(self.validation(weights)?.map(|v| v.loss))
    }

    /// As [`Trainer::validation_loss`], with what the loss is made of.
    ///
    /// # Errors
    /// As there.
    pub fn validation(&mut self, weights: Weights) -> Result<Option<Validation>, TrainError> {
        let order = self.order.clone();
        if order.held_out().is_empty() {
            return Ok(None);
        }
        let model = self.model(weights)?;
        let device = self.device.clone().inner();
        let noise = Noise::new(self.config.seed).derive(Draw::Validation, 0, 0);
        let (mut sum, mut first_image) = (0.0, 0);
        self.objective.take_parts(); // of a step that failed
        for indices in order.held_out().chunks(self.progress.micro_batch) {
            let part = HostBatch::read(self.data.as_ref(), indices, first_image, noise)?;
            let (step, images_per_step) = (self.progress.step, self.config.images_per_step());
            let context = StepContext { noise, first_image, step, images_per_step, phase: Phase::Validation };
            let losses = self.objective.loss(&model, part.into_batch(&device), &context)?;
            let values = params::values(losses, "loss")?;
            if values.len() != indices.len() {
                return Err(TrainError::LossCount { got: values.len(), expected: indices.len() });
            }
            sum += values.iter().map(|&l| f64::from(l)).sum::<f64>();
            first_image += indices.len() as u64;
        }
        Ok(Some(Validation { loss: sum / order.held_out().len() as f64, parts: self.objective.take_parts() }))
    }
}
