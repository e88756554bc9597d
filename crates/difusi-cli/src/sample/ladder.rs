//! The same noise at several scales of guidance, and under several thresholds: rows of one picture, and how much of it saturates (the
//! ablation of Imagen, arXiv:2205.11487, figure A.9).

use std::path::PathBuf;

use difusi::store::plot::{Axis, Chart, Figure, Mark, Series};
use difusi::store::{self, Panel, PanelRow, Picture};
use difusi::{Device, Model, Sampler};

use super::{Output, draw, metadata, options};
use crate::args::{SampleArgs, ThresholdKind};
use crate::usage::usage;

/// A row: under which threshold, at which scale, what was drawn.
struct Row {
    threshold: Option<ThresholdKind>,
    scale: Option<f64>,
    pictures: Vec<Picture>,
}

impl Row {
    fn label(&self) -> String {
        let scale = self.scale.map(|s| format!("guidance {s}"));
        let threshold = self.threshold.map(|t| t.name().to_owned());
        scale.into_iter().chain(threshold).collect::<Vec<_>>().join(", ")
    }

    /// Share of the numbers that are black or white.
    fn saturation(&self) -> f64 {
        let bytes = || self.pictures.iter().flat_map(|p| p.pixels().iter());
        let ends = bytes().filter(|b| matches!(b, 0 | 255)).count();
        ends as f64 / bytes().count().max(1) as f64
    }
}

pub(super) fn ladder(args: &SampleArgs, model: &Model, (device, json): (&Device, bool)) -> anyhow::Result<()> {
    for (flag, given) in [
        ("--strip", args.strip.is_some()),
        ("--gif", args.gif.is_some()),
        ("--scheduler", args.scheduler.is_some()),
        ("another -o than a .png", !matches!(Output::of(&args.output)?, Output::Grid)),
    ] {
        if given {
            let several = "with several scales or thresholds, each is a row of one grid";
            return Err(usage(format!("{flag} is for one scale of guidance and one threshold; {several}")));
        }
    }
    let (asked, _) = args.asking.asked()?;
    let columns = args.count.map_or_else(|| asked.count(&model.card.task), |n| n as usize);
    let or_none = |all: Vec<_>| if all.is_empty() { vec![None] } else { all };
    let scales: Vec<Option<f64>> = match args.asking.guidance.as_slice() {
        [] => vec![None],
        all => all.iter().copied().map(Some).collect(),
    };
    let mut rows = Vec::new();
    for threshold in or_none(args.thresholds.iter().copied().map(Some).collect()) {
        for &scale in &scales {
            let mut options = options(&with_threshold(args, threshold), model, scale, device)?;
            options.count = columns;
            let (pictures, _) = draw(&Sampler::new(model, options, device)?, args)?;
            rows.push(Row { threshold, scale, pictures });
        }
    }
    let written = write(args, model, &rows)?;
    say(args, &rows, &written, (model, json));
    Ok(())
}

/// What was typed, under this threshold. Parameters that were typed are the dynamic one's, the only one that has some here.
fn with_threshold(args: &SampleArgs, threshold: Option<ThresholdKind>) -> SampleArgs {
    let mut args = args.clone();
    if let Some(kind) = threshold {
        let keeps = |o: &String| kind == ThresholdKind::Dynamic || !o.trim_start().starts_with("threshold.");
        args.solver.overrides.retain(keeps);
        args.solver.overrides.insert(0, format!("threshold.kind={}", kind.name()));
    }
    args
}

fn write(args: &SampleArgs, model: &Model, rows: &[Row]) -> anyhow::Result<Vec<PathBuf>> {
    let text = metadata(args.seed, model);
    let text: Vec<(&str, &str)> = text.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let enlarged = |row: &Row| PanelRow {
        label: row.label(),
        pictures: row.pictures.iter().map(|p| p.upscaled(usize::from(args.scale))).collect(),
    };
    store::write_png(&args.output, &Panel::new(rows.iter().map(enlarged).collect()).draw()?, &text)?;
    let mut written = vec![args.output.clone()];
    if args.thresholds.len() > 1 && args.asking.guidance.len() > 1 {
        let stem = args.output.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let path = args.output.with_file_name(format!("{stem}-saturation.png"));
        let chart = Chart::new("Saturation", Axis::linear("guidance"), Axis::linear("share of black and white"));
        let chart = args.thresholds.iter().fold(chart, |chart, kind| {
            let own = rows.iter().filter(|row| row.threshold == Some(*kind));
            let points = own.filter_map(|row| Some([row.scale?, row.saturation()])).collect();
            chart.with(Series::line(kind.name(), points).marked(Mark::Beads))
        });
        Figure::new(vec![chart]).write(&path)?;
        written.push(path);
    }
    Ok(written)
}

fn say(args: &SampleArgs, rows: &[Row], written: &[PathBuf], (model, json): (&Model, bool)) {
    if json {
        let row = |row: &Row| {
            serde_json::json!({ "guidance": row.scale, "threshold": row.threshold.map(ThresholdKind::name),
                                "saturation": row.saturation() })
        };
        let (rows, count) =
            (rows.iter().map(row).collect::<Vec<_>>(), rows.iter().map(|r| r.pictures.len()).sum::<usize>());
        outln!(
            "{}",
            serde_json::json!({ "written": written, "count": count, "seed": args.seed, "model": model.hash, "rows": rows })
        );
        return;
    }
    rows.iter().for_each(|row| outln!("{:28} {:.2} % black or white", row.label(), 100.0 * row.saturation()));
    written.iter().for_each(|path| outln!("{}", path.display()));
}
