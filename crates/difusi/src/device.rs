//! Where to compute: the processor, or a device that this build has a cargo feature for.
//!
//! `wgpu` is WGSL over Vulkan, Metal or DX12, whatever the machine offers; `vulkan` is SPIR-V over Vulkan alone (a build with both
//! features feeds Vulkan drivers SPIR-V under either name); `cuda` is NVIDIA's driver. Every op but the processor's is composed of
//! burn's (`difusi_ops::composed`), so a device differs in rounding and speed only.
//!
//! Deliberately absent: choosing a device for the person, and spreading work over several.

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
mod gpu;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::Error;

/// What is accepted.
const ACCEPTED: &str = "cpu, wgpu, vulkan, cuda or cuda:INDEX";

/// A device as it is typed: `cpu`, `wgpu`, `vulkan`, `cuda` (which is `cuda:0`) or `cuda:INDEX`.
///
/// Any of them can be named in any build; [`DeviceChoice::open`] says when it is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The processor, with kernels of our own.
    #[default]
    Cpu,
    /// The best graphics adapter. burn's environment variable `CUBECL_WGPU_DEFAULT_DEVICE` chooses another one, as in
    /// `DiscreteGpu(1)`, `IntegratedGpu(0)` or `Cpu`.
    Wgpu,
    /// The best adapter with a Vulkan driver, by SPIR-V; the variable is the same.
    Vulkan,
    /// An NVIDIA GPU.
    Cuda {
        /// Its number, as `nvidia-smi` counts.
        index: u16,
    },
}

impl DeviceChoice {
    /// The cargo feature that it takes; `None` for the processor.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Wgpu => Some("wgpu"),
            Self::Vulkan => Some("vulkan"),
            Self::Cuda { .. } => Some("cuda"),
        }
    }

    /// Whether this build has that feature.
    pub fn is_built(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda { .. } => cfg!(feature = "cuda"),
        }
    }

    /// Opens the device and computes one sum on it. Opening it again gives the same device.
    ///
    /// # Errors
    /// [`Error::DeviceNotBuilt`] where this build lacks the feature, [`Error::Device`] where the machine has no such device, its
    /// driver fails or its arithmetic is wrong; each says what to do.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => gpu::wgpu(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => gpu::vulkan(),
            #[cfg(feature = "cuda")]
            Self::Cuda { index } => gpu::cuda(index),
            #[cfg(not(all(feature = "wgpu", feature = "vulkan", feature = "cuda")))]
            _ => Err(Error::DeviceNotBuilt { device: self, feature: self.feature().unwrap_or_default() }),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::value("--device", text, ACCEPTED);
        match text {
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            "vulkan" => Ok(Self::Vulkan),
            "cuda" => Ok(Self::Cuda { index: 0 }),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(refused)?;
                Ok(Self::Cuda { index: index.parse().map_err(|_| refused())? })
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda { index } if *index > 0 => write!(f, "cuda:{index}"),
            _ => f.write_str(self.feature().unwrap_or("cpu")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let all = [DeviceChoice::Cpu, DeviceChoice::Wgpu, DeviceChoice::Vulkan];
        for device in all.into_iter().chain([0, 1, 17].map(|index| DeviceChoice::Cuda { index })) {
            assert_eq!(device.to_string().parse::<DeviceChoice>().unwrap(), device);
        }
        assert_eq!("cuda:0".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda { index: 0 });
    }

    #[test]
    fn other_names_list_the_accepted_ones() {
        for text in ["gpu", "", "CPU", "cuda:", "cuda:-1", "cuda:x", "wgpu:0", "cpu:0"] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains(ACCEPTED) && error.contains("--device"), "{text}: {error}");
        }
    }

    /// A device that this build lacks names its feature; the processor is always there.
    #[test]
    fn builds_without_a_device_name_its_feature() {
        assert_eq!(DeviceChoice::default().open().unwrap(), Device::flex());
        for device in [DeviceChoice::Wgpu, DeviceChoice::Vulkan, DeviceChoice::Cuda { index: 1 }] {
            if device.is_built() {
                continue;
            }
            let error = device.open().unwrap_err().to_string();
            let feature = device.feature().unwrap();
            assert!(error.contains(&format!("cargo build --release --features {feature}")), "{error}");
        }
    }
}
