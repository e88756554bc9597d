//! The values of `[train]` that are a choice between kinds.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How many images go through the network at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicroBatch {
    /// As many as memory holds: `"auto"`.
    Auto,
    /// This many.
    Images(usize),
}

impl Serialize for MicroBatch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Images(n) => to.serialize_u64(*n as u64),
        }
    }
}

impl<'de> Deserialize<'de> for MicroBatch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = MicroBatch;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"auto\" or a whole number of images")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<MicroBatch, E> {
                usize::try_from(n)
                    .map(MicroBatch::Images)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<MicroBatch, E> {
                usize::try_from(n)
                    .map(MicroBatch::Images)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<MicroBatch, E> {
                match s {
                    "auto" => Ok(MicroBatch::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(s), &self)),
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// How the learning rate falls after the warm-up. `p` runs from 0 at its end to 1 at the last step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LearningRateSchedule {
    /// It does not.
    Constant {},
    /// `f + (1 - f) (1 + cos(pi p)) / 2` of the peak.
    Cosine {
        /// `f`, in [0, 1]. Default 0.
        #[serde(default)]
        final_fraction: f64,
    },
    /// `1 - (1 - f) p` of the peak.
    Linear {
        /// `f`, in [0, 1]. Default 0.
        #[serde(default)]
        final_fraction: f64,
    },
}

/// The optimiser and its constants, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam (arXiv:1412.6980).
    Adam {
        /// Decay of the first moment, in [0, 1). Default 0.9.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment, in [0, 1). Default 0.99.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment; above 0. Default 1e-8.
        #[serde(default = "eps")]
        eps: f64,
    },
    /// Adam with decoupled weight decay (arXiv:1711.05101).
    Adamw {
        /// Decay of the first moment, in [0, 1). Default 0.9.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment, in [0, 1). Default 0.99.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment; above 0. Default 1e-8.
        #[serde(default = "eps")]
        eps: f64,
        /// A step shrinks every weight by `learning_rate * weight_decay`; 0 or more. Default 0.01.
        #[serde(default = "weight_decay")]
        weight_decay: f64,
    },
}

const fn beta1() -> f64 {
    0.9
}

const fn beta2() -> f64 {
    0.99
}

const fn eps() -> f64 {
    1e-8
}

const fn weight_decay() -> f64 {
    0.01
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam { beta1: beta1(), beta2: beta2(), eps: eps() }
    }
}
