//! `cargo xtask memcheck`: the unit tests of difusi-ops under valgrind, which finds reads beyond memory and decisions on memory that
//! nobody wrote.
//!
//! valgrind does not know AVX-512 and hides it, so the kernels take their AVX2 path there, and `units_agree` also runs the portable
//! one; the widest is held between guard pages by difusi-ops's tests/guard. Deliberately absent: leaks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Tests that are too long at a fiftieth of the speed, and have small ones beside them.
const LONG: [&str; 1] = ["agrees_with_the_paper"];

/// Runs the tests whose names contain one of `filters` (all if there are none).
///
/// # Errors
/// No valgrind, tests that do not compile, and whatever valgrind or a test finds.
pub fn run(root: &Path, filters: &[String]) -> anyhow::Result<()> {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|found| found.status.success()) {
        bail!("valgrind is not installed; install it with `apt install valgrind` or `dnf install valgrind`");
    }
    let mut tests = Command::new("valgrind");
    tests.args(["--quiet", "--error-exitcode=1", "--leak-check=no", "--fair-sched=yes", "--num-callers=24"]);
    tests.arg(build(root)?).args(["--test-threads=1"]).args(filters).env("RAYON_NUM_THREADS", "2");
    for long in LONG {
        tests.args(["--skip", long]);
    }
    let status = tests.current_dir(root.join("crates/difusi-ops")).status().context("valgrind")?;
    if !status.success() {
        bail!("valgrind or a test found a mistake: see above");
    }
    Ok(())
}

/// Builds the unit tests and says where they are.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["test", "--package", "difusi-ops", "--lib", "--no-run", "--message-format", "json"]);
    let built = build.current_dir(root).stderr(std::process::Stdio::inherit()).output().context("cargo")?;
    if !built.status.success() {
        bail!("the unit tests of difusi-ops do not compile");
    }
    executable(&String::from_utf8_lossy(&built.stdout)).context("cargo named no test program")
}

/// The program that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages.rev().find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_in_the_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"a/deps/difusi_ops-1\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("a/deps/difusi_ops-1")));
        assert_eq!(executable(""), None);
    }
}
