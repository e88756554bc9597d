//! Every CPU op as a forward and a backward rule on flex tensors: what [`crate::extension`] registers with burn.
//!
//! Images and their gradients are f32 or bf16, and so is what comes of them; parameters and their gradients are f32.

use burn_flex::FlexTensor;

mod attention;
mod conv;
mod fork;
pub(crate) mod inference;
mod linear;
mod norm;
mod number;
mod pointwise;

pub(crate) use attention::{Fused, LinearLayer};
pub(crate) use fork::{Branch, Slot, Trunk};
pub(crate) use linear::{Join, Move};
pub(crate) use norm::{GroupNorm, Norm, Quinary};
pub(crate) use pointwise::Pointwise;

use crate::{AttentionKind, ConvSpec};

/// An op of `N` tensors with its gradient.
pub(crate) trait Rule<const N: usize>: Copy + std::fmt::Debug + Send + 'static {
    /// Whether computing it again costs less than keeping its result (for gradient checkpointing).
    fn is_cheap(self) -> bool;
    fn forward(self, inputs: [FlexTensor; N]) -> FlexTensor;
    /// Which inputs the backward rule looks at; it gets something empty for the others.
    fn keeps(self) -> [bool; N] {
        [true; N]
    }
    /// The gradients of the inputs that are `needed`.
    fn backward(self, inputs: [FlexTensor; N], dy: FlexTensor, needed: [bool; N]) -> [Option<FlexTensor>; N];
}

/// A cheap linear op of `N` tensors with its gradient, for which nothing of the inputs is kept.
pub(crate) trait LinearRule<const N: usize>: Clone + std::fmt::Debug + Send + 'static {
    fn forward(&self, inputs: [FlexTensor; N]) -> FlexTensor;
    /// The gradients of the inputs that are `needed`.
    fn backward(&self, dy: FlexTensor, needed: [bool; N]) -> [Option<FlexTensor>; N];
}

/// An input that a rule does not keep.
pub(crate) fn nothing() -> FlexTensor {
    number::tensor(Vec::<f32>::new(), [0])
}

/// Ops of three tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ternary {
    /// Image, weight, bias; whether every pixel of the image counts for two by two.
    Conv { spec: ConvSpec, doubled: bool },
    /// Queries, keys, values.
    Attention(AttentionKind),
}

impl Rule<3> for Ternary {
    fn is_cheap(self) -> bool {
        false
    }

    fn forward(self, inputs: [FlexTensor; 3]) -> FlexTensor {
        match self {
            Ternary::Attention(kind) => attention::forward(kind, inputs),
            Ternary::Conv { spec, doubled } => conv::forward(inputs, (spec, doubled)),
        }
    }

    fn backward(self, inputs: [FlexTensor; 3], dy: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        match self {
            Ternary::Attention(kind) => attention::backward(kind, inputs, dy),
            Ternary::Conv { spec, doubled } => conv::backward(inputs, dy, needed, (spec, doubled)),
        }
    }
}
