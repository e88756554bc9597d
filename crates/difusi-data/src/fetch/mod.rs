//! Brings the named sets and weights from their official mirrors: checksum, resume, several mirrors, the environment's proxy.
//!
//! A file grows as `NAME.part`, is hashed when whole, and only then gets its name: what has its name is right.
//! Deliberately absent: parallel downloads, any set without a published checksum.

mod hash;
mod http;
mod tar;

#[cfg(test)]
pub(crate) use http::download;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::named::RemoteFile;
use crate::{DataError, NamedSet, NamedWeights};

/// How to fetch; [`FetchOptions::default`] reads the environment.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Address of a mirror used instead of the official ones (`DIFUSI_MIRROR`): files lie at `MIRROR/NAME/FILE`, such as
    /// `http://host/mnist/train-images-idx3-ubyte.gz`, or at `MIRROR/FILE`.
    pub mirror: Option<String>,
    /// Longest time to connect, and to wait for an answer's head; default 20 s.
    pub connect_timeout: Duration,
    /// Longest silence in the middle of a file; default 30 s.
    pub read_timeout: Duration,
    /// How often one mirror is asked again after its connection broke; default 3.
    pub retries: u32,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            mirror: std::env::var("DIFUSI_MIRROR").ok().filter(|m| !m.is_empty()),
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(30),
            retries: 3,
        }
    }
}

/// What happens while fetching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// A file that is there and right already.
    Present {
        /// Its name.
        file: String,
    },
    /// A request begins.
    Started {
        /// The file's name.
        file: String,
        /// The address asked.
        url: String,
        /// Bytes that an earlier attempt left; 0 for a fresh start.
        resumed_from: u64,
    },
    /// Bytes came.
    Progress {
        /// The file's name.
        file: String,
        /// Bytes on disk.
        done: u64,
        /// Bytes in all, where the server says.
        total: Option<u64>,
    },
    /// An attempt failed; another follows, if one is left.
    Failed {
        /// The file's name.
        file: String,
        /// Address and reason.
        reason: String,
    },
    /// A file is whole and its checksum right.
    Finished {
        /// The file's name.
        file: String,
    },
    /// An archive was unpacked.
    Unpacked {
        /// Files taken from it.
        files: usize,
    },
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder, ready for `--data`.
    pub folder: PathBuf,
    /// Bytes received over the network.
    pub received: u64,
}

/// Where events go.
pub(crate) type Events<'a> = &'a mut dyn FnMut(FetchEvent);

/// Fetches a named set into the folder `dest` ([`crate::Search::cache_of`] is where `train` looks). Files that are there
/// and right are not fetched again; `.part` files of an interrupted fetch are continued.
///
/// # Errors
/// [`DataError::Download`] lists every attempt with its reason; [`DataError::Io`] names the file that cannot be written;
/// [`DataError::Busy`] where another process fetches into `dest`.
pub fn fetch(
    set: NamedSet,
    dest: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(FetchEvent),
) -> Result<Fetched, DataError> {
    std::fs::create_dir_all(dest).map_err(DataError::io("create", dest))?;
    let _lock = alone(dest)?;
    let mut received = 0;
    for file in set.files() {
        if set == NamedSet::Cifar10 && tar::is_unpacked(dest) {
            progress(FetchEvent::Present { file: file.name.into() });
            continue;
        }
        received += http::download(file, &urls(set, file, options), dest, options, progress)?;
        if file.name.ends_with(".tar.gz") {
            let archive = dest.join(file.name);
            let files = tar::unpack(&archive, dest)?;
            std::fs::remove_file(&archive).map_err(DataError::io("remove", &archive))?;
            progress(FetchEvent::Unpacked { files });
        }
    }
    Ok(Fetched { folder: dest.to_path_buf(), received })
}

/// Fetches published weights into the folder `dest` ([`crate::Search::weights`] looks in the folder of their name in the cache). As
/// [`fetch`].
///
/// # Errors
/// As [`fetch`].
pub fn fetch_weights(
    weights: NamedWeights,
    dest: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(FetchEvent),
) -> Result<Fetched, DataError> {
    std::fs::create_dir_all(dest).map_err(DataError::io("create", dest))?;
    let _lock = alone(dest)?;
    let file = weights.file();
    let official = || weights.addresses().iter().map(|&a| a.to_owned()).collect();
    let urls = mirrored(weights.name(), file, options).unwrap_or_else(official);
    let received = http::download(file, &urls, dest, options, progress)?;
    Ok(Fetched { folder: dest.to_path_buf(), received })
}

/// A lock on the folder until it is dropped: two fetches would write the same `.part`. Where folders cannot be opened or locked
/// (Windows, some network drives) there is none.
fn alone(dest: &Path) -> Result<Option<File>, DataError> {
    let Ok(folder) = File::open(dest) else { return Ok(None) };
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => Err(DataError::Busy { path: dest.to_path_buf() }),
        _ => Ok(Some(folder)),
    }
}

/// Addresses of a file in the order they are tried.
fn urls(set: NamedSet, file: &RemoteFile, options: &FetchOptions) -> Vec<String> {
    let official = || set.mirrors().iter().map(|m| format!("{m}/{}", file.name)).collect();
    mirrored(set.name(), file, options).unwrap_or_else(official)
}

/// Addresses of a file at the mirror that replaces the official ones, if one does.
fn mirrored(name: &str, file: &RemoteFile, options: &FetchOptions) -> Option<Vec<String>> {
    let mirror = options.mirror.as_ref()?.trim_end_matches('/');
    Some(vec![format!("{mirror}/{name}/{}", file.name), format!("{mirror}/{}", file.name)])
}
