//! Which implementation an op takes: the branch of every wrapper.
//!
//! A backend extension called on a backend that it does not list panics, so the choice is made here, on the device.

use burn::{
    backend::DispatchDevice,
    tensor::{DType, Device, Tensor},
};

/// Whether this crate's CPU kernels run on `device`: it is flex, plain or autodiff.
pub(crate) fn is_cpu(device: &Device) -> bool {
    fn is_flex(device: &DispatchDevice) -> bool {
        match device {
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(inner) => is_flex(inner),
            #[allow(unreachable_patterns, reason = "other backends exist under other features of burn")]
            _ => false,
        }
    }
    is_flex(device.as_dispatch())
}

/// Whether the CPU kernels can take `x`: it lives there, and its numbers are f32 or bf16.
pub(crate) fn has_kernel<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.dtype(), DType::F32 | DType::BF16) && is_cpu(&x.device())
}
