//! How good pictures are, by numbers.
//!
//! A [`FeatureExtractor`] turns pictures into features; everything else here is arithmetic on features, in f64 on the host:
//! [`frechet_distance`] (FID, sFID), [`kid()`], [`InceptionScore`], [`Agreement`], [`precision_recall`], [`Nearest`], [`mean_pairwise_distance`], and
//! [`SpectrumSums`] of the pictures themselves. A [`Collector`] gathers what they need in one pass, [`judge()`] asks them all.
//! [`Statistics`] are files that others read and write too.
//!
//! Extractors are [`Pixels`] and the [`NetworkFeatures`] that a [`FeatureSource`] names.
//!
//! Deliberately absent: networks (difusi-nn), where pictures come from (difusi), printing.

mod agreement;
mod bootstrap;
mod collect;
mod error;
mod extract;
mod features;
mod frechet;
mod judge;
mod kid;
mod linalg;
mod moments;
mod neighbours;
mod network;
mod pixels;
mod precision;
mod resize;
mod score;
mod source;
mod spectrum;
mod statistics;

pub use agreement::{Agreement, ClassCount};
pub use bootstrap::frechet_deviation;
pub use collect::{CollectOptions, Collector, KEEP, Metric, Summary};
pub use error::MetricsError;
pub use extract::{Extracted, FeatureExtractor, ImageBatch};
pub use features::Features;
pub use frechet::{Gaussian, frechet_distance};
pub use judge::{ENOUGH, JudgeOptions, PAIRWISE, TooFew, Verdict, enough, judge};
pub use kid::{Kid, KidOptions, kid, kid_of_subsets};
pub use moments::Moments;
pub use neighbours::{Nearest, Neighbour, mean_pairwise_distance};
pub use network::NetworkFeatures;
pub use pixels::Pixels;
pub use precision::{PrecisionRecall, precision_recall};
pub use resize::Resize;
pub use score::{InceptionScore, SPLITS, Score, split_of};
pub use source::{FeatureOptions, FeatureSource, OpenOther};
pub use spectrum::{HIGH, Spectrum, SpectrumSums};
pub use statistics::{Layout, Statistics};
