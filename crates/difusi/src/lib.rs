//! difusi: diffusion models, trained, sampled and looked into.
//!
//! This crate puts the rooms together: [`RunConfig`] (TOML to typed to checked), [`presets`], [`Model`] (a trained network with
//! everything it needs to draw), [`Sampler`] (pictures from a model), [`Editor`] (pictures changed with a model),
//! [`Latents`] (of VAE, GAN and flow, which are trained by [`families`]), [`Run`] (a training
//! run in a folder), [`figures`], [`bench`] (how fast a config is on this machine), [`eval`] (how good a model is).
//! The rooms themselves are re-exported: [`core`], [`data`], [`metrics`], [`nn`], [`process`], [`store`], [`train`].
//!
//! Deliberately absent: printing, argument parsing, exit codes (the binary's).

mod bench;
mod canvas;
pub mod compare;
mod config;
mod describe;
mod device;
mod edit;
mod error;
pub mod eval;
pub mod families;
pub mod figures;
mod latents;
mod memory;
mod model;
mod network;
pub mod presets;
mod run;
mod sample;
mod scheduler;

pub use burn::tensor::{Device, Tensor, TensorData};
pub use difusi_core as core;
pub use difusi_data as data;
pub use difusi_metrics as metrics;
pub use difusi_nn as nn;
pub use difusi_ops as ops;
pub use difusi_process as process;
pub use difusi_store as store;
pub use difusi_train as train;

pub use bench::{BenchOptions, BenchProgress, BenchReport, GuidedTiming, Prediction, Timing, bench};
pub use canvas::pictures;
pub use config::{
    ClassifierTask, ConfigError, ConfigErrors, DiffusionTask, Drawing, FlowTask, GanTask, ModelConfig, RunConfig, Task,
    VaeTask, override_latent, override_sample, parse_schedule,
};
pub use describe::{Described, describe};
pub use device::DeviceChoice;
pub use edit::{Edit, EditOptions, Editor};
pub use error::Error;
pub use latents::Latents;
pub use model::{CardFid, DiffusionModel, Model, ModelCard, OpenModel, PredictIo, Weights, predict, write_prediction};
pub use network::{DiffusionNetwork, DiffusionNetworkConfig, ModelNetwork};
pub use run::{FineTune, Run, RunEvent, RunOptions, RunStart, save_grid};
pub use sample::{Asked, Guide, Sampler, SamplerOptions, Start};
pub use scheduler::{SchedulerRun, read_scheduler, scheduler_of, write_scheduler};

/// Height and width of the pictures a config trains on: from the config where it says, else from the data.
///
/// # Errors
/// Data that is nowhere or damaged.
pub fn data_size(config: &RunConfig, data: Option<std::path::PathBuf>) -> Result<core::ImageSize, Error> {
    if let Some(size) = known_size(config) {
        return Ok(size);
    }
    let [height, width, _] = config.data.open(&data::OpenOptions::with_data(data))?.shape();
    Ok(core::ImageSize { height, width })
}

/// Height and width of the pictures where the config or the name of the data says them; `None` where only the files do.
pub fn known_size(config: &RunConfig) -> Option<core::ImageSize> {
    use data::DataConfig::{Cifar10, Digits, Folder, Idx};
    match &config.data {
        Digits(c) => Some(c.size),
        Folder(c) => Some(c.size),
        Cifar10(c) => c.size.or(Some(core::ImageSize::square(32))),
        // The named sets are known without their files.
        Idx(c) => c.size.or_else(|| {
            let named = c.path.to_str()?.parse::<data::NamedSet>().is_ok();
            named.then_some(core::ImageSize::square(28))
        }),
    }
}

/// Runs `work` on one of `threads` CPU threads (`None`: as many as there are), which all of difusi then uses. Only before the first
/// tensor op, and once. A program that works outside of it works too, but wakes these threads anew for every op.
///
/// # Errors
/// Where threads are in use already.
pub fn on_threads<R: Send>(threads: Option<usize>, work: impl FnOnce() -> R + Send) -> Result<R, Error> {
    let mut pool = rayon::ThreadPoolBuilder::new().stack_size(STACK);
    if let Some(n) = threads {
        pool = pool.num_threads(n);
    }
    pool.build_global().map_err(|e| Error::Threads(e.to_string()))?;
    // A single thread must stay free for what other threads, such as the reader of data, hand to it.
    Ok(if rayon::current_num_threads() > 1 { rayon::scope(|_| work()) } else { work() })
}

/// Bytes of stack of each thread: what a program's main thread usually has.
const STACK: usize = 8 << 20;
