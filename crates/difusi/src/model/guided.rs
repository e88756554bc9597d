//! Checkpoints of OpenAI's guided-diffusion: bare state dicts, read with the arguments of its scripts.

use std::path::Path;

use burn::tensor::Device;
use difusi_nn::Weight;
use difusi_nn::unet::adm::guided::{UnetArgs, is_unet, own_weights};
use difusi_process::guided::GuidedDiffusion;
use difusi_store::{HostTensor, TensorMap};
use serde::{Deserialize, Serialize};

use super::peer::{Checkpoint, read_arguments};
use super::{Model, ModelCard};
use crate::Error;
use crate::config::{ConfigError, ConfigErrors, DiffusionTask, Task};

const ORIGIN: &str = "guided-diffusion";

/// What a `--config` file holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    unet: UnetArgs,
    diffusion: GuidedDiffusion,
}

/// Whether these are the tensors of its `UNetModel`.
pub(crate) fn is_checkpoint(tensors: &TensorMap) -> bool {
    is_unet(tensors.names())
}

/// The network in the file `path`, as the config file at `config` says.
pub(super) fn open(
    path: &Path,
    config: Option<&Path>,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<Model, Error> {
    let Some(config) = config else { return Err(Error::model(path, missing_config())) };
    let Arguments { unet: args, diffusion } = read_arguments(config)?;
    let failed = |source| Error::ConfigFile { path: config.to_path_buf(), source };
    let mut errors: Vec<ConfigError> =
        diffusion.check().iter().map(|e| ConfigError::message(format!("diffusion: {e}"))).collect();
    let network = args.config(diffusion.learn_sigma);
    if let Err(issues) = &network {
        errors.extend(issues.iter().map(|e| ConfigError::message(format!("unet: {e}"))));
    }
    let (Ok(network), true) = (network, errors.is_empty()) else { return Err(failed(ConfigErrors(errors))) };
    let wrong = |source| Error::Weights { path: path.to_path_buf(), source };
    let weights = checkpoint.tensors.iter().map(|(name, t)| Weight {
        name: name.to_owned(),
        shape: t.shape.clone(),
        values: t.to_f32(),
    });
    let mut map = TensorMap::new();
    for weight in own_weights(&network, args.order(), weights).map_err(wrong)? {
        map.insert(weight.name, HostTensor::f32(weight.shape, weight.values)?);
    }
    let shape = [args.image_size, args.image_size, network.channels];
    let translated = diffusion.diffusion();
    let task = DiffusionTask { network: network.into(), diffusion: translated.value, sample: diffusion.sample() };
    let (weights, step) = said_by(path);
    let card =
        ModelCard { origin: Some(ORIGIN.to_owned()), weights, step, ..ModelCard::new(shape, Task::Diffusion(task)) };
    card.check().map_err(failed)?;
    Ok(Model { notes: translated.notes, ..Model::with_weights(card, map, path, device)? })
}

/// Which weights a file holds and of which step, as far as its name tells: `model010000.pt`, `ema_0.9999_010000.pt`.
fn said_by(path: &Path) -> (String, u64) {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let rate = stem.strip_prefix("ema_").and_then(|rest| rest.split('_').next()?.parse::<f64>().ok());
    let digits = stem.len() - stem.bytes().rev().take_while(u8::is_ascii_digit).count();
    let step = stem[digits..].parse().unwrap_or(0);
    (rate.map_or_else(|| "raw".to_owned(), |rate| format!("ema:{rate}")), step)
}

/// What to write into the config file that is missing.
fn missing_config() -> String {
    let example = serde_json::to_string_pretty(&Arguments::default()).unwrap_or_default();
    format!(
        "a checkpoint of guided-diffusion does not say how it was made. Name a file with the arguments of its scripts: --config \
         model.json (`train --from`: --from-config). Arguments that are left out have these values, the scripts' own:\n\
         {example}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let said = |name: &str| said_by(Path::new(name));
        assert_eq!(said("a/model010000.pt"), ("raw".into(), 10_000));
        assert_eq!(said("ema_0.9999_250000.pt"), ("ema:0.9999".into(), 250_000));
        assert_eq!(said("64x64_diffusion.pt"), ("raw".into(), 0));
    }
}
