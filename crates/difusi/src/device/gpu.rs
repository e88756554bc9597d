//! Opening a GPU so that what is missing is an error.
//!
//! burn opens devices at the first op and panics where it cannot. So adapters are acquired through the one call of burn's that
//! returns its errors, NVIDIA's GPUs are counted first (which finds an absent driver), and one sum is computed under
//! `catch_unwind`: the only way to hear of a driver that is there and fails. (Such a failure still prints burn's panic message.)

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "cuda")]
use burn::tensor::DeviceType;
use burn::tensor::{Device, Tensor};
#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use burn::tensor::{
    DeviceKind,
    wgpu::{WgpuBackend, WgpuInitError},
};

use super::DeviceChoice;
use crate::Error;

fn failed(device: DeviceChoice, problem: impl Into<String>) -> Error {
    Error::Device { device, problem: problem.into() }
}

/// The best adapter under whatever graphics API the machine offers.
#[cfg(feature = "wgpu")]
pub(super) fn wgpu() -> Result<Device, Error> {
    graphics(DeviceChoice::Wgpu, WgpuBackend::Auto, || Device::wgpu(DeviceKind::DefaultDevice))
}

/// The best adapter under Vulkan.
#[cfg(feature = "vulkan")]
pub(super) fn vulkan() -> Result<Device, Error> {
    graphics(DeviceChoice::Vulkan, WgpuBackend::Vulkan, || Device::vulkan(DeviceKind::DefaultDevice))
}

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
fn graphics(choice: DeviceChoice, api: WgpuBackend, opened: impl Fn() -> Device) -> Result<Device, Error> {
    let device = match Device::wgpu_options().graphics_api(api).init() {
        Ok(device) => device,
        Err(WgpuInitError::Registration { .. }) => opened(), // it was opened before
        Err(e) => {
            let answer = "install the GPU's graphics driver (without a GPU, mesa-vulkan-drivers computes in software), or take \
                          --device cpu";
            return Err(failed(choice, format!("no graphics adapter can be opened ({e}); {answer}")));
        }
    };
    probe(choice, device)
}

/// NVIDIA's GPU number `index`.
#[cfg(feature = "cuda")]
pub(super) fn cuda(index: u16) -> Result<Device, Error> {
    let choice = DeviceChoice::Cuda { index };
    match Device::enumerate(DeviceType::Cuda).into_vec().len() {
        0 => Err(failed(choice, "no NVIDIA GPU with its driver is here; see `nvidia-smi`, or take --device cpu")),
        n if usize::from(index) < n => probe(choice, Device::cuda(usize::from(index))),
        n => Err(failed(choice, format!("the machine has {n} NVIDIA GPUs; expected an index of 0 to {}", n - 1))),
    }
}

/// `device`, once it has added and multiplied as it should.
fn probe(choice: DeviceChoice, device: Device) -> Result<Device, Error> {
    let sum = || {
        let x = Tensor::<2>::from_data([[1.0f32, 2.0], [3.0, 4.0]], &device);
        (x.clone().matmul(x.clone()) + x).try_into_data().map_err(|e| format!("{e:?}"))
    };
    let answer = "update the GPU's driver, or take --device cpu";
    let data = match catch_unwind(AssertUnwindSafe(sum)) {
        Ok(Ok(data)) => data,
        Ok(Err(e)) => return Err(failed(choice, format!("the driver fails in a first sum ({e}); {answer}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            return Err(failed(choice, format!("the driver fails in a first sum ({text}); {answer}")));
        }
    };
    let got: Vec<f32> = data.iter::<f32>().collect();
    if got == [8.0, 12.0, 18.0, 26.0] {
        return Ok(device);
    }
    Err(failed(choice, format!("a first sum gave {got:?} instead of [8, 12, 18, 26]; {answer}")))
}
