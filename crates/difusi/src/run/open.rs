//! Starting and resuming a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use difusi_core::{Dataset, ImageSize, Noise};
use difusi_data::{DataConfig, OpenOptions, Report};
use difusi_nn::params;
use difusi_store::{ExistingRun, MetricsWriter, RunDir, RunPaths, atomic};
use difusi_train::TrainerOptions;

use super::evaluation::{Evaluation, Known};
use super::training::{Start, training};
use super::{Pending, Run, columns};
use crate::config::Task;
use crate::model::{OpenModel, read_run_config};
use crate::network::ModelNetwork;
use crate::{ConfigError, ConfigErrors, Error, RunConfig};

/// How many broken images are named before the rest is counted.
const NAMED: usize = 5;

/// What to do about a run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStart {
    /// A new run; a run that is there is an error.
    New,
    /// A new run; a run that is there is deleted.
    Overwrite,
    /// Go on from the newest checkpoint.
    Resume,
}

/// Weights to start from.
#[derive(Clone, Debug)]
pub struct FineTune {
    /// The model.
    pub model: OpenModel,
}

/// What to train and where.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The resolved config.
    pub config: RunConfig,
    /// `--data`: where the data is.
    pub data: Option<PathBuf>,
    /// The run folder.
    pub out: PathBuf,
    /// New or resumed.
    pub start: RunStart,
    /// Weights to start from instead of random ones.
    pub from: Option<FineTune>,
    /// The command line, for the pictures' metadata.
    pub command: String,
}

impl RunOptions {
    /// A new run of `config` in the folder `out`.
    pub fn new(config: RunConfig, out: impl Into<PathBuf>) -> Self {
        Self { config, data: None, out: out.into(), start: RunStart::New, from: None, command: "difusi train".into() }
    }
}

impl Run {
    /// Opens data, network and folder. Nothing is written before everything was checked.
    ///
    /// # Errors
    /// Data that is nowhere or damaged, a folder that holds a run already (or none to resume), sizes that do not fit, weights
    /// of another network, a config that differs from the run's in what decides its weights.
    pub fn open(options: RunOptions, device: &Device) -> Result<Self, Error> {
        let RunOptions { mut config, data, out, start, from, command } = options;
        config.check()?;
        if start == RunStart::New && RunPaths::is_run(&out) {
            return Err(difusi_store::StoreError::RunExists(out).into());
        }
        // The lock first: what is read below must not be written by another process meanwhile.
        let resumed = if start == RunStart::Resume { Some(reopen(&out, &config)?) } else { None };
        let opened = config.data.open_with_report(&OpenOptions::with_data(data))?;
        let mut notes = notes(&config, &opened.report)?;
        keep_source(&mut config.data, &opened.report);
        let dataset: Arc<dyn Dataset> = Arc::from(opened.dataset);
        let shape = dataset.shape();
        check_classes(&config, dataset.as_ref())?;
        let evaluation = Evaluation::new(&config, dataset.clone(), device)?;
        notes.extend(evaluation.as_ref().map(Evaluation::notes).transpose()?.into_iter().flatten());
        let (network, cost) = network(&config, shape, from.as_ref(), device)?;
        let options = TrainerOptions { activation_bytes_per_image: Some(cost), memory_limit: None };
        let mut trainer = training(&config, Start { network, dataset, options }, device)?;
        if let Some(resumed) = &resumed {
            trainer.resume(&resumed.state)?;
        }
        let saved_at = resumed.as_ref().map(|_| trainer.steps_done());
        let known = resumed.as_ref().map(|r| r.known).unwrap_or_default();
        let dir = match (resumed, start) {
            (Some(resumed), _) => resumed.dir,
            (None, RunStart::Overwrite) => RunDir::create(out, ExistingRun::Overwrite)?,
            (None, _) => RunDir::create(out, ExistingRun::Refuse)?,
        };
        atomic::write_bytes(&dir.config(), config.to_toml()?.as_bytes())?;
        let scored = known.columns || evaluation.is_some();
        let columns = columns(trainer.part_names(), scored);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let metrics = match saved_at {
            Some(_) => MetricsWriter::resume(&dir.metrics(), &columns, trainer.steps_done())?,
            None => MetricsWriter::create(&dir.metrics(), &columns)?,
        };
        let (pending, device, stop) = (Pending::default(), device.clone(), Box::new(|| false));
        let (best_fid, owed) = (known.best, evaluation.is_some() && known.owes(&config.train, trainer.steps_done()));
        Ok(Self {
            config,
            shape,
            dir,
            trainer,
            metrics,
            scored,
            evaluation,
            owed,
            best_fid,
            stop,
            pending,
            device,
            command,
            notes,
            saved_at,
        })
    }
}

/// A run that goes on.
struct Resumed {
    dir: RunDir,
    /// The newest state.
    state: PathBuf,
    known: Known,
}

/// Takes the lock of the run in `out` and finds its newest state; `config` must be one that goes on with it.
fn reopen(out: &Path, config: &RunConfig) -> Result<Resumed, Error> {
    if !out.exists() {
        return Err(Error::model(out, "there is no run to resume; leave --resume away to start one"));
    }
    let dir = RunDir::open(out)?;
    let old = read_run_config(&dir)?;
    config.check_resumes(&old)?;
    let Some(state) = dir.states()?.into_iter().next() else {
        let problem = "the run has no checkpoint to resume from; start it again with --overwrite";
        return Err(Error::model(out, problem));
    };
    let known = Known::read(&dir, state.step)?;
    known.check(&config.train, &old.train)?;
    Ok(Resumed { dir, state: state.path, known })
}

/// A network that is told classes, or tells them, knows as many as the data have.
fn check_classes(config: &RunConfig, data: &dyn Dataset) -> Result<(), Error> {
    let own = match &config.task {
        Task::Classifier(task) => task.network.classes,
        Task::Diffusion(task) => match task.network.classes() {
            Some(classes) => classes,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let accepted = match data.classes() {
        Some(classes) if classes as usize == own => return Ok(()),
        Some(classes) => format!("{classes}, the classes of the data"),
        None => "data with labels, which these are not".to_owned(),
    };
    Err(ConfigErrors(vec![ConfigError::value("model.classes", own, accepted)]).into())
}

/// The network with its initial weights, and the bytes of activations one image costs in training.
pub(crate) fn network(
    config: &RunConfig,
    shape: [usize; 3],
    from: Option<&FineTune>,
    device: &Device,
) -> Result<(ModelNetwork, u64), Error> {
    let [height, width, _] = shape;
    let size = ImageSize { height, width };
    if let Some(issue) = config.task.check_size("data.size", size) {
        return Err(ConfigErrors(vec![ConfigError::message(issue)]).into());
    }
    if let Task::Diffusion(task) = &config.task {
        let outputs = task.network.channels() * if task.diffusion.variance.is_learned() { 2 } else { 1 };
        if task.network.output_channels() != outputs {
            let accepted = format!("{outputs}, to be trained with this loss and diffusion.variance");
            let got = task.network.output_channels();
            return Err(Error::value("the network's number of output channels", got, accepted));
        }
    }
    let cost = config.train.precision.of_f32_bytes(config.task.training_bytes(size)?) as u64;
    let network = config.task.init(size, Noise::new(config.train.seed), device)?;
    let Some(from) = from else { return Ok((network, cost)) };
    let old = from.model.open(device)?;
    let mut weights = params::export(&old.network);
    // A model holds the list that a learned schedule came to, not the curve: that one starts anew.
    let curve = params::export(&network).into_iter().filter(|w| w.name.starts_with(CURVE));
    weights.extend(curve);
    let network =
        params::import(network, weights).map_err(|source| Error::Weights { path: from.model.path.clone(), source })?;
    Ok((network, cost))
}

/// Parameters of a schedule that is trained with its network.
const CURVE: &str = "curve.";

/// What a person should know before training.
fn notes(config: &RunConfig, report: &Report) -> Result<Vec<String>, Error> {
    let mut notes: Vec<String> = report.skipped.iter().take(NAMED).map(|s| format!("skipped {s}")).collect();
    if report.skipped.len() > NAMED {
        notes.push(format!("skipped {} more broken images", report.skipped.len() - NAMED));
    }
    if let Task::Diffusion(task) = &config.task {
        notes.extend(task.diffusion.build()?.process.warnings());
    }
    Ok(notes)
}

/// Remembers where the data was found, so that the run's config.toml alone resumes it.
fn keep_source(data: &mut DataConfig, report: &Report) {
    let Some(source) = report.source.as_ref().and_then(|s| std::path::absolute(s).ok()) else { return };
    match data {
        DataConfig::Digits(_) => {}
        DataConfig::Idx(c) => c.path = source,
        DataConfig::Cifar10(c) => c.path = source,
        DataConfig::Folder(c) => c.path = Some(source),
    }
}
