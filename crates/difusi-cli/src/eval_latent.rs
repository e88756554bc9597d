//! `difusi eval` of a VAE and a flow.

use std::sync::atomic::{AtomicBool, Ordering};

use difusi::data::Split;
use difusi::eval::{Calibration, LatentEval, LatentOptions, LatentReport, Reference, ReferenceOptions};
use difusi::{Device, Model, Task};

use crate::args::EvalArgs;
use crate::eval::{ended, told, value};
use crate::progress::Progress;
use crate::usage::usage;

/// Images of an unlimited set where nothing is said.
const UNLIMITED: u64 = 1000;
/// Training images that make a code length of a bound that is none.
const CALIBRATION: u64 = 10_000;
/// A dimension of a latent says something from so many nats on.
const ACTIVE: f64 = 0.01;

pub(crate) fn eval(
    args: &EvalArgs,
    model: &Model,
    reference: &Reference,
    device: &Device,
    (stop, json): (&AtomicBool, bool),
) -> anyhow::Result<()> {
    for (flag, given) in [
        ("--ode", args.ode),
        ("--exact", args.exact),
        ("--steps", args.steps.is_some()),
        ("--set", !args.overrides.is_empty()),
    ] {
        if given {
            return Err(usage(format!("{flag} is for diffusion models; this is {}", model.card.task.title())));
        }
    }
    let options = LatentOptions {
        count: args.count.unwrap_or(reference.count().unwrap_or(UNLIMITED)),
        samples: args.importance_samples,
        seed: args.seed,
        batch: args.batch.map(|n| n as usize),
    };
    let mut run = LatentEval::new(model, reference, options, device)?;
    let calibration = calibration(args, model, device)?;
    let counted = calibration.as_ref().map(Calibration::images);
    if let Some(calibration) = calibration {
        run = run.calibrated(calibration);
    }
    let mut progress = Progress::new("images", run.count(), 0);
    while !run.is_done() && !stop.load(Ordering::SeqCst) {
        let done = run.advance()?;
        progress.set(done, &format!("{} bits/dim", told(run.report().total)));
    }
    progress.finish();
    let report = run.report();
    if json {
        outln!("{}", as_json(args, model, &report, counted));
    } else {
        say(args, &report, counted);
    }
    ended(run.is_done(), report.images)
}

/// How likely bytes are beside what the decoder says, where its own likelihood does not tell.
fn calibration(args: &EvalArgs, model: &Model, device: &Device) -> anyhow::Result<Option<Calibration>> {
    match &model.card.task {
        Task::Vae(vae) if !vae.network.likelihood.is_discrete() => {}
        _ => return Ok(None),
    }
    let data = args.reference.clone().unwrap_or_default();
    let options = ReferenceOptions { split: Some(Split::Train), resize: args.resize, seed: args.seed };
    let training = Reference::open(&data, model, &options)?;
    Ok(Some(Calibration::fit(model, &training, CALIBRATION, args.seed, device)?))
}

fn say(args: &EvalArgs, r: &LatentReport, counted: Option<u64>) {
    let of = format!("{} images of {} numbers", r.images, r.dims);
    let Some(importance) = r.importance else {
        outln!("bits/dim      {}   (exact density, uniform dequantisation, {of})", told(r.total));
        return;
    };
    outln!("bits/dim      {}   (evidence lower bound, {of})", told(r.total));
    outln!(
        "importance    {}   ({} latents per image; the gap is {:.4})",
        told(importance),
        args.importance_samples,
        r.total.mean - importance.mean
    );
    let active = r.kl.iter().filter(|kl| **kl > ACTIVE).count();
    outln!("latent        {active} of {} dimensions say more than {ACTIVE} nats", r.kl.len());
    if let Some(images) = counted {
        outln!(
            "note: model.likelihood is no probability of bytes; these code lengths take a byte for as likely as it was in {images} training \
             images where the decoder said the same"
        );
    }
}

fn as_json(args: &EvalArgs, model: &Model, r: &LatentReport, counted: Option<u64>) -> serde_json::Value {
    let method = if r.importance.is_some() { "elbo" } else { "density" };
    serde_json::json!({
        "metric": "bpd", "method": method, "model": model.hash, "images": r.images, "dims": r.dims, "seed": args.seed,
        "bits_per_dim": value(r.total), "importance": r.importance.map(value),
        "importance_samples": r.importance.map(|_| args.importance_samples), "kl": r.kl, "code_length": r.code_length, "calibration_images": counted,
    })
}
