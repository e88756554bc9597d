//! Containers: safetensors, PyTorch files, NumPy files, pictures, charts, run folders, atomic writes.
//!
//! Deliberately absent: architectures (which tensor belongs where is told beside each network), decoding of training
//! images (difusi-data), printing.

pub mod atomic;
mod dtype;
mod error;
pub mod hash;
mod metrics;
mod run;
mod safetensors;
mod tensor;

pub use dtype::Dtype;
pub use error::StoreError;
pub use metrics::{Metrics, MetricsWriter};
pub use run::{ExistingRun, RunDir, RunPaths, StateDir};
pub use safetensors::{SafeTensorsFile, SafeTensorsHeader, read_header, read_safetensors, write_safetensors};
pub use tensor::{HostData, HostTensor, TensorInfo, TensorMap};
