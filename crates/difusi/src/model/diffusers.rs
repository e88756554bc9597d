//! Folders of diffusers: a pipeline with a `UNet2DModel` is read, and one that its `DDPMPipeline` opens is written.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use difusi_nn::unet::adm::diffusers::{SampleSize, UnetArgs, is_unet, own_name};
use difusi_nn::{AdmConfig, ConfigIssue};
use difusi_process::diffusers::{DIFFUSERS_VERSION, Loaded, SchedulerClass, SchedulerConfig};
use difusi_store::atomic::{write_bytes, write_dir};
use difusi_store::{HostTensor, TensorMap, read_text, write_safetensors};
use serde_json::{Map, Value, json};

use super::{Model, ModelCard, tensors};
use crate::Error;
use crate::config::{ConfigError, ConfigErrors, DiffusionTask, Task};
use crate::network::DiffusionNetworkConfig;
use crate::scheduler::{read_scheduler, scheduler_of};

const ORIGIN: &str = "diffusers";
const CLASS: &str = "UNet2DModel";
const CONFIG: &str = "config.json";
/// Names that its files of weights have, the better first.
const WEIGHTS: [&str; 3] =
    ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"];

/// Where a network of diffusers and its scheduler lie.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// Holds `config.json` and the weights.
    network: PathBuf,
    /// Holds `scheduler_config.json`, if anything does.
    scheduler: Option<PathBuf>,
}

impl Folder {
    /// The pipeline in `path`, or the network alone; `None` where it is neither.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let has = |name: &str| path.join(name).is_file();
        let network = match (has("unet/config.json"), has(CONFIG)) {
            (true, _) => path.join("unet"),
            (false, true) => path.to_path_buf(),
            // A pipeline of something else: opening it says what is missing.
            (false, false) => has("model_index.json").then(|| path.join("unet"))?,
        };
        let above = path.parent().map(|parent| parent.join("scheduler"));
        let places = [Some(path.join("scheduler")), Some(path.to_path_buf()), above];
        let scheduler = places.into_iter().flatten().find(|place| place.join("scheduler_config.json").is_file());
        Some(Self { network, scheduler })
    }

    /// The folder that the file `weights` lies in.
    pub(crate) fn around(weights: &Path) -> Result<Self, Error> {
        let parent = match weights.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self::at(parent).ok_or_else(|| {
            let problem = "the tensors are those of diffusers' UNet2DModel, whose arguments stand in a config.json; put it \
                           beside the file, or name the folder of the pipeline";
            Error::model(weights, problem)
        })
    }

    /// The file of weights.
    pub(crate) fn weights(&self) -> Result<PathBuf, Error> {
        let found = WEIGHTS.iter().map(|name| self.network.join(name)).find(|file| file.is_file());
        found.ok_or_else(|| Error::model(&self.network, format!("it holds none of {}", WEIGHTS.join(", "))))
    }

    /// The name of the scheduler's class, where there is one.
    pub(crate) fn scheduler_name(&self) -> Result<Option<&'static str>, Error> {
        self.scheduler.as_ref().map(|place| Ok(read_scheduler(place)?.config.class().name())).transpose()
    }

    /// The arguments of the network, and what they are here.
    pub(crate) fn arguments(&self) -> Result<(UnetArgs, AdmConfig), Error> {
        let path = self.network.join(CONFIG);
        let failed = |errors: Vec<ConfigError>| Error::ConfigFile { path: path.clone(), source: ConfigErrors(errors) };
        let message = |e: &dyn std::fmt::Display| failed(vec![ConfigError::message(e)]);
        let given: Value = serde_json::from_str(&read_text(&path)?).map_err(|e| message(&e))?;
        let class = given["_class_name"].as_str().unwrap_or(CLASS);
        if class != CLASS {
            return Err(failed(vec![ConfigError::value("_class_name", class, CLASS)]));
        }
        let Value::Object(mut given) = given else { return Err(message(&"not an object")) };
        given.retain(|key, _| !key.starts_with('_'));
        let args: UnetArgs = serde_json::from_value(Value::Object(given)).map_err(|e| message(&e))?;
        let config = args.config().map_err(|issues| failed(issues.iter().map(ConfigError::message).collect()))?;
        let issues = config.check();
        if issues.is_empty() { Ok((args, config)) } else { Err(failed(named(issues))) }
    }

    /// The model with these weights, which lie in the file `path`.
    pub(crate) fn open(&self, path: &Path, weights: TensorMap, device: &Device) -> Result<Model, Error> {
        let (args, network) = self.arguments()?;
        let config = self.network.join(CONFIG);
        let Some(size) = args.sample_size else {
            return Err(Error::model(&config, "`sample_size` is null; write the side of the pictures there"));
        };
        let (scheduler, mut notes) = self.scheduler()?;
        let Some(diffusion) = scheduler.diffusion_config() else {
            let problem = format!("the scheduler {} has no schedule by name", scheduler.class());
            return Err(Error::model(self.scheduler.as_deref().unwrap_or(path), problem));
        };
        if diffusion.variance.is_learned() != (network.output_channels() == 2 * network.channels) {
            notes.push(
                "of out_channels and the scheduler's variance_type only one says that the variance is learned".into(),
            );
        }
        let own = own_weights(&network, weights)?;
        let [height, width] = size.sides();
        let shape = [height, width, network.channels];
        let task = DiffusionTask::of_peer(network.into(), diffusion, scheduler.sample_config());
        let card = ModelCard { origin: Some(ORIGIN.to_owned()), ..ModelCard::new(shape, Task::Diffusion(task)) };
        card.check().map_err(|source| Error::ConfigFile { path: config, source })?;
        Ok(Model { notes, ..Model::with_weights(card, own, path, device)? })
    }

    fn scheduler(&self) -> Result<(SchedulerConfig, Vec<String>), Error> {
        match &self.scheduler {
            Some(place) => read_scheduler(place).map(|Loaded { config, notes }| (config, notes)),
            None => {
                let note = "there is no scheduler_config.json; DDPMScheduler's defaults are taken";
                Ok((SchedulerConfig::new(SchedulerClass::Ddpm), vec![note.to_owned()]))
            }
        }
    }
}

fn named(issues: Vec<ConfigIssue>) -> Vec<ConfigError> {
    issues.into_iter().map(|e| ConfigError::value(format!("model.{}", e.key), e.value, e.accepted)).collect()
}

/// Whether these are the tensors of a `UNet2DModel`.
pub(crate) fn is_checkpoint(tensors: &TensorMap) -> bool {
    is_unet(tensors.names())
}

/// The tensors under our names, as f32; maps that lie there as convolutions of one pixel become maps.
fn own_weights(network: &AdmConfig, weights: TensorMap) -> Result<TensorMap, Error> {
    let shapes: std::collections::BTreeMap<String, Vec<usize>> =
        network.parameters()?.into_iter().map(|p| (p.name, p.shape)).collect();
    let mut own = TensorMap::new();
    for (name, tensor) in weights.iter() {
        let name = own_name(name);
        let shape = match shapes.get(&name) {
            Some(shape) if tensor.shape.starts_with(shape) && tensor.shape[shape.len()..].iter().all(|d| *d == 1) => {
                shape
            }
            _ => &tensor.shape,
        };
        let tensor = HostTensor::f32(shape.clone(), tensor.to_f32())?;
        own.insert(name, tensor);
    }
    Ok(own)
}

/// Schedulers that the loop of diffusers' `DDPMPipeline` and `DDIMPipeline` is right for: x is told as it is.
const LOOPED: [SchedulerClass; 6] = [
    SchedulerClass::Ddpm,
    SchedulerClass::Ddim,
    SchedulerClass::Pndm,
    SchedulerClass::DpmSolverMultistep,
    SchedulerClass::UniPcMultistep,
    SchedulerClass::DeisMultistep,
];

impl Model {
    /// Writes a folder that diffusers' `DDPMPipeline.from_pretrained` opens: `model_index.json`, the `UNet2DModel`, the scheduler. The file
    /// of weights holds the card too, so that the folder opens here as the same model. Gives notes on what diffusers does differently. A
    /// folder that is there is replaced.
    ///
    /// # Errors
    /// Networks, processes and predictions that diffusers does not have; a path that cannot be written.
    pub fn save_diffusers(&self, path: &Path) -> Result<Vec<String>, Error> {
        let task = self.card.task.diffusion()?;
        let DiffusionNetworkConfig::Adm(adm) = &task.network else {
            let error = ConfigError::value("model.kind", "unet", "adm: diffusers has no other here");
            return Err(ConfigErrors(vec![error]).into());
        };
        let [height, width, _] = self.card.shape;
        let args = adm.diffusers().map_err(|issues| ConfigErrors(named(issues)))?;
        let args = UnetArgs { sample_size: Some(SampleSize::of([height, width])), ..args };
        let Loaded { config: scheduler, mut notes } = self.looped_scheduler()?;
        if adm.classes.is_some() {
            notes.push(
                "diffusers' pipelines tell no classes; its UNet2DModel opens and takes `class_labels`".to_owned(),
            );
        }
        let index = json!({
            "_class_name": if scheduler.class() == SchedulerClass::Ddim { "DDIMPipeline" } else { "DDPMPipeline" },
            "_diffusers_version": DIFFUSERS_VERSION,
            "scheduler": ["diffusers", scheduler.class().name()],
            "unet": ["diffusers", CLASS],
        });
        let mut config = Map::new();
        config.insert("_class_name".into(), CLASS.into());
        config.insert("_diffusers_version".into(), DIFFUSERS_VERSION.into());
        if let Value::Object(given) = json!(args) {
            config.extend(given);
        }
        let (weights, metadata) = (tensors(&self.network)?, self.card.to_metadata()?);
        write_dir(path, |folder| {
            write_bytes(&folder.join("model_index.json"), pretty(&index).as_bytes())?;
            write_bytes(&folder.join("unet").join(CONFIG), pretty(&Value::Object(config)).as_bytes())?;
            write_bytes(&folder.join("scheduler/scheduler_config.json"), scheduler.to_json().as_bytes())?;
            write_safetensors(&folder.join("unet").join(WEIGHTS[0]), &weights, &metadata)
        })?;
        Ok(notes)
    }

    /// The scheduler of the model, or DDPM's in its place where the pipelines' loop is not right for it.
    fn looped_scheduler(&self) -> Result<Loaded, Error> {
        let Loaded { config, mut notes } = scheduler_of(&self.card)?;
        let learned = self.card.task.diffusion()?.diffusion.variance.is_learned();
        let fits = LOOPED.contains(&config.class()) && (!learned || config.class() == SchedulerClass::Ddpm);
        if fits {
            return Ok(Loaded { config, notes });
        }
        let class = config.class();
        notes.push(format!("diffusers' pipelines of pictures alone do not run {class}; DDPMScheduler takes its place"));
        let taken = config.with_class(SchedulerClass::Ddpm)?.config;
        let config = if learned { taken.with("variance_type", "learned_range")? } else { taken };
        Ok(Loaded { config, notes })
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
