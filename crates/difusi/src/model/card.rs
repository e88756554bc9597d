//! What a model file says about itself.

use std::collections::BTreeMap;
use std::fmt;

use difusi_core::{ImageSize, Precision};
use difusi_process::DiffusionConfig;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::{ConfigError, ConfigErrors, StoredTask, Task};
use crate::families::{GanLoss, VaeLoss};
use crate::{Error, ModelConfig};

/// Version of the layout.
const FORMAT: u32 = 1;
/// Key in the metadata of a safetensors file.
pub(crate) const CARD_KEY: &str = "difusi";

/// What a model is and how to use it. As JSON it has the sections of the task beside its own fields: `model`, `diffusion` (`vae`,
/// `gan`), `sample`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ModelCard {
    /// Version of this layout, 1.
    pub format: u32,
    /// `[H, W, C]` of the pictures it was trained on.
    pub shape: [usize; 3],
    /// What it is: the network, what it was trained for, how to sample unless told otherwise.
    pub task: Task,
    /// Optimiser steps it has been trained.
    pub step: u64,
    /// Which weights these are: `raw` or `ema:RATE`.
    pub weights: String,
    /// The precision it was trained in: what it is sampled in unless told otherwise.
    pub precision: Precision,
    /// The program that trained it, where that was not this one.
    pub origin: Option<String>,
    /// How good its pictures were in training, where that is why it was kept.
    pub fid: Option<CardFid>,
}

/// A Frechet distance, and what it is of: numbers of other features or of other numbers of pictures cannot be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFid {
    /// The distance.
    pub value: f64,
    /// The features' name, as `difusi eval --features` takes it.
    pub features: String,
    /// Pictures drawn.
    pub images: u64,
}

impl fmt::Display for CardFid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} ({}, {} pictures)", self.value, self.features, self.images)
    }
}

/// A card as it lies in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    shape: [usize; 3],
    model: ModelConfig,
    diffusion: Option<DiffusionConfig>,
    vae: Option<VaeLoss>,
    gan: Option<GanLoss>,
    sample: Option<serde_json::Value>,
    step: u64,
    weights: String,
    #[serde(default)]
    precision: Precision,
    origin: Option<String>,
    fid: Option<CardFid>,
}

impl TryFrom<Stored> for ModelCard {
    type Error = ConfigErrors;

    fn try_from(stored: Stored) -> Result<Self, ConfigErrors> {
        let Stored { format, shape, model, diffusion, vae, gan, sample, step, weights, precision, origin, fid } =
            stored;
        let task = StoredTask { model, diffusion, vae, gan, sample }.whole()?;
        Ok(Self { format, shape, task, step, weights, precision, origin, fid })
    }
}

impl Serialize for ModelCard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", &self.format)?;
        map.serialize_entry("shape", &self.shape)?;
        self.task.serialize_model(&mut map)?;
        self.task.serialize_sample(&mut map)?;
        map.serialize_entry("step", &self.step)?;
        map.serialize_entry("weights", &self.weights)?;
        if !is_f32(self.precision) {
            map.serialize_entry("precision", &self.precision)?;
        }
        if let Some(origin) = &self.origin {
            map.serialize_entry("origin", origin)?;
        }
        if let Some(fid) = &self.fid {
            map.serialize_entry("fid", fid)?;
        }
        map.end()
    }
}

fn is_f32(precision: Precision) -> bool {
    precision == Precision::F32
}

impl ModelCard {
    /// A card of this format version.
    pub fn new(shape: [usize; 3], task: Task) -> Self {
        let (weights, precision) = ("raw".to_owned(), Precision::F32);
        Self { format: FORMAT, shape, task, step: 0, weights, precision, origin: None, fid: None }
    }

    /// Height and width of the pictures.
    pub fn size(&self) -> ImageSize {
        ImageSize { height: self.shape[0], width: self.shape[1] }
    }

    /// Everything in it that cannot be used.
    pub(crate) fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = Vec::new();
        if self.format != FORMAT {
            errors.push(ConfigError::value("format", self.format, format!("{FORMAT}: a newer difusi wrote this file")));
        }
        errors.extend(self.task.check());
        errors.extend(self.task.check_size("shape", self.size()).iter().map(ConfigError::message));
        if self.shape[2] != self.task.channels() {
            errors.push(ConfigError::value("shape", format!("{:?}", self.shape), "as many channels as the network's"));
        }
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }

    /// The config in it as TOML, for people.
    pub(crate) fn to_toml(&self) -> Option<String> {
        struct Sections<'a>(&'a Task);
        impl Serialize for Sections<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                self.0.serialize_model(&mut map)?;
                self.0.serialize_sample(&mut map)?;
                map.end()
            }
        }
        toml::to_string(&Sections(&self.task)).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunConfig, presets};

    /// A score survives the file; without one there is no such key, as in files from before there were scores.
    #[test]
    fn a_score_is_kept_where_there_is_one() {
        let task = RunConfig::parse(presets::get("digits").unwrap()).unwrap().task;
        let plain = ModelCard::new([28, 28, 1], task);
        let fid = Some(CardFid { value: 0.1 + 0.2, features: "pixels:4".into(), images: 50 });
        let scored = ModelCard { fid, ..plain.clone() };
        for card in [plain, scored] {
            let metadata = card.to_metadata().unwrap();
            assert_eq!(metadata[CARD_KEY].contains("\"fid\""), card.fid.is_some());
            assert_eq!(ModelCard::from_metadata(&metadata).unwrap().unwrap(), card);
        }
    }
}
