//! Networks of difusi: a configuration (serde), checked, becomes a network (`init`), which is a
//! [`difusi_core::Network`], or one of [`baselines`], or the [`classifier`]. [`params`] takes weights in and out under the names they have on disk.
//!
//! Deliberately absent: schedules, losses (but for likelihoods), optimisers, files. A network does not know which device it runs on.

pub mod baselines;
pub mod classifier;
mod error;
pub mod features;
pub mod layers;
pub mod params;
pub mod unet;

pub use baselines::{flow::Flow, flow::FlowConfig, gan::Gan, gan::GanConfig, vae::Vae, vae::VaeConfig};
pub use classifier::{Classifier, ClassifierConfig};
pub use error::{ConfigIssue, NnError, ShapeMismatch, WeightIssues};
pub use params::{ParamInfo, Weight};
pub use unet::adm::{Adm, AdmConfig, NoisyClassifier};
pub use unet::ddp::{Unet, UnetConfig};
