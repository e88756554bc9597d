//! What a model file says about itself.

use std::collections::BTreeMap;

use difusi_core::{ImageSize, Precision};
use difusi_process::{DiffusionConfig, SampleConfig};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ConfigErrors};
use crate::{Error, ModelConfig};

/// Version of the layout.
const FORMAT: u32 = 1;
/// Key in the metadata of a safetensors file.
pub(crate) const CARD_KEY: &str = "difusi";

/// What a model is and how to use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Version of this layout, 1.
    pub format: u32,
    /// `[H, W, C]` of the pictures it was trained on.
    pub shape: [usize; 3],
    /// The network.
    pub model: ModelConfig,
    /// The process.
    pub diffusion: DiffusionConfig,
    /// How to sample unless told otherwise.
    pub sample: SampleConfig,
    /// Optimiser steps it has been trained.
    pub step: u64,
    /// Which weights these are: `raw` or `ema:RATE`.
    pub weights: String,
    /// The precision it was trained in: what it is sampled in unless told otherwise.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// The program that trained it, where that was not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

fn is_f32(precision: &Precision) -> bool {
    *precision == Precision::F32
}

impl ModelCard {
    /// A card of this format version.
    pub fn new(shape: [usize; 3], model: ModelConfig, diffusion: DiffusionConfig, sample: SampleConfig) -> Self {
        let (weights, precision) = ("raw".to_owned(), Precision::F32);
        Self { format: FORMAT, shape, model, diffusion, sample, step: 0, weights, precision, origin: None }
    }

    /// Height and width of the pictures.
    pub fn size(&self) -> ImageSize {
        ImageSize { height: self.shape[0], width: self.shape[1] }
    }

    /// Everything in it that cannot be used.
    pub(crate) fn check(&self) -> Result<(), ConfigErrors> {
        let ModelConfig::Unet(unet) = &self.model;
        let mut errors = Vec::new();
        if self.format != FORMAT {
            errors.push(ConfigError::value("format", self.format, format!("{FORMAT}: a newer difusi wrote this file")));
        }
        errors.extend(unet.check().iter().map(|e| ConfigError::message(format!("model: {e}"))));
        errors.extend(unet.check_size("shape", self.size()).iter().map(ConfigError::message));
        errors.extend(self.diffusion.check().iter().map(ConfigError::message));
        errors.extend(self.sample.check(self.diffusion.timesteps).iter().map(ConfigError::message));
        if self.shape[2] != unet.channels {
            errors.push(ConfigError::value("shape", format!("{:?}", self.shape), "as many channels as the network's"));
        }
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }

    /// The config in it as TOML, for people.
    pub(crate) fn to_toml(&self) -> Option<String> {
        #[derive(Serialize)]
        struct Sections<'a> {
            model: &'a ModelConfig,
            diffusion: &'a DiffusionConfig,
            sample: &'a SampleConfig,
        }
        toml::to_string(&Sections { model: &self.model, diffusion: &self.diffusion, sample: &self.sample }).ok()
    }

    /// The metadata of a model file.
    pub(crate) fn to_metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        let json = serde_json::to_string(self)
            .map_err(|e| ConfigErrors::from(ConfigError::message(format!("the model card cannot be written: {e}"))))?;
        Ok(BTreeMap::from([(CARD_KEY.to_owned(), json), ("format".to_owned(), "pt".to_owned())]))
    }

    /// Reads and checks the card in the metadata of a model file; `None` where there is none.
    pub(crate) fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Result<Self, ConfigErrors>> {
        let json = metadata.get(CARD_KEY)?;
        let card: Result<Self, _> = serde_json::from_str(json);
        Some(match card {
            Ok(card) => card.check().map(|()| card),
            Err(e) => Err(ConfigError::message(format!("metadata `{CARD_KEY}` is not a model card: {e}")).into()),
        })
    }
}
