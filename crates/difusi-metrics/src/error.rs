//! What can go wrong; every message names the number or file, what was found and what is accepted.

use difusi_data::DataError;
use difusi_store::StoreError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A value given by the caller is out of range.
    #[error("{what} is {got}; expected {accepted}")]
    Value {
        /// Which value.
        what: String,
        /// What was given.
        got: String,
        /// What is accepted, and what to do.
        accepted: String,
    },
    /// An extractor cannot take these pictures, or its network fails.
    #[error("features `{name}`: {problem}")]
    Features {
        /// The extractor's name.
        name: String,
        /// What was found, what is accepted.
        problem: String,
    },
    /// A file of weights or statistics.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Pictures that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl MetricsError {
    /// A value out of range.
    pub fn value(what: impl ToString, got: impl ToString, accepted: impl ToString) -> Self {
        Self::Value { what: what.to_string(), got: got.to_string(), accepted: accepted.to_string() }
    }

    /// An extractor that cannot.
    pub fn features(name: impl ToString, problem: impl ToString) -> Self {
        Self::Features { name: name.to_string(), problem: problem.to_string() }
    }
}
