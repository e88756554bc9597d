//! The networks that a model file may hold, behind one type each: `DiffusionNetwork` for the families that denoise, and
//! `ModelNetwork` for everything that is trained here.
//!
//! Variants of a derived `enum` do not appear in parameters' names, so files hold the names of the network inside.
//! A further family of denoising networks is a variant of the two enums here and of `ModelConfig`; nothing else matches on them
//! but what is about one family alone (its peer's files).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use difusi_core::{ImageSize, Inputs, Network, Noise, NoiseCurve, Precision};
use difusi_nn::layers::RisingCurve;
use difusi_nn::unet::{Cost, LayerShape};
use difusi_nn::{Adm, AdmConfig, Classifier, ConfigIssue, Flow, Gan, NnError, NoisyClassifier, Unet, UnetConfig, Vae};

use crate::config::ModelConfig;

/// What is the same for the networks of all families.
macro_rules! of {
    ($value:expr, $network:ident => $body:expr) => {
        match $value {
            Self::Unet($network) => $body,
            Self::Adm($network) => $body,
        }
    };
}

/// The network of a diffusion model, as `[model]` describes it.
#[derive(Clone, Debug, PartialEq)]
pub enum DiffusionNetworkConfig {
    /// The U-Net of denoising-diffusion-pytorch.
    Unet(UnetConfig),
    /// The U-Net of Ho et al. and ADM.
    Adm(AdmConfig),
}

impl DiffusionNetworkConfig {
    /// Image channels the network takes.
    pub fn channels(&self) -> usize {
        of!(self, network => network.channels)
    }

    /// Classes that the network is told, where it is told any.
    pub fn classes(&self) -> Option<usize> {
        of!(self, network => network.classes)
    }

    /// Width of the tokens that the network is told, where it is told any.
    pub fn tokens(&self) -> Option<usize> {
        match self {
            Self::Unet(_) => None,
            Self::Adm(adm) => adm.tokens,
        }
    }

    /// Whether there is a class that stands for none.
    pub fn null_class(&self) -> bool {
        match self {
            Self::Unet(unet) => unet.classes.is_some(),
            Self::Adm(adm) => adm.classes.is_some() && adm.null_class,
        }
    }

    /// Whether the output also holds a variance, as the key `learned_variance` says.
    pub fn learned_variance(&self) -> bool {
        of!(self, network => network.learned_variance)
    }

    /// `[model]`.
    pub fn model(&self) -> ModelConfig {
        match self {
            Self::Unet(unet) => ModelConfig::Unet(unet.clone()),
            Self::Adm(adm) => ModelConfig::Adm(adm.clone()),
        }
    }

    /// Channels the network returns.
    pub fn output_channels(&self) -> usize {
        of!(self, network => network.output_channels())
    }

    /// Everything in it that is not accepted.
    pub fn check(&self) -> Vec<ConfigIssue> {
        of!(self, network => network.check())
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        of!(self, network => network.check_size(key, size))
    }

    /// The layers in the order they run.
    ///
    /// # Errors
    /// What [`DiffusionNetworkConfig::check`] or [`DiffusionNetworkConfig::check_size`] finds.
    pub fn describe(&self, size: ImageSize) -> Result<Vec<LayerShape>, NnError> {
        of!(self, network => network.describe(size))
    }

    /// Parameters, memory and operations.
    ///
    /// # Errors
    /// As [`DiffusionNetworkConfig::describe`].
    pub fn cost(&self, size: ImageSize) -> Result<Cost, NnError> {
        of!(self, network => network.cost(size))
    }

    /// A network with initial weights.
    ///
    /// # Errors
    /// What [`DiffusionNetworkConfig::check`] finds.
    pub fn init(&self, noise: Noise, device: &Device) -> Result<DiffusionNetwork, NnError> {
        Ok(match self {
            Self::Unet(unet) => DiffusionNetwork::Unet(unet.init(noise, device)?),
            Self::Adm(adm) => DiffusionNetwork::Adm(adm.init(noise, device)?),
        })
    }
}

impl From<UnetConfig> for DiffusionNetworkConfig {
    fn from(config: UnetConfig) -> Self {
        Self::Unet(config)
    }
}

impl From<AdmConfig> for DiffusionNetworkConfig {
    fn from(config: AdmConfig) -> Self {
        Self::Adm(config)
    }
}

/// The network of a diffusion model.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved a few times")]
#[derive(Module, Debug)]
pub enum DiffusionNetwork {
    /// The U-Net of denoising-diffusion-pytorch.
    Unet(Unet),
    /// The U-Net of Ho et al. and ADM.
    Adm(Adm),
}

impl DiffusionNetwork {
    /// With a noise schedule to be trained with it, from minus log-SNR `ends[0]` to `ends[1]`.
    #[must_use]
    pub fn with_curve(self, ends: [f64; 2], device: &Device) -> Self {
        match self {
            Self::Unet(unet) => Self::Unet(unet.with_curve(ends, device)),
            Self::Adm(adm) => Self::Adm(adm.with_curve(ends, device)),
        }
    }

    /// The network alone, and the schedule that was trained with it.
    pub fn without_curve(self) -> (Self, Option<RisingCurve>) {
        match self {
            Self::Unet(unet) => {
                let (unet, curve) = unet.without_curve();
                (Self::Unet(unet), curve)
            }
            Self::Adm(adm) => {
                let (adm, curve) = adm.without_curve();
                (Self::Adm(adm), curve)
            }
        }
    }
}

impl Network for DiffusionNetwork {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        of!(self, network => network.forward(inputs))
    }

    fn with_precision(self, precision: Precision) -> Option<Self> {
        match self {
            Self::Unet(unet) => unet.with_precision(precision).map(Self::Unet),
            Self::Adm(adm) => adm.with_precision(precision).map(Self::Adm),
        }
    }

    fn self_condition(&self) -> bool {
        of!(self, network => network.self_condition())
    }

    fn noise_curve(&self) -> Option<&dyn NoiseCurve> {
        of!(self, network => network.noise_curve())
    }
}

/// The network of a model of any kind.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved a few times")]
#[derive(Module, Debug)]
pub enum ModelNetwork {
    /// Denoises.
    Diffusion(DiffusionNetwork),
    /// Encoder and decoder.
    Vae(Vae),
    /// Generator and discriminator.
    Gan(Gan),
    /// An invertible network.
    Flow(Flow),
    /// Tells classes apart.
    Classifier(Classifier),
    /// Tells classes apart in noise.
    NoisyClassifier(NoisyClassifier),
}

macro_rules! from {
    ($($variant:ident($network:ty)),*) => {
        $(impl From<$network> for ModelNetwork {
            fn from(network: $network) -> Self {
                Self::$variant(network)
            }
        })*
    };
}

from!(
    Diffusion(DiffusionNetwork),
    Vae(Vae),
    Gan(Gan),
    Flow(Flow),
    Classifier(Classifier),
    NoisyClassifier(NoisyClassifier)
);

macro_rules! denoising {
    ($($network:ident),*) => {
        $(impl From<$network> for DiffusionNetwork {
            fn from(network: $network) -> Self {
                Self::$network(network)
            }
        }

        impl From<$network> for ModelNetwork {
            fn from(network: $network) -> Self {
                Self::Diffusion(network.into())
            }
        })*
    };
}

denoising!(Unet, Adm);
