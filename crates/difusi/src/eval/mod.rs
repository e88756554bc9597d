//! How good a model is, by numbers: bits per dimension, as the variational bound ([`BoundEval`]) or along the probability-flow ODE
//! ([`OdeEval`]).
//!
//! An evaluation is a loop of [`BoundEval::advance`] over a [`Reference`] (a data set, its test split where it has one), so that
//! progress bars and stopping early stay with the caller; what is known so far can be read at any time. Memory holds one batch, whatever the
//! number of images. Deliberately absent: metrics of drawn pictures (FID, KID, IS, precision and recall), which are not here yet.

mod bound;
mod ode;
mod output;
mod reference;

use std::str::FromStr;

pub use bound::{BoundEval, BoundOptions, Times};
pub use ode::{OdeEval, OdeOptions, OdeReport};
pub use output::{bound_figure, bound_table};
pub use reference::{Reference, ReferenceOptions};

use crate::Error;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Bits per dimension.
    Bpd,
}

/// Metrics that have a name but no code yet.
const LATER: [&str; 4] = ["fid", "kid", "is", "pr"];

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "bpd" => Ok(Self::Bpd),
            later if LATER.contains(&later) => {
                Err(Error::value("--metrics", format!("{later}, which is not here yet"), "bpd (bits per dimension)"))
            }
            _ => Err(Error::value("--metrics", name, "bpd (bits per dimension)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named() {
        assert_eq!("bpd".parse::<Metric>().unwrap(), Metric::Bpd);
        for (name, part) in [("fid", "not here yet"), ("bdp", "bpd"), ("", "bpd")] {
            let e = name.parse::<Metric>().unwrap_err().to_string();
            assert!(e.contains("--metrics") && e.contains(part), "{e}");
        }
    }
}
