//! The trainer of any kind of model, behind one face.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use difusi_core::Dataset;
use difusi_store::RunDir;
use difusi_train::{
    DiffusionObjective, Objective, StepReport, TrainError, Trainer, TrainerOptions, Validation, Weights,
};

use crate::config::{ClassifierTask, Task};
use crate::families::{ClassifierObjective, FlowObjective, GanObjective, NoisyClassifierObjective, VaeObjective};
use crate::network::ModelNetwork;
use crate::{Error, RunConfig};

/// What a run asks of its trainer; see [`Trainer`].
pub(crate) trait Training: Send {
    fn next_step(&mut self) -> Option<Result<StepReport, TrainError>>;
    fn validation(&mut self, weights: Weights) -> Result<Option<Validation>, TrainError>;
    fn save_checkpoint(&mut self, run: &RunDir) -> Result<PathBuf, TrainError>;
    fn resume(&mut self, state: &Path) -> Result<(), TrainError>;
    fn network(&self, weights: Weights) -> Result<ModelNetwork, TrainError>;
    fn part_names(&self) -> &'static [&'static str];
    fn best_weights(&self) -> Weights;
    fn steps_done(&self) -> u64;
    fn micro_batch(&self) -> usize;
    fn trainable_weights(&self) -> usize;
}

impl<O> Training for Trainer<O>
where
    O: Objective + Send,
    O::Model: Into<ModelNetwork> + Send,
{
    fn next_step(&mut self) -> Option<Result<StepReport, TrainError>> {
        self.next()
    }

    fn validation(&mut self, weights: Weights) -> Result<Option<Validation>, TrainError> {
        self.validation(weights)
    }

    fn save_checkpoint(&mut self, run: &RunDir) -> Result<PathBuf, TrainError> {
        self.save_checkpoint(run)
    }

    fn resume(&mut self, state: &Path) -> Result<(), TrainError> {
        self.resume(state)
    }

    fn network(&self, weights: Weights) -> Result<ModelNetwork, TrainError> {
        Ok(self.model(weights)?.into())
    }

    fn part_names(&self) -> &'static [&'static str] {
        self.objective().part_names()
    }

    fn best_weights(&self) -> Weights {
        self.best_weights()
    }

    fn steps_done(&self) -> u64 {
        self.steps_done()
    }

    fn micro_batch(&self) -> usize {
        self.micro_batch()
    }

    fn trainable_weights(&self) -> usize {
        self.trainable_weights()
    }
}

/// What a trainer starts with.
pub(crate) struct Start {
    pub(crate) network: ModelNetwork,
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) options: TrainerOptions,
}

/// The trainer of a config's task.
///
/// # Errors
/// Those of [`Trainer::new`]; a network of another kind than the task.
pub(crate) fn training(config: &RunConfig, start: Start, device: &Device) -> Result<Box<dyn Training>, Error> {
    let Start { network, dataset, options } = start;
    macro_rules! trainer {
        ($objective:expr, $network:expr) => {
            Box::new(Trainer::new(config.train.clone(), $objective, $network, dataset, device)?.with_options(options))
        };
    }
    Ok(match (&config.task, network) {
        (Task::Diffusion(task), ModelNetwork::Diffusion(network)) => {
            trainer!(DiffusionObjective::new(task.diffusion.build()?), network)
        }
        (Task::Vae(task), ModelNetwork::Vae(network)) => trainer!(VaeObjective::new(task.loss.clone()), network),
        (Task::Gan(task), ModelNetwork::Gan(network)) => trainer!(GanObjective::new(task.loss.clone()), network),
        (Task::Flow(_), ModelNetwork::Flow(network)) => trainer!(FlowObjective, network),
        (Task::Classifier(_), ModelNetwork::Classifier(network)) => {
            trainer!(ClassifierObjective::default(), network)
        }
        (
            Task::Classifier(ClassifierTask { diffusion: Some(diffusion), .. }),
            ModelNetwork::NoisyClassifier(network),
        ) => {
            trainer!(NoisyClassifierObjective::new(diffusion.build()?), network)
        }
        _ => return Err(Error::value("the network", "of another kind than the task", "one of the same")),
    })
}
