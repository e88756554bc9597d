//! `metrics.csv`: one row per logged step, appended while training and cut back when an older state is resumed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{StoreError, atomic};

const FORMAT: &str = "metrics.csv";
const STEP: &str = "step";

/// A whole table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Column names after `step`.
    pub columns: Vec<String>,
    /// Step and one value per column; `None` where a cell is empty.
    pub rows: Vec<(u64, Vec<Option<f64>>)>,
}

impl Metrics {
    /// Reads a file. A last line that a crash cut short is ignored; other damage is an error that names the line.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let text = fs::read_to_string(path).map_err(StoreError::io("read", path))?;
        let bad = |problem: String| StoreError::Format { path: path.to_path_buf(), format: FORMAT, problem };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let mut head = lines.next().unwrap_or("").split(',');
        if head.next() != Some(STEP) {
            return Err(bad(format!("its first line does not begin with `{STEP}`")));
        }
        let columns: Vec<String> = head.map(str::to_string).collect();
        let rows = lines
            .enumerate()
            .map(|(i, line)| parse_row(line, columns.len()).ok_or_else(|| bad(format!("line {} is `{line}`", i + 2))))
            .collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    /// `[step, value]` of the rows where a column has a finite value; empty for an unknown column.
    pub fn points(&self, column: &str) -> Vec<[f64; 2]> {
        let Some(c) = self.columns.iter().position(|name| name == column) else {
            return Vec::new();
        };
        self.rows
            .iter()
            .filter_map(|(step, values)| Some([*step as f64, values[c].filter(|v| v.is_finite())?]))
            .collect()
    }

    fn text(&self) -> String {
        let mut text = line_of(STEP, self.columns.iter().cloned());
        for (step, values) in &self.rows {
            text.push_str(&line_of(&step.to_string(), values.iter().map(cell)));
        }
        text
    }
}

/// Appends rows.
#[derive(Debug)]
pub struct MetricsWriter {
    file: File,
    path: PathBuf,
    columns: usize,
}

impl MetricsWriter {
    /// A new file with these columns after `step`; an old one is replaced.
    pub fn create(path: &Path, columns: &[&str]) -> Result<Self, StoreError> {
        let columns = columns.iter().map(|c| c.to_string()).collect();
        Self::rewrite(path, Metrics { columns, rows: Vec::new() })
    }

    /// Continues a file after `step`: later rows are removed. A file that is absent is created. Columns the file lacks
    /// are added, columns it has beside `columns` are an error.
    pub fn resume(path: &Path, columns: &[&str], step: u64) -> Result<Self, StoreError> {
        if !path.exists() {
            return Self::create(path, columns);
        }
        let old = Metrics::read(path)?;
        if let Some(extra) = old.columns.iter().find(|c| !columns.contains(&c.as_str())) {
            let problem = format!("it has a column `{extra}`; expected only {}", columns.join(", "));
            return Err(StoreError::Format { path: path.to_path_buf(), format: FORMAT, problem });
        }
        let place: Vec<Option<usize>> = columns.iter().map(|c| old.columns.iter().position(|o| o == c)).collect();
        let row = |values: Vec<Option<f64>>| place.iter().map(|p| p.and_then(|p| values[p])).collect();
        let rows = old.rows.into_iter().filter(|(s, _)| *s <= step).map(|(s, values)| (s, row(values))).collect();
        Self::rewrite(path, Metrics { columns: columns.iter().map(|c| c.to_string()).collect(), rows })
    }

    /// Fills cells of the row of `step`, or of a new last one: what was measured of that step only later. The file is replaced as a
    /// whole.
    pub fn fill(&mut self, step: u64, cells: &[(&str, f64)]) -> Result<(), StoreError> {
        let mut table = Metrics::read(&self.path)?;
        if table.rows.iter().all(|(s, _)| *s != step) {
            table.rows.push((step, vec![None; table.columns.len()]));
        }
        for (column, value) in cells {
            let Some(c) = table.columns.iter().position(|name| name == column) else {
                let (what, got) = ("name of a column".into(), column.to_string());
                return Err(StoreError::Value { what, got, accepted: "one that metrics.csv has" });
            };
            table.rows.iter_mut().filter(|(s, _)| *s == step).for_each(|(_, values)| values[c] = Some(*value));
        }
        *self = Self::rewrite(&self.path, table)?;
        Ok(())
    }

    fn rewrite(path: &Path, table: Metrics) -> Result<Self, StoreError> {
        atomic::write_bytes(path, table.text().as_bytes())?;
        let file = File::options().append(true).open(path).map_err(StoreError::io("open", path))?;
        Ok(Self { file, path: path.to_path_buf(), columns: table.columns.len() })
    }

    /// Appends a row with one value per column, in one write, so that a kill never mixes two rows.
    pub fn append(&mut self, step: u64, values: &[Option<f64>]) -> Result<(), StoreError> {
        if values.len() != self.columns {
            let (what, got) = ("number of metrics".into(), values.len().to_string());
            return Err(StoreError::Value { what, got, accepted: "one value per column" });
        }
        let line = line_of(&step.to_string(), values.iter().map(cell));
        self.file.write_all(line.as_bytes()).map_err(StoreError::io("append to", &self.path))
    }
}

fn cell(value: &Option<f64>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

fn line_of(first: &str, rest: impl Iterator<Item = String>) -> String {
    let mut line = first.to_string();
    for part in rest {
        line.push(',');
        line.push_str(&part);
    }
    line.push('\n');
    line
}

fn parse_row(line: &str, columns: usize) -> Option<(u64, Vec<Option<f64>>)> {
    let mut cells = line.split(',');
    let step = cells.next()?.parse().ok()?;
    let values =
        cells.map(|c| if c.is_empty() { Some(None) } else { c.parse().ok().map(Some) }).collect::<Option<Vec<_>>>()?;
    (values.len() == columns).then_some((step, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kill after step 5 with a torn row, resume at 3, go on: the same file as without the kill.
    #[test]
    fn resume_cuts_back() {
        let dir = tempfile::tempdir().unwrap();
        let (torn, straight) = (dir.path().join("torn.csv"), dir.path().join("straight.csv"));
        let columns = ["loss", "val"];
        let row = |s: u64| [Some(1.0 / s as f64), s.is_multiple_of(2).then_some(0.1 + s as f64)];
        let mut w = MetricsWriter::create(&torn, &columns).unwrap();
        (1..=5).for_each(|s| w.append(s, &row(s)).unwrap());
        w.file.write_all(b"6,0.1").unwrap();
        assert_eq!(Metrics::read(&torn).unwrap().rows.len(), 5);
        let mut w = MetricsWriter::resume(&torn, &columns, 3).unwrap();
        let mut v = MetricsWriter::create(&straight, &columns).unwrap();
        (4..=8).for_each(|s| w.append(s, &row(s)).unwrap());
        (1..=8).for_each(|s| v.append(s, &row(s)).unwrap());
        assert_eq!(fs::read(&torn).unwrap(), fs::read(&straight).unwrap());
        let table = Metrics::read(&torn).unwrap();
        assert_eq!(table.points("val"), [[2.0, 2.1], [4.0, 4.1], [6.0, 6.1], [8.0, 8.1]]);
        assert!(table.points("absent").is_empty());
        assert!(w.append(9, &[None]).is_err());
    }

    #[test]
    fn columns_may_grow_but_not_vanish() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.csv");
        MetricsWriter::create(&path, &["loss"]).unwrap().append(1, &[Some(f64::NAN)]).unwrap();
        let mut w = MetricsWriter::resume(&path, &["rate", "loss"], 9).unwrap();
        w.append(2, &[Some(0.5), None]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "step,rate,loss\n1,,NaN\n2,0.5,\n");
        let error = MetricsWriter::resume(&path, &["loss"], 9).unwrap_err().to_string();
        assert!(error.contains("`rate`"), "{error}");
    }

    /// A cell that comes late stands where it would have stood, and rows go on after it.
    #[test]
    fn cells_may_come_late() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.csv");
        let mut w = MetricsWriter::create(&path, &["loss", "fid"]).unwrap();
        w.append(1, &[Some(0.5), None]).unwrap();
        w.append(2, &[Some(0.25), None]).unwrap();
        w.fill(2, &[("fid", 7.5)]).unwrap();
        w.append(3, &[Some(0.125), None]).unwrap();
        w.fill(4, &[("fid", 1.0)]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "step,loss,fid\n1,0.5,\n2,0.25,7.5\n3,0.125,\n4,,1\n");
        assert!(w.fill(4, &[("fdi", 1.0)]).unwrap_err().to_string().contains("fdi"));
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.csv");
        for (text, part) in [("", "begin with"), ("step,a\n1,2,3\n", "line 2"), ("step,a\nx,2\n", "line 2")] {
            fs::write(&path, text).unwrap();
            let error = Metrics::read(&path).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("m.csv"), "{error}");
        }
    }
}
