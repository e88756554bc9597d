//! Checkpoints of OpenAI's guided-diffusion: bare state dicts, read with the arguments of its scripts.

use std::path::Path;

use burn::tensor::Device;
use difusi_nn::unet::adm::guided::{ClassifierArgs, UnetArgs, classifier_weights, is_classifier, is_unet, own_weights};
use difusi_nn::{ConfigIssue, Weight};
use difusi_process::guided::GuidedDiffusion;
use difusi_store::{HostTensor, TensorMap};
use serde::{Deserialize, Serialize};

use super::peer::{Checkpoint, read_arguments};
use super::{Model, ModelCard};
use crate::Error;
use crate::config::{ClassifierTask, ConfigError, ConfigErrors, DiffusionTask, Task};

const ORIGIN: &str = "guided-diffusion";

/// What a `--config` file holds, of the network or of a classifier.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    unet: UnetArgs,
    diffusion: GuidedDiffusion,
}

/// See [`Arguments`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClassifierArguments {
    classifier: ClassifierArgs,
    diffusion: GuidedDiffusion,
}

/// Whether these are the tensors of its `UNetModel` or of one of its classifiers.
pub(crate) fn is_checkpoint(tensors: &TensorMap) -> bool {
    is_unet(tensors.names()) || is_classifier(tensors.names())
}

/// The network in the file `path`, as the config file at `config` says.
pub(super) fn open(
    path: &Path,
    config: Option<&Path>,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<Model, Error> {
    match is_unet(checkpoint.tensors.names()) {
        true => open_unet(path, config, checkpoint, device),
        false => open_classifier(path, config, checkpoint, device),
    }
}

fn open_unet(path: &Path, config: Option<&Path>, checkpoint: &Checkpoint, device: &Device) -> Result<Model, Error> {
    let Some(config) = config else { return Err(Error::model(path, missing_config(&Arguments::default()))) };
    let Arguments { unet: args, diffusion } = read_arguments(config)?;
    let failed = |source| Error::ConfigFile { path: config.to_path_buf(), source };
    let network = whole(("unet", args.config(diffusion.learn_sigma)), &diffusion).map_err(failed)?;
    let wrong = |source| Error::Weights { path: path.to_path_buf(), source };
    let map = map_of(own_weights(&network, args.order(), weights_of(checkpoint)).map_err(wrong)?)?;
    let shape = [args.image_size, args.image_size, network.channels];
    let translated = diffusion.diffusion();
    let task = DiffusionTask::of_peer(network.into(), translated.value, diffusion.sample());
    let card = card(path, shape, Task::Diffusion(task));
    card.check().map_err(failed)?;
    Ok(Model { notes: translated.notes, ..Model::with_weights(card, map, path, device)? })
}

fn open_classifier(
    path: &Path,
    config: Option<&Path>,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<Model, Error> {
    let missing = || Error::model(path, missing_config(&ClassifierArguments::default()));
    let config = config.ok_or_else(missing)?;
    let ClassifierArguments { classifier: args, diffusion } = read_arguments(config)?;
    let failed = |source| Error::ConfigFile { path: config.to_path_buf(), source };
    let network = whole(("classifier", args.config()), &diffusion).map_err(failed)?;
    let wrong = |source| Error::Weights { path: path.to_path_buf(), source };
    let Some(encoder) = network.encoder() else { return Err(missing()) };
    let map = map_of(classifier_weights(&encoder, args.order(), weights_of(checkpoint)).map_err(wrong)?)?;
    let shape = [args.image_size, args.image_size, network.channels];
    let translated = diffusion.diffusion();
    let card = card(path, shape, Task::Classifier(ClassifierTask { network, diffusion: Some(translated.value) }));
    card.check().map_err(failed)?;
    Ok(Model { notes: translated.notes, ..Model::with_weights(card, map, path, device)? })
}

/// The network, if everything is accepted; else all that is not.
fn whole<T>(
    (section, network): (&str, Result<T, Vec<ConfigIssue>>),
    diffusion: &GuidedDiffusion,
) -> Result<T, ConfigErrors> {
    let mut errors: Vec<ConfigError> =
        diffusion.check().iter().map(|e| ConfigError::message(format!("diffusion: {e}"))).collect();
    match network {
        Ok(network) if errors.is_empty() => Ok(network),
        Ok(_) => Err(ConfigErrors(errors)),
        Err(issues) => {
            errors.extend(issues.iter().map(|e| ConfigError::message(format!("{section}: {e}"))));
            Err(ConfigErrors(errors))
        }
    }
}

fn card(path: &Path, shape: [usize; 3], task: Task) -> ModelCard {
    let (weights, step) = said_by(path);
    ModelCard { origin: Some(ORIGIN.to_owned()), weights, step, ..ModelCard::new(shape, task) }
}

fn weights_of(checkpoint: &Checkpoint) -> impl Iterator<Item = Weight> {
    let weight =
        |(name, t): (&str, &HostTensor)| Weight { name: name.to_owned(), shape: t.shape.clone(), values: t.to_f32() };
    checkpoint.tensors.iter().map(weight)
}

fn map_of(weights: Vec<Weight>) -> Result<TensorMap, Error> {
    let mut map = TensorMap::new();
    for weight in weights {
        map.insert(weight.name, HostTensor::f32(weight.shape, weight.values)?);
    }
    Ok(map)
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
fn missing_config(arguments: &impl Serialize) -> String {
    let example = serde_json::to_string_pretty(arguments).unwrap_or_default();
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
