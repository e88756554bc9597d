//! Which images a folder has, in which order, with which labels and captions.
//!
//! With a `metadata.jsonl` anywhere in the folder the data set is what these files list (Hugging Face ImageFolder);
//! otherwise it is every PNG, JPEG and WebP file in it. Hidden files are never looked at. The order is that of the paths
//! below the folder, compared part by part as bytes: the same on every machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Entry;
use super::metadata::{self, RawLabel, Row};
use crate::{DataError, LabelSource, Skipped};

/// Largest integer label accepted in `metadata.jsonl`, plus one.
const MAX_CLASSES: u32 = 65_536;

/// What lies in a folder.
pub(crate) struct Scan {
    pub(crate) entries: Vec<Entry>,
    /// Files that `metadata.jsonl` lists, or links that lead, to where nothing is.
    pub(crate) missing: Vec<Skipped>,
    /// Files that belong to no image.
    pub(crate) ignored: u64,
    pub(crate) class_names: Vec<String>,
    pub(crate) classes: Option<u32>,
}

/// Files of a folder by what they are.
struct Files {
    images: Vec<PathBuf>,
    /// Images that are links to nowhere.
    broken: Vec<Skipped>,
    tables: Vec<PathBuf>,
    others: u64,
}

/// Looks through a folder.
///
/// # Errors
/// A folder that cannot be listed or has no images, a malformed `metadata.jsonl`, labels that do not fit together.
pub(crate) fn scan(root: &Path, labels: LabelSource) -> Result<Scan, DataError> {
    let files = list(root)?;
    if files.tables.is_empty() {
        if files.images.is_empty() && files.broken.is_empty() {
            return Err(DataError::Empty { path: root.to_path_buf(), ignored: files.others });
        }
        if labels == LabelSource::Metadata {
            let e = "a metadata.jsonl with keys `file_name` and `label`, since `labels` is `metadata`";
            return Err(DataError::format(root, "folder", "without metadata.jsonl", e));
        }
        return from_files(root, files, labels);
    }
    from_tables(root, &files, labels)
}

fn list(root: &Path) -> Result<Files, DataError> {
    let mut files = Files { images: Vec::new(), broken: Vec::new(), tables: Vec::new(), others: 0 };
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX";
    let walk = WalkDir::new(root).follow_links(true).into_iter();
    for item in walk.filter_entry(|e| e.depth() == 0 || !hidden(e.file_name())) {
        let item = match item {
            Ok(item) => item,
            Err(e) if leads_nowhere(&e) => {
                let path = e.path().unwrap_or(root).to_path_buf();
                match path.file_name() {
                    Some(name) if hidden(name) => {}
                    _ if is_image_name(&path) => {
                        files.broken.push(Skipped { path, reason: "a link to a file that is not there".into() });
                    }
                    _ => files.others += 1,
                }
                continue;
            }
            Err(e) => return Err(unlistable(root, e)),
        };
        if !item.file_type().is_file() {
            continue;
        }
        if item.file_name() == "metadata.jsonl" {
            files.tables.push(item.into_path());
        } else if is_image_name(item.path()) {
            files.images.push(item.into_path());
        } else {
            files.others += 1;
        }
    }
    files.tables.sort();
    Ok(files)
}

/// Whether what failed is one link below the folder whose target is gone.
fn leads_nowhere(e: &walkdir::Error) -> bool {
    e.depth() > 0 && e.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

fn unlistable(root: &Path, e: walkdir::Error) -> DataError {
    let path = e.path().unwrap_or(root).to_path_buf();
    let message = e.to_string();
    let source = e.into_io_error().unwrap_or_else(|| std::io::Error::other(message));
    DataError::Io { action: "list", path, source }
}

/// Whether a file's name ends as that of an image read here.
pub(crate) fn is_image_name(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|e| ["png", "jpg", "jpeg", "jfif", "webp"].contains(&e.as_str()))
}

/// Path below the root with `/` between the parts.
fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn by_parts(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    a.name.split('/').cmp(b.name.split('/'))
}

fn from_files(root: &Path, files: Files, labels: LabelSource) -> Result<Scan, DataError> {
    let Files { images, broken: mut missing, others: ignored, .. } = files;
    missing.sort_by(|a, b| a.path.cmp(&b.path));
    let entry = |path: PathBuf| Entry { name: name_below(root, &path), path, label: None, caption: None };
    let mut entries: Vec<Entry> = images.into_iter().map(entry).collect();
    entries.sort_by(by_parts);
    let names: BTreeSet<String> = entries.iter().filter_map(|e| Some(e.name.split_once('/')?.0.to_string())).collect();
    let outside = entries.iter().find(|e| !e.name.contains('/'));
    let use_folders = match labels {
        LabelSource::Folders => true,
        LabelSource::Auto => outside.is_none() && names.len() >= 2,
        LabelSource::Metadata | LabelSource::None => false,
    };
    if !use_folders {
        return Ok(Scan { entries, missing, ignored, class_names: Vec::new(), classes: None });
    }
    by_folder(entries, missing, ignored)
}

/// Labels from the first part of the name.
fn by_folder(mut entries: Vec<Entry>, missing: Vec<Skipped>, ignored: u64) -> Result<Scan, DataError> {
    if let Some(e) = entries.iter().find(|e| !e.name.contains('/')) {
        let expected = "every image in a class sub-folder, since `labels` is `folders`";
        return Err(DataError::format(&e.path, "place", "directly in the folder", expected));
    }
    let first = |e: &Entry| e.name.split('/').next().unwrap_or_default().to_string();
    let names: Vec<String> = entries.iter().map(first).collect::<BTreeSet<_>>().into_iter().collect();
    for e in &mut entries {
        e.label = names.binary_search(&first(e)).ok().map(|i| i as u32);
    }
    Ok(Scan { entries, missing, ignored, classes: Some(names.len() as u32), class_names: names })
}

/// The data set that the tables list.
fn from_tables(root: &Path, files: &Files, source: LabelSource) -> Result<Scan, DataError> {
    let mut rows = Vec::new();
    for table in &files.tables {
        rows.extend(metadata::read(table)?);
    }
    if rows.is_empty() {
        return Err(DataError::format(&files.tables[0], "table", "empty", "one line per image"));
    }
    rows.sort_by(|a, b| name_below(root, &a.path).split('/').cmp(name_below(root, &b.path).split('/')));
    let (rows, absent): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|r| r.path.is_file());
    let reason = |r: &Row| format!("listed in {} line {} but not there", r.table.display(), r.line);
    let missing: Vec<Skipped> = absent.iter().map(|r| Skipped { reason: reason(r), path: r.path.clone() }).collect();
    let used: BTreeSet<&Path> = rows.iter().map(|r| r.path.as_path()).collect();
    let ignored = files.others + files.images.iter().filter(|p| !used.contains(p.as_path())).count() as u64;
    let (labels, class_names, classes) = match source {
        LabelSource::None | LabelSource::Folders => (vec![None; rows.len()], Vec::new(), None),
        LabelSource::Auto if rows.iter().all(|r| r.label.is_none()) => (vec![None; rows.len()], Vec::new(), None),
        LabelSource::Auto | LabelSource::Metadata => resolve(&rows)?,
    };
    let entries: Vec<Entry> = rows
        .into_iter()
        .zip(labels)
        .map(|(r, label)| Entry { name: name_below(root, &r.path), path: r.path, label, caption: r.caption })
        .collect();
    match source {
        LabelSource::Folders => by_folder(entries, missing, ignored),
        _ => Ok(Scan { entries, missing, ignored, class_names, classes }),
    }
}

type Resolved = (Vec<Option<u32>>, Vec<String>, Option<u32>);

/// Labels of all rows: all integers, or all names (numbered in sorted order).
fn resolve(rows: &[Row]) -> Result<Resolved, DataError> {
    let wrong = |r: &Row, found: &str, expected: &str| {
        DataError::format(&r.table, &format!("label in line {}", r.line), found, expected)
    };
    let mut names = BTreeSet::new();
    let mut numbers = Vec::new();
    for r in rows {
        match &r.label {
            None => return Err(wrong(r, "missing", "a label in every line, or in none")),
            Some(RawLabel::Name(n)) => drop(names.insert(n.as_str())),
            Some(RawLabel::Number(n)) if (0..i64::from(MAX_CLASSES)).contains(n) => numbers.push(*n as u32),
            Some(RawLabel::Number(n)) => {
                let (path, entry) = (r.table.clone(), r.line - 1);
                return Err(DataError::LabelRange { path, entry, label: *n, classes: MAX_CLASSES });
            }
        }
        if !names.is_empty() && !numbers.is_empty() {
            return Err(wrong(r, "of another kind than before", "integers in every line, or names in every line"));
        }
    }
    if names.is_empty() {
        let classes = numbers.iter().max().map(|m| m + 1);
        return Ok((numbers.into_iter().map(Some).collect(), Vec::new(), classes));
    }
    let names: Vec<&str> = names.into_iter().collect();
    let number = |r: &Row| match &r.label {
        Some(RawLabel::Name(n)) => names.binary_search(&n.as_str()).ok().map(|i| i as u32),
        _ => None,
    };
    let labels = rows.iter().map(number).collect();
    Ok((labels, names.iter().map(ToString::to_string).collect(), Some(names.len() as u32)))
}
