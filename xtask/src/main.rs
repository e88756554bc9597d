//! Chores of the workspace: `cargo xtask config-page` rewrites docs/config.md from the types.
//! The tidy checks are tests (tests/tidy.rs); golden values are made by the scripts in golden/.

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("config-page") => {
            std::fs::write("docs/config.md", difusi::config_page()).context("docs/config.md (run this in the workspace root)")
        }
        other => bail!("{} is no chore; known: config-page", other.unwrap_or("(nothing)")),
    }
}
