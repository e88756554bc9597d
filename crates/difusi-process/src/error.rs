//! What can be wrong, said so that a person can mend it: key, value, what is accepted.

use std::fmt::{Debug, Display};

use burn::tensor::TensorReadError;

/// One bad value of a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {got}; expected {accepted}")]
pub struct ValueError {
    /// Dotted path of the key, such as `diffusion.schedule.beta_end`.
    pub key: String,
    /// What was found.
    pub got: String,
    /// What would be accepted.
    pub accepted: String,
}

impl ValueError {
    /// A bad value `got` at `key`.
    pub fn new(key: impl Into<String>, got: impl Display, accepted: impl Into<String>) -> Self {
        Self { key: key.into(), got: got.to_string(), accepted: accepted.into() }
    }

    /// The same error one table further out: `schedule.s` under `diffusion` is `diffusion.schedule.s`.
    #[must_use]
    pub fn under(mut self, table: &str) -> Self {
        self.key = format!("{table}.{}", self.key);
        self
    }
}

/// Why the mathematics cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Bad values, all of them.
    #[error("{}", join(.0))]
    Values(Vec<ValueError>),
    /// A step outside the schedule.
    #[error("step t is {t}; expected 0..={} (the schedule has {timesteps} steps)", .timesteps - 1)]
    Step {
        /// The step asked for.
        t: usize,
        /// Length of the schedule.
        timesteps: usize,
    },
    /// Something that only a discrete process has.
    #[error("the {kind} process is continuous; this needs a discrete one (any schedule but edm, flow, ve and sub_vp)")]
    Continuous {
        /// Which schedule.
        kind: &'static str,
    },
    /// A tensor or list of the wrong shape.
    #[error("{what} has shape {found:?}; expected {expected}")]
    Shape {
        /// Which tensor or list.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// What it must be.
        expected: String,
    },
    /// [`crate::NoiseSource::Given`] has no tensor left.
    #[error(
        "the given noise ran out after {used} tensors; sampling needs one for the start and one for each step but the last"
    )]
    NoiseExhausted {
        /// How many tensors were used.
        used: usize,
    },
    /// An ODE whose steps became too short to go on.
    #[error(
        "the probability-flow ODE cannot go on at sigma / alpha = {at:.3e} (image {image} of the batch): its steps became too short; \
         loosen the tolerances, or start at more noise"
    )]
    Ode {
        /// Which image of the batch.
        image: usize,
        /// Where.
        at: f64,
    },
    /// A tensor could not be read back from its device.
    #[error("reading a tensor from its device failed")]
    Read(#[from] TensorReadError),
    /// A denoiser of another crate failed.
    #[error("the denoiser failed")]
    Denoiser(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<ValueError> for ProcessError {
    fn from(error: ValueError) -> Self {
        Self::Values(vec![error])
    }
}

fn join(errors: &[ValueError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// `Ok` where there is nothing to complain about.
pub(crate) fn all_good(errors: Vec<ValueError>) -> Result<(), ProcessError> {
    if errors.is_empty() { Ok(()) } else { Err(ProcessError::Values(errors)) }
}

/// Collects every bad value instead of stopping at the first.
#[derive(Default)]
pub(crate) struct Checks(pub(crate) Vec<ValueError>);

impl Checks {
    /// Complains about `key` unless `ok`. Written positively, so that NaN is refused.
    pub(crate) fn require(&mut self, ok: bool, key: &str, got: impl Debug, accepted: impl Into<String>) {
        if !ok {
            self.0.push(ValueError::new(key, format!("{got:?}"), accepted));
        }
    }
}
