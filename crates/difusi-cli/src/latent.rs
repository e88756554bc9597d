//! `difusi sample` of models that draw from a latent: VAE, GAN, flow.

use difusi::families::LatentSample;
use difusi::{Drawing, Model, SamplerOptions, Start, override_latent};

use crate::args::{RngKind, SampleArgs};
use crate::usage::usage;

/// What was typed, as the sampler takes it.
pub(crate) fn options(args: &SampleArgs, model: &Model, own: &LatentSample) -> anyhow::Result<SamplerOptions> {
    let solver = &args.solver;
    let size = args.size.as_ref().map(|size| size != &[model.card.size().height, model.card.size().width]);
    for (flag, given) in [
        ("--solver", solver.solver.is_some()),
        ("--steps", solver.steps.is_some()),
        ("--eta", solver.eta.is_some()),
        ("--label", args.asking.label.is_some()),
        ("--guidance", !args.asking.guidance.is_empty()),
        ("--thresholds", !args.thresholds.is_empty()),
        ("--classifier", args.asking.classifier.is_some()),
        ("--negative", args.asking.negative.is_some()),
        ("--scheduler", args.scheduler.is_some()),
        ("--init-noise", args.init_noise.is_some()),
        ("--rng torch", args.rng == RngKind::Torch),
        ("--at", args.at.is_some()),
        ("--strip", args.strip.is_some()),
        ("--gif", args.gif.is_some()),
        ("another --size", size == Some(true)),
    ] {
        if given {
            return Err(usage(format!(
                "{flag} is for diffusion models; {} is {}, which draws a picture at once (--set temperature=0.7 and --set \
                 truncation=2 change how)",
                args.model.model.display(),
                model.card.task.title()
            )));
        }
    }
    let config = override_latent(own, &solver.overrides)?;
    let start = match args.interpolate.as_deref() {
        Some([a, b]) => super::sample::between(a, b, 0),
        _ => Start::Counter,
    };
    let usual = if matches!(start, Start::Counter) { config.count } else { 8 };
    let count = args.count.map_or(usual, |n| n as usize);
    let (batch, seed) = (args.batch.map(|n| n as usize), args.seed);
    Ok(SamplerOptions {
        count,
        batch,
        seed,
        start,
        size: None,
        config: Drawing::Latent(config),
        ..SamplerOptions::of(model)
    })
}
