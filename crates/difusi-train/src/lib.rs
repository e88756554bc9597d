//! Training: everything between a data set and a trained network that is the same for every network and every loss.
//!
//! A [`Trainer`] is an iterator of steps. It knows an [`Objective`] (what the loss of a batch is) and nothing of
//! architectures, diffusion, files a person reads, or terminals: pictures, progress, printing and signals are the caller's.
//! Two promises shape the code. **Resume is bit-exact**: everything that decides a bit of a weight is a pure function of the
//! config and of what [`Trainer::save_state`] writes. **The thread count changes nothing**: losses and gradient norms are
//! summed in a fixed order, and the optimiser touches every element alone.
//!
//! Deliberately absent: several devices, optimisers other than Adam's family.

mod choices;
mod config;
mod ema;
mod error;
mod gradient;
mod loader;
mod memory;
mod objective;
mod optimizer;
mod order;
mod params;
mod parts;
mod precision;
mod report;
mod state;
mod trainer;
mod validation;

pub use choices::{LearningRateSchedule, MicroBatch, OptimizerConfig};
pub use config::{ConfigIssue, TrainConfig};
pub use ema::ema_decay;
pub use error::{ConfigIssues, TrainError};
pub use memory::{auto_micro_batch, available_memory};
pub use objective::{DiffusionObjective, Objective, Phase, StepContext};
pub use parts::PartSums;
pub use report::{StepReport, TrainerOptions, Weights};
pub use trainer::Trainer;
pub use validation::Validation;
