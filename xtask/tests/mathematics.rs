//! docs/mathematics.md against the code: links lead somewhere, named functions exist, pictures and tables are the program's, and no
//! formula is written so that GitHub's Markdown would eat a part of it.

use std::collections::BTreeSet;

use difusi::figures::Drawing;
use xtask::mathematics::{PAGE, PICTURES, with_table};

fn page() -> String {
    std::fs::read_to_string(xtask::root().join(PAGE)).expect("the page")
}

fn report(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// `(text, target)` of every link.
fn links(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in page.match_indices("](") {
        let text = &page[page[..at].rfind('[').map_or(at, |i| i + 1)..at];
        let target = page[at + 2..].split(')').next().unwrap_or_default();
        found.push((text.to_owned(), target.to_owned()));
    }
    found
}

/// Whether the file defines an item, a variant or a field of this name.
fn defines(code: &str, name: &str) -> bool {
    ["fn ", "struct ", "enum ", "trait ", "const ", "mod ", "type ", "", "pub "].iter().any(|word| {
        let start = format!("{word}{name}");
        code.lines().any(|line| {
            let line = line.trim_start();
            let line = ["pub(crate) ", "pub(super) ", "pub ", "const "]
                .iter()
                .fold(line, |l, p| l.strip_prefix(p).unwrap_or(l));
            let end = line.strip_prefix(start.as_str()).and_then(|rest| rest.chars().next());
            // A bare word must look like a variant or a field.
            end.is_some_and(|c| if word.is_empty() { ",:{ (".contains(c) } else { !c.is_alphanumeric() && c != '_' })
        })
    })
}

#[test]
fn every_link_into_the_code_names_what_is_there() {
    let root = xtask::root();
    let mut wrong = Vec::new();
    for (text, target) in links(&page()) {
        let Some(path) = target.strip_prefix("../") else { continue };
        let Ok(code) = std::fs::read_to_string(root.join(path)) else {
            wrong.push(format!("[{text}]({target}): no such file"));
            continue;
        };
        let name = text.trim_matches('`').trim_end_matches("()");
        let name = name.rsplit("::").next().unwrap_or(name);
        if path.ends_with(".rs") && text.starts_with('`') && !defines(&code, name) {
            wrong.push(format!("[{text}]({target}): {name} is not defined there"));
        }
    }
    report("links of docs/mathematics.md", wrong);
}

/// A heading as GitHub names it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_anchor_exists() {
    let page = page();
    let headings = page.lines().filter(|l| l.starts_with('#')).map(|l| slug(l.trim_start_matches('#')));
    let ids = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    let known: BTreeSet<String> = headings.chain(ids).collect();
    let lost = links(&page).into_iter().filter_map(|(_, target)| target.strip_prefix('#').map(str::to_owned));
    report("anchors of docs/mathematics.md", lost.filter(|a| !known.contains(a)).collect());
}

#[test]
fn every_picture_is_drawn_by_the_program() {
    let page = page();
    let mut wrong = Vec::new();
    for (_, target) in links(&page) {
        let name = target.strip_prefix("images/mathematics/");
        if let Some(name) = name.filter(|n| !Drawing::NAMES.contains(&n.trim_end_matches(".png"))) {
            wrong.push(format!("{name} is no drawing"));
        }
    }
    for name in Drawing::NAMES {
        if !page.contains(&format!("(images/mathematics/{name}.png)")) {
            wrong.push(format!("{name} is not on the page"));
        }
        if !xtask::root().join(PICTURES).join(name).with_extension("png").is_file() {
            wrong.push(format!("{name}.png is not there: run `cargo xtask mathematics {name}`"));
        }
    }
    report("pictures of docs/mathematics.md", wrong);
}

/// Redraws what has a table: some seconds.
#[test]
fn tables_are_what_the_program_prints() {
    let page = page();
    for drawing in Drawing::ALL.iter().filter(|d| page.contains(&format!("<!-- table:{} -->", d.name))) {
        let table = drawing.draw().expect("a drawing").table.expect("a table");
        let fresh = with_table(&page, drawing.name, &table).expect("a place");
        assert!(fresh == page, "the table {0} is stale: run `cargo xtask mathematics {0}`\n{table}", drawing.name);
    }
}

/// Inline formulas outside code: GitHub's Markdown takes `\,` for a comma and pairs `_` after a bracket into italics.
#[test]
fn inline_formulas_survive_markdown() {
    let page = page();
    let mut wrong = Vec::new();
    let prose = page.split("```").step_by(2);
    for line in prose.flat_map(str::lines) {
        let outside: String = line.split('`').step_by(2).collect();
        let parts: Vec<&str> = outside.split('$').collect();
        if parts.len().is_multiple_of(2) {
            wrong.push(format!("a lone dollar: {line}"));
        }
        for formula in parts.iter().skip(1).step_by(2) {
            let eaten = ["\\,", "\\;", "\\!", "\\{", "\\}", "\\\\", "\\|", "}_", ")_", "*"];
            if let Some(sign) = eaten.iter().find(|s| formula.contains(**s)) {
                wrong.push(format!("`{sign}` in ${formula}$"));
            }
        }
    }
    report("formulas of docs/mathematics.md", wrong);
}
