//! What can go wrong with data: every message names the file or the key, what was found and what is accepted.

use std::path::{Path, PathBuf};

use crate::Skipped;

/// A key of `[data]` with a value that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {found}; expected {expected}")]
pub struct KeyError {
    /// Dotted key, such as `data.size`.
    pub key: String,
    /// The value found.
    pub found: String,
    /// What is accepted.
    pub expected: String,
}

/// Why a data set could not be opened, read or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `list`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bad values in the config, all of them.
    #[error("{}", lines(.0))]
    Keys(Vec<KeyError>),
    /// A file that is not what it should be.
    #[error("{}: {what} is {found}; expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Which part of it: `magic number`, `size`, ...
        what: String,
        /// What was found.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A label at or above the number of classes.
    #[error("{}: label of entry {entry} is {label}; expected 0..{}", path.display(), classes.saturating_sub(1))]
    LabelRange {
        /// The file that holds the label.
        path: PathBuf,
        /// 0-based entry (for `metadata.jsonl`: line - 1).
        entry: u64,
        /// The label found.
        label: i64,
        /// Number of classes.
        classes: u32,
    },
    /// Images and labels do not pair up.
    #[error("{} has {labels} labels, but {} has {images} images", path.display(), images_path.display())]
    LabelCount {
        /// The label file.
        path: PathBuf,
        /// Labels in it.
        labels: u64,
        /// The image file.
        images_path: PathBuf,
        /// Images in it.
        images: u64,
    },
    /// Data that lies nowhere.
    #[error("{what} not found\n  looked in:\n{}\n  {hint}", indented(looked))]
    NotFound {
        /// What was wanted.
        what: String,
        /// Every place that was looked at, in order.
        looked: Vec<String>,
        /// What to do about it.
        hint: String,
    },
    /// A folder without images.
    #[error(
        "{}: no images found; expected PNG, JPEG or WebP files, in sub-folders too ({ignored} other files ignored)",
        path.display()
    )]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Files that are no images.
        ignored: u64,
    },
    /// More than 5 % of a folder's images cannot be read.
    #[error("{}: {} of {total} images are broken; expected at most 5 %\n{}", path.display(), broken.len(), first(broken))]
    TooManyBroken {
        /// The folder.
        path: PathBuf,
        /// All that are broken.
        broken: Vec<Skipped>,
        /// Images in the folder.
        total: u64,
    },
    /// One image that cannot be read.
    #[error("{0}")]
    Broken(Skipped),
    /// An index at or above the number of images.
    #[error("image {index} does not exist; the data set has {count}")]
    Index {
        /// The index asked for.
        index: u64,
        /// Number of images.
        count: u64,
    },
    /// A download that failed on every mirror.
    #[error(
        "cannot fetch {file}\n{}\n  a proxy is read from HTTPS_PROXY; another mirror is given with DIFUSI_MIRROR",
        indented(attempts)
    )]
    Download {
        /// The file wanted.
        file: String,
        /// One line per attempt: address and reason.
        attempts: Vec<String>,
    },
    /// Another process fetches into the same folder.
    #[error("another process is fetching into {}; wait for it, or name another folder with --out", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A name that is no known data set or weights.
    #[error("`{name}` is no known data set; expected mnist, fashion-mnist, cifar10 or inception (weights)")]
    UnknownSet {
        /// What was asked for.
        name: String,
    },
}

impl DataError {
    /// Wraps an error of the operating system.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A malformed file.
    pub(crate) fn format(path: &Path, what: &str, found: impl ToString, expected: impl ToString) -> Self {
        Self::Format {
            path: path.to_path_buf(),
            what: what.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

fn lines(keys: &[KeyError]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn indented(items: &[String]) -> String {
    items.iter().map(|l| format!("    {l}")).collect::<Vec<_>>().join("\n")
}

fn first(broken: &[Skipped]) -> String {
    let mut shown: Vec<String> = broken.iter().take(5).map(ToString::to_string).collect();
    if broken.len() > 5 {
        shown.push(format!("... and {} more", broken.len() - 5));
    }
    indented(&shown)
}
