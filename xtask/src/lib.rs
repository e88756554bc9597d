//! Chores of the workspace, shared by the command and the tidy checks.

pub mod bench_peers;
pub mod config_page;
pub mod mathematics;
pub mod memcheck;

use std::path::{Path, PathBuf};

/// The workspace root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
