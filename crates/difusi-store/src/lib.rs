//! Containers: safetensors, PyTorch files, NumPy files, pictures, charts, run folders, atomic writes.
//!
//! Deliberately absent: architectures (which tensor belongs where is told beside each network), decoding of training
//! images (difusi-data), printing.

pub mod atomic;
mod dtype;
mod error;
pub mod hash;
mod inspect;
mod map;
mod metrics;
mod npy;
mod npz;
mod picture;
pub mod plot;
pub mod pt;
mod run;
mod safetensors;
mod tensor;
mod text;

pub use dtype::Dtype;
pub use error::StoreError;
pub use inspect::{Container, Listing, detect, inspect};
pub use map::{TensorInfo, TensorMap};
pub use metrics::{Metrics, MetricsWriter};
pub use npy::{read_npy, read_npz, read_tensor_file, write_npy, write_npz, write_npz_pictures};
pub use npz::{npz_infos, read_npz_named, read_npz_rows};
pub use picture::{Panel, PanelRow, Picture, Repeat, grid, read_png, read_png_text, write_gif, write_png};
pub use pt::PtValue;
pub use run::{ExistingRun, RunDir, RunPaths, StateDir};
pub use safetensors::{SafeTensorsFile, SafeTensorsHeader, read_header, read_safetensors, write_safetensors};
pub use tensor::{HostData, HostTensor};
pub use text::{read_bytes, read_text, tell_kernel};
