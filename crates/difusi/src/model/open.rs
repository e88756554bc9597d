//! Finding and reading a model: a run folder, our safetensors, a bare state dict, a peer's checkpoint or folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::Device;
use difusi_nn::unet::ddp::Pick;
use difusi_store::{Container, RunPaths, TensorMap, detect, read_safetensors, read_text};

use super::{Model, ModelCard, diffusers, guided, peer};
use crate::{Error, RunConfig};

/// Which weights of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Weights {
    /// The first EMA; in a peer's file its EMA where it has one.
    #[default]
    Ema,
    /// The EMA of this rate.
    EmaRate(f64),
    /// Those the optimiser moves.
    Raw,
    /// Of a run that evaluates its pictures (`train.eval_every`): those that drew the best ones so far.
    Best,
}

impl FromStr for Weights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ema" => Ok(Self::Ema),
            "raw" => Ok(Self::Raw),
            "best" => Ok(Self::Best),
            _ => match text.strip_prefix("ema:").map(str::parse) {
                Some(Ok(rate)) => Ok(Self::EmaRate(rate)),
                _ => Err(Error::value("--weights", text, "ema, ema:RATE (as in ema:0.9999), raw or best")),
            },
        }
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ema => f.write_str("ema"),
            Self::EmaRate(rate) => write!(f, "ema:{rate}"),
            Self::Raw => f.write_str("raw"),
            Self::Best => f.write_str("best"),
        }
    }
}

/// Which model to open, and how.
#[derive(Clone, Debug, Default)]
pub struct OpenModel {
    /// A run folder, a folder of diffusers, a safetensors file or a PyTorch file.
    pub path: PathBuf,
    /// The peer's arguments where the file does not say them: JSON or TOML with `unet` and `diffusion`.
    pub config: Option<PathBuf>,
    /// Which weights.
    pub weights: Weights,
}

impl OpenModel {
    /// The model at `path`, its EMA weights.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Files that are absent or damaged, weights that do not fit the config, a config that is missing; each says what to do.
    pub fn open(&self, device: &Device) -> Result<Model, Error> {
        if let Some(folder) = diffusers::Folder::at(&self.path).filter(|_| !RunPaths::is_run(&self.path)) {
            return self.open_folder(&folder, device);
        }
        if self.path.is_dir() {
            return self.open_run(device);
        }
        if detect(&self.path)? == Container::Safetensors {
            let file = read_safetensors(&self.path)?;
            return match ModelCard::from_metadata(&file.metadata) {
                Some(card) => self.open_card(card, file.tensors, device),
                None => self.open_peer(&peer::Checkpoint { tensors: file.tensors, step: 0 }, device),
            };
        }
        self.open_peer(&peer::read_pt(&self.path)?, device)
    }

    /// Short hash of the tensors of one of our files, without building the network.
    pub(crate) fn hash(&self) -> Result<String, Error> {
        Ok(difusi_store::hash::short(&read_safetensors(&self.path)?.tensors))
    }

    fn open_card(
        &self,
        card: Result<ModelCard, crate::ConfigErrors>,
        tensors: TensorMap,
        device: &Device,
    ) -> Result<Model, Error> {
        let card = card.map_err(|source| Error::ConfigFile { path: self.path.clone(), source })?;
        if self.config.is_some() {
            let problem = "the file holds its own config; leave --config away";
            return Err(Error::model(&self.path, problem));
        }
        let wanted = match self.weights {
            Weights::Ema => None,
            other => Some(other.to_string()),
        };
        if let Some(wanted) = wanted.filter(|w| *w != card.weights) {
            let problem =
                format!("--weights {wanted} asked for, but this file holds {} only; name its run folder", card.weights);
            return Err(Error::model(&self.path, problem));
        }
        Model::with_weights(card, tensors, &self.path, device)
    }

    /// A pipeline of diffusers, or its network. Weights that we wrote there hold their own card.
    fn open_folder(&self, folder: &diffusers::Folder, device: &Device) -> Result<Model, Error> {
        if self.config.is_some() {
            return Err(Error::model(&self.path, "the folder holds its own config; leave --config away"));
        }
        let weights = folder.weights()?;
        if detect(&weights)? != Container::Safetensors {
            return folder.open(&weights, peer::read_pt(&weights)?.tensors, device);
        }
        let file = read_safetensors(&weights)?;
        match ModelCard::from_metadata(&file.metadata) {
            Some(card) => Self { path: weights, ..self.clone() }.open_card(card, file.tensors, device),
            None => folder.open(&weights, file.tensors, device),
        }
    }

    fn open_peer(&self, checkpoint: &peer::Checkpoint, device: &Device) -> Result<Model, Error> {
        if guided::is_checkpoint(&checkpoint.tensors) {
            return guided::open(&self.path, self.config.as_deref(), checkpoint, device);
        }
        if diffusers::is_checkpoint(&checkpoint.tensors) && self.config.is_none() {
            return diffusers::Folder::around(&self.path)?.open(&self.path, checkpoint.tensors.clone(), device);
        }
        let pick = match self.weights {
            Weights::Ema => Pick::EmaIfPresent,
            Weights::Raw => Pick::Raw,
            Weights::EmaRate(_) | Weights::Best => {
                let accepted = "ema or raw for a peer's checkpoint, which holds at most one EMA";
                return Err(Error::value("--weights", self.weights, accepted));
            }
        };
        peer::open(&self.path, self.config.as_deref(), checkpoint, pick, device)
    }

    fn open_run(&self, device: &Device) -> Result<Model, Error> {
        let run = RunPaths::open(&self.path)?;
        let file = match self.weights {
            Weights::Ema => Some(run.model()).filter(|path| path.exists()),
            Weights::Best if run.best().exists() => Some(run.best()),
            Weights::Best => return Err(no_best(&self.path)),
            Weights::EmaRate(_) | Weights::Raw => None,
        };
        if let Some(path) = file {
            return Self { path, weights: Weights::Ema, ..self.clone() }.open(device);
        }
        let Some(state) = run.states()?.into_iter().next() else {
            let problem = "the run has no checkpoint yet; wait for its first, or train with a smaller train.save_every";
            return Err(Error::model(&self.path, problem));
        };
        let config = read_run_config(&run)?;
        let (name, label) = state_file(&config, self.weights, &self.path)?;
        let card = run_card(&config, &run, state.step, label)?;
        let path = state.path.join(name);
        let tensors = read_safetensors(&path)?.tensors;
        Model::with_weights(card, tensors, &path, device)
    }
}

/// What to do where a run has no best model.
fn no_best(path: &Path) -> Error {
    let problem = "the run has no best.safetensors, which training keeps from its first evaluation on; train with \
                   train.eval_every above 0 (--set train.eval_every=1000, also with --resume), or take --weights ema";
    Error::model(path, problem)
}

/// The resolved config of a run.
pub(crate) fn read_run_config(run: &RunPaths) -> Result<RunConfig, Error> {
    let path = run.config();
    let text = read_text(&path)?;
    RunConfig::parse(&text).map_err(|source| Error::ConfigFile { path, source })
}

/// File in a state folder, and what its weights are called.
fn state_file(config: &RunConfig, weights: Weights, path: &Path) -> Result<(String, String), Error> {
    let rates = &config.train.ema;
    let rate = match weights {
        Weights::Raw => None,
        Weights::Ema => rates.first().copied(),
        Weights::EmaRate(rate) if rates.contains(&rate) => Some(rate),
        Weights::EmaRate(rate) => {
            let kept: Vec<String> = rates.iter().map(|r| format!("ema:{r}")).chain(["raw".into()]).collect();
            return Err(Error::model(path, format!("the run keeps no ema:{rate}; it has {}", kept.join(", "))));
        }
        Weights::Best => return Err(no_best(path)),
    };
    Ok(match rate {
        Some(rate) => (format!("ema-{rate}.safetensors"), format!("ema:{rate}")),
        None => ("weights.safetensors".to_owned(), "raw".to_owned()),
    })
}

/// The card of a run whose shape is in its model file.
fn run_card(config: &RunConfig, run: &RunPaths, step: u64, weights: String) -> Result<ModelCard, Error> {
    let header = difusi_store::read_header(&run.model())?;
    let Some(card) = ModelCard::from_metadata(&header.metadata) else {
        return Err(Error::model(run.model(), "it holds no model card; the run is damaged"));
    };
    let shape = card.map_err(|source| Error::ConfigFile { path: run.model(), source })?.shape;
    let card = ModelCard::new(shape, config.task.clone());
    Ok(ModelCard { step, weights, precision: config.train.precision, ..card })
}
