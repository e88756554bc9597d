//! `difusi eval`: what is asked for, and bits per dimension.

mod pictures;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use difusi::data::Split;
use difusi::eval::{
    BoundEval, BoundOptions, Metric, OdeEval, OdeOptions, OdeReport, Reference, ReferenceOptions, Times, bound_figure,
    bound_table, is_model,
};
use difusi::process::bound::{BoundReport, Estimate};
use difusi::process::likelihood::{Dequantisation, Divergence, OdeMethod, Probe};
use difusi::{Device, Model, Task, override_sample, store};

use crate::args::{Dequantise, EvalArgs, SplitKind};
use crate::progress::Progress;
use crate::sample::open;
use crate::usage::{Interrupted, usage};
pub(crate) use pictures::told as told_with;

/// Images where nothing is said: of an unlimited set, for all terms, for the ODE.
const UNLIMITED: u64 = 1000;
const EXACT: u64 = 100;
const ODE: u64 = 500;

pub(crate) fn eval(args: &EvalArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    if !(args.tolerance > 0.0 && args.tolerance < 1.0) {
        return Err(usage(format!("--tolerance is {}; expected a number between 0 and 1", args.tolerance)));
    }
    let named = args.metrics.iter().map(|name| name.trim().parse()).collect::<Result<Vec<Metric>, _>>();
    let metrics = named.map_err(|e| usage(e.to_string()))?;
    let of_pictures: Vec<_> =
        metrics.iter().filter_map(|m| if let Metric::Pictures(m) = m { Some(*m) } else { None }).collect();
    let bpd = metrics.contains(&Metric::Bpd);
    // A path that is neither is answered where it is opened.
    let model = bpd || is_model(&args.subject);
    match (bpd, of_pictures.is_empty()) {
        (true, false) => {
            Err(usage("--metrics asks for bpd and for metrics of pictures; run the two one after the other"))
        }
        (false, true) if model && args.save_stats.is_none() && args.sweep.is_none() => likelihood(args, device, json),
        (true, true) => likelihood(args, device, json),
        _ => pictures::eval(args, &of_pictures, model, (device, json)),
    }
}

/// Bits per dimension of a model.
fn likelihood(args: &EvalArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    let Some(data) = &args.reference else {
        return Err(usage("bpd needs --reference DATA: the images whose bits are counted"));
    };
    let model = open(&args.model(), device)?;
    let options = ReferenceOptions { split: split(args), resize: args.resize, seed: args.seed };
    let reference = Reference::open(data, &model, &options)?;
    for note in &reference.notes {
        errln!("note: {note}");
    }
    let stop = watch("batch")?;
    if matches!(model.card.task, Task::Vae(_) | Task::Flow(_)) {
        return crate::eval_latent::eval(args, &model, &reference, device, (&stop, json));
    }
    if args.ode {
        return ode(args, &model, &reference, device, (&stop, json));
    }
    let task = model.card.task.diffusion()?;
    let sample = override_sample(&task.sample, &args.overrides, task.diffusion.timesteps)?;
    let options = BoundOptions {
        count: count(args, &reference),
        times: if args.exact { Times::Exact } else { Times::PerImage(args.times_per_image as usize) },
        steps: args.steps.map(|n| n as usize),
        decode_at: args.decode_at as usize,
        config: sample,
        seed: args.seed,
        batch: args.batch.map(|n| n as usize),
    };
    let mut run = BoundEval::new(&model, &reference, &options, device)?;
    let mut progress = Progress::new("images", run.count(), 0);
    while !run.is_done() && !stop.load(Ordering::SeqCst) {
        let done = run.advance()?;
        progress.set(done, &format!("{} bits/dim", told(run.total())));
    }
    progress.finish();
    let report = run.report();
    let written = write(args, &report)?;
    if json {
        outln!("{}", bound_value(args, &model, &report, (run.terms(), run.evaluations_per_image()), &written));
    } else {
        say_bound(&report, (run.terms(), run.evaluations_per_image()));
        written.iter().for_each(|path| outln!("{}", path.display()));
    }
    ended(run.is_done(), report.images)
}

/// The split that was asked for.
fn split(args: &EvalArgs) -> Option<Split> {
    args.split.map(|split| match split {
        SplitKind::Train => Split::Train,
        SplitKind::Test => Split::Test,
    })
}

/// Ctrl-C asks the loop to stop after its `what` (batch); a second one ends the program as usual.
pub(crate) fn watch(what: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        errln!("\nfinishing this {what}; press Ctrl-C again to stop at once");
    })
    .context("Ctrl-C cannot be watched")?;
    Ok(stop)
}

fn count(args: &EvalArgs, reference: &Reference) -> u64 {
    let usual = match (args.exact, args.ode) {
        (true, _) => EXACT,
        (_, true) => ODE,
        _ => reference.count().unwrap_or(UNLIMITED),
    };
    args.count.unwrap_or(usual)
}

/// What was stopped says so in its exit code.
pub(crate) fn ended(whole: bool, images: u64) -> anyhow::Result<()> {
    if whole {
        return Ok(());
    }
    errln!("stopped after {images} images; these are their results");
    Err(Interrupted.into())
}

fn write(args: &EvalArgs, report: &BoundReport) -> anyhow::Result<Vec<PathBuf>> {
    let [table, picture] = ["bpd.csv", "bpd.png"].map(|name| args.output.join(name));
    if report.images == 0 {
        return Ok(Vec::new());
    }
    store::atomic::write_bytes(&table, bound_table(report).as_bytes())?;
    bound_figure(report).write(&picture)?;
    Ok(vec![table, picture])
}

/// Mean and standard error, to the digits that mean something.
pub(crate) fn told(e: Estimate) -> String {
    if !e.standard_error.is_finite() {
        return format!("{:.4}", e.mean);
    }
    let digits = (1.0 - e.standard_error.max(1e-9).log10().floor()).clamp(2.0, 9.0) as usize;
    format!("{:.digits$} +- {:.digits$}", e.mean, e.standard_error)
}

fn say_bound(r: &BoundReport, (terms, times): (usize, usize)) {
    let of = if times < terms { format!("{times} of {terms} terms each") } else { format!("all {terms} terms") };
    outln!("bits/dim      {}   (variational bound, {} images of {} numbers, {of})", told(r.total), r.images, r.dims);
    outln!("L_T           {}", told(r.prior));
    outln!("sum L_(t-1)   {}", told(r.middle));
    outln!("L_0           {}", told(r.decoder));
}

/// NaN has no JSON: a single image has no error.
pub(crate) fn value(e: Estimate) -> serde_json::Value {
    serde_json::json!({ "mean": e.mean, "standard_error": e.standard_error.is_finite().then_some(e.standard_error) })
}

fn bound_value(
    args: &EvalArgs,
    model: &Model,
    r: &BoundReport,
    (terms, times): (usize, usize),
    written: &[PathBuf],
) -> serde_json::Value {
    serde_json::json!({
        "metric": "bpd", "method": "bound", "model": model.hash, "images": r.images, "dims": r.dims, "seed": args.seed,
        "terms": terms, "decode_at": args.decode_at, "times_per_image": times, "bits_per_dim": value(r.total),
        "prior": value(r.prior), "middle": value(r.middle), "decoder": value(r.decoder), "written": written,
    })
}

fn ode(
    args: &EvalArgs,
    model: &Model,
    reference: &Reference,
    device: &Device,
    (stop, json): (&AtomicBool, bool),
) -> anyhow::Result<()> {
    let options = OdeOptions {
        count: count(args, reference),
        method: match args.ode_steps {
            Some(steps) => OdeMethod::Rk4 { steps },
            None => OdeMethod::Rk45 { rtol: args.tolerance, atol: args.tolerance },
        },
        divergence: Divergence::Hutchinson { probe: Probe::Rademacher, probes: args.probes },
        dequantisation: match args.dequantise {
            Dequantise::Uniform => Dequantisation::Uniform,
            Dequantise::Gaussian => Dequantisation::Gaussian,
        },
        decode_at: args.decode_at as usize,
        seed: args.seed,
        batch: args.batch.map(|n| n as usize),
    };
    let mut run = OdeEval::new(model, reference, options, device)?;
    let mut progress = Progress::new("images", run.count(), 0);
    while !run.is_done() && !stop.load(Ordering::SeqCst) {
        let done = run.advance()?;
        progress.set(done, &format!("{} bits/dim", told(run.report().total)));
    }
    progress.finish();
    let report = run.report();
    if json {
        outln!("{}", ode_value(args, model, &report));
    } else {
        say_ode(args, &report);
    }
    ended(run.is_done(), report.images)
}

fn dequantisation(args: &EvalArgs) -> &'static str {
    match args.dequantise {
        Dequantise::Uniform => "uniform",
        Dequantise::Gaussian => "gaussian",
    }
}

fn say_ode(args: &EvalArgs, r: &OdeReport) {
    let kind = dequantisation(args);
    outln!(
        "bits/dim      {}   (probability-flow ODE, {} images of {} numbers; a bound, by {kind} dequantisation)",
        told(r.total),
        r.images,
        r.dims
    );
    outln!(
        "evaluations   {:.0} per image, sigma / alpha from {:.2e} to {:.2e}",
        r.evaluations.mean,
        r.way[0],
        r.way[1]
    );
}

fn ode_value(args: &EvalArgs, model: &Model, r: &OdeReport) -> serde_json::Value {
    serde_json::json!({
        "metric": "bpd", "method": "ode", "model": model.hash, "images": r.images, "dims": r.dims, "seed": args.seed,
        "bits_per_dim": value(r.total), "dequantisation": dequantisation(args), "tolerance": args.ode_steps.is_none().then_some(args.tolerance), "ode_steps": args.ode_steps,
        "probes": args.probes, "decode_at": args.decode_at, "evaluations": r.evaluations.mean, "noise_range": r.way,
    })
}
