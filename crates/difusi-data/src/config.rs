//! The `[data]` table of a config: which data set, at which size.

use std::path::PathBuf;

use difusi_core::{Dataset, ImageSize};
use serde::{Deserialize, Serialize};

use crate::{DataError, Digits, Folder, KeyError, OpenOptions, Opened, Report, cifar, idx};

/// Largest height or width accepted.
const MAX_SIDE: usize = 8192;

/// Which data set; `kind` chooses, every other key has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataConfig {
    /// Drawn digits, no files.
    Digits(DigitsConfig),
    /// MNIST's container.
    Idx(IdxConfig),
    /// CIFAR-10, binary version.
    Cifar10(Cifar10Config),
    /// A folder of images.
    Folder(FolderConfig),
}

/// Drawn digits: white on black, one channel, ten classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DigitsConfig {
    /// `[height, width]` in pixels, 8..8192 each; default `[28, 28]`.
    pub size: ImageSize,
    /// Number of images; default absent: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Which digits are drawn; default 0.
    pub seed: u64,
}

impl Default for DigitsConfig {
    fn default() -> Self {
        Self { size: ImageSize::square(28), count: None, seed: 0 }
    }
}

/// MNIST's container: grey images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdxConfig {
    /// A folder with the usual file names, one image file, or a name (`mnist`, `fashion-mnist`); default `mnist`.
    pub path: PathBuf,
    /// `[height, width]`; default absent: the file's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ImageSize>,
    /// `train` (default) or `test`.
    pub split: Split,
    /// Number of classes, 1..256; default 10. A label at or above it is an error.
    pub classes: u32,
    /// Whether to mirror images at random; default false.
    pub flip: bool,
}

impl Default for IdxConfig {
    fn default() -> Self {
        Self { path: "mnist".into(), size: None, split: Split::Train, classes: 10, flip: false }
    }
}

/// CIFAR-10: RGB, ten classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cifar10Config {
    /// A folder with `data_batch_1.bin` ..., or the name `cifar10` (default).
    pub path: PathBuf,
    /// `[height, width]`; default absent: 32x32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ImageSize>,
    /// `train` (default) or `test`.
    pub split: Split,
    /// Whether to mirror images at random; default true.
    pub flip: bool,
}

impl Default for Cifar10Config {
    fn default() -> Self {
        Self { path: "cifar10".into(), size: None, split: Split::Train, flip: true }
    }
}

/// A folder of PNG, JPEG and WebP files, sub-folders included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder; default absent: `--data` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `[height, width]` after centre-crop and resize; default `[64, 64]`.
    pub size: ImageSize,
    /// 1 (grey) or 3 (RGB, default).
    pub channels: Channels,
    /// What shines through transparent pixels, `[r, g, b]`, 0..255 each; default white.
    pub background: [u8; 3],
    /// Whether to mirror images at random; default false.
    pub flip: bool,
    /// Where labels come from: `auto` (default), `metadata`, `folders` or `none`.
    pub labels: LabelSource,
}

impl Default for FolderConfig {
    fn default() -> Self {
        Self {
            path: None,
            size: ImageSize::square(64),
            channels: Channels::Rgb,
            background: [255; 3],
            flip: false,
            labels: LabelSource::Auto,
        }
    }
}

/// Which part of a published set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The training images.
    #[default]
    Train,
    /// The test images.
    Test,
}

/// Channels of the images, written 1 or 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub enum Channels {
    /// 1: luma (Rec. 601).
    Grey,
    /// 3: red, green, blue.
    #[default]
    Rgb,
}

impl Channels {
    /// 1 or 3.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

impl TryFrom<i64> for Channels {
    type Error = KeyError;

    fn try_from(n: i64) -> Result<Self, KeyError> {
        match n {
            1 => Ok(Self::Grey),
            3 => Ok(Self::Rgb),
            _ => Err(key_error("data.channels", n, "1 (grey) or 3 (RGB)")),
        }
    }
}

impl From<Channels> for i64 {
    fn from(c: Channels) -> Self {
        c.count() as i64
    }
}

/// Where a folder's labels come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// `metadata.jsonl` where there is one, else sub-folders where every image lies in one of at least two, else none.
    #[default]
    Auto,
    /// Key `label` of `metadata.jsonl`: an integer or a name.
    Metadata,
    /// Name of the first sub-folder.
    Folders,
    /// No labels.
    None,
}

impl DataConfig {
    /// Every bad value.
    pub fn check(&self) -> Vec<KeyError> {
        let mut errors = Vec::new();
        let (size, smallest) = match self {
            Self::Digits(c) => (Some(c.size), 8),
            Self::Idx(c) => (c.size, 1),
            Self::Cifar10(c) => (c.size, 1),
            Self::Folder(c) => (Some(c.size), 1),
        };
        if let Some(s) = size.filter(|s| [s.height, s.width].iter().any(|n| !(smallest..=MAX_SIDE).contains(n))) {
            let found = format!("[{}, {}]", s.height, s.width);
            errors.push(key_error("data.size", found, &format!("[height, width] of {smallest}..{MAX_SIDE} each")));
        }
        match self {
            Self::Digits(c) if c.count == Some(0) => {
                errors.push(key_error("data.count", 0, "1 or more, or no such key (unlimited)"));
            }
            Self::Idx(c) if !(1..=256).contains(&c.classes) => {
                errors.push(key_error("data.classes", c.classes, "1..256"));
            }
            _ => {}
        }
        errors
    }

    /// Opens the data set and tells what was found on the way: skipped images, class names.
    ///
    /// # Errors
    /// Bad keys, data that lies nowhere, malformed files, an empty folder, more than 5 % broken images.
    pub fn open_with_report(&self, options: &OpenOptions<'_>) -> Result<Opened, DataError> {
        let keys = self.check();
        if !keys.is_empty() {
            return Err(DataError::Keys(keys));
        }
        match self {
            Self::Digits(c) => {
                let class_names = (0..10).map(|d| d.to_string()).collect();
                Ok(Opened { dataset: Box::new(Digits::new(c)), report: Report { class_names, ..Report::default() } })
            }
            Self::Idx(c) => idx::open(c, &options.search),
            Self::Cifar10(c) => cifar::open(c, &options.search),
            Self::Folder(c) => {
                let folder = Folder::open(c, options)?;
                let report = folder.report().clone();
                Ok(Opened { dataset: Box::new(folder), report })
            }
        }
    }

    /// Opens the data set; see [`DataConfig::open_with_report`].
    ///
    /// # Errors
    /// As [`DataConfig::open_with_report`].
    pub fn open(&self, options: &OpenOptions<'_>) -> Result<Box<dyn Dataset>, DataError> {
        Ok(self.open_with_report(options)?.dataset)
    }

    /// Channels of the images.
    pub fn channels(&self) -> usize {
        match self {
            Self::Digits(_) | Self::Idx(_) => 1,
            Self::Cifar10(_) => 3,
            Self::Folder(c) => c.channels.count(),
        }
    }
}

fn key_error(key: &str, found: impl ToString, expected: &str) -> KeyError {
    KeyError { key: key.into(), found: found.to_string(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DataConfig, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// `kind` alone is a whole config, and writing and reading gives it back.
    #[test]
    fn defaults_survive() {
        for kind in ["digits", "idx", "cifar10", "folder"] {
            let c = parse(&format!("kind = \"{kind}\"")).unwrap();
            let text = toml::to_string(&c).unwrap();
            assert!(text.contains(&format!("kind = \"{kind}\"")), "{text}");
            assert_eq!(parse(&text).unwrap(), c);
            assert!(c.check().is_empty());
        }
    }

    #[test]
    fn typos_are_errors() {
        for kind in ["digits", "idx", "cifar10", "folder"] {
            let e = parse(&format!("kind = \"{kind}\"\nszie = [28, 28]")).unwrap_err();
            assert!(e.contains("szie"), "{e}");
        }
        assert!(parse("kind = \"mnist\"").unwrap_err().contains("digits"));
    }

    #[test]
    fn bad_values_are_named() {
        let e = parse("kind = \"folder\"\nchannels = 2").unwrap_err();
        assert!(e.contains("`data.channels` is 2; expected 1 (grey) or 3 (RGB)"), "{e}");
        let c = parse("kind = \"digits\"\nsize = [0, 28]\ncount = 0").unwrap();
        let all: Vec<String> = c.check().iter().map(ToString::to_string).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0], "`data.size` is [0, 28]; expected [height, width] of 8..8192 each");
        assert!(c.open(&OpenOptions::default()).err().unwrap().to_string().contains("data.count"));
    }
}
