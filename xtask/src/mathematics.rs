//! The pictures and the measured tables of docs/mathematics.md, made by `difusi::figures`, and what the page must hold to.
//!
//! A table stands between `<!-- table:NAME -->` and `<!-- /table -->`, NAME being that of the drawing whose numbers it shows.

use std::path::Path;

use anyhow::{Context, anyhow};
use difusi::figures::Drawing;
use difusi::store::write_png;

/// The page, below the workspace root.
pub const PAGE: &str = "docs/mathematics.md";

/// Where its pictures are, below the workspace root.
pub const PICTURES: &str = "docs/images/mathematics";

/// Draws every picture (or only those named) and puts the tables into the page.
///
/// # Errors
/// Files that cannot be written, a name that is no drawing's, a page without a place for a table.
pub fn redraw(root: &Path, only: &[String]) -> anyhow::Result<()> {
    if let Some(name) = only.iter().find(|n| !Drawing::NAMES.contains(&n.as_str())) {
        return Err(anyhow!("{name} is no drawing; known: {}", Drawing::NAMES.join(", ")));
    }
    for drawing in Drawing::ALL.iter().filter(|d| only.is_empty() || only.iter().any(|o| o == d.name)) {
        let drawn = drawing.draw()?;
        let path = root.join(PICTURES).join(drawing.name).with_extension("png");
        write_png(&path, &drawn.picture, &[("difusi", &format!("figures --only {}", drawing.name))])?;
        if let Some(table) = &drawn.table {
            let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
            std::fs::write(root.join(PAGE), with_table(&page, drawing.name, table)?).context(PAGE)?;
        }
    }
    Ok(())
}

/// The page with this table in its place.
///
/// # Errors
/// A page without that place.
pub fn with_table(page: &str, name: &str, table: &str) -> anyhow::Result<String> {
    let (open, close) = (format!("<!-- table:{name} -->"), "<!-- /table -->");
    let lacking = || anyhow!("{PAGE} has no {open} .. {close}");
    let (before, rest) = page.split_once(&open).ok_or_else(lacking)?;
    let (_, after) = rest.split_once(close).ok_or_else(lacking)?;
    Ok(format!("{before}{open}\n\n{}\n\n{close}{after}", table.trim()))
}
