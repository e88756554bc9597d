//! Networks of difusi: a configuration (serde), checked, becomes a network (`init`), which is a
//! [`difusi_core::Network`]. [`params`] takes weights in and out under the names they have on disk.
//!
//! Deliberately absent: schedules, losses, optimisers, files. A network does not know which device it runs on.

mod error;
pub mod features;
pub mod layers;
pub mod params;
pub mod unet;

pub use error::{ConfigIssue, NnError, ShapeMismatch, WeightIssues};
pub use params::{ParamInfo, Weight};
pub use unet::ddp::{Unet, UnetConfig};
