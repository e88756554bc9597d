//! The precision of a tensor: what networks cast their input to, and their output from.

use burn::tensor::{DType, Tensor};
use difusi_core::Precision;

/// The tensor in this precision; itself where it is in it already.
pub fn in_precision<const D: usize>(x: Tensor<D>, precision: Precision) -> Tensor<D> {
    match precision {
        Precision::F32 => difusi_ops::to_f32(x),
        Precision::Bf16 => difusi_ops::to_bf16(x),
    }
}

/// The precision a tensor is in; f32 for all but bf16.
pub fn precision_of<const D: usize>(x: &Tensor<D>) -> Precision {
    match x.dtype() {
        DType::BF16 => Precision::Bf16,
        _ => Precision::F32,
    }
}
