//! What can go wrong in putting the rooms together.

use std::path::PathBuf;

use difusi_data::DataError;
use difusi_metrics::MetricsError;
use difusi_nn::NnError;
use difusi_process::ProcessError;
use difusi_store::StoreError;
use difusi_train::TrainError;

use crate::DeviceChoice;
use crate::config::ConfigErrors;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A config with mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A file that holds a config, or something like one, with mistakes.
    #[error("{}: {source}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ConfigErrors,
    },
    /// Data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A container or a folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A network or its weights.
    #[error(transparent)]
    Network(#[from] NnError),
    /// A model file whose tensors are not what is expected.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: NnError,
    },
    /// The process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A `scheduler_config.json` with mistakes.
    #[error("{}: {source}", path.display())]
    Scheduler {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ProcessError,
    },
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Metrics of pictures.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Threads that are in use already.
    #[error("the number of threads cannot be set: {0}")]
    Threads(String),
    /// A device that this build has no feature for.
    #[error(
        "--device is {device}, which this build leaves out; add its feature, as in `cargo build --release --features {feature}`"
    )]
    DeviceNotBuilt {
        /// The device.
        device: DeviceChoice,
        /// The cargo feature.
        feature: &'static str,
    },
    /// A device that the machine has not, or whose driver fails.
    #[error("--device is {device}, but {problem}")]
    Device {
        /// The device.
        device: DeviceChoice,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that is not a model, or lacks what is needed to use it as one.
    #[error("{}: {problem}", path.display())]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An image of a data set that can no longer be read.
    #[error("image {index} cannot be read: {source}")]
    Image {
        /// Its number in the data set.
        index: u64,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value that a caller gave.
    #[error("{what} is {got}; expected {accepted}")]
    Value {
        /// What it is.
        what: String,
        /// What was given.
        got: String,
        /// What is accepted.
        accepted: String,
    },
}

impl Error {
    pub(crate) fn model(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Model { path: path.into(), problem: problem.into() }
    }

    pub(crate) fn value(what: impl Into<String>, got: impl ToString, accepted: impl Into<String>) -> Self {
        Self::Value { what: what.into(), got: got.to_string(), accepted: accepted.into() }
    }
}
