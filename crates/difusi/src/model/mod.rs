//! A trained network with everything it needs to draw: what lies in `model.safetensors`, a run folder or a peer's checkpoint.
//!
//! Our files are safetensors whose metadata key `difusi` holds the [`ModelCard`] as JSON, so one file works alone. Tensor
//! names and shapes are the peer's.

mod card;
mod diffusers;
mod guided;
mod open;
mod peer;
mod predict;

use std::path::Path;

use burn::tensor::Device;
use difusi_core::Noise;
use difusi_nn::{Weight, params};
use difusi_process::{DiffusionConfig, Schedule};
use difusi_store::{HostTensor, StoreError, TensorMap, hash, write_safetensors};

pub(crate) use card::CARD_KEY;
pub use card::{CardFid, ModelCard};
pub(crate) use diffusers::Folder;
pub(crate) use open::read_run_config;
pub use open::{OpenModel, Weights};
pub(crate) use predict::nhwc;
pub use predict::{PredictIo, predict, write_prediction};

use crate::Error;
use crate::config::{DiffusionTask, Task};
use crate::network::{DiffusionNetwork, ModelNetwork};

/// A model in memory.
#[derive(Debug)]
pub struct Model {
    /// What it is and how to use it.
    pub card: ModelCard,
    /// The network, ready for inference.
    pub network: ModelNetwork,
    /// First hexadecimal digits of the SHA-256 of its tensors.
    pub hash: String,
    /// What a person should know about how it was read.
    pub notes: Vec<String>,
}

/// The parts of a diffusion model.
#[derive(Clone, Copy, Debug)]
pub struct DiffusionModel<'a> {
    /// The network, ready for inference.
    pub network: &'a DiffusionNetwork,
    /// Its config, the process, how to sample.
    pub task: &'a DiffusionTask,
}

impl Model {
    /// A network with its card; the hash is computed.
    ///
    /// # Errors
    /// Weights that cannot be read back from the device.
    pub fn new(card: ModelCard, network: impl Into<ModelNetwork>) -> Result<Self, Error> {
        let network = network.into();
        let hash = hash::short(&tensors(&network)?);
        Ok(Self { card, network, hash, notes: Vec::new() })
    }

    /// The network and the process of a diffusion model.
    ///
    /// # Errors
    /// Any other kind of model.
    pub fn diffusion(&self) -> Result<DiffusionModel<'_>, Error> {
        let task = self.card.task.diffusion()?;
        match &self.network {
            ModelNetwork::Diffusion(network) => Ok(DiffusionModel { network, task }),
            _ => Err(Error::value("the network", "of another kind than its card says", "a network that denoises")),
        }
    }

    /// A network of this card with the weights in `map`.
    fn with_weights(card: ModelCard, map: TensorMap, path: &Path, device: &Device) -> Result<Self, Error> {
        let network = card.task.init(card.size(), Noise::new(0), device)?;
        let hash = hash::short(&map);
        let weights: Vec<Weight> = map
            .iter()
            .map(|(name, t)| Weight { name: name.to_owned(), shape: t.shape.clone(), values: t.to_f32() })
            .collect();
        let network =
            params::import(network, weights).map_err(|source| Error::Weights { path: path.to_path_buf(), source })?;
        let (card, network) = with_tables(card, network)?;
        Ok(Self { card, network, hash, notes: Vec::new() })
    }

    /// Writes `model.safetensors`: the weights, and the card in the metadata.
    ///
    /// # Errors
    /// A path that cannot be written; then nothing is left there.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        Ok(write_safetensors(path, &tensors(&self.network)?, &self.card.to_metadata()?)?)
    }
}

/// The network with the schedule that is trained with it, where the process learns one.
pub(crate) fn with_schedule(
    network: DiffusionNetwork,
    diffusion: &DiffusionConfig,
    device: &Device,
) -> DiffusionNetwork {
    match diffusion.schedule {
        Schedule::Learned { gamma_min, gamma_max } => network.with_curve([gamma_min, gamma_max], device),
        _ => network,
    }
}

/// A learned schedule becomes the list that it has come to, and the network is left alone; anything else stays as it is.
///
/// # Errors
/// A schedule that has been trained to pieces: alpha-bar that no longer falls.
pub(crate) fn with_tables(mut card: ModelCard, network: ModelNetwork) -> Result<(ModelCard, ModelNetwork), Error> {
    let (Task::Diffusion(task), ModelNetwork::Diffusion(network)) = (&mut card.task, &network) else {
        return Ok((card, network));
    };
    let (network, curve) = network.clone().without_curve();
    if let Some(curve) = curve {
        task.diffusion.schedule = Schedule::from_gammas(&curve.table(task.diffusion.timesteps))?;
    }
    Ok((card, network.into()))
}

/// The parameters of a network under their names on disk.
pub(crate) fn tensors(network: &ModelNetwork) -> Result<TensorMap, StoreError> {
    let mut map = TensorMap::new();
    for w in params::export(network) {
        map.insert(w.name, HostTensor::f32(w.shape, w.values)?);
    }
    Ok(map)
}
