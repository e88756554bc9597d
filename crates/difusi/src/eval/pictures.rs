//! Where pictures that are judged come from: a folder, an npz, a data set, or a model that draws them. One batch is in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use difusi_core::{Dataset, Draw, ImageSize, Noise, pixels};
use difusi_data::{Channels, DataConfig, FolderImages, OpenOptions, Split, guess};
use difusi_metrics::{ImageBatch, Statistics};
use difusi_store::{Container, Dtype, HostData, HostTensor, RunPaths, detect, npz_infos, read_npz_rows};
use rayon::prelude::*;

use super::reference::{TEST_SEED, opened_split, with_split};
use crate::{Error, Sampler};

/// Pictures in a batch, and the most bytes of one.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 32 << 20;

/// Pictures to judge, or to judge against.
pub enum PictureSource {
    /// Drawn by a model as they are needed.
    Model(Box<Sampler>),
    /// A data set; the count is `None` where there is no end of it.
    Dataset(Arc<dyn Dataset>),
    /// The files of a folder, each at its own size.
    Folder(FolderImages),
    /// `arr_0` of an npz: bytes `[N, H, W, C]`.
    Npz {
        /// The file.
        path: PathBuf,
        /// `[N, H, W, C]`.
        shape: [usize; 4],
    },
}

/// What lies at a path that is no model.
pub struct PicturesAt {
    /// Pictures, where there are some.
    pub pictures: Option<PictureSource>,
    /// Statistics, where it is an npz with such.
    pub statistics: Option<Statistics>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// How to take a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureOptions {
    /// Which split; `None` is test where there is one (of drawn digits, those of another seed).
    pub split: Option<Split>,
    /// `[H, W, C]`: images of a folder or data set are cropped and resized as in training. `None` leaves each at its own size.
    pub shape: Option<[usize; 3]>,
}

/// Which pictures of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// How many at most.
    pub limit: u64,
    /// Which ones, where there are more.
    pub seed: u64,
}

/// Whether a model lies at `path`, rather than pictures: a run folder, safetensors or a PyTorch file.
pub fn is_model(path: &Path) -> bool {
    if path.is_dir() {
        return RunPaths::open(path).is_ok();
    }
    let models = [Container::Safetensors, Container::PytorchZip, Container::PytorchLegacy];
    path.is_file() && detect(path).is_ok_and(|kind| models.contains(&kind))
}

impl PicturesAt {
    /// Looks at `path`: a folder of images, an npz with `arr_0` or statistics or both, an idx or CIFAR file, or the name of a data set.
    ///
    /// # Errors
    /// Nothing there, or nothing known; damaged files; a split that is not there.
    pub fn open(path: &Path, options: &PictureOptions) -> Result<Self, Error> {
        if path.is_file() && detect(path)? == Container::Npz {
            return open_npz(path);
        }
        let (opening, mut notes) = (OpenOptions::default(), Vec::new());
        let mut config = guess(path, &opening.search)?;
        if let (DataConfig::Folder(folder), None) = (&config, options.shape) {
            let folder = FolderImages::open(folder.path.as_deref().unwrap_or(path))?;
            return Ok(Self { pictures: Some(PictureSource::Folder(folder)), statistics: None, notes });
        }
        shape_for(&mut config, options)?;
        let opened = match options.split {
            Some(split) => with_split(&config, split).open_with_report(&opening)?,
            None => opened_split(&config, path, &opening, &mut notes)?,
        };
        if let Some(first) = opened.report.skipped.first() {
            notes.push(format!("{} broken images are left out, the first {first}", opened.report.skipped.len()));
        }
        let pictures = Some(PictureSource::Dataset(Arc::from(opened.dataset)));
        Ok(Self { pictures, statistics: None, notes })
    }
}

fn shape_for(config: &mut DataConfig, options: &PictureOptions) -> Result<(), Error> {
    let size = options.shape.map(|[height, width, _]| ImageSize { height, width });
    match config {
        DataConfig::Digits(c) => {
            c.size = size.unwrap_or(c.size);
            // Drawn digits have no splits, but other seeds have other digits.
            c.seed = if options.split == Some(Split::Train) { c.seed } else { TEST_SEED };
        }
        DataConfig::Idx(c) => (c.size, c.flip) = (size, false),
        DataConfig::Cifar10(c) => (c.size, c.flip) = (size, false),
        DataConfig::Folder(c) => {
            (c.size, c.flip) = (size.unwrap_or(c.size), false);
            if let Some([_, _, channels]) = options.shape {
                c.channels = Channels::try_from(channels as i64)
                    .map_err(|_| Error::value("channels of the pictures", channels, "1 or 3"))?;
            }
        }
    }
    Ok(())
}

fn open_npz(path: &Path) -> Result<PicturesAt, Error> {
    let infos = npz_infos(path)?;
    let has = |name: &str| infos.iter().find(|i| i.name == name);
    let statistics = if has("mu").or(has("m2")).is_some() { Some(Statistics::read(path)?) } else { None };
    let pictures = match has("arr_0") {
        None => None,
        Some(info) => match (&info.shape[..], info.dtype) {
            (&[n, h, w, c], Dtype::U8) if [1, 3].contains(&c) => {
                Some(PictureSource::Npz { path: path.to_path_buf(), shape: [n, h, w, c] })
            }
            (shape, dtype) => {
                let what = format!("`arr_0` of {}", path.display());
                return Err(Error::value(what, format!("{shape:?} of {dtype}"), "bytes [N, H, W, C] with C 1 or 3"));
            }
        },
    };
    if statistics.is_none() && pictures.is_none() {
        let names: Vec<&str> = infos.iter().map(|i| i.name.as_str()).collect();
        let accepted = "`arr_0` (pictures), or `mu` and `sigma` (statistics)";
        return Err(Error::value(format!("what {} holds", path.display()), names.join(", "), accepted));
    }
    Ok(PicturesAt { pictures, statistics, notes: Vec::new() })
}

impl PictureSource {
    /// How many there are; `None` where there is no end of them.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Model(sampler) => Some(sampler.count() as u64),
            Self::Dataset(d) => Some(d.count()).filter(|n| *n != u64::MAX),
            Self::Folder(folder) => Some(folder.count()),
            Self::Npz { shape, .. } => Some(shape[0] as u64),
        }
    }

    /// `[H, W, C]` of the first.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn shape(&self) -> Result<[usize; 3], Error> {
        Ok(match self {
            Self::Model(sampler) => sampler.shape(),
            Self::Dataset(d) => d.shape(),
            Self::Folder(folder) => folder.get(0)?.shape,
            Self::Npz { shape: [_, h, w, c], .. } => [*h, *w, *c],
        })
    }

    /// Number of classes that its labels are of, where it has labels.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::Model(sampler) => sampler.classes(),
            Self::Dataset(d) => d.classes().map(|classes| classes as usize),
            Self::Folder(_) | Self::Npz { .. } => None,
        }
    }

    /// Passes pictures to `body`, some of one size at a time, until it answers false. At most `take.limit`: of a data set or folder that
    /// has more, those that the seed chooses (sorted folders hold one class after the other); of others the first.
    ///
    /// # Errors
    /// An image that cannot be read, a failing network; what `body` returns.
    pub fn for_each(&self, take: Take, body: Body<'_>) -> Result<(), Error> {
        let limit = self.count().map_or(take.limit, |n| n.min(take.limit));
        match self {
            Self::Model(sampler) => drawn(sampler, limit, body),
            Self::Dataset(d) => dataset(d.as_ref(), &self.chosen(limit, take.seed), body),
            Self::Folder(folder) => files(folder, &self.chosen(limit, take.seed), body),
            Self::Npz { path, shape } => npz(path, *shape, limit, body),
        }
    }

    fn chosen(&self, limit: u64, seed: u64) -> Vec<u64> {
        match self.count() {
            Some(all) if limit < all => {
                let mut chosen = Noise::new(seed).permutation(Draw::Shuffle, all as usize, 0);
                chosen.truncate(limit as usize);
                chosen.sort_unstable();
                chosen.into_iter().map(|i| i as u64).collect()
            }
            _ => (0..limit).collect(),
        }
    }
}

/// What hears of pictures.
type Body<'a> = &'a mut dyn FnMut(ImageBatch) -> Result<bool, Error>;

/// Pictures of this shape in a batch.
fn batch_of(shape: [usize; 3]) -> usize {
    (BATCH_BYTES / shape.iter().product::<usize>().max(1)).clamp(1, BATCH)
}

fn drawn(sampler: &Sampler, limit: u64, body: Body<'_>) -> Result<(), Error> {
    let mut left = limit as usize;
    for index in 0..sampler.batches() {
        let pictures = sampler.batch(index, &mut |_| {})?;
        let now = left.min(pictures.len());
        left -= now;
        let bytes = pictures[..now].iter().flat_map(|p| p.pixels().iter().copied()).collect();
        let first = (limit as usize) - left - now;
        let images =
            ImageBatch::new(sampler.shape(), bytes)?.with_labels((first..first + now).map(|i| sampler.label(i)));
        if now == 0 || !body(images)? {
            break;
        }
    }
    Ok(())
}

fn dataset(d: &dyn Dataset, indices: &[u64], body: Body<'_>) -> Result<(), Error> {
    let shape = d.shape();
    for some in indices.chunks(batch_of(shape)) {
        let image = |&index: &u64| {
            let mut unused = Noise::new(0).stream(Draw::Augment, index, 0);
            let example = d.get(index, &mut unused).map_err(|source| Error::Image { index, source })?;
            let bytes: Vec<u8> = example.pixels.into_iter().map(pixels::to_byte).collect();
            Ok((bytes, example.label))
        };
        let images: Vec<_> = some.par_iter().map(image).collect::<Result<_, Error>>()?;
        let (images, labels): (Vec<_>, Vec<_>) = images.into_iter().unzip();
        if !body(ImageBatch::new(shape, images.concat())?.with_labels(labels))? {
            break;
        }
    }
    Ok(())
}

/// Neighbours of equal size share a batch.
fn files(folder: &FolderImages, mut indices: &[u64], body: Body<'_>) -> Result<(), Error> {
    let mut together = 1;
    while !indices.is_empty() {
        let (some, later) = indices.split_at(together.min(indices.len()));
        indices = later;
        let images = some.par_iter().map(|i| folder.get(*i)).collect::<Result<Vec<_>, _>>()?;
        for equal in images.chunk_by(|a, b| a.shape == b.shape) {
            let shape = equal[0].shape;
            together = batch_of(shape);
            let bytes = equal.iter().flat_map(|i| i.bytes.iter().copied()).collect();
            if !body(ImageBatch::new(shape, bytes)?)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn npz(path: &Path, [_, h, w, c]: [usize; 4], limit: u64, body: Body<'_>) -> Result<(), Error> {
    let (shape, mut left) = ([h, w, c], limit);
    read_npz_rows(path, "arr_0", batch_of(shape), &mut |piece: HostTensor| {
        let HostData::U8(mut bytes) = piece.data else { return Ok(false) };
        let now = left.min(piece.shape.first().map_or(0, |n| *n as u64));
        left -= now;
        bytes.truncate(now as usize * h * w * c);
        Ok(now > 0 && body(ImageBatch::new(shape, bytes)?)? && left > 0)
    })
}
