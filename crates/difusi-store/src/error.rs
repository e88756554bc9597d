//! What can go wrong with files and tensors; every message names the file or tensor, what was found and what is accepted.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, an infinitive.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is damaged or of another kind.
    #[error("{} is not a readable {format} file: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it was read as.
        format: &'static str,
        /// What was found and expected.
        problem: String,
    },
    /// A pickle asks for a Python object that is not data.
    #[error(
        "{} asks for the Python object `{global}`, which is refused; only tensors, containers, numbers and strings are \
         read, and nothing in the file was executed (save `model.state_dict()` instead of whole objects)",
        path.display()
    )]
    RefusedGlobal {
        /// The file.
        path: PathBuf,
        /// `module.name` of the object.
        global: String,
    },
    /// A tensor is not what it should be.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What was found and expected.
        problem: String,
    },
    /// A tensor or entry is absent.
    #[error("`{name}` is missing; found {found}")]
    Missing {
        /// What was looked for.
        name: String,
        /// What there is instead.
        found: String,
    },
    /// A run folder is in the way.
    #[error("{} already holds a run; use --resume to continue it or --overwrite to start again", .0.display())]
    RunExists(PathBuf),
    /// A folder that is not a run would have to be emptied or read.
    #[error("{} is not a run folder: {problem}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing or in the way.
        problem: &'static str,
    },
    /// Another process writes this run.
    #[error("another process is writing the run {}; stop it first or choose another folder", .0.display())]
    RunLocked(PathBuf),
    /// A value given by the caller is out of range.
    #[error("{what} is {got}; expected {accepted}")]
    Value {
        /// Which value.
        what: String,
        /// What was given.
        got: String,
        /// What is accepted.
        accepted: &'static str,
    },
}

impl StoreError {
    /// Wraps an I/O error: `map_err(StoreError::io("read", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// An error below the level that knows the file's name.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Bad(String),
    Refused(String),
}

impl Fault {
    pub(crate) fn bad<T>(problem: impl Into<String>) -> Result<T, Self> {
        Err(Self::Bad(problem.into()))
    }

    /// Adds the file's name and what it was read as.
    pub(crate) fn at(path: &Path, format: &'static str) -> impl FnOnce(Self) -> StoreError {
        let path = path.to_path_buf();
        move |fault| match fault {
            Self::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                StoreError::Format { path, format, problem: "the file is truncated".into() }
            }
            // Readers of compressed or structured streams report damage as InvalidData.
            Self::Io(source) if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                StoreError::Format { path, format, problem: source.to_string() }
            }
            Self::Io(source) => StoreError::Io { action: "read", path, source },
            Self::Bad(problem) => StoreError::Format { path, format, problem },
            Self::Refused(global) => StoreError::RefusedGlobal { path, global },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl From<zip::result::ZipError> for Fault {
    fn from(error: zip::result::ZipError) -> Self {
        match error {
            zip::result::ZipError::Io(source) => Self::Io(source),
            other => Self::Bad(other.to_string()),
        }
    }
}

/// Up to eight names, then a count: for messages.
pub(crate) fn some_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    if count == 0 {
        return "nothing".into();
    }
    let list: Vec<String> = names.take(8).map(|n| format!("`{n}`")).collect();
    let rest = count - list.len();
    if rest == 0 { list.join(", ") } else { format!("{} and {rest} more", list.join(", ")) }
}
