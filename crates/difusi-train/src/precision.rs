//! Where and in which number format a model is trained.

use burn::tensor::Device;
use difusi_core::Precision;

use crate::error::ConfigIssues;
use crate::{Objective, TrainConfig, TrainError};

/// The model in the config's precision.
pub(crate) fn in_precision<O: Objective>(
    config: &TrainConfig,
    objective: &O,
    model: O::Model,
    device: &Device,
) -> Result<O::Model, TrainError> {
    let refused = |accepted: &str| {
        let (key, got, accepted) = ("train.precision".to_owned(), config.precision.to_string(), accepted.to_owned());
        TrainError::Config(ConfigIssues(vec![crate::ConfigIssue { key, got, accepted }]))
    };
    if config.precision != Precision::F32 && !difusi_ops::has_kernels(device) {
        return Err(refused("f32 on this device; there is bf16 on the CPU only"));
    }
    let model = objective.in_precision(model, config.precision);
    model.ok_or_else(|| refused("f32, the only precision of this network"))
}

/// `device` with autodiff, recomputing cheap activations where asked for.
pub(crate) fn training_device(device: &Device, checkpoint_activations: bool) -> Device {
    let device = device.clone().inner().autodiff();
    if checkpoint_activations { device.gradient_checkpointing() } else { device }
}
