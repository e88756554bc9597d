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
use difusi_nn::unet::ddp::{Cost, LayerShape};
use difusi_nn::{Classifier, ConfigIssue, Flow, Gan, NnError, Unet, UnetConfig, Vae};

/// The network of a diffusion model, as `[model]` describes it.
#[derive(Clone, Debug, PartialEq)]
pub enum DiffusionNetworkConfig {
    /// The U-Net of denoising-diffusion-pytorch.
    Unet(UnetConfig),
}

impl DiffusionNetworkConfig {
    /// Image channels the network takes.
    pub fn channels(&self) -> usize {
        let Self::Unet(unet) = self;
        unet.channels
    }

    /// Classes that the network is told, where it is told any.
    pub fn classes(&self) -> Option<usize> {
        let Self::Unet(unet) = self;
        unet.classes
    }

    /// Channels the network returns.
    pub fn output_channels(&self) -> usize {
        let Self::Unet(unet) = self;
        unet.output_channels()
    }

    /// Everything in it that is not accepted.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let Self::Unet(unet) = self;
        unet.check()
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        let Self::Unet(unet) = self;
        unet.check_size(key, size)
    }

    /// The layers in the order they run.
    ///
    /// # Errors
    /// What [`DiffusionNetworkConfig::check`] or [`DiffusionNetworkConfig::check_size`] finds.
    pub fn describe(&self, size: ImageSize) -> Result<Vec<LayerShape>, NnError> {
        let Self::Unet(unet) = self;
        unet.describe(size)
    }

    /// Parameters, memory and operations.
    ///
    /// # Errors
    /// As [`DiffusionNetworkConfig::describe`].
    pub fn cost(&self, size: ImageSize) -> Result<Cost, NnError> {
        let Self::Unet(unet) = self;
        unet.cost(size)
    }

    /// A network with initial weights.
    ///
    /// # Errors
    /// What [`DiffusionNetworkConfig::check`] finds.
    pub fn init(&self, noise: Noise, device: &Device) -> Result<DiffusionNetwork, NnError> {
        let Self::Unet(unet) = self;
        Ok(DiffusionNetwork::Unet(unet.init(noise, device)?))
    }
}

/// The network of a diffusion model.
#[derive(Module, Debug)]
pub enum DiffusionNetwork {
    /// The U-Net of denoising-diffusion-pytorch.
    Unet(Unet),
}

impl DiffusionNetwork {
    /// With a noise schedule to be trained with it, from minus log-SNR `ends[0]` to `ends[1]`.
    #[must_use]
    pub fn with_curve(self, ends: [f64; 2], device: &Device) -> Self {
        let Self::Unet(unet) = self;
        Self::Unet(unet.with_curve(ends, device))
    }

    /// The network alone, and the schedule that was trained with it.
    pub fn without_curve(self) -> (Self, Option<RisingCurve>) {
        let Self::Unet(unet) = self;
        let (unet, curve) = unet.without_curve();
        (Self::Unet(unet), curve)
    }
}

impl Network for DiffusionNetwork {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let Self::Unet(unet) = self;
        unet.forward(inputs)
    }

    fn with_precision(self, precision: Precision) -> Option<Self> {
        let Self::Unet(unet) = self;
        unet.with_precision(precision).map(Self::Unet)
    }

    fn self_condition(&self) -> bool {
        let Self::Unet(unet) = self;
        unet.self_condition()
    }

    fn noise_curve(&self) -> Option<&dyn NoiseCurve> {
        let Self::Unet(unet) = self;
        unet.noise_curve()
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

from!(Diffusion(DiffusionNetwork), Vae(Vae), Gan(Gan), Flow(Flow), Classifier(Classifier));

impl From<Unet> for DiffusionNetwork {
    fn from(unet: Unet) -> Self {
        Self::Unet(unet)
    }
}

impl From<Unet> for ModelNetwork {
    fn from(unet: Unet) -> Self {
        Self::Diffusion(unet.into())
    }
}
