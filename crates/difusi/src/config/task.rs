//! What is trained: a diffusion model, a VAE, a GAN, a flow or a classifier, each with the sections of its own.
//!
//! `model.kind` decides; a section that belongs to another kind is an error. Deliberately absent: data and training, which are the
//! same for all.

use burn::tensor::Device;
use difusi_core::{ImageSize, Noise};
use difusi_nn::{AdmConfig, ClassifierConfig, ConfigIssue, FlowConfig, GanConfig, NnError, UnetConfig, VaeConfig};
use difusi_process::{CondKind, DiffusionConfig, SampleConfig};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};

use super::parts::TaskParts;
use super::{ConfigError, ConfigErrors};
use crate::Error;
use crate::families::{GanLoss, LatentSample, VaeLoss};
use crate::network::{DiffusionNetworkConfig, ModelNetwork};

/// The network; `kind` chooses the family, each with strict keys of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelConfig {
    /// The U-Net of denoising-diffusion-pytorch.
    Unet(UnetConfig),
    /// The U-Net of Ho et al. and ADM.
    Adm(AdmConfig),
    /// A variational autoencoder.
    Vae(VaeConfig),
    /// A generator and a discriminator.
    Gan(GanConfig),
    /// A normalizing flow.
    Flow(FlowConfig),
    /// A classifier.
    Classifier(ClassifierConfig),
}

/// What is trained, as the sections `[model]`, `[diffusion]`, `[vae]`, `[gan]` and `[sample]` say.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved a few times")]
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// A network that denoises, and the process it does that for.
    Diffusion(DiffusionTask),
    /// A variational autoencoder.
    Vae(VaeTask),
    /// A generative adversarial network.
    Gan(GanTask),
    /// A normalizing flow.
    Flow(FlowTask),
    /// A classifier.
    Classifier(ClassifierTask),
}

/// A diffusion model.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffusionTask {
    /// `[model]`.
    pub network: DiffusionNetworkConfig,
    /// `[diffusion]`: schedule, prediction, loss.
    pub diffusion: DiffusionConfig,
    /// `[sample]`.
    pub sample: SampleConfig,
}

impl DiffusionTask {
    /// Of a peer, whose processes do not say what networks are told: labels where the network knows classes, and never none where it has
    /// no class for that.
    pub(crate) fn of_peer(network: DiffusionNetworkConfig, diffusion: DiffusionConfig, sample: SampleConfig) -> Self {
        let cond = if network.classes().is_some() { CondKind::Label } else { CondKind::None };
        let told = network.classes().is_none() || network.null_class();
        let cond_dropout = if told { diffusion.cond_dropout } else { 0.0 };
        Self { network, diffusion: DiffusionConfig { cond, cond_dropout, ..diffusion }, sample }
    }

    /// Whether the network can do without a label, as `what` does.
    ///
    /// # Errors
    /// Where not.
    pub(crate) fn needs_no_label(&self, what: &str) -> Result<(), Error> {
        if self.network.classes().is_none() || self.network.null_class() {
            return Ok(());
        }
        let accepted = format!("a network that has a class for none: {what} tells it no label");
        Err(Error::value("model.null_class", "false", accepted))
    }
}

/// A variational autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeTask {
    /// `[model]`.
    pub network: VaeConfig,
    /// `[vae]`.
    pub loss: VaeLoss,
    /// `[sample]`.
    pub sample: LatentSample,
}

/// A generative adversarial network.
#[derive(Clone, Debug, PartialEq)]
pub struct GanTask {
    /// `[model]`.
    pub network: GanConfig,
    /// `[gan]`.
    pub loss: GanLoss,
    /// `[sample]`.
    pub sample: LatentSample,
}

/// A normalizing flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowTask {
    /// `[model]`.
    pub network: FlowConfig,
    /// `[sample]`.
    pub sample: LatentSample,
}

/// A classifier, which draws nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierTask {
    /// `[model]`.
    pub network: ClassifierConfig,
    /// `[diffusion]` of a classifier of noisy images: which noise they have.
    pub diffusion: Option<DiffusionConfig>,
}

/// How pictures are drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Drawing {
    /// By going from noise to data.
    Diffusion(SampleConfig),
    /// From a latent at once.
    Latent(LatentSample),
}

impl From<SampleConfig> for Drawing {
    fn from(config: SampleConfig) -> Self {
        Self::Diffusion(config)
    }
}

impl From<LatentSample> for Drawing {
    fn from(config: LatentSample) -> Self {
        Self::Latent(config)
    }
}

impl Drawing {
    /// `sample.count`.
    pub fn count(&self) -> usize {
        match self {
            Self::Diffusion(config) => config.count,
            Self::Latent(config) => config.count,
        }
    }
}

impl Task {
    /// In words, with an article.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Diffusion(_) => "a diffusion model",
            Self::Vae(_) => "a variational autoencoder (model.kind = \"vae\")",
            Self::Gan(_) => "a GAN (model.kind = \"gan\")",
            Self::Flow(_) => "a normalizing flow (model.kind = \"flow\")",
            Self::Classifier(_) => "a classifier (model.kind = \"classifier\")",
        }
    }

    /// `[model]`.
    pub fn model(&self) -> ModelConfig {
        match self {
            Self::Diffusion(task) => task.network.model(),
            Self::Vae(task) => ModelConfig::Vae(task.network.clone()),
            Self::Gan(task) => ModelConfig::Gan(task.network.clone()),
            Self::Flow(task) => ModelConfig::Flow(task.network.clone()),
            Self::Classifier(task) => ModelConfig::Classifier(task.network.clone()),
        }
    }

    /// `[sample]`; a classifier has none.
    pub fn drawing(&self) -> Option<Drawing> {
        match self {
            Self::Diffusion(task) => Some(task.sample.clone().into()),
            Self::Vae(task) => Some(task.sample.clone().into()),
            Self::Gan(task) => Some(task.sample.clone().into()),
            Self::Flow(task) => Some(task.sample.clone().into()),
            Self::Classifier(_) => None,
        }
    }

    /// The diffusion model that it is.
    ///
    /// # Errors
    /// Any other kind.
    pub fn diffusion(&self) -> Result<&DiffusionTask, Error> {
        match self {
            Self::Diffusion(task) => Ok(task),
            other => {
                Err(Error::value("the model", other.title(), "a diffusion model (model.kind = \"unet\" or \"adm\")"))
            }
        }
    }

    /// Image channels the network takes.
    pub fn channels(&self) -> usize {
        match self {
            Self::Diffusion(task) => task.network.channels(),
            Self::Vae(task) => task.network.channels,
            Self::Gan(task) => task.network.channels,
            Self::Flow(task) => task.network.channels,
            Self::Classifier(task) => task.network.channels,
        }
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        match self {
            Self::Diffusion(task) => task.network.check_size(key, size),
            Self::Vae(task) => task.network.check_size(key, size),
            Self::Gan(task) => task.network.check_size(key, size),
            Self::Flow(task) => task.network.check_size(key, size),
            Self::Classifier(task) => task.network.check_size(key, size),
        }
    }

    /// Bytes of activations that training keeps for one image, in f32.
    ///
    /// # Errors
    /// A network that cannot be.
    pub fn training_bytes(&self, size: ImageSize) -> Result<usize, NnError> {
        Ok(match self {
            Self::Diffusion(task) => task.network.cost(size)?.training_bytes,
            Self::Vae(task) => task.network.training_bytes(size),
            Self::Gan(task) => task.network.training_bytes(size),
            Self::Flow(task) => task.network.training_bytes(size),
            Self::Classifier(task) => match task.network.encoder() {
                Some(encoder) => encoder.training_bytes(size)?,
                None => task.network.training_bytes(size),
            },
        })
    }

    /// The network with initial weights, for images of `size`.
    ///
    /// # Errors
    /// Values that are not accepted.
    pub fn init(&self, size: ImageSize, noise: Noise, device: &Device) -> Result<ModelNetwork, NnError> {
        Ok(match self {
            Self::Diffusion(task) => {
                crate::model::with_schedule(task.network.init(noise, device)?, &task.diffusion, device).into()
            }
            Self::Vae(task) => task.network.init(size, noise, device)?.into(),
            Self::Gan(task) => task.network.init(size, noise, device)?.into(),
            Self::Flow(task) => task.network.init(size, noise, device)?.into(),
            Self::Classifier(task) => match task.network.encoder() {
                Some(encoder) => encoder.init(size, noise, device)?.into(),
                None => task.network.init(noise, device)?.into(),
            },
        })
    }

    /// Values that a model cannot have, for training or not.
    pub(crate) fn check(&self) -> Vec<ConfigError> {
        TaskParts::of(self).check(false)
    }

    /// Writes the sections that stand before `[train]` in a config (or in a card), in order.
    pub(crate) fn serialize_model<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("model", &self.model())?;
        match self {
            Self::Diffusion(task) => map.serialize_entry("diffusion", &task.diffusion),
            Self::Vae(task) => map.serialize_entry("vae", &task.loss),
            Self::Gan(task) => map.serialize_entry("gan", &task.loss),
            Self::Classifier(ClassifierTask { diffusion: Some(diffusion), .. }) => {
                map.serialize_entry("diffusion", diffusion)
            }
            Self::Flow(_) | Self::Classifier(_) => Ok(()),
        }
    }

    /// Writes `[sample]`.
    pub(crate) fn serialize_sample<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self.drawing() {
            Some(drawing) => map.serialize_entry("sample", &drawing),
            None => Ok(()),
        }
    }
}

/// The sections of a task as a card holds them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StoredTask {
    pub(crate) model: ModelConfig,
    pub(crate) diffusion: Option<DiffusionConfig>,
    pub(crate) vae: Option<VaeLoss>,
    pub(crate) gan: Option<GanLoss>,
    pub(crate) sample: Option<serde_json::Value>,
}

impl StoredTask {
    /// The task they make.
    pub(crate) fn whole(self) -> Result<Task, ConfigErrors> {
        let Self { model, diffusion, vae, gan, sample } = self;
        let missing = |key: &str| ConfigErrors::from(ConfigError::missing(key));
        let latent =
            || -> Result<LatentSample, ConfigErrors> { sample_of(sample.clone().ok_or_else(|| missing("sample"))?) };
        let own = diffusion.clone();
        let denoising = |network| -> Result<Task, ConfigErrors> {
            Ok(Task::Diffusion(DiffusionTask {
                network,
                diffusion: diffusion.ok_or_else(|| missing("diffusion"))?,
                sample: sample_of(sample.clone().ok_or_else(|| missing("sample"))?)?,
            }))
        };
        Ok(match model {
            ModelConfig::Unet(unet) => denoising(DiffusionNetworkConfig::Unet(unet))?,
            ModelConfig::Adm(adm) => denoising(DiffusionNetworkConfig::Adm(adm))?,
            ModelConfig::Vae(network) => {
                Task::Vae(VaeTask { network, loss: vae.ok_or_else(|| missing("vae"))?, sample: latent()? })
            }
            ModelConfig::Gan(network) => {
                Task::Gan(GanTask { network, loss: gan.ok_or_else(|| missing("gan"))?, sample: latent()? })
            }
            ModelConfig::Flow(network) => Task::Flow(FlowTask { network, sample: latent()? }),
            ModelConfig::Classifier(network) => {
                let diffusion = match network.noisy {
                    true => Some(own.ok_or_else(|| missing("diffusion"))?),
                    false => None,
                };
                Task::Classifier(ClassifierTask { network, diffusion })
            }
        })
    }
}

fn sample_of<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, ConfigErrors> {
    serde_json::from_value(value).map_err(|e| ConfigError::message(format!("sample: {e}")).into())
}
