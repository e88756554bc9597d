//! f32 and bf16: an image lies in memory as either, and every op computes it in f32.
//!
//! Deliberately absent: other numbers, loss scaling (bf16 has f32's range).

use burn::{
    backend::Dispatch,
    tensor::{DType, Device, FloatDType, Tensor},
};

use crate::{extension::CpuOps, route, rules::Move};

/// The tensor in bf16, rounded to the nearest; itself where it is bf16 already. Any shape.
pub fn to_bf16<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::BF16 {
        return x;
    }
    if !route::has_kernel(&x) {
        return x.cast(FloatDType::BF16);
    }
    Tensor::from_dispatch(Dispatch::moved(x.into_dispatch(), Move::Narrow))
}

/// The tensor in f32; itself where it is f32 already. Any shape.
pub fn to_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 {
        return x;
    }
    if !route::has_kernel(&x) {
        return x.cast(FloatDType::F32);
    }
    Tensor::from_dispatch(Dispatch::moved(x.into_dispatch(), Move::Widen))
}

/// The tensor in the number of `like`.
pub(crate) fn as_in<const D: usize, const N: usize>(x: Tensor<D>, like: &Tensor<N>) -> Tensor<D> {
    match like.dtype() {
        dtype if dtype == x.dtype() => x,
        DType::BF16 => to_bf16(x),
        DType::F32 => to_f32(x),
        dtype => x.cast(dtype),
    }
}

/// Whether the kernels of this crate, and with them bf16, are there on `device`.
pub fn has_kernels(device: &Device) -> bool {
    route::is_cpu(device)
}
