//! How good pictures are, by numbers.
//!
//! A [`FeatureExtractor`] turns pictures into features; everything else here is arithmetic on features, in f64 on the host.
//!
//! Deliberately absent: networks (difusi-nn), where pictures come from (difusi), printing.

mod error;
mod extract;
mod network;
mod resize;
mod source;

pub use error::MetricsError;
pub use extract::{Extracted, FeatureExtractor, ImageBatch};
pub use network::NetworkFeatures;
pub use resize::Resize;
pub use source::{FeatureOptions, FeatureSource, OpenOther};
