//! Text files that people write: configs.

use std::path::Path;

use crate::StoreError;

/// The whole file as UTF-8 text.
///
/// # Errors
/// A file that is absent, unreadable or not UTF-8; the error names it.
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path).map_err(StoreError::io("read", path))
}

/// The whole file as it is.
///
/// # Errors
/// A file that is absent or unreadable; the error names it.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(StoreError::io("read", path))
}

/// Writes `text` into a file of the kernel's that takes commands (below /proc), as it is: such a file cannot be replaced.
pub fn tell_kernel(path: &Path, text: &str) -> Result<(), StoreError> {
    std::fs::write(path, text).map_err(StoreError::io("write", path))
}
