//! The mathematics of diffusion: small values that answer one question each, in the words of DDPM (arXiv:2006.11239).
//!
//! | value | answers |
//! |---|---|
//! | [`Schedule`], [`Tables`] | how much signal and noise step t holds |
//! | [`Process`], [`Level`], [`Jump`] | the same as a curve, at any time, and what lies between two times |
//! | [`q_sample`], [`q_step`], [`q_posterior`] | the forward process and its reversal when x_0 is known |
//! | [`Prediction`] | what the network outputs |
//! | [`Loss`], [`Weighting`], [`TimeDistribution`] | what training minimises, and at which times |
//! | [`Guidance`], [`Classify`] | how a model is led to what it is asked for |
//! | [`Threshold`] | what happens to a predicted x_0 |
//! | [`Grid`], [`Solver`], [`Variance`] | which steps sampling visits, and how it moves between them |
//! | [`Rates`], [`score`] | the process as an SDE, and the gradient of its log-density |
//! | [`edit`] | pictures changed with the same models |
//! | [`Denoise`] | the seam between networks and solvers |
//! | [`mixture::Mixture`] | data whose denoiser is exact, which all of it is held against |
//! | [`trial::Trial`] | how far a solver ends from the exact answer |
//!
//! Indexing: `t` is 0-based everywhere in code (`0..T`, what networks, files and flags use); the papers' `t` is one more, and
//! their `t = 0`, the data itself, is `None` where a step can be that. All schedule arithmetic is f64 on the host and is cast
//! once at the tensor boundary. Images are `[B, H, W, C]` in `[-1, 1]`. Randomness is an argument.
//!
//! Deliberately absent: networks, files, clocks, printing, optimisers.

mod beta;
pub mod bound;
pub mod choice;
mod config;
mod denoise;
pub mod diffusers;
mod diffusion;
pub mod edit;
mod error;
mod forward;
mod grid;
mod guidance;
pub mod guided;
mod interpolate;
mod learned;
mod level;
pub mod likelihood;
mod loss;
pub mod mixture;
mod noise_source;
mod pairs;
pub mod peer;
mod peer_buffers;
mod plan;
mod prediction;
mod process;
mod sampler;
mod schedule;
pub mod score;
mod sde;
mod solver;
mod tables;
mod threshold;
mod times;
mod torch_rng;
mod training;
pub mod trial;
mod variance;
mod weighting;

pub use choice::Choice;
pub use config::{CondKind, DiffusionConfig, SampleConfig};
pub use denoise::{Denoise, Denoised, NetworkDenoiser};
pub use diffusion::Diffusion;
pub use error::{ProcessError, ValueError};
pub use forward::{ForwardWalk, Posterior, q_posterior, q_sample, q_step};
pub use grid::{AlignedModel, End, Grid};
pub use guidance::{Classify, Guidance};
pub use interpolate::{mix, slerp};
pub use level::{Jump, Level};
pub use loss::Loss;
pub use noise_source::NoiseSource;
pub use peer_buffers::Buffer;
pub use plan::{Lift, Plan, Rounding, Stage};
pub use prediction::Prediction;
pub use process::Process;
pub use sampler::{Constrain, SampleStep, Sampler, sample};
pub use schedule::Schedule;
pub use score::{Norms, StepSize};
pub use sde::Rates;
pub use solver::{
    Churn, Curvature, DpmAlgorithm, DpmKind, EpsSource, InverseTime, IpndmStart, PndmMean, PndmWarmup, Predictor,
    Solver, StepSet, UnipcKind,
};
pub use tables::Tables;
pub use threshold::Threshold;
pub use times::{LossHistory, TimeDistribution};
pub use torch_rng::TorchRng;
pub use training::{Position, TrainingInputs};
pub use variance::Variance;
pub use weighting::Weighting;
