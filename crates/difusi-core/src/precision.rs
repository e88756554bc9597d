//! The number format of activations.

use serde::{Deserialize, Serialize};

/// Number format of a network's activations and their gradients. Weights, sums, norms and softmaxes are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats with f32's range and 8 significant bits: half the memory.
    Bf16,
}

impl Precision {
    /// Bytes of one activation.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// What `bytes` of f32 activations are in this format.
    pub const fn of_f32_bytes(self, bytes: usize) -> usize {
        bytes / 4 * self.bytes()
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}
