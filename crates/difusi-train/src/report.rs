//! What goes into a trainer beside the config, and what a step gives back.

/// What only the caller knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainerOptions {
    /// Bytes of activations that training one image keeps. Without it `micro_batch = "auto"` is the whole batch.
    pub activation_bytes_per_image: Option<u64>,
    /// Bytes that training may take, weights and optimiser included. Without it: three quarters of what is available.
    pub memory_limit: Option<u64>,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Finished steps, this one included: 1 after the first step of a run.
    pub step: u64,
    /// Mean loss over the step's images, before the update; not finite where the step was skipped for it.
    pub loss: f64,
    /// What the loss is made of: means over the step's images, in the order of [`crate::Objective::part_names`].
    pub parts: Vec<f64>,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The first parameter that was not finite or whose gradient was not, or `loss`, where the step changed nothing for that
    /// reason.
    pub skipped: Option<String>,
    /// Skipped steps of the run so far.
    pub skipped_total: u64,
    /// Images seen since the run began.
    pub images_seen: u64,
    /// Passes over the data set; `None` where it is unlimited.
    pub epoch: Option<f64>,
    /// Wall-clock seconds of this step.
    pub seconds: f64,
}

/// Which weights a model is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those the optimiser moves.
    Raw,
    /// The average of this index in `train.ema`.
    Ema(usize),
}
