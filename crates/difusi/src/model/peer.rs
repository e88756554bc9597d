//! Checkpoints of denoising-diffusion-pytorch: read with the arguments of its `Unet` and `GaussianDiffusion`, and written so that
//! its Trainer opens them.

use std::path::Path;

use burn::tensor::Device;
use difusi_nn::UnetConfig;
use difusi_nn::unet::ddp::peer::UnetArgs;
use difusi_nn::unet::ddp::{Found, Pick, TensorInfo, unet_weights};
use difusi_process::peer::GaussianDiffusion;
use difusi_store::pt::{self, PtValue};
use difusi_store::{HostData, HostTensor, TensorMap, read_text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Model, ModelCard, tensors};
use crate::Error;
use crate::config::{ConfigError, ConfigErrors, DiffusionTask, Task, parse_table, strict_value};
use crate::network::DiffusionNetworkConfig;

/// The peer's version whose layout is written.
const VERSION: &str = "2.3.4";
const ORIGIN: &str = "denoising-diffusion-pytorch";

/// What a `--config` file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerConfig {
    unet: UnetArgs,
    #[serde(default)]
    diffusion: GaussianDiffusion,
}

/// A `--config` file: JSON or TOML, by what the text is.
pub(super) fn read_arguments<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = read_text(path)?;
    let table = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).map_err(|e| ConfigError::message(format!("not valid JSON: {e}")).into()),
        false => parse_table(&text),
    };
    table
        .and_then(|table| strict_value::<T>(table, ""))
        .map_err(|source| Error::ConfigFile { path: path.to_path_buf(), source })
}

impl PeerConfig {
    fn read(path: &Path) -> Result<Self, Error> {
        let config: Self = read_arguments(path)?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(source) => Err(Error::ConfigFile { path: path.to_path_buf(), source }),
        }
    }

    fn check(&self) -> Result<(), ConfigErrors> {
        let unet = UnetConfig::from(self.unet.clone());
        let mut errors: Vec<ConfigError> =
            unet.check().iter().map(|e| ConfigError::message(format!("unet: {e}"))).collect();
        errors.extend(self.diffusion.check().iter().map(|e| ConfigError::message(format!("diffusion: {e}"))));
        if !self.diffusion.auto_normalize {
            let accepted = "true: pictures are [-1, 1] inside and [0, 1] outside";
            errors.push(ConfigError::value("diffusion.auto_normalize", false, accepted));
        }
        match self.diffusion.image_size {
            None => errors.push(ConfigError::missing("diffusion.image_size")),
            Some(size) => {
                errors.extend(
                    unet.check_size("diffusion.image_size", size.sides().into()).iter().map(ConfigError::message),
                );
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }
}

/// The tensors of a file that is a checkpoint, nested names joined by dots, and its step counter.
pub(super) struct Checkpoint {
    pub(super) tensors: TensorMap,
    pub(super) step: u64,
}

/// Reads a PyTorch file.
pub(super) fn read_pt(path: &Path) -> Result<Checkpoint, Error> {
    let file = pt::read(path)?;
    let step = ["ema.step", "step"].into_iter().find_map(|name| file.at(name).ok()?.as_i64());
    Ok(Checkpoint { tensors: file.tensors()?, step: step.and_then(|s| u64::try_from(s).ok()).unwrap_or(0) })
}

/// The U-Net among `tensors`, as the config file at `config` says.
pub(super) fn open(
    path: &Path,
    config: Option<&Path>,
    checkpoint: &Checkpoint,
    pick: Pick,
    device: &Device,
) -> Result<Model, Error> {
    let tensors = &checkpoint.tensors;
    let infos: Vec<TensorInfo> = tensors.iter().map(|(name, t)| (name.to_owned(), t.shape.clone())).collect();
    let found = unet_weights(&infos, pick).map_err(|source| Error::Weights { path: path.to_path_buf(), source })?;
    let Some(config) = config else { return Err(Error::model(path, missing_config(&found))) };
    let args = PeerConfig::read(config)?;
    let unet = UnetConfig::from(args.unet);
    if let Some(problem) = unet.disagreement(&found.tensors)? {
        return Err(Error::model(path, format!("{} describes another network: {problem}", config.display())));
    }
    let [height, width] = args.diffusion.image_size.map_or([0, 0], |s| s.sides());
    let shape = [height, width, unet.channels];
    let diffusion = args.diffusion.diffusion();
    let network = DiffusionNetworkConfig::Unet(unet);
    let task = DiffusionTask::of_peer(network, diffusion.value, args.diffusion.sample());
    let mut card = ModelCard::new(shape, Task::Diffusion(task));
    card.origin = Some(ORIGIN.to_owned());
    card.weights = if found.prefix.contains("ema_model") { "ema" } else { "raw" }.to_owned();
    card.step = checkpoint.step;
    card.check().map_err(|source| Error::ConfigFile { path: config.to_path_buf(), source })?;
    let mut map = TensorMap::new();
    for (name, own) in &found.names {
        let tensor = tensors.get(name)?;
        map.insert(own.clone(), HostTensor::f32(tensor.shape.clone(), tensor.to_f32())?);
    }
    Ok(Model { notes: diffusion.notes, ..Model::with_weights(card, map, path, device)? })
}

/// What to write into the config file that is missing, as far as the tensors tell.
fn missing_config(found: &Found) -> String {
    let unet = UnetArgs::from(found.inferred.config.clone());
    let example = serde_json::json!({
        "unet": unet,
        "diffusion": { "image_size": 32, "timesteps": 1000, "objective": "pred_v", "beta_schedule": "sigmoid" },
    });
    let example = serde_json::to_string_pretty(&example).unwrap_or_default();
    format!(
        "a peer's checkpoint does not say how it was made. Name a file with the arguments of its Unet and GaussianDiffusion: \
         --config model.json (`train --from`: --from-config). The tensors are those of this Unet; the second \
         part is yours to correct (tensors cannot tell {}):\n\
         {example}",
        found.inferred.uncertain.join(", ")
    )
}

impl Model {
    /// Writes the model as `model-N.pt` of the peer's Trainer (model, ema, opt, step, version), and the arguments to build its
    /// objects with beside it (`.json`). The optimiser is fresh. Gives notes on what the peer does differently.
    ///
    /// # Errors
    /// A process the peer does not have; paths that cannot be written.
    pub fn save_pt(&self, path: &Path) -> Result<Vec<String>, Error> {
        let task = self.card.task.diffusion()?;
        let DiffusionNetworkConfig::Unet(unet) = &task.network else {
            let error = ConfigError::value("model.kind", "adm", "unet: denoising-diffusion-pytorch has no other");
            return Err(ConfigErrors(vec![error]).into());
        };
        if !unet.fourier.is_empty() {
            let accepted = "no such key: the peer's Unet has no Fourier features";
            let error = ConfigError::value("model.fourier", format!("{:?}", unet.fourier), accepted);
            return Err(ConfigErrors(vec![error]).into());
        }
        let peer = GaussianDiffusion::from_ours(&task.diffusion, &task.sample)
            .map_err(|all| ConfigErrors(all.iter().map(ConfigError::message).collect()))?;
        let mut args = PeerConfig { unet: unet.clone().into(), diffusion: peer.value };
        let [height, width, _] = self.card.shape;
        args.diffusion.image_size = Some(match height == width {
            true => difusi_process::peer::PeerSize::Side(height),
            false => difusi_process::peer::PeerSize::Sides([height, width]),
        });
        pt::write(path, &self.trainer_file(&args.diffusion)?)?;
        let json = serde_json::to_string_pretty(&args).map_err(|e| ConfigErrors::from(ConfigError::message(e)))?;
        difusi_store::atomic::write_bytes(&path.with_extension("json"), format!("{json}\n").as_bytes())?;
        Ok(peer.notes)
    }

    /// The Trainer's dictionary.
    fn trainer_file(&self, args: &GaussianDiffusion) -> Result<PtValue, Error> {
        let weights = tensors(&self.network)?;
        let mut diffusion: Vec<(String, HostTensor)> = Vec::new();
        for (name, values) in args.buffers()? {
            let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            diffusion.push((name.to_owned(), HostTensor::f32(vec![values.len()], values)?));
        }
        diffusion.extend(weights.iter().map(|(name, tensor)| (format!("model.{name}"), tensor.clone())));
        let step = i64::try_from(self.card.step).unwrap_or(i64::MAX);
        let mut ema = vec![
            ("initted".to_owned(), HostTensor::new(vec![], HostData::Bool(vec![true]))?),
            ("step".to_owned(), HostTensor::scalar_i64(step)),
        ];
        for copy in ["online_model", "ema_model"] {
            ema.extend(diffusion.iter().map(|(name, tensor)| (format!("{copy}.{name}"), tensor.clone())));
        }
        let tensors =
            |all: Vec<(String, HostTensor)>| PtValue::dict(all.into_iter().map(|(k, t)| (k, PtValue::Tensor(t))));
        Ok(PtValue::dict([
            ("step", PtValue::Int(step)),
            ("model", tensors(diffusion)),
            ("opt", fresh_adam(weights.len())),
            ("ema", tensors(ema)),
            ("scaler", PtValue::None),
            ("version", PtValue::str(VERSION)),
        ]))
    }
}

/// The state of a `torch.optim.Adam` that has made no step, with the peer's settings.
fn fresh_adam(parameters: usize) -> PtValue {
    let index = |i: usize| PtValue::Int(i64::try_from(i).unwrap_or(i64::MAX));
    let group = PtValue::dict([
        ("lr", PtValue::Float(1e-4)),
        ("betas", PtValue::Tuple(vec![PtValue::Float(0.9), PtValue::Float(0.99)])),
        ("eps", PtValue::Float(1e-8)),
        ("weight_decay", PtValue::Int(0)),
        ("amsgrad", PtValue::Bool(false)),
        ("maximize", PtValue::Bool(false)),
        ("foreach", PtValue::None),
        ("capturable", PtValue::Bool(false)),
        ("differentiable", PtValue::Bool(false)),
        ("fused", PtValue::None),
        ("decoupled_weight_decay", PtValue::Bool(false)),
        ("params", PtValue::List((0..parameters).map(index).collect())),
    ]);
    let state = PtValue::Dict(Vec::new());
    PtValue::dict([("state", state), ("param_groups", PtValue::List(vec![group]))])
}
