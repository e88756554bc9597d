//! What can go wrong in training.

use std::path::PathBuf;

use crate::ConfigIssue;

/// Every value of a config that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigIssues(pub Vec<ConfigIssue>);

impl std::fmt::Display for ConfigIssues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Why training cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The config holds values that are not accepted: all of them.
    #[error("{0}")]
    Config(ConfigIssues),
    /// An image of the data set could not be had.
    #[error("image {index} of the data set: {source}")]
    Data {
        /// Index in the data set.
        index: u64,
        /// What the data set said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image of the data set is not what the data set promised.
    #[error("image {index} of the data set has {got}; expected {expected}")]
    Example {
        /// Index in the data set.
        index: u64,
        /// What was found.
        got: String,
        /// What was expected.
        expected: String,
    },
    /// The thread that prepares batches ended without saying why (the data set panicked).
    #[error("the thread that reads the data set stopped; the data set's code panicked")]
    Reader,
    /// The objective could not compute its losses.
    #[error("the objective failed: {0}")]
    Objective(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The objective returned something that is not one loss per image.
    #[error("the objective returned {got} losses for {expected} images; expected one loss per image")]
    LossCount {
        /// How many came.
        got: usize,
        /// How many images there were.
        expected: usize,
    },
    /// The losses do not depend on any weight that is trained.
    #[error("the loss depends on no trainable weight of the model ({trainable} are trainable); expected one at least")]
    NothingToTrain {
        /// Number of trainable tensors.
        trainable: usize,
    },
    /// A tensor could not be read from the device.
    #[error("tensor `{name}` could not be read from the device: {message}")]
    Read {
        /// The parameter, or what the tensor is.
        name: String,
        /// The device's words.
        message: String,
    },
    /// Too many steps in a row had a loss or gradient that is not finite.
    #[error(
        "training diverged: {in_a_row} steps in a row up to step {step} had values that are not finite, `{tensor}` first; {}; a lower \
         train.learning_rate or a train.clip may help",
        match .checkpoint { Some(p) => format!("the last good checkpoint is {}", p.display()), None => "no checkpoint was saved".to_owned() }
    )]
    Diverged {
        /// The first parameter that is not finite or whose gradient is not, or `loss`, in the newest of these steps.
        tensor: String,
        /// The newest of these steps (1 is the first step of a run).
        step: u64,
        /// How many there were.
        in_a_row: u32,
        /// The newest checkpoint saved or resumed from.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint belongs to another run.
    #[error("{} was saved by a run with other settings: {differences}", .dir.display())]
    Changed {
        /// The checkpoint.
        dir: PathBuf,
        /// `key: saved, now` for each key that differs.
        differences: String,
    },
    /// A checkpoint's tensors are not the model's.
    #[error("{}: {problem}", .file.display())]
    Tensors {
        /// The file.
        file: PathBuf,
        /// Names of the missing, unexpected or mis-shaped tensors.
        problem: String,
    },
    /// A file could not be written or read.
    #[error(transparent)]
    Store(#[from] difusi_store::StoreError),
}

impl TrainError {
    /// An objective's error.
    pub fn objective(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Objective(source.into())
    }
}
