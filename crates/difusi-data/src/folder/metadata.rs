//! `metadata.jsonl` of Hugging Face's ImageFolder: one JSON object per line with `file_name` (relative to the table) and
//! optionally `label` (integer or name) and `text` or `caption`. Other keys are left alone.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::DataError;

/// A label as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum RawLabel {
    Number(i64),
    Name(String),
}

/// One line; unknown keys are other people's and allowed.
#[derive(Deserialize)]
struct Line {
    file_name: String,
    #[serde(default)]
    label: Option<RawLabel>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    caption: Option<String>,
}

/// One line, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) path: PathBuf,
    pub(crate) label: Option<RawLabel>,
    pub(crate) caption: Option<String>,
    pub(crate) table: PathBuf,
    /// 1-based.
    pub(crate) line: u64,
}

/// Reads a table.
///
/// # Errors
/// A line that is no such object, a file name that leads out of the folder.
pub(crate) fn read(table: &Path) -> Result<Vec<Row>, DataError> {
    let text = std::fs::read_to_string(table).map_err(DataError::io("read", table))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    lines.map(|(i, l)| parse(table, l, i as u64 + 1)).collect()
}

fn parse(table: &Path, text: &str, line: u64) -> Result<Row, DataError> {
    let what = format!("line {line}");
    let parsed: Line = serde_json::from_str(text).map_err(|e| {
        let expected = "a JSON object with `file_name` and optionally `label` (integer or name) and `text`";
        DataError::format(table, &what, format!("not understood ({e})"), expected)
    })?;
    let below = PathBuf::from(parsed.file_name.replace('\\', "/"));
    let inside = below.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside || parsed.file_name.is_empty() {
        let found = format!("`{}`", parsed.file_name);
        return Err(DataError::format(table, &format!("`file_name` in {what}"), found, "a path inside the folder"));
    }
    let folder = table.parent().unwrap_or(Path::new(""));
    let below: PathBuf = below.components().filter(|c| *c != Component::CurDir).collect();
    let caption = parsed.text.or(parsed.caption);
    Ok(Row { path: folder.join(below), label: parsed.label, caption, table: table.to_path_buf(), line })
}
