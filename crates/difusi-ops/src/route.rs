//! Which implementation an op takes: the branch of every wrapper.
//!
//! A backend extension called on a backend that it does not list panics, so the choice is made here, on the device.

use burn::{
    backend::DispatchDevice,
    tensor::{DType, Tensor},
};

/// Whether our f32 CPU kernels can take `x`: it lives on flex (plain or autodiff) and is f32.
pub(crate) fn has_kernel<const D: usize>(x: &Tensor<D>) -> bool {
    fn is_flex(device: &DispatchDevice) -> bool {
        match device {
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(inner) => is_flex(inner),
            #[allow(unreachable_patterns, reason = "other backends exist under other features of burn")]
            _ => false,
        }
    }
    x.dtype() == DType::F32 && is_flex(x.device().as_dispatch())
}
