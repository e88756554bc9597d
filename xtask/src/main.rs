//! Chores of the workspace: `cargo xtask config-page` rewrites docs/config.md from the config types, `cargo xtask bench-peers`
//! times the networks of bench/ here and in PyTorch, `cargo xtask mathematics [NAME..]` redraws the pictures and tables of
//! docs/mathematics.md, `cargo xtask memcheck` runs the kernels' tests under valgrind. The tidy checks are tests (tests/tidy.rs);
//! golden values are made by the scripts in golden/.

use std::io::Write;

use anyhow::{Context, bail};
use xtask::bench_peers::{self, Options};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("config-page") => {
            let (root, docs) = (xtask::root(), xtask::root().join("docs"));
            std::fs::create_dir_all(&docs).context("docs")?;
            std::fs::write(docs.join("config.md"), xtask::config_page::config_page(&root)?).context("docs/config.md")
        }
        Some("bench-peers") => {
            let mut say = |line: &str| {
                let _unread = writeln!(std::io::stderr(), "{line}");
            };
            let page = bench_peers::run(&Options::parse(arguments)?, &xtask::root(), &mut say)?;
            Ok(write!(std::io::stdout(), "{page}")?)
        }
        Some("mathematics") => xtask::mathematics::redraw(&xtask::root(), &arguments.collect::<Vec<_>>()),
        Some("memcheck") => xtask::memcheck::run(&xtask::root(), &arguments.collect::<Vec<_>>()),
        other => bail!(
            "{} is no chore; known: config-page, bench-peers, mathematics, memcheck",
            other.unwrap_or("(nothing)")
        ),
    }
}
