//! How good a model is, by numbers: bits per dimension, as the variational bound ([`BoundEval`]) or along the probability-flow ODE
//! ([`OdeEval`]); of a VAE and a flow as [`LatentEval`] has it; and how good pictures are, drawn by a model or brought by anyone:
//! [`collect`] looks at a [`PictureSource`] through an extractor of [`features`], [`difusi_metrics::judge()`] compares two sides.
//!
//! An evaluation of a model is a loop of [`BoundEval::advance`] over a [`Reference`] (a data set, its test split where it has one), so that
//! progress bars and stopping early stay with the caller; what is known so far can be read at any time. Memory holds one batch, whatever the
//! number of images.

mod bound;
mod calibration;
mod classifier;
mod collect;
mod latent;
mod ode;
mod output;
mod pictures;
mod reference;

use std::str::FromStr;

pub use bound::{BoundEval, BoundOptions, Times};
pub use calibration::Calibration;
pub use classifier::classifier_features;
pub use collect::{collect, features};
pub use latent::{LatentEval, LatentOptions, LatentReport};
pub use ode::{OdeEval, OdeOptions, OdeReport};
pub use output::{bound_figure, bound_table};
pub use pictures::{PictureOptions, PictureSource, PicturesAt, Take, is_model};
pub use reference::{Reference, ReferenceOptions};

use crate::Error;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Bits per dimension of a model.
    Bpd,
    /// Something of pictures.
    Pictures(difusi_metrics::Metric),
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name.parse() {
            Ok(metric) => Ok(Self::Pictures(metric)),
            Err(_) if name == "bpd" => Ok(Self::Bpd),
            Err(_) => {
                let others = difusi_metrics::Metric::ALL.map(difusi_metrics::Metric::name).join(", ");
                Err(Error::value("--metrics", name, format!("bpd (bits per dimension), {others}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named() {
        assert_eq!("bpd".parse::<Metric>().unwrap(), Metric::Bpd);
        assert_eq!("pr".parse::<Metric>().unwrap(), Metric::Pictures(difusi_metrics::Metric::PrecisionRecall));
        for (name, part) in [("fdi", "fid"), ("bdp", "bpd"), ("", "bpd")] {
            let e = name.parse::<Metric>().unwrap_err().to_string();
            assert!(e.contains("--metrics") && e.contains(part), "{e}");
        }
    }
}
