//! Data sets: from files, or from nothing, to images in `[-1, 1]`.
//!
//! - [`digits`]: handwritten-looking digits drawn from stroke descriptions; no files, unlimited.
//! - [`idx`]: MNIST's container (LeCun, Cortes, Burges), plain or gzipped; Fashion-MNIST too.
//! - [`cifar`]: the binary version of CIFAR-10 (Krizhevsky 2009).
//! - [`folder`]: a folder of PNG, JPEG and WebP files with class sub-folders or a Hugging Face `metadata.jsonl`.
//! - [`fetch()`], [`fetch_weights()`]: the named sets and weights from their official mirrors; [`info()`]: what lies at a path.
//!
//! [`DataConfig`] is the `[data]` table of a config; [`DataConfig::open`] gives a [`difusi_core::Dataset`].
//! Deliberately absent: batching, shuffling and splits (difusi-train), writing images (difusi-store), printing.

pub mod cifar;
mod config;
pub mod decode;
pub mod digits;
mod error;
pub mod fetch;
pub mod folder;
mod guess;
pub mod idx;
pub mod info;
mod load;
mod locate;
mod memory;
mod named;
mod report;
pub mod resize;

pub use config::{Channels, Cifar10Config, DataConfig, DigitsConfig, FolderConfig, IdxConfig, LabelSource, Split};
pub use digits::Digits;
pub use error::{DataError, KeyError};
pub use fetch::{FetchEvent, FetchOptions, Fetched, fetch, fetch_weights};
pub use folder::{Folder, FolderImages, RawImage};
pub use guess::guess;
pub use info::{ClassInfo, DataInfo, ExampleInfo, info};
pub use load::{LoadedImage, load_image};
pub use locate::Search;
pub use memory::InMemory;
pub use named::{NamedSet, NamedWeights};
pub use report::{OpenOptions, Opened, Report, Skipped};

#[cfg(test)]
mod tests;
