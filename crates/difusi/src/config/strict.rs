//! TOML to a typed value with every mistake reported at once.
//!
//! serde stops at the first error. Here each offending key is noted, taken out, and the rest is tried again, so that a person
//! with three typos reads three lines. Bounds are not checked here: each config's own `check` does that.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ConfigError;

/// Deserialises `section` of `table` (the whole table for `""`), removing and noting each key that does not fit.
/// `None` only where at least one error was noted.
pub(super) fn section<T: DeserializeOwned>(table: &Table, section: &str, errors: &mut Vec<ConfigError>) -> Option<T> {
    let mut value = match section {
        "" => Value::Table(table.clone()),
        name => table.get(name).cloned().unwrap_or_else(|| Value::Table(Table::new())),
    };
    let before = errors.len();
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(v) if errors.len() == before => return Some(v),
            Ok(_) => return None,
            Err(e) => {
                let path: Vec<String> = e.path().iter().filter_map(segment).collect();
                let (path, error) = explain(&value, section, path, &e.inner().to_string());
                // A key that was taken out above is missing now; that was said already. Its table goes too, so that the
                // keys after it are looked at.
                if removed.contains(&path) {
                    let table = path[..path.len() - 1].to_vec();
                    if table.is_empty() || !remove(&mut value, &table) {
                        return None;
                    }
                    removed.push(table);
                    continue;
                }
                errors.push(error);
                if !remove(&mut value, &path) {
                    return None;
                }
                removed.push(path);
            }
        }
    }
}

fn segment(s: &serde_path_to_error::Segment) -> Option<String> {
    use serde_path_to_error::Segment::{Enum, Map, Seq, Unknown};
    match s {
        Map { key } => Some(key.clone()),
        Seq { index } => Some(index.to_string()),
        Enum { .. } | Unknown => None,
    }
}

/// The key to blame and what to say about it. serde names an unknown key only inside its message.
fn explain(root: &Value, section: &str, mut path: Vec<String>, message: &str) -> (Vec<String>, ConfigError) {
    let message = message.lines().next().unwrap_or_default().trim();
    let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
    if message.starts_with("unknown field") {
        let field = quoted.next().unwrap_or_default();
        if path.last() != Some(&field) || at(root, &path).is_none_or(|v| v.is_table() && v.get(&field).is_some()) {
            path.push(field.clone());
        }
        let known: Vec<String> = quoted.collect();
        return (path.clone(), ConfigError::unknown(join(section, &path), &field, &known));
    }
    if message.starts_with("missing field") {
        path.push(quoted.next().unwrap_or_default());
        return (path.clone(), ConfigError::missing(join(section, &path)));
    }
    let got = at(root, &path).map_or_else(|| "absent".to_owned(), ToString::to_string);
    let accepted = match message.split_once("expected ") {
        Some((_, accepted)) => words(accepted),
        None => message.to_owned(),
    };
    // An error inside a tagged table surfaces at the table; blame the whole of it.
    (path.clone(), ConfigError::value(join(section, &path), got, accepted))
}

/// serde's type names in words a person types.
fn words(accepted: &str) -> String {
    match accepted.trim_end_matches(|c: char| c == '.' || c.is_whitespace()) {
        "usize" | "u64" | "u32" | "u8" => "a whole number, 0 or more".into(),
        "i64" | "i32" => "a whole number".into(),
        "f64" | "f32" => "a number".into(),
        "a string" | "string" => "a string".into(),
        "a sequence" => "a list".into(),
        other if other.starts_with("struct ") || other == "a map" => "a table".into(),
        other if other.starts_with("an array of length ") => other.replacen("an array of length ", "a list of ", 1),
        other => other.to_owned(),
    }
}

fn join(section: &str, path: &[String]) -> String {
    std::iter::once(section.to_owned())
        .chain(path.iter().cloned())
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(".")
}

fn at<'a>(root: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(root, |v, key| match v {
        Value::Table(t) => t.get(key),
        Value::Array(a) => a.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Takes the value at `path` (or the nearest table key above an array element) out; false where nothing can be removed.
fn remove(root: &mut Value, path: &[String]) -> bool {
    (1..=path.len()).rev().any(|end| remove_at(root, &path[..end]))
}

fn remove_at(root: &mut Value, path: &[String]) -> bool {
    let Some(table) = root.as_table_mut() else { return false };
    match path {
        [] => false,
        [last] => table.remove(last).is_some(),
        [first, rest @ ..] => table.get_mut(first).is_some_and(|value| remove_at(value, rest)),
    }
}
