//! Chores of the workspace: `cargo xtask config-page` rewrites docs/config.md from the config types.
//! The tidy checks are tests (tests/tidy.rs); golden values are made by the scripts in golden/.

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("config-page") => {
            let (root, docs) = (xtask::root(), xtask::root().join("docs"));
            std::fs::create_dir_all(&docs).context("docs")?;
            std::fs::write(docs.join("config.md"), xtask::config_page::config_page(&root)?).context("docs/config.md")
        }
        other => bail!("{} is no chore; known: config-page", other.unwrap_or("(nothing)")),
    }
}
