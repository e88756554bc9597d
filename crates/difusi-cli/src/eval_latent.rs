//! `difusi eval` of a VAE and a flow.

use std::sync::atomic::{AtomicBool, Ordering};

use difusi::eval::{LatentEval, LatentOptions, LatentReport, Reference};
use difusi::{Device, Model};

use crate::args::EvalArgs;
use crate::eval::{ended, told, value};
use crate::progress::Progress;
use crate::usage::usage;

/// Images of an unlimited set where nothing is said.
const UNLIMITED: u64 = 1000;
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
    let mut progress = Progress::new("images", run.count(), 0);
    while !run.is_done() && !stop.load(Ordering::SeqCst) {
        let done = run.advance()?;
        progress.set(done, &format!("{} bits/dim", told(run.report().total)));
    }
    progress.finish();
    let report = run.report();
    if json {
        outln!("{}", as_json(args, model, &report));
    } else {
        say(args, &report);
    }
    ended(run.is_done(), report.images)
}

fn say(args: &EvalArgs, r: &LatentReport) {
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
    if !r.code_length {
        outln!("note: this likelihood is no probability of bytes, so these are no code lengths (model.likelihood)");
    }
}

fn as_json(args: &EvalArgs, model: &Model, r: &LatentReport) -> serde_json::Value {
    let method = if r.importance.is_some() { "elbo" } else { "density" };
    serde_json::json!({
        "metric": "bpd", "method": method, "model": model.hash, "images": r.images, "dims": r.dims, "seed": args.seed,
        "bits_per_dim": value(r.total), "importance": r.importance.map(value),
        "importance_samples": r.importance.map(|_| args.importance_samples), "kl": r.kl, "code_length": r.code_length,
    })
}
