//! The seam between the trainer and what is learned: the loss of a batch.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use burn::module::Module;
use burn::tensor::Tensor;
use difusi_core::{Batch, Network, Noise, Precision};
use difusi_process::{Diffusion, LossHistory, Position, TimeDistribution};

use crate::TrainError;

/// What a loss is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A gradient will be taken: dropout and the like are on.
    Training,
    /// The number is reported: dropout and the like are off, nothing is learned from it.
    Validation,
}

/// Where in the run a batch stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepContext {
    /// All random numbers of this loss. A number for one image is keyed by the image's position (`first_image + i`), so that
    /// the loss of an image does not depend on how batches are cut.
    pub noise: Noise,
    /// Position of the batch's first image among all images that training has seen, from 0.
    pub first_image: u64,
    /// Finished steps; the same for all parts of one step's batch.
    pub step: u64,
    /// Images of one step; `first_image` is a multiple of it in the first of the step's parts.
    pub images_per_step: u64,
    /// Training or validation.
    pub phase: Phase,
}

/// What is trained: diffusion, a classifier, a VAE, a GAN, a flow. The trainer knows nothing else of it.
pub trait Objective {
    /// The network, or the networks, whose weights are trained. A weight shared by two places of it is not supported: each
    /// place would get a weight of its own.
    type Model: Module;

    /// The model with activations of this precision; `None` where it does not have that. By default there is only f32.
    fn in_precision(&self, model: Self::Model, precision: Precision) -> Option<Self::Model> {
        (precision == Precision::F32).then_some(model)
    }

    /// The loss of every image, `[B]`. The trainer minimises the mean over all images of a step, however they are cut into
    /// parts: nothing may be averaged over the batch in here.
    fn loss(&mut self, model: &Self::Model, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError>;

    /// A step begins: what [`Objective::loss`] has left behind of one that was given up counts no more. Nothing by default.
    fn begin_step(&mut self) {}

    /// A step was made, with these losses of its images in order: the one place where an objective may learn something itself, so that
    /// how batches are cut changes nothing. Not called for steps that are skipped. Nothing by default.
    fn end_step(&mut self, losses: &[f32]) {
        let _ = losses;
    }

    /// Names of what the loss is made of, or of what else there is to see of it: columns of a run's metrics. None by default.
    fn part_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Means of these parts over the images whose losses were asked for since the last call, one for each name (see
    /// [`crate::PartSums`]). Training depends on none of it. None by default.
    fn take_parts(&mut self) -> Vec<f64> {
        Vec::new()
    }

    /// What the objective itself has learned and needs to go on exactly (a history of losses, for one); empty by default.
    fn state(&self) -> BTreeMap<String, Vec<f32>> {
        BTreeMap::new()
    }

    /// Takes back what [`Objective::state`] gave.
    fn restore(&mut self, state: BTreeMap<String, Vec<f32>>) -> Result<(), TrainError> {
        match state.keys().next() {
            None => Ok(()),
            Some(key) => {
                Err(TrainError::objective(format!("the checkpoint holds `{key}`; expected no state of the objective")))
            }
        }
    }
}

/// The loss of a diffusion process, for any network.
#[derive(Clone, Debug)]
pub struct DiffusionObjective<N> {
    diffusion: Diffusion,
    /// Where times are drawn by their losses.
    history: Option<LossHistory>,
    /// Step and importance of the images of the step that is being made.
    pending: Vec<(usize, f64)>,
    network: PhantomData<fn() -> N>,
}

impl<N> DiffusionObjective<N> {
    /// The loss that `diffusion` defines.
    pub fn new(diffusion: Diffusion) -> Self {
        let history = match diffusion.times {
            TimeDistribution::LossSecondMoment { history, .. } => {
                Some(LossHistory::new(diffusion.process.timesteps(), history))
            }
            _ => None,
        };
        Self { diffusion, history, pending: Vec::new(), network: PhantomData }
    }

    /// The process.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
    }
}

/// Names of what a history has in a checkpoint.
const STATE: [&str; 2] = ["times.losses", "times.counts"];

impl<N: Module + Network> Objective for DiffusionObjective<N> {
    type Model = N;

    fn in_precision(&self, model: N, precision: Precision) -> Option<N> {
        model.with_precision(precision)
    }

    fn loss(&mut self, model: &N, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let StepContext { noise, first_image, step, images_per_step, phase } = *context;
        let inputs = match phase {
            Phase::Training => {
                let at = Position { step, images_seen: first_image, images_per_step };
                let inputs = self.diffusion.draw_by(batch, noise, at, self.history.as_ref());
                if self.history.is_some() {
                    let steps = inputs.levels.iter().map(|level| level.t as usize);
                    self.pending.extend(steps.zip(inputs.importance.iter().copied()));
                }
                inputs
            }
            Phase::Validation => self.diffusion.draw_validation(batch, noise, first_image),
        };
        self.diffusion.training_loss(model, inputs).map_err(TrainError::objective)
    }

    fn begin_step(&mut self) {
        self.pending.clear();
    }

    fn end_step(&mut self, losses: &[f32]) {
        let Some(history) = &mut self.history else { return };
        for ((t, importance), loss) in self.pending.drain(..).zip(losses) {
            history.push(t, (f64::from(*loss) / importance) as f32);
        }
    }

    fn state(&self) -> BTreeMap<String, Vec<f32>> {
        let state = self.history.as_ref().map(LossHistory::state);
        let named = |(losses, counts)| STATE.into_iter().map(str::to_owned).zip([losses, counts]).collect();
        state.map_or_else(BTreeMap::new, named)
    }

    fn restore(&mut self, mut state: BTreeMap<String, Vec<f32>>) -> Result<(), TrainError> {
        let [losses, counts] = STATE.map(|name| state.remove(name));
        if let Some(other) = state.keys().next() {
            return Err(TrainError::objective(format!("the checkpoint holds `{other}`, which is not the objective's")));
        }
        let restored = match (&self.history, losses, counts) {
            (None, None, None) => return Ok(()),
            (Some(history), Some(losses), Some(counts)) => history.clone().with_state(losses, &counts),
            _ => None,
        };
        let problem =
            "the checkpoint's losses of each step (`times.losses`, `times.counts`) are not those of diffusion.times";
        self.history = Some(restored.ok_or_else(|| TrainError::objective(problem.to_owned()))?);
        Ok(())
    }
}
