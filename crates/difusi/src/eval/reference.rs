//! The images that a model is measured on: a data set as bytes, its test split where there is one, in a seeded order.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Dataset, Draw, ImageSize, Noise, pixels};
use difusi_data::{Channels, DataConfig, DataError, OpenOptions, Split, guess};
use rayon::prelude::*;

use crate::{Error, Model};

/// Drawn digits that count as a test set: another seed than configs have.
pub(super) const TEST_SEED: u64 = 0x7e57;

/// How to take a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceOptions {
    /// Which split; `None` is test where there is one, else all there is.
    pub split: Option<Split>,
    /// Whether images of another size are cropped and resized to the model's; otherwise they are an error.
    pub resize: bool,
    /// Which images come first.
    pub seed: u64,
}

/// Images `[H, W, C]` of the model's shape.
pub struct Reference {
    dataset: Arc<dyn Dataset>,
    /// Order of the images; `None` of an unlimited set is its own.
    order: Option<Vec<usize>>,
    /// What a person should know: which split it is, what was left out.
    pub notes: Vec<String>,
}

impl Reference {
    /// Opens what lies at `path` (a folder, a file, or a name such as `mnist`) for `model`.
    ///
    /// # Errors
    /// Data that are nowhere or damaged; another number of channels or another size than the model's; a split that is not there.
    pub fn open(path: &Path, model: &Model, options: &ReferenceOptions) -> Result<Self, Error> {
        let opening = OpenOptions::default();
        let mut config = guess(path, &opening.search)?;
        let [height, width, channels] = model.card.shape;
        let size = ImageSize { height, width };
        if config.channels() != channels && !matches!(config, DataConfig::Folder(_)) {
            let accepted = format!("{channels}, as the model's");
            return Err(Error::value(format!("channels of {}", path.display()), config.channels(), accepted));
        }
        shape_for(&mut config, size, channels, options.resize)?;
        let mut notes = Vec::new();
        let opened = match options.split {
            Some(split) => open(&with_split(&config, split), &opening)?,
            None => opened_split(&config, path, &opening, &mut notes)?,
        };
        if let DataConfig::Folder(_) = config {
            notes.push(format!("{} is a folder without splits; all its images are taken", path.display()));
        }
        notes.extend(
            opened
                .report
                .skipped
                .first()
                .map(|first| format!("{} broken images are left out, the first {first}", opened.report.skipped.len())),
        );
        let dataset: Arc<dyn Dataset> = Arc::from(opened.dataset);
        let [h, w, _] = dataset.shape();
        if [h, w] != [height, width] {
            let accepted = format!("{size}, as the model's; --resize crops and resizes them");
            return Err(Error::value(
                format!("size of the images in {}", path.display()),
                format!("{h}x{w}"),
                accepted,
            ));
        }
        Ok(Self::new(dataset, options.seed).with_notes(notes))
    }

    /// Images of a data set in the order of `seed`.
    pub fn new(dataset: Arc<dyn Dataset>, seed: u64) -> Self {
        let order = usize::try_from(dataset.count()).ok().filter(|_| dataset.count() != u64::MAX);
        let order = order.map(|n| Noise::new(seed).permutation(Draw::Shuffle, n, 0));
        Self { dataset, order, notes: Vec::new() }
    }

    fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// Number of images; `None` where there is no end of them.
    pub fn count(&self) -> Option<u64> {
        self.order.as_ref().map(|order| order.len() as u64)
    }

    /// `[H, W, C]`.
    pub fn shape(&self) -> [usize; 3] {
        self.dataset.shape()
    }

    /// Images `first ..` of the order, `[count, H, W, C]`: bytes in `[-1, 1]`.
    ///
    /// # Errors
    /// [`Error::Image`] for one that can no longer be read.
    pub(super) fn batch(&self, first: u64, count: usize, device: &Device) -> Result<Tensor<4>, Error> {
        let image = |place: u64| {
            let index = self.order.as_ref().map_or(place, |order| order[place as usize] as u64);
            let mut unused = Noise::new(0).stream(Draw::Augment, index, 0);
            let example = self.dataset.get(index, &mut unused).map_err(|source| Error::Image { index, source })?;
            // Bytes, also of data that are drawn or computed.
            Ok(example.pixels.into_iter().map(|v| pixels::from_byte(pixels::to_byte(v))).collect::<Vec<f32>>())
        };
        let images: Vec<Vec<f32>> =
            (first..first + count as u64).into_par_iter().map(image).collect::<Result<_, Error>>()?;
        let [h, w, c] = self.shape();
        Ok(Tensor::from_data(TensorData::new(images.concat(), [count, h, w, c]), device))
    }
}

/// The test images where there are some, else the training images and a note.
pub(super) fn opened_split(
    config: &DataConfig,
    path: &Path,
    opening: &OpenOptions<'_>,
    notes: &mut Vec<String>,
) -> Result<difusi_data::Opened, Error> {
    match open(&with_split(config, Split::Test), opening) {
        Err(Error::Data(DataError::NotFound { .. })) => {
            notes.push(format!("{} has no test split; these are its training images", path.display()));
            open(&with_split(config, Split::Train), opening)
        }
        other => other,
    }
}

fn open(config: &DataConfig, options: &OpenOptions<'_>) -> Result<difusi_data::Opened, Error> {
    Ok(config.open_with_report(options)?)
}

/// The data at the model's size where that is a matter of how they are opened; nothing is mirrored.
fn shape_for(config: &mut DataConfig, size: ImageSize, channels: usize, resize: bool) -> Result<(), Error> {
    let resized = resize.then_some(size);
    match config {
        DataConfig::Digits(c) => (c.size, c.seed) = (size, TEST_SEED),
        DataConfig::Idx(c) => (c.size, c.flip) = (resized, false),
        DataConfig::Cifar10(c) => (c.size, c.flip) = (resized, false),
        // A folder's images are always cropped and resized, as in training.
        DataConfig::Folder(c) => {
            (c.size, c.flip) = (size, false);
            c.channels = Channels::try_from(channels as i64)
                .map_err(|_| Error::value("channels of the model", channels, "1 or 3, to be measured on a folder"))?;
        }
    }
    Ok(())
}

pub(super) fn with_split(config: &DataConfig, split: Split) -> DataConfig {
    let mut config = config.clone();
    match &mut config {
        DataConfig::Idx(c) => c.split = split,
        DataConfig::Cifar10(c) => c.split = split,
        DataConfig::Digits(_) | DataConfig::Folder(_) => {}
    }
    config
}
