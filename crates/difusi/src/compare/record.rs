//! What a comparison writes down: what was asked for and decided, and what was measured of each member.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use difusi_metrics::Spectrum;
use difusi_store::{atomic, read_text};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, ConfigErrors, Error};

/// A mean and how far it may be off (one standard error), where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// Its standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

impl Figure {
    /// With an error bar where that is a number.
    pub fn new(value: f64, error: Option<f64>) -> Self {
        Self { value, error: error.filter(|e| e.is_finite()) }
    }
}

/// What was measured of pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// How many pictures.
    pub pictures: u64,
    /// Frechet distance to the training images.
    pub fid: Figure,
    /// Kernel distance to them.
    pub kid: Figure,
    /// Inception Score, where the judge tells classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Figure>,
    /// Share of the pictures among the training images.
    pub precision: Figure,
    /// Share of the training images among the pictures.
    pub recall: Figure,
    /// Share of the variance that is fine detail; `None` where no picture varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Figure>,
    /// Mean distance of two pictures' features.
    pub diversity: f64,
    /// Median distance of a picture's pixels (0 to 255) to those of the nearest training image.
    pub nearest: f64,
    /// Middle of rings of the power spectrum, in cycles per pixel.
    pub frequencies: Vec<f64>,
    /// Power in each.
    pub density: Vec<f64>,
}

impl Quality {
    pub(super) fn spectrum(mut self, spectrum: Option<Spectrum>) -> Self {
        if let Some(s) = spectrum {
            self.detail = s.high_share.map(|share| Figure::new(share, s.standard_error));
            (self.frequencies, self.density) = (s.frequencies, s.density);
        }
        self
    }
}

/// Bits per dimension of test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bits {
    /// The bound, or the density.
    pub bits: Figure,
    /// What it is, in words.
    pub method: String,
    /// A VAE's importance-weighted bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<Figure>,
    /// Mean KL of each dimension of a VAE's latent, in nats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kl: Vec<f64>,
    /// Test images.
    pub images: u64,
}

/// What was measured of a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What it was measured of and with: another key means another measurement.
    pub key: String,
    /// Hash of the model.
    pub model: String,
    /// Trained weights; of a GAN both networks'.
    pub parameters: u64,
    /// Steps of training.
    pub steps: u64,
    /// Images in a step.
    pub batch: u64,
    /// Of a step, the median over the rows of metrics.csv.
    pub seconds_per_step: f64,
    /// Of all steps together.
    pub training_seconds: f64,
    /// Peak resident memory of training in MiB, where the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_mib: Option<f64>,
    /// Of drawing a picture, in batches.
    pub seconds_per_picture: f64,
    /// How it draws, in words.
    pub drawn_by: String,
    /// Of what it draws.
    pub quality: Quality,
    /// Of test images, where it has a likelihood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<Bits>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What was measured of the test images, as though they had been drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Real {
    /// As in [`Measured`].
    pub key: String,
    /// Of the test images.
    pub quality: Quality,
    /// The judge, by name.
    pub judge: String,
    /// Features it sees.
    pub features: usize,
    /// Share of the test images whose class it tells, where it tells classes and they have labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Figure>,
    /// Training images it compares with.
    pub reference: u64,
    /// Which images these are.
    pub split: String,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What was asked for and decided: `compare.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    pub(super) data: PathBuf,
    pub(super) budget: String,
    pub(super) seed: u64,
    pub(super) overrides: Vec<String>,
    /// Of each member, by name: what was decided about its training.
    #[serde(default)]
    pub(super) members: BTreeMap<String, Training>,
}

/// What was decided about the training of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Training {
    pub(super) steps: u64,
    /// As timed before training; absent where the budget is a number of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds_per_step: Option<f64>,
    /// Peak memory of its training, once it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peak_mib: Option<f64>,
    /// Its trained weights, once it is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<u64>,
}

impl Decided {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        toml::from_str(&read_text(path)?).map_err(|e| Error::ConfigFile {
            path: path.to_path_buf(),
            source: ConfigErrors::from(ConfigError::message(e.to_string().trim_end())),
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self).map_err(ConfigError::message).map_err(ConfigErrors::from)?;
        Ok(atomic::write_bytes(path, text.as_bytes())?)
    }
}

/// A result that was written with this key; `None` where there is none, or one of something else.
pub(super) fn cached<T: serde::de::DeserializeOwned>(path: &Path, key: impl Fn(&T) -> bool) -> Option<T> {
    let found: T = serde_json::from_str(&read_text(path).ok()?).ok()?;
    key(&found).then_some(found)
}

/// Writes a result.
pub(super) fn keep<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(ConfigError::message).map_err(ConfigErrors::from)?;
    Ok(atomic::write_bytes(path, text.as_bytes())?)
}
