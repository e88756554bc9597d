//! `difusi eval` of pictures: two sides are collected, the reference first, then judged.

mod sweep;

use std::sync::atomic::{AtomicBool, Ordering};

use difusi::eval::{PictureOptions, PictureSource, PicturesAt, Take, collect, features};
use difusi::metrics::{
    Agreement, CollectOptions, FeatureExtractor, HIGH, JudgeOptions, KidOptions, Layout, Metric, Summary, TooFew,
    Verdict, judge,
};
use difusi::{Device, Drawing, Model, Sampler, SamplerOptions, Start, data::Split, override_latent};

use super::{split, watch};
use crate::args::{AskArgs, EvalArgs, SolverArgs};
use crate::progress::Progress;
use crate::sample::{open, sample_config};
use crate::usage::{Interrupted, usage};

/// Pictures drawn, or taken where there is no end of them, where nothing is said.
const COUNT: u64 = 10_000;
/// Classes that are told one by one; JSON has all.
const FEW_CLASSES: usize = 20;
const DEFAULT: [Metric; 3] = [Metric::Fid, Metric::Kid, Metric::PrecisionRecall];

/// What is judged, before it has been looked at.
struct Side {
    what: &'static str,
    at: PicturesAt,
    take: Take,
    /// As a person typed it.
    name: String,
}

impl Side {
    fn count(&self) -> u64 {
        self.at.pictures.as_ref().and_then(PictureSource::count).map_or(self.take.limit, |n| n.min(self.take.limit))
    }
}

pub(super) fn eval(
    args: &EvalArgs,
    asked: &[Metric],
    model: bool,
    (device, json): (&Device, bool),
) -> anyhow::Result<()> {
    let metrics = metrics(args, asked)?;
    let extractor = features(&args.features, args.feature_resize, device)?;
    if let Some(text) = &args.sweep {
        if !model || args.reference.is_none() {
            return Err(usage(
                "--sweep draws a model's pictures at several settings; it needs a MODEL and --reference DATA",
            ));
        }
        let mut metrics = metrics;
        if asked.is_empty() && extractor.classes().is_some() {
            metrics.push(Metric::InceptionScore);
        }
        return sweep::sweep(args, (text, &metrics), extractor.as_ref(), (device, json));
    }
    let subject = if model { drawn(args, &args.overrides, device)? } else { given(args)? };
    let reference = args.reference.as_ref().map(|_| reference(args, &subject, model)).transpose()?;
    for note in [Some(&subject), reference.as_ref()].into_iter().flatten().flat_map(|side| &side.at.notes) {
        errln!("note: {note}");
    }
    let (stop, keeps) = (watch("batch")?, CollectOptions::of(&metrics));
    // The reference comes first: what is drawn by then is worth something where a person stops.
    let theirs =
        reference.as_ref().map(|side| look(side, extractor.as_ref(), &of_reference(&keeps), &stop)).transpose()?;
    if stop.load(Ordering::SeqCst) {
        errln!("stopped before anything was judged");
        return Err(Interrupted.into());
    }
    let options = CollectOptions { statistics: args.save_stats.is_some(), ..keeps };
    let ours = look(&subject, extractor.as_ref(), &options, &stop)?;
    let too_few = if args.force { TooFew::Force } else { TooFew::Refuse };
    let options = JudgeOptions {
        kid: KidOptions { seed: args.seed, ..KidOptions::default() },
        too_few,
        ..JudgeOptions::default()
    };
    let verdict = judge(&ours, theirs.as_ref(), &metrics, &options)?;
    let written = args.save_stats.as_ref().map(|path| {
        ours.statistics()?.write(path, Layout::Common)?;
        Ok::<_, difusi::metrics::MetricsError>(path)
    });
    let written = written.transpose()?;
    let counts = [ours.count, theirs.as_ref().and_then(|t| t.count)];
    if json {
        let mut told = value(args, extractor.as_ref(), counts, &verdict);
        told["written"] = serde_json::json!(written);
        outln!("{told}");
    } else {
        for note in &verdict.notes {
            errln!("note: {note}");
        }
        say(extractor.as_ref(), counts, &verdict);
        written.iter().for_each(|path| outln!("{}", path.display()));
    }
    if stop.load(Ordering::SeqCst) {
        errln!("stopped after {} pictures; these are their results", ours.count.unwrap_or_default());
        return Err(Interrupted.into());
    }
    Ok(())
}

/// What was asked for, or what is usual; each once.
fn metrics(args: &EvalArgs, asked: &[Metric]) -> anyhow::Result<Vec<Metric>> {
    let usual = if args.reference.is_some() { &DEFAULT[..] } else { &[] };
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in if asked.is_empty() { usual } else { asked } {
        if !metrics.contains(metric) {
            metrics.push(*metric);
        }
    }
    if args.ode || args.exact {
        return Err(usage("--ode and --exact are ways to bpd; leave them away, or ask for --metrics bpd"));
    }
    if let Some(path) = args.save_stats.as_ref().filter(|p| p.extension().is_none_or(|e| e != "npz")) {
        return Err(usage(format!("--save-stats is {}; expected a name that ends in .npz", path.display())));
    }
    match metrics.iter().find(|m| m.needs_reference()) {
        Some(metric) if args.reference.is_none() => {
            Err(usage(format!("{} needs --reference DATA: the pictures to compare with", metric.name())))
        }
        None if metrics.is_empty() && args.save_stats.is_none() => {
            let with = "--reference DATA, or --metrics is, spectrum, diversity or labels, or --save-stats FILE.npz";
            Err(usage(format!("nothing to measure; add {with}")))
        }
        _ => Ok(metrics),
    }
}

/// What is collected of the reference: its own labels are no matter of the pictures.
fn of_reference(options: &CollectOptions) -> CollectOptions {
    let metrics = options.metrics.iter().copied().filter(|m| *m != Metric::Labels).collect();
    CollectOptions { metrics, ..options.clone() }
}

/// Pictures that the model will draw.
fn drawn(args: &EvalArgs, overrides: &[String], device: &Device) -> anyhow::Result<Side> {
    let model = open(&args.model(), device)?;
    let (asked, negative) = args.asking.asked()?;
    let scale = args.asking.guidance.first().copied();
    if args.asking.guidance.len() > 1 {
        return Err(usage("several scales of --guidance are judged one by one: --sweep guidance=1,2,4"));
    }
    let overrides = AskArgs::overrides(scale, overrides);
    let limit = args.count.unwrap_or(COUNT);
    let options = SamplerOptions {
        count: usize::try_from(limit)?,
        batch: args.batch.map(|n| n as usize),
        seed: args.seed,
        start: Start::Counter,
        config: drawing(args, overrides, &model)?,
        asked,
        guide: args.asking.guide(&model, device)?,
        negative,
        ..SamplerOptions::of(&model)
    };
    let pictures = Some(PictureSource::Model(Box::new(Sampler::new(&model, options, device)?)));
    let at = PicturesAt { pictures, statistics: None, notes: Vec::new() };
    Ok(Side { what: "drawn", at, take: take(args, limit), name: args.subject.display().to_string() })
}

/// How the model draws, with what was typed.
fn drawing(args: &EvalArgs, overrides: Vec<String>, model: &Model) -> anyhow::Result<Drawing> {
    let Some(Drawing::Latent(own)) = model.card.task.drawing() else {
        let solver = SolverArgs { overrides, ..args.solver() };
        return Ok(Drawing::Diffusion(sample_config(&solver, model.card.task.diffusion()?)?));
    };
    if args.solver.is_some() || args.eta.is_some() || args.steps.is_some() {
        let title = model.card.task.title();
        return Err(usage(format!("{title} draws at once: --solver, --eta and --steps are of diffusion models")));
    }
    Ok(Drawing::Latent(override_latent(&own, &overrides)?))
}

/// Pictures that are there.
fn given(args: &EvalArgs) -> anyhow::Result<Side> {
    if args.solver.is_some() || args.eta.is_some() || args.steps.is_some() || !args.overrides.is_empty() {
        let what = format!("{} is no model", args.subject.display());
        return Err(usage(format!("{what}: --solver, --eta, --steps and --set are for drawing pictures")));
    }
    // Beside a reference, the other split is the one that says something.
    let split = if args.reference.is_some() { None } else { Some(split(args).unwrap_or(Split::Train)) };
    let at = PicturesAt::open(&args.subject, &PictureOptions { split, shape: None })?;
    let endless = at.pictures.as_ref().is_some_and(|p| p.count().is_none());
    let limit = args.count.unwrap_or(if endless { COUNT } else { u64::MAX });
    Ok(Side { what: "pictures", at, take: take(args, limit), name: args.subject.display().to_string() })
}

/// What they are compared with.
fn reference(args: &EvalArgs, subject: &Side, model: bool) -> anyhow::Result<Side> {
    let path = args.reference.clone().unwrap_or_default();
    let shape = subject.at.pictures.as_ref().filter(|_| model || args.resize).map(PictureSource::shape).transpose()?;
    let mut options = PictureOptions { split: Some(split(args).unwrap_or(Split::Train)), shape };
    if path.as_os_str() == "digits" && !path.exists() {
        // Drawn digits have any size: that of the pictures.
        options.shape = subject.at.pictures.as_ref().map(PictureSource::shape).transpose()?;
    }
    let at = PicturesAt::open(&path, &options)?;
    let endless = at.pictures.as_ref().is_some_and(|p| p.count().is_none());
    let limit = args.reference_count.unwrap_or(if endless { subject.count() } else { u64::MAX });
    Ok(Side { what: "reference", at, take: take(args, limit), name: path.display().to_string() })
}

fn take(args: &EvalArgs, limit: u64) -> Take {
    Take { limit, seed: args.seed }
}

/// Looks at a side, with a progress bar: at statistics where they are enough, else at its pictures.
fn look(
    side: &Side,
    extractor: &dyn FeatureExtractor,
    options: &CollectOptions,
    stop: &AtomicBool,
) -> anyhow::Result<Summary> {
    let frechet = |m: &Metric| matches!(m, Metric::Fid | Metric::Sfid);
    if let Some(statistics) = &side.at.statistics
        && (side.at.pictures.is_none() || (!options.statistics && options.metrics.iter().all(frechet)))
    {
        return Ok(statistics.clone().into());
    }
    let Some(source) = &side.at.pictures else { return Ok(Summary::default()) };
    let mut progress = Progress::new(side.what, side.count(), 0);
    let summary = collect(source, extractor, options, side.take, &mut |done| {
        progress.set(done, "");
        !stop.load(Ordering::SeqCst)
    });
    progress.finish();
    let summary = summary.map_err(|e| anyhow::Error::new(e).context(side.name.clone()));
    if stop.load(Ordering::SeqCst) && summary.is_err() {
        return Err(Interrupted.into());
    }
    summary
}

/// A number to the digits that mean something beside its error.
pub(crate) fn told(mean: f64, error: Option<f64>) -> String {
    match error {
        Some(error) => {
            let digits = (1.0 - error.max(1e-9).log10().floor()).clamp(2.0, 9.0) as usize;
            format!("{mean:.digits$} +- {error:.digits$}")
        }
        None => format!("{mean:.6}"),
    }
}

fn say(extractor: &dyn FeatureExtractor, [ours, theirs]: [Option<u64>; 2], v: &Verdict) {
    let many = |n: Option<u64>| n.map_or("an unknown number of".to_owned(), |n| n.to_string());
    let against = if v.fid.or(v.sfid).is_some() || theirs.is_some() {
        format!(" against {}", many(theirs))
    } else {
        String::new()
    };
    outln!(
        "features      {} ({} of each picture), {} pictures{against}",
        extractor.name(),
        extractor.dim(),
        many(ours)
    );
    v.fid.iter().for_each(|fid| outln!("FID           {fid:.6}"));
    v.sfid.iter().for_each(|fid| outln!("sFID          {fid:.6}"));
    if let Some(k) = &v.kid {
        let subsets = format!("{} subsets of {}, deviation {:.3e}", k.subsets, k.subset_size, k.deviation);
        outln!("KID           {}   ({subsets})", told(k.mean, k.standard_error));
    }
    if let Some(s) = &v.score {
        let beside = v.reference_score.map_or(String::new(), |r| format!("; reference {:.4}", r.mean));
        outln!("IS            {}   ({} splits{beside})", told(s.mean, Some(s.deviation)), s.splits);
    }
    if let Some(p) = &v.precision_recall {
        outln!("precision     {:.4}   (k = {})", p.precision, p.neighbours);
        outln!("recall        {:.4}", p.recall);
    }
    if let Some(s) = &v.spectrum {
        let share = |s: &difusi::metrics::Spectrum| s.high_share.map_or("none".into(), |h| told(h, s.standard_error));
        let beside = v.reference_spectrum.as_ref().map_or(String::new(), |r| format!("; reference {}", share(r)));
        outln!("fine detail   {}   (share of variance above {HIGH} cycles per pixel{beside})", share(s));
    }
    if let Some(a) = &v.agreement {
        say_agreement(a);
    }
    if let Some(d) = v.diversity {
        let beside = v.reference_diversity.map_or(String::new(), |r| format!("; reference {r:.6}"));
        outln!("diversity     {d:.6}   (mean distance of two pictures' features{beside})");
    }
}

/// The share of all, and of each class that was asked for.
fn say_agreement(a: &Agreement) {
    let [share, error] = [a.share(), a.standard_error()].map(|s| 100.0 * s);
    let lowest =
        a.lowest().map_or(String::new(), |(class, share)| format!("; class {class} is lowest, {:.1} %", 100.0 * share));
    outln!("labels        {share:.2} +- {error:.2} % are taken for what was asked   ({} pictures{lowest})", a.count());
    let asked = a.classes.iter().enumerate().filter(|(_, c)| c.asked > 0);
    let told: Vec<String> = asked.map(|(i, c)| format!("{i}: {}/{}", c.right, c.asked)).collect();
    if told.len() <= FEW_CLASSES {
        outln!("              {}", told.join("  "));
    }
}

fn value(
    args: &EvalArgs,
    extractor: &dyn FeatureExtractor,
    [ours, theirs]: [Option<u64>; 2],
    v: &Verdict,
) -> serde_json::Value {
    let share = |s: &difusi::metrics::Spectrum| {
        serde_json::json!({ "high_share": s.high_share, "standard_error": s.standard_error,
                            "frequencies": s.frequencies, "density": s.density })
    };
    serde_json::json!({
        "subject": args.subject, "reference": args.reference, "features": extractor.name(), "dim": extractor.dim(),
        "pictures": ours, "reference_pictures": theirs, "seed": args.seed, "fid": v.fid, "sfid": v.sfid,
        "kid": v.kid.as_ref().map(|k| serde_json::json!({
            "mean": k.mean, "deviation": k.deviation, "standard_error": k.standard_error, "subsets": k.subsets,
            "subset_size": k.subset_size })),
        "is": v.score.map(|s| serde_json::json!({
            "mean": s.mean, "deviation": s.deviation, "splits": s.splits, "reference": v.reference_score.map(|r| r.mean) })),
        "precision": v.precision_recall.map(|p| p.precision), "recall": v.precision_recall.map(|p| p.recall),
        "spectrum": v.spectrum.as_ref().map(share), "reference_spectrum": v.reference_spectrum.as_ref().map(share),
        "diversity": v.diversity, "reference_diversity": v.reference_diversity,
        "labels": v.agreement.as_ref().map(|a| serde_json::json!({
            "share": a.share(), "standard_error": a.standard_error(), "classes": a.classes.iter().map(|c| [c.right, c.asked]).collect::<Vec<_>>() })),
        "notes": v.notes,
    })
}
