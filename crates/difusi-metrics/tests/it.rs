//! The metrics against the packages that everyone uses, statistics files, and the way from pictures to a verdict.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "it/collect.rs"]
mod collect;
#[path = "it/golden.rs"]
mod golden;
#[path = "it/large.rs"]
mod large;
#[path = "it/statistics.rs"]
mod statistics;

use std::path::PathBuf;

/// A file that xtask/golden/metrics_golden.py made.
fn golden_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}
