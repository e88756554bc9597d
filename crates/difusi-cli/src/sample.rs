//! `difusi sample`.

mod ladder;

use std::path::{Path, PathBuf};

use difusi::core::ImageSize;
use difusi::process::SampleConfig;
use difusi::store::{self, Picture};
use difusi::{
    Device, DiffusionTask, Drawing, Model, OpenModel, Sampler, SamplerOptions, SchedulerRun, Start, override_sample,
    pictures, read_scheduler, save_grid,
};

use crate::args::{AskArgs, ModelArgs, RngKind, SampleArgs, SolverArgs};
use crate::progress::Progress;
use crate::usage::usage;

/// Rows of a filmstrip, and its most frames.
const STRIP_ROWS: usize = 8;
const STRIP_FRAMES: usize = 12;
/// Frames of an animation, besides the held last one.
const GIF_FRAMES: usize = 50;

/// The model a command names.
pub(crate) fn open(args: &ModelArgs, device: &Device) -> anyhow::Result<Model> {
    let weights = args.weights.parse().map_err(|e: difusi::Error| usage(e.to_string()))?;
    let open = OpenModel { path: args.model.clone(), config: args.config.clone(), weights };
    let model = open.open(device)?;
    for note in &model.notes {
        errln!("note: {note}");
    }
    Ok(model)
}

/// `[height, width]` as typed.
pub(crate) fn image_size(typed: Option<&[usize]>) -> Option<ImageSize> {
    match typed {
        Some([height, width]) => Some(ImageSize { height: *height, width: *width }),
        _ => None,
    }
}

pub(crate) fn sample(args: &SampleArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    let kind = Output::of(&args.output)?;
    for (flag, path, ending) in [("--strip", &args.strip, "png"), ("--gif", &args.gif, "gif")] {
        if let Some(path) = path.as_ref().filter(|p| p.extension().is_none_or(|e| e != ending)) {
            return Err(usage(format!("{flag} is {}; expected a name that ends in .{ending}", path.display())));
        }
    }
    let model = open(&args.model, device)?;
    if args.asking.guidance.len() > 1 || args.thresholds.len() > 1 {
        return ladder::ladder(args, &model, (device, json));
    }
    let options = options(args, &model, args.asking.guidance.first().copied(), device)?;
    let sampler = Sampler::new(&model, options, device)?;
    let (all, film) = draw(&sampler, args)?;
    let text = metadata(args.seed, &model);
    let text: Vec<(&str, &str)> = text.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    kind.write(&args.output, &all, args.scale, &text)?;
    let mut written = vec![args.output.clone()];
    if let Some(path) = &args.strip {
        store::write_png(path, &film.strip(usize::from(args.scale))?, &text)?;
        written.push(path.clone());
    }
    if let Some(path) = &args.gif {
        store::write_gif(path, &film.frames(usize::from(args.scale))?, 60, store::Repeat::Forever)?;
        written.push(path.clone());
    }
    told(&written, all.len(), args.seed, &model, json);
    Ok(())
}

/// What was drawn, for a person or a program.
pub(crate) fn told(written: &[PathBuf], count: usize, seed: u64, model: &Model, json: bool) {
    if json {
        outln!("{}", serde_json::json!({ "written": written, "count": count, "seed": seed, "model": model.hash }));
    } else {
        for path in written {
            outln!("{}", path.display());
        }
    }
}

/// What `-o` asks for.
pub(crate) enum Output {
    Grid,
    Npz,
    Singles,
}

impl Output {
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let folder = path.is_dir() || path.to_string_lossy().ends_with(['/', '\\']);
        match path.extension().and_then(|e| e.to_str()) {
            _ if folder => Ok(Self::Singles),
            Some("png") => Ok(Self::Grid),
            Some("npz") => Ok(Self::Npz),
            _ => Err(usage(format!("-o is {}; expected a name that ends in .png, .npz or /", path.display()))),
        }
    }

    /// Writes the pictures, those in PNGs with pixels enlarged by `scale` and with this text.
    pub(crate) fn write(&self, path: &Path, all: &[Picture], scale: u8, text: &[(&str, &str)]) -> anyhow::Result<()> {
        let enlarged = || all.iter().map(|p| p.upscaled(usize::from(scale)));
        match self {
            Self::Grid => save_grid(path, &enlarged().collect::<Vec<_>>(), text)?,
            Self::Npz => store::write_npz_pictures(path, all)?,
            Self::Singles => {
                for (i, picture) in enlarged().enumerate() {
                    store::write_png(&path.join(format!("{i:06}.png")), &picture, text)?;
                }
            }
        }
        Ok(())
    }
}

/// The model's `[sample]` section with what was typed.
pub(crate) fn sample_config(args: &SolverArgs, task: &DiffusionTask) -> anyhow::Result<SampleConfig> {
    // The kind comes first: another kind drops what was set.
    let mut overrides = Vec::new();
    if let Some(solver) = &args.solver {
        overrides.push(format!("solver.kind={solver}"));
        if solver == "ancestral" && args.steps.is_none() {
            overrides.push(format!("steps={}", task.diffusion.timesteps));
        }
    }
    overrides.extend(args.overrides.iter().cloned());
    overrides.extend(args.eta.map(|eta| format!("solver.eta={eta:?}")));
    overrides.extend(args.steps.map(|steps| format!("steps={steps}")));
    Ok(override_sample(&task.sample, &overrides, task.diffusion.timesteps)?)
}

/// What was typed, and a scale of guidance.
pub(crate) fn with_scale(args: &SolverArgs, scale: Option<f64>) -> SolverArgs {
    SolverArgs { overrides: AskArgs::overrides(scale, &args.overrides), ..args.clone() }
}

/// A size that the network takes, or an error about `--size`.
pub(crate) fn checked_size(typed: Option<&[usize]>, model: &Model) -> anyhow::Result<Option<ImageSize>> {
    let size = image_size(typed);
    match size.and_then(|size| model.card.task.check_size("--size", size)) {
        Some(issue) => Err(usage(issue.to_string())),
        None => Ok(size),
    }
}

/// As typed, with one of the scales of guidance.
fn options(args: &SampleArgs, model: &Model, scale: Option<f64>, device: &Device) -> anyhow::Result<SamplerOptions> {
    match model.card.task.drawing() {
        Some(Drawing::Latent(own)) => return crate::latent::options(args, model, &own),
        Some(Drawing::Diffusion(_)) => {}
        None => return Ok(SamplerOptions::of(model)), // the sampler says what it takes
    }
    let task = model.card.task.diffusion()?;
    let timesteps = task.diffusion.timesteps;
    if let Some(at) = args.at.filter(|at| *at >= timesteps) {
        return Err(usage(format!("--at is {at}; expected 0 to {} (the model has {timesteps} steps)", timesteps - 1)));
    }
    let size = checked_size(args.size.as_deref(), model)?;
    let scheduler = args.scheduler.as_deref().map(|path| scheduler(path, args.solver.eta)).transpose()?;
    let config = match &scheduler {
        Some(_) => scheduled_config(&args.solver, scale, task)?,
        None => sample_config(&with_scale(&args.solver, scale), task)?,
    };
    let start = match (&args.init_noise, args.interpolate.as_deref(), args.rng) {
        (Some(path), _, _) => Start::Given(store::read_tensor_file(path, "x")?),
        (_, Some([a, b]), _) => between(a, b, args.at.unwrap_or(timesteps / 2)),
        (_, _, RngKind::Torch) => Start::Torch,
        _ => Start::Counter,
    };
    let given = match &start {
        Start::Given(noise) => noise.shape.first().copied(),
        Start::Between(..) | Start::Pictures { .. } => Some(8),
        _ => None,
    };
    let count = args.count.map(|n| n as usize).or(given).unwrap_or(task.sample.count);
    let batch = args.batch.map(|n| n as usize);
    let (asked, negative) = args.asking.asked()?;
    let (guide, config) = (args.asking.guide(model, device)?, config.into());
    Ok(SamplerOptions { count, batch, seed: args.seed, start, size, config, scheduler, asked, guide, negative })
}

/// A scheduler of diffusers, with what a person should know of its file.
fn scheduler(path: &Path, eta: Option<f64>) -> anyhow::Result<SchedulerRun> {
    let loaded = read_scheduler(path)?;
    for note in &loaded.notes {
        errln!("note: {}: {note}", path.display());
    }
    Ok(SchedulerRun { config: loaded.config, eta: eta.unwrap_or(0.0) })
}

/// What is left of `[sample]` beside a scheduler: the number of steps, guidance, and what else is no matter of solvers.
fn scheduled_config(args: &SolverArgs, scale: Option<f64>, task: &DiffusionTask) -> anyhow::Result<SampleConfig> {
    let own = override_sample(&task.sample, &AskArgs::overrides(scale, &[]), task.diffusion.timesteps)?;
    let (solver, grid, threshold) = Default::default();
    Ok(SampleConfig { solver, grid, threshold, steps: args.steps.unwrap_or(own.steps), ..own })
}

/// Two seeds, or else two files.
pub(crate) fn between(a: &str, b: &str, t: usize) -> Start {
    match (a.parse(), b.parse()) {
        (Ok(a), Ok(b)) => Start::Between(a, b),
        _ => Start::Pictures { ends: [a.into(), b.into()], t },
    }
}

/// All pictures, and the reverse process of the first few.
fn draw(sampler: &Sampler, args: &SampleArgs) -> anyhow::Result<(Vec<Picture>, Film)> {
    let total = (sampler.batches() * sampler.steps()) as u64;
    let mut progress = Progress::new("drawing steps", total, 0);
    let (mut done, mut all, mut film) = (0, Vec::new(), Film::default());
    let filming = args.strip.is_some() || args.gif.is_some();
    let stride = sampler.steps().div_ceil(GIF_FRAMES);
    for index in 0..sampler.batches() {
        all.extend(sampler.batch(index, &mut |step| {
            done += 1;
            progress.set(done, "");
            let last = step.index + 1 == sampler.steps();
            if filming && index == 0 && (last || step.index % stride == 0) {
                let rows = step.x.dims()[0].min(STRIP_ROWS);
                film.0.push(pictures(step.x.clone().narrow(0, 0, rows)));
            }
        })?);
    }
    progress.finish();
    Ok((all, film))
}

/// The first pictures after each kept step.
#[derive(Default)]
struct Film(Vec<Vec<Picture>>);

impl Film {
    /// One row per picture, time runs to the right.
    fn strip(&self, scale: usize) -> anyhow::Result<Picture> {
        let last = self.0.len().saturating_sub(1);
        let frames = STRIP_FRAMES.min(self.0.len());
        let chosen: Vec<usize> = (0..frames).map(|i| i * last / frames.saturating_sub(1).max(1)).collect();
        let rows = self.0.first().map_or(0, Vec::len);
        let cells: Vec<Picture> = (0..rows)
            .flat_map(|row| chosen.iter().map(move |&f| (f, row)))
            .map(|(f, row)| self.0[f][row].upscaled(scale))
            .collect();
        Ok(store::grid(&cells, frames, 2)?)
    }

    /// One grid per kept step; the last is held.
    fn frames(&self, scale: usize) -> anyhow::Result<Vec<Picture>> {
        let grid = |step: &Vec<Picture>| {
            let cells: Vec<Picture> = step.iter().map(|p| p.upscaled(scale)).collect();
            store::grid(&cells, 4.min(cells.len()), 2)
        };
        let mut frames = self.0.iter().map(grid).collect::<Result<Vec<_>, _>>()?;
        let held = frames.last().cloned();
        frames.extend(std::iter::repeat_n(held, 15).flatten());
        Ok(frames)
    }
}

/// What a PNG says about itself.
pub(crate) fn metadata(seed: u64, model: &Model) -> Vec<(String, String)> {
    let command = std::iter::once("difusi".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
    vec![("command".into(), command), ("seed".into(), seed.to_string()), ("model".into(), model.hash.clone())]
}
