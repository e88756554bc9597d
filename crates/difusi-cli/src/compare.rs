//! `difusi compare`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use difusi::compare::{Budget, CompareOptions, Comparison, Family, Outcome, Part, Report};
use difusi::{Device, Error};

use crate::args::CompareArgs;
use crate::eval::watch;
use crate::progress::Progress;
use crate::train::command_line;
use crate::usage::{Interrupted, usage};

pub(crate) fn compare(args: &CompareArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    let mut comparison = Comparison::open(options(args)?, device).map_err(typed)?;
    if !args.report_only {
        let stop = watch("step or batch")?;
        if !parts(&mut comparison, &stop)? {
            return interrupted(&comparison);
        }
    }
    say(&comparison.report()?, json);
    Ok(())
}

fn options(args: &CompareArgs) -> anyhow::Result<CompareOptions> {
    let families = args.families.iter().map(|name| name.trim().parse()).collect::<Result<Vec<Family>, Error>>();
    Ok(CompareOptions {
        budget: args.budget.parse::<Budget>().map_err(typed)?,
        families: families.map_err(typed)?,
        gan_runs: args.gan_runs,
        pictures: args.count,
        likelihood_images: args.bpd_count,
        judge: args.judge.clone(),
        seed: args.seed,
        overrides: args.overrides.clone(),
        command: command_line(),
        ..CompareOptions::new(&args.data, out(args))
    })
}

/// A value that was typed wrong is a matter of usage.
fn typed(e: Error) -> anyhow::Error {
    match e {
        Error::Value { .. } => usage(e.to_string()),
        other => other.into(),
    }
}

/// The comparison's folder: as typed, or named after the data.
fn out(args: &CompareArgs) -> PathBuf {
    let name = args.data.file_stem().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned());
    args.out.clone().unwrap_or_else(|| Path::new("compare").join(name))
}

/// All parts (true), or until a person stops (false).
fn parts(comparison: &mut Comparison, stop: &AtomicBool) -> anyhow::Result<bool> {
    let all = comparison.parts();
    for (i, part) in all.iter().enumerate() {
        if stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let heading = format!("[{}/{}] {}", i + 1, all.len(), part.title());
        if one(comparison, *part, &heading, stop)? == Outcome::Stopped {
            return Ok(false);
        }
    }
    Ok(true)
}

fn one(comparison: &mut Comparison, part: Part, heading: &str, stop: &AtomicBool) -> anyhow::Result<Outcome> {
    let mut progress: Option<(&'static str, Progress)> = None;
    let mut last = String::new();
    let outcome = comparison.run(part, &mut |p| {
        if progress.as_ref().is_none_or(|(unit, _)| *unit != p.unit) {
            if let Some((_, old)) = progress.take() {
                old.finish();
            } else {
                errln!("{heading}");
            }
            progress = Some((p.unit, Progress::new(p.unit, p.total, p.done)));
        }
        if let Some((_, bar)) = &mut progress {
            bar.set(p.done, p.detail);
        }
        p.detail.clone_into(&mut last);
        !stop.load(Ordering::SeqCst)
    });
    if let Some((_, bar)) = progress {
        bar.finish();
    }
    match (&outcome, part) {
        (Ok(Outcome::Cached), _) => errln!("{heading}: done before"),
        (Ok(Outcome::Done), Part::Time(_)) => errln!("{heading}: {last}"),
        _ => {}
    }
    Ok(outcome?)
}

fn interrupted(comparison: &Comparison) -> anyhow::Result<()> {
    errln!("stopped; what is done is in {}", comparison.folder().display());
    if let Ok(report) = comparison.report() {
        errln!("report of what has been judged: {}", report.html.display());
    }
    let command = command_line();
    errln!("go on:  {command}");
    Err(Interrupted.into())
}

fn say(report: &Report, json: bool) {
    if json {
        outln!("{}", serde_json::json!(report));
        return;
    }
    outln!("{}", report.markdown());
    outln!("report:     {}", report.html.display());
    let folder = report.html.parent().unwrap_or(Path::new("."));
    if let Some((name, _)) = report.members.first() {
        outln!("next:       difusi sample {} -n 64 -o more.png", folder.join(name).display());
    }
}
