//! Helpers of the tests.

use std::path::PathBuf;

/// A folder of `../shared/data`, or `None` after saying why: the data lies beside the repository and may be absent.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("DIFUSI_SHARED").map_or(beside, PathBuf::from);
    let path = root.join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("DIFUSI_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{} is absent", path.display());
    println!("skipped: {} is absent", path.display());
    None
}
