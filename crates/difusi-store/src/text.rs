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
