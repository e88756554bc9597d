//! What opening a data set needs to know, and what it found on the way.

use std::fmt;
use std::path::PathBuf;

use difusi_core::Dataset;
use serde::Serialize;

use crate::Search;

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be read.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// How to open a data set; [`OpenOptions::default`] reads the environment.
pub struct OpenOptions<'a> {
    /// Where data may lie.
    pub search: Search,
    /// Decoded bytes of a folder kept in memory (default 1 GiB); images beyond it are decoded again at each use.
    pub memory_budget: u64,
    /// Called from many threads while a folder is decoded with (images done, images in all).
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

impl Default for OpenOptions<'_> {
    fn default() -> Self {
        Self { search: Search::from_env(), memory_budget: 1 << 30, progress: None }
    }
}

impl OpenOptions<'_> {
    /// The environment's search order with an explicit `--data PATH`.
    pub fn with_data(data: Option<PathBuf>) -> Self {
        Self { search: Search { data, ..Search::from_env() }, ..Self::default() }
    }
}

/// What was found while opening.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The files' place; `None` for drawn data.
    pub source: Option<PathBuf>,
    /// Images left out, in file order.
    pub skipped: Vec<Skipped>,
    /// Files that are no images.
    pub ignored: u64,
    /// Names of the classes in label order; empty without labels or names.
    pub class_names: Vec<String>,
    /// Images with a caption.
    pub captions: u64,
    /// Images that did not fit the memory budget and are decoded at each use.
    pub lazy: u64,
}

/// A data set and what was found while opening it.
pub struct Opened {
    /// The images.
    pub dataset: Box<dyn Dataset>,
    /// What was found on the way.
    pub report: Report,
}
