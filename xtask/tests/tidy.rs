//! The tidy checks of the house: module docs, file length, who may import whom, nothing of one machine in the tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines a source file may have before it is two rooms.
const MAX_LINES: usize = 420;

/// Who may import whom (ARCHITECTURE.md): the rooms of ours that each crate may name in `[dependencies]`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("workspace-hack", &[]),
    ("difusi-core", &[]),
    ("difusi-ops", &["difusi-core"]),
    ("difusi-data", &["difusi-core"]),
    ("difusi-store", &["difusi-core"]),
    ("difusi-process", &["difusi-core", "difusi-ops"]),
    ("difusi-nn", &["difusi-core", "difusi-ops"]),
    ("difusi-train", &["difusi-core", "difusi-ops", "difusi-process", "difusi-store"]),
    ("difusi-metrics", &["difusi-core", "difusi-data", "difusi-nn", "difusi-store"]),
    (
        "difusi",
        &[
            "difusi-core",
            "difusi-data",
            "difusi-metrics",
            "difusi-nn",
            "difusi-ops",
            "difusi-process",
            "difusi-store",
            "difusi-train",
        ],
    ),
    ("difusi-cli", &["difusi"]),
    ("xtask", &["difusi"]),
];

fn root() -> PathBuf {
    xtask::root()
}

/// Every file below `folder` whose name ends in `.ext`, build output left out.
fn files(folder: &Path, ext: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("a readable folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && !["target", "runs", ".git"].iter().any(|skip| name == *skip) {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == ext) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a UTF-8 file")
}

fn report(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let lacking = files(&root(), "rs").into_iter().filter(|p| !read(p).starts_with("//!"));
    report("these files do not open with a `//!` line", lacking.map(|p| p.display().to_string()).collect());
}

#[test]
fn files_are_short() {
    let long = files(&root(), "rs").into_iter().filter_map(|p| {
        let lines = read(&p).lines().count();
        (lines > MAX_LINES).then(|| format!("{} has {lines} lines, at most {MAX_LINES}", p.display()))
    });
    report("split these files", long.collect());
}

#[test]
fn dependencies_only_go_down() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for manifest in files(&root().join("crates"), "toml").into_iter().filter(|p| p.ends_with("Cargo.toml")) {
        let text = read(&manifest);
        let name = manifest.parent().and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or_default();
        let Some(may) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table of xtask/tests/tidy.rs"));
            continue;
        };
        let dependencies = text.split("\n[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if (dependency == "difusi" || dependency.starts_with("difusi-")) && !may.contains(&dependency) {
                wrong.push(format!("{name} imports {dependency}, may import {may:?}"));
            }
        }
    }
    report("against the direction of ARCHITECTURE.md", wrong);
}

#[test]
fn only_ops_has_unsafe_code() {
    let wrong = files(&root().join("crates"), "rs").into_iter().filter(|p| {
        !p.components().any(|c| c.as_os_str() == "difusi-ops")
            && read(p).lines().any(|l| l.contains("unsafe {") || l.contains("unsafe fn"))
    });
    report("unsafe code outside difusi-ops", wrong.map(|p| p.display().to_string()).collect());
}

/// Source files of the crates other than `except`, without their test modules.
fn sources(except: &[&str]) -> Vec<(PathBuf, String)> {
    let skip = |p: &Path| p.components().any(|c| except.iter().any(|e| c.as_os_str() == *e));
    let test =
        |p: &Path| p.components().any(|c| ["tests", "tests.rs", "testing.rs"].iter().any(|t| c.as_os_str() == *t));
    let product = |p: &PathBuf| p.components().any(|c| c.as_os_str() == "src") && !skip(p) && !test(p);
    let text = |p: PathBuf| {
        let all = read(&p);
        let code = all.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        (p, code)
    };
    files(&root().join("crates"), "rs").into_iter().filter(product).map(text).collect()
}

#[test]
fn only_data_and_store_open_files() {
    let wrong = sources(&["difusi-data", "difusi-store"]).into_iter().filter(|(_, text)| {
        ["std::fs", "fs::read", "fs::write", "File::open", "File::create"].iter().any(|word| text.contains(word))
    });
    report("files opened outside difusi-data and difusi-store", wrong.map(|(p, _)| p.display().to_string()).collect());
}

#[test]
fn nothing_panics_on_purpose() {
    let words = [".unwrap()", ".expect(", "panic!(", concat!("to", "do!("), concat!("unimpl", "emented!(")];
    let wrong = sources(&[]).into_iter().flat_map(|(path, text)| {
        let line = |(i, l): (usize, &str)| {
            let code = l.split("//").next().unwrap_or_default();
            words.iter().any(|w| code.contains(w)).then(|| format!("{}:{}: {}", path.display(), i + 1, l.trim()))
        };
        text.lines().enumerate().filter_map(line).collect::<Vec<_>>()
    });
    report("panics outside tests", wrong.collect());
}

#[test]
fn nothing_of_one_machine() {
    // Built from pieces, so that this file does not find itself.
    let marks: Vec<String> = ["work", "root", "farm"].iter().map(|m| format!("/{m}/")).collect();
    let mut wrong = Vec::new();
    for ext in ["rs", "toml", "md", "py", "sh"] {
        for path in files(&root(), ext) {
            for (i, line) in read(&path).lines().enumerate() {
                if marks.iter().any(|m| line.contains(m.as_str())) {
                    wrong.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
                }
            }
        }
    }
    report("paths of one machine", wrong);
}

#[test]
fn every_config_is_a_preset_that_parses() {
    let mut wrong = Vec::new();
    for path in files(&root().join("configs"), "toml") {
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if !difusi::presets::names().any(|known| known == name) {
            wrong.push(format!("{} is not compiled in as a preset", path.display()));
        }
        if let Err(e) = difusi::RunConfig::parse(&read(&path)) {
            wrong.push(format!("{}: {e}", path.display()));
        }
    }
    report("configs", wrong);
}

#[test]
fn the_config_page_is_up_to_date() {
    let page = read(&root().join("docs/config.md"));
    assert!(
        page == xtask::config_page::config_page(&root()).expect("the config types"),
        "docs/config.md is stale: run `cargo xtask config-page`"
    );
}
