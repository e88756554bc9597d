//! `difusi train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use difusi::core::{ImageSize, Noise};
use difusi::data::DataConfig;
use difusi::nn::params::named_parameters;
use difusi::{
    Device, DeviceChoice, FineTune, OpenModel, Run, RunConfig, RunEvent, RunOptions, RunStart, Task, presets,
};

use crate::args::TrainArgs;
use crate::progress::{Progress, bytes, span};
use crate::usage::{Interrupted, usage};

/// Steps whose loss the progress line averages.
const SMOOTH: f64 = 50.0;

pub(crate) fn train(args: &TrainArgs, device: DeviceChoice, json: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let (config, name) = resolve(args)?;
    let out = folder(args, &name);
    if args.data.is_some() && matches!(config.data, DataConfig::Digits(_)) {
        return Err(usage(
            "--data is given, but `digits` draws its own; leave it away, or name a preset that reads files",
        ));
    }
    if args.dry_run {
        return dry_run(&config, args, json);
    }
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(&stop)?;
    let start = match (args.resume, args.overwrite) {
        (true, _) => RunStart::Resume,
        (_, true) => RunStart::Overwrite,
        _ => RunStart::New,
    };
    let from = args
        .from
        .as_ref()
        .map(|path| FineTune { model: OpenModel { config: args.from_config.clone(), ..OpenModel::new(path) } });
    let options = RunOptions { config, data: args.data.clone(), out, start, from, command: command_line() };
    let mut run = Run::open(options, &device.open()?)?;
    announce(&run, started);
    let asked = stop.clone();
    run.stop_when(move || asked.load(Ordering::SeqCst));
    let finished = steps(&mut run, &stop)?;
    if !finished {
        return interrupted(&mut run, args, device);
    }
    finish(&mut run, started, json)
}

/// The config that a preset's name, a TOML file or a run folder stands for, and what it is called.
pub(crate) fn config_text(named: &str) -> anyhow::Result<(String, String)> {
    let path = Path::new(named);
    Ok(match presets::get(named) {
        Some(text) => (text.to_owned(), named.to_owned()),
        None if path.is_dir() && path.join("config.toml").exists() => {
            let name = path.file_name().map_or_else(|| named.to_owned(), |n| n.to_string_lossy().into_owned());
            (read(&path.join("config.toml"))?, name)
        }
        None if path.extension().is_some_and(|e| e == "toml") => {
            let name = path.file_stem().map_or_else(|| named.to_owned(), |n| n.to_string_lossy().into_owned());
            (read(path)?, name)
        }
        None => {
            let known: Vec<String> = presets::list().map(|(name, about)| format!("  {name:14} {about}")).collect();
            let known = known.join("\n");
            return Err(usage(format!("`{named}` is no preset and no .toml file; the presets are\n{known}")));
        }
    })
}

/// The config, and what the run is called.
fn resolve(args: &TrainArgs) -> anyhow::Result<(RunConfig, String)> {
    let (text, name) = config_text(&args.config)?;
    // A preset says how to start; a run that is there says how it goes on.
    let own = folder(args, &name).join("config.toml");
    let text = if goes_on_from_its_own(args) && own.exists() {
        errln!("note: going on with the settings in {}", own.display());
        read(&own)?
    } else {
        text
    };
    let config = RunConfig::parse_with(&text, &args.overrides).with_context(|| format!("config {}", args.config))?;
    Ok((config, name))
}

/// The run folder: `--out`, the run that is named and resumed, or a place under runs/.
fn folder(args: &TrainArgs, name: &str) -> PathBuf {
    let named = Path::new(&args.config);
    match &args.out {
        Some(out) => out.clone(),
        None if args.resume && presets::get(&args.config).is_none() && named.is_dir() => named.to_path_buf(),
        None => Path::new("runs").join(name),
    }
}

/// Whether the run folder's own config is read, instead of what the command line names.
fn goes_on_from_its_own(args: &TrainArgs) -> bool {
    args.resume && presets::get(&args.config).is_some()
}

fn read(path: &Path) -> anyhow::Result<String> {
    Ok(difusi::store::read_text(path)?)
}

pub(crate) fn command_line() -> String {
    std::iter::once("difusi".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

/// Ctrl-C asks the loop to stop after its step; a second one ends the program as usual.
fn watch_signals(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let stop = stop.clone();
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        errln!("\nfinishing this step and saving; press Ctrl-C again to stop at once");
    })
    .context("Ctrl-C cannot be watched")
}

fn announce(run: &Run, started: Instant) {
    for note in run.notes() {
        errln!("note: {note}");
    }
    let train = &run.config().train;
    errln!(
        "{}: {:.2} million weights, {} steps of {} images, ready after {:.1} s",
        run.folder().display(),
        run.parameters() as f64 / 1e6,
        train.steps,
        train.images_per_step(),
        started.elapsed().as_secs_f64(),
    );
    if run.micro_batch() < train.batch_size {
        errln!("memory is short: {} images go through the network at once (train.micro_batch)", run.micro_batch());
    }
    if run.steps_done() > 0 {
        errln!("going on after step {}", run.steps_done());
    }
}

/// Steps until all are made (true) or a person stops (false).
fn steps(run: &mut Run, stop: &AtomicBool) -> anyhow::Result<bool> {
    let total = run.config().train.steps;
    let mut progress = Progress::new("steps", total, run.steps_done());
    let mut average: Option<f64> = None;
    let finished = loop {
        if stop.load(Ordering::SeqCst) {
            break false;
        }
        let mut hear = |event: RunEvent| match &event {
            // The step is not behind us yet.
            RunEvent::Evaluating { step, done, of } if *done > 0 => {
                progress.set(step.saturating_sub(1), &format!("evaluating, {done} of {of} pictures"));
            }
            event => progress.line(&said(event)),
        };
        let Some(report) = run.step(&mut hear)? else { break !stop.load(Ordering::SeqCst) };
        if report.loss.is_finite() {
            let old = average.unwrap_or(report.loss);
            average = Some(old + (report.loss - old) / SMOOTH.min(report.step as f64));
        }
        progress.set(report.step, &format!("loss {:.4}", average.unwrap_or(f64::NAN)));
    };
    progress.finish();
    Ok(finished)
}

fn said(event: &RunEvent) -> String {
    match event {
        RunEvent::Validated { step, loss, parts } => {
            let parts: String = parts.iter().map(|(name, v)| format!(", {} {v:.5}", name.replace('_', " "))).collect();
            format!("step {step}: validation loss {loss:.5}{parts}")
        }
        RunEvent::Evaluating { step, of, .. } => format!("step {step}: evaluating {of} pictures"),
        RunEvent::Evaluated { step, features, fid, kid, best } => {
            let kid = crate::eval::told_with(kid.mean, kid.standard_error);
            let best = best.as_ref().map_or(String::new(), |path| format!(", best so far: {}", path.display()));
            format!("step {step}: FID {fid:.4} ({features}), KID {kid}{best}")
        }
        RunEvent::EvaluationStopped { step } => {
            format!("step {step}: the evaluation is left to be made when the run goes on")
        }
        RunEvent::Sampled(path) => format!("pictures: {}", path.display()),
        RunEvent::Saved(path) => format!("checkpoint: {}", path.display()),
        RunEvent::Skipped { step, tensor } => {
            format!("step {step} skipped: {tensor} is not finite (10 in a row stop the run)")
        }
    }
}

fn interrupted(run: &mut Run, args: &TrainArgs, device: DeviceChoice) -> anyhow::Result<()> {
    let state = run.save()?;
    let mut more = args.data.as_ref().map(|d| format!(" --data {}", d.display())).unwrap_or_default();
    // A preset is resumed with the run's own config, a file is read again.
    if presets::get(&args.config).is_none() {
        more.extend(args.overrides.iter().map(|set| format!(" --set '{set}'")));
    }
    errln!("stopped after step {}, saved {}", run.steps_done(), state.display());
    if device != DeviceChoice::default() {
        more.push_str(&format!(" --device {device}"));
    }
    errln!("go on:  difusi train {} --out {}{more} --resume", args.config, run.folder().display());
    Err(Interrupted.into())
}

fn finish(run: &mut Run, started: Instant, json: bool) -> anyhow::Result<()> {
    let mut progress = None;
    let samples = run.finish(&mut |done, total| {
        progress.get_or_insert_with(|| Progress::new("drawing steps", total, 0)).set(done, "");
    })?;
    if let Some(bar) = progress {
        bar.finish();
    }
    let folder = run.folder().to_path_buf();
    let best = Some(folder.join("best.safetensors")).filter(|path| path.exists());
    errln!("done in {}", span(started.elapsed().as_secs_f64()));
    if json {
        let value = serde_json::json!({
            "run": folder, "samples": samples, "model": folder.join("model.safetensors"), "best": best,
            "steps": run.steps_done(), "seconds": started.elapsed().as_secs_f64(),
        });
        outln!("{value}");
        return Ok(());
    }
    if let Some(samples) = &samples {
        outln!("pictures:   {}", samples.display());
    }
    outln!("loss curve: {}", folder.join("loss.svg").display());
    if let Some(best) = &best {
        outln!("best model: {}", best.display());
    }
    for (i, next) in next_commands(run).iter().enumerate() {
        outln!("{:12}difusi {next}", if i == 0 { "next:" } else { "" });
    }
    Ok(())
}

/// What a person may want to do with a finished run.
fn next_commands(run: &Run) -> Vec<String> {
    let folder = run.folder().display();
    let sample = match run.config().task {
        Task::Diffusion(_) => vec![
            format!("sample {folder} -n 64 --seed 1 -o more.png"),
            format!("sample {folder} -n 8 --strip strip.png --gif steps.gif"),
        ],
        Task::Vae(_) | Task::Gan(_) | Task::Flow(_) => vec![
            format!("sample {folder} -n 64 --seed 1 -o more.png"),
            format!("sample {folder} --interpolate 1 2 -o between.png"),
        ],
        Task::Classifier(_) => Vec::new(),
    };
    sample.into_iter().chain([format!("inspect {folder}")]).collect()
}

/// A line of `--dry-run`: a layer of a network.
struct Layer {
    name: String,
    /// Shape of its output for one image, where it is known without running.
    output: Option<Vec<usize>>,
    parameters: usize,
}

/// The layers of a config's network.
fn layers(config: &RunConfig, size: ImageSize) -> anyhow::Result<Vec<Layer>> {
    if let Task::Diffusion(task) = &config.task {
        let layers = task.network.describe(size)?.into_iter();
        return Ok(layers.map(|l| Layer { name: l.name, output: Some(l.output), parameters: l.parameters }).collect());
    }
    if let Some(issue) = config.task.check_size("data.size", size) {
        return Err(usage(issue.to_string()));
    }
    let network = config.task.init(size, Noise::new(0), &Device::flex())?; // nothing is drawn
    let mut layers: Vec<Layer> = Vec::new();
    for parameter in named_parameters(&network) {
        let name = parameter.name.rsplit_once('.').map_or(parameter.name.as_str(), |(layer, _)| layer);
        match layers.last_mut().filter(|l| l.name == name) {
            Some(layer) => layer.parameters += parameter.count(),
            None => layers.push(Layer { name: name.to_owned(), output: None, parameters: parameter.count() }),
        }
    }
    Ok(layers)
}

/// What a run would be, without running it.
fn dry_run(config: &RunConfig, args: &TrainArgs, json: bool) -> anyhow::Result<()> {
    let size = difusi::data_size(config, args.data.clone())?;
    let layers = layers(config, size)?;
    let parameters: usize = layers.iter().map(|l| l.parameters).sum();
    let per_image = config.task.training_bytes(size)? as u64;
    let per_step = per_image * config.train.batch_size as u64;
    if json {
        let layers: Vec<_> = layers
            .iter()
            .map(|l| serde_json::json!({ "name": l.name, "output": l.output, "parameters": l.parameters }))
            .collect();
        let value = serde_json::json!({
            "config": config, "size": size, "parameters": parameters, "layers": layers,
            "activation_bytes_per_image": per_image, "activation_bytes": per_step,
        });
        outln!("{value}");
        return Ok(());
    }
    outln!("{}", config.to_toml()?);
    outln!("# layer                               output of one image   parameters");
    for l in &layers {
        let output = l.output.as_ref().map_or(String::new(), |shape| format!("{shape:?}"));
        outln!("# {:35} {output:21} {:>10}", l.name, l.parameters);
    }
    outln!("# parameters:        {parameters} ({})", bytes(4 * parameters as u64));
    let batch = config.train.batch_size;
    outln!("# activation memory: {} per image, {} for a batch of {batch}", bytes(per_image), bytes(per_step));
    outln!("# pictures:          {size}, {} channels", config.task.channels());
    Ok(())
}
