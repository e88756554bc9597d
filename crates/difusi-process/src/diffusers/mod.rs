//! Agreement with the schedulers of diffusers 0.42.1.

mod check;
mod class;
mod config;
mod settings;

pub use class::SchedulerClass;
pub use config::{DIFFUSERS_VERSION, Loaded, SchedulerConfig};
pub use settings::{
    Algorithm, BetaSchedule, FinalSigmas, Interpolation, PredictionType, Settings, SigmaSchedule, SolverType, Spacing,
    TimeShift, TimestepType, VarianceType,
};
