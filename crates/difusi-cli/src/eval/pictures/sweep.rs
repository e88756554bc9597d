//! `difusi eval --sweep`: one key of sampling at several values, and what each does to fidelity and diversity.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use difusi::Device;
use difusi::metrics::{
    Agreement, CollectOptions, FeatureExtractor, JudgeOptions, KidOptions, Metric, TooFew, Verdict, judge,
};
use difusi::store::atomic::write_bytes;
use difusi::store::plot::{Axis, Chart, Figure, Mark, Series};

use super::{drawn, look, of_reference, reference};
use crate::args::{AskArgs, EvalArgs};
use crate::eval::watch;
use crate::usage::{Interrupted, usage};

/// Columns of the table.
const COLUMNS: [&str; 8] = ["fid", "kid", "is", "precision", "recall", "fine_detail", "diversity", "labels"];

/// A key of `[sample]` and the values it takes.
struct Sweep {
    key: String,
    values: Vec<String>,
}

impl Sweep {
    /// `guidance=1,2,4`, or any other key of `[sample]`.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (key, values) = text.split_once('=').unwrap_or((text, ""));
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect();
        if key.trim().is_empty() || values.len() < 2 {
            return Err(usage(format!(
                "--sweep is {text}; expected a key and two values or more, as in guidance=1,2,4,8 or steps=5,10,20"
            )));
        }
        Ok(Self { key: key.trim().to_owned(), values })
    }

    /// What a value stands for, beside what was typed.
    fn overrides(&self, value: &str, typed: &[String]) -> anyhow::Result<Vec<String>> {
        if self.key != "guidance" {
            return Ok([typed, &[format!("{}={value}", self.key)]].concat());
        }
        let scale = value.parse().map_err(|_| usage(format!("--sweep guidance={value}; expected numbers")))?;
        Ok(AskArgs::overrides(Some(scale), typed))
    }

    /// Where a value lies on an axis: words lie beside each other.
    fn place(&self, i: usize) -> f64 {
        self.values[i].parse().unwrap_or(i as f64)
    }
}

/// Draws and judges at every value, the data being looked at once; writes `sweep.csv` and `sweep.png`.
pub(super) fn sweep(
    args: &EvalArgs,
    (text, metrics): (&str, &[Metric]),
    extractor: &dyn FeatureExtractor,
    (device, json): (&Device, bool),
) -> anyhow::Result<()> {
    let sweep = Sweep::parse(text)?;
    // Every value is checked before the first picture is drawn.
    for value in &sweep.values {
        drawn(args, &sweep.overrides(value, &args.overrides)?, device)?;
    }
    let (stop, keeps) = (watch("batch")?, CollectOptions::of(metrics));
    let mut theirs = None;
    let mut rows: Vec<(String, Verdict)> = Vec::new();
    for value in &sweep.values {
        let subject = drawn(args, &sweep.overrides(value, &args.overrides)?, device)?;
        if theirs.is_none() {
            let side = reference(args, &subject, true)?;
            theirs = Some(look(&side, extractor, &of_reference(&keeps), &stop)?);
        }
        if stop.load(Ordering::SeqCst) {
            break;
        }
        errln!("{} = {value}", sweep.key);
        let ours = look(&subject, extractor, &keeps, &stop)?;
        if stop.load(Ordering::SeqCst) {
            break; // a row of fewer pictures is no row of this table
        }
        let options = JudgeOptions {
            kid: KidOptions { seed: args.seed, ..KidOptions::default() },
            too_few: if args.force { TooFew::Force } else { TooFew::Refuse },
            ..JudgeOptions::default()
        };
        rows.push((value.clone(), judge(&ours, theirs.as_ref(), metrics, &options)?));
    }
    if rows.is_empty() {
        errln!("stopped before anything was judged");
        return Err(Interrupted.into());
    }
    let written = write(args, &sweep, &rows)?;
    say(&sweep, &rows, &written, json);
    if rows.len() < sweep.values.len() {
        errln!("stopped after {} of {} values; these are their results", rows.len(), sweep.values.len());
        return Err(Interrupted.into());
    }
    Ok(())
}

/// A row's numbers, in the order of [`COLUMNS`].
fn numbers(v: &Verdict) -> [Option<f64>; 8] {
    [
        v.fid,
        v.kid.as_ref().map(|k| k.mean),
        v.score.map(|s| s.mean),
        v.precision_recall.map(|p| p.precision),
        v.precision_recall.map(|p| p.recall),
        v.spectrum.as_ref().and_then(|s| s.high_share),
        v.diversity,
        v.agreement.as_ref().map(Agreement::share),
    ]
}

fn write(args: &EvalArgs, sweep: &Sweep, rows: &[(String, Verdict)]) -> anyhow::Result<[PathBuf; 2]> {
    let [table, picture] = ["sweep.csv", "sweep.png"].map(|name| args.output.join(name));
    let mut text = format!("{},{}\n", sweep.key, COLUMNS.join(","));
    for (value, verdict) in rows {
        let cells = numbers(verdict).map(|n| n.map_or(String::new(), |n| n.to_string()));
        text.push_str(&format!("{value},{}\n", cells.join(",")));
    }
    write_bytes(&table, text.as_bytes())?;
    let points = |column: usize| -> Vec<[f64; 2]> {
        let of = |(i, (_, v)): (usize, &(String, Verdict))| Some([sweep.place(i), numbers(v)[column]?]);
        rows.iter().enumerate().filter_map(of).collect()
    };
    let groups: [(&str, &[usize]); 5] = [
        ("FID", &[0]),
        ("Inception Score", &[2]),
        ("Precision and recall", &[3, 4]),
        ("Diversity", &[6]),
        ("Share of labels that are found", &[7]),
    ];
    let charts = groups.into_iter().filter_map(|(title, columns)| {
        let chart = Chart::new(title, Axis::linear(sweep.key.clone()), Axis::linear(""));
        let lines = columns.iter().map(|c| (COLUMNS[*c], points(*c))).filter(|(_, p)| !p.is_empty());
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| {
            lines.into_iter().fold(chart, |chart, (name, p)| chart.with(Series::line(name, p).marked(Mark::Beads)))
        })
    });
    Figure::new(charts.collect()).write(&picture)?;
    Ok([table, picture])
}

fn say(sweep: &Sweep, rows: &[(String, Verdict)], written: &[PathBuf; 2], json: bool) {
    if json {
        let row = |(value, v): &(String, Verdict)| {
            let numbers: serde_json::Map<String, serde_json::Value> =
                COLUMNS.iter().map(ToString::to_string).zip(numbers(v).map(|n| serde_json::json!(n))).collect();
            serde_json::json!({ "value": value, "metrics": numbers })
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        outln!("{}", serde_json::json!({ "key": sweep.key, "rows": rows, "written": written }));
        return;
    }
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(|c| rows.iter().any(|(_, v)| numbers(v)[*c].is_some())).collect();
    let head: String = shown.iter().map(|c| format!("{:>13}", COLUMNS[*c])).collect();
    outln!("{:14}{head}", sweep.key);
    for (value, verdict) in rows {
        let cells = numbers(verdict);
        let line: String =
            shown.iter().map(|c| format!("{:>13}", cells[*c].map_or("-".into(), |n| format!("{n:.5}")))).collect();
        outln!("{value:14}{line}");
    }
    written.iter().for_each(|path| outln!("{}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_a_key_and_its_values() {
        let sweep = Sweep::parse("guidance=1, 1.5,4").unwrap();
        assert_eq!(sweep.values, ["1", "1.5", "4"]);
        assert_eq!(sweep.overrides("1.5", &[]).unwrap(), ["guidance.kind=cfg", "guidance.scale=1.5"]);
        assert_eq!(Sweep::parse("steps=5,10").unwrap().overrides("5", &[]).unwrap(), ["steps=5"]);
        assert!(sweep.overrides("x", &[]).is_err());
        for bad in ["guidance", "guidance=", "guidance=2", "=1,2"] {
            assert!(Sweep::parse(bad).is_err(), "{bad}");
        }
    }
}
