//! What lies at a path: counts, sizes, modes, classes, captions, broken files, statistics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use difusi_core::{Dataset, pixels};
use serde::Serialize;

use crate::folder::{Survey, survey};
use crate::{
    Cifar10Config, DataConfig, DataError, Digits, IdxConfig, InMemory, NamedSet, OpenOptions, Skipped, Split, cifar,
    guess, idx, locate,
};

/// Digits drawn for the statistics.
const DRAWN: u64 = 1000;
/// Entries given as examples.
const EXAMPLES: usize = 5;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataInfo {
    /// `digits`, `idx`, `cifar10` or `folder`.
    pub kind: &'static str,
    /// The files' place; `None` for drawn data.
    pub path: Option<PathBuf>,
    /// Readable images; `None` for unlimited.
    pub count: Option<u64>,
    /// Images per split (`train`, `test`) where the set has splits.
    pub splits: BTreeMap<&'static str, u64>,
    /// Smallest and largest height in pixels.
    pub height: [u64; 2],
    /// Smallest and largest width in pixels.
    pub width: [u64; 2],
    /// How files store their pixels (`L`, `LA`, `P`, `RGB`, `RGBA`, `RGB16`, ...) and how many do.
    pub modes: BTreeMap<String, u64>,
    /// Classes in label order; empty without labels.
    pub classes: Vec<ClassInfo>,
    /// Images with a caption.
    pub captions: u64,
    /// Images that cannot be read.
    pub skipped: Vec<Skipped>,
    /// Files that are no images, or that `metadata.jsonl` does not list.
    pub ignored: u64,
    /// Mean per channel, pixels in 0..1 (folders: RGB over white).
    pub mean: Vec<f64>,
    /// Standard deviation per channel, pixels in 0..1.
    pub std: Vec<f64>,
    /// A few images, spread over the set.
    pub examples: Vec<ExampleInfo>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassInfo {
    /// 0-based label.
    pub label: u32,
    /// Its name, where there is one.
    pub name: Option<String>,
    /// Images of it.
    pub count: u64,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExampleInfo {
    /// Position in the data set.
    pub index: u64,
    /// Its file below the folder, where it has a file of its own.
    pub file: Option<String>,
    /// `[H, W]`.
    pub size: [u64; 2],
    /// Its label.
    pub label: Option<u32>,
    /// Its caption.
    pub caption: Option<String>,
}

/// Sums of bytes and of their squares per channel: integers, so the order of adding does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    n: u128,
    sums: Vec<[u128; 2]>,
}

impl Moments {
    /// Of pixels `[..., C]`.
    pub(crate) fn of(bytes: &[u8], channels: usize) -> Self {
        let mut sums = vec![[0u64; 2]; channels];
        for pixel in bytes.chunks_exact(channels) {
            for (s, v) in sums.iter_mut().zip(pixel) {
                s[0] += u64::from(*v);
                s[1] += u64::from(*v) * u64::from(*v);
            }
        }
        Self { n: (bytes.len() / channels) as u128, sums: sums.iter().map(|s| s.map(u128::from)).collect() }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sums.resize(other.sums.len().max(self.sums.len()), [0; 2]);
        for (a, b) in self.sums.iter_mut().zip(&other.sums) {
            *a = [a[0] + b[0], a[1] + b[1]];
        }
    }

    /// Mean and standard deviation per channel, pixels in 0..1.
    pub(crate) fn statistics(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.n.max(1) as f64;
        let mean = |s: &[u128; 2]| s[0] as f64 / n;
        let std = |s: &[u128; 2]| (s[1] as f64 / n - mean(s).powi(2)).max(0.0).sqrt();
        (self.sums.iter().map(|s| mean(s) / 255.0).collect(), self.sums.iter().map(|s| std(s) / 255.0).collect())
    }
}

/// Says what lies at `path`, which may also be a name: see [`guess()`].
///
/// # Errors
/// Nothing there, malformed files, a folder without readable images.
pub fn info(path: &Path, options: &OpenOptions<'_>) -> Result<DataInfo, DataError> {
    match guess(path, &options.search)? {
        DataConfig::Digits(c) => drawn(&Digits::new(&c)),
        DataConfig::Idx(c) => {
            let load = |split| idx::load(&IdxConfig { split, classes: 256, ..c.clone() }, &options.search);
            published("idx", c.split, locate::named(&c.path), load)
        }
        DataConfig::Cifar10(c) => {
            let load = |split| cifar::load(&Cifar10Config { split, ..c.clone() }, &options.search);
            published("cifar10", c.split, Some(NamedSet::Cifar10), load)
        }
        DataConfig::Folder(c) => {
            let root = c.path.unwrap_or_else(|| path.to_path_buf());
            let found = survey(&root, options)?;
            Ok(of_folder(root, found))
        }
    }
}

fn drawn(set: &Digits) -> Result<DataInfo, DataError> {
    let mut bytes = Vec::new();
    let mut labels = Vec::new();
    for i in 0..DRAWN {
        let (values, label) = set.draw(i);
        bytes.extend(values.into_iter().map(pixels::to_byte));
        labels.push(label);
    }
    let set = InMemory::new(bytes, set.shape(), Some(labels), 10);
    let names = NamedSet::Mnist.class_names().map(String::from);
    Ok(DataInfo { count: None, ..of_memory("digits", None, &set, &names) })
}

/// A set with a training and a test split; `first` exists.
fn published(
    kind: &'static str,
    first: Split,
    set: Option<NamedSet>,
    load: impl Fn(Split) -> Result<(InMemory, PathBuf), DataError>,
) -> Result<DataInfo, DataError> {
    let (images, path) = load(first)?;
    let names: Vec<String> = set.iter().flat_map(|s| s.class_names()).map(String::from).collect();
    let mut info = of_memory(kind, Some(path.clone()), &images, &names);
    let word = |s| if s == Split::Train { "train" } else { "test" };
    info.splits.insert(word(first), images.count());
    match load(Split::Test) {
        Ok((test, at)) if first == Split::Train && at != path => {
            info.splits.insert(word(Split::Test), test.count());
        }
        Ok(_) | Err(DataError::NotFound { .. }) => {}
        Err(e) => return Err(e),
    }
    Ok(info)
}

fn of_memory(kind: &'static str, path: Option<PathBuf>, set: &InMemory, names: &[String]) -> DataInfo {
    let [h, w, c] = set.shape();
    let (mean, std) = Moments::of(set.bytes(), c).statistics();
    let size = [h as u64, w as u64];
    let labels = set.labels().unwrap_or_default();
    let example =
        |i: usize| ExampleInfo { index: i as u64, file: None, size, label: labels.get(i).copied(), caption: None };
    let mode = if c == 1 { "L" } else { "RGB" };
    DataInfo {
        kind,
        path,
        count: Some(set.count()),
        splits: BTreeMap::new(),
        height: [size[0]; 2],
        width: [size[1]; 2],
        modes: BTreeMap::from([(mode.to_string(), set.count())]),
        classes: classes(labels.iter().copied(), names, if labels.is_empty() { 0 } else { names.len() as u32 }),
        captions: 0,
        skipped: Vec::new(),
        ignored: 0,
        mean,
        std,
        examples: spread(set.count() as usize).map(example).collect(),
    }
}

fn of_folder(root: PathBuf, s: Survey) -> DataInfo {
    let (mean, std) = s.moments.statistics();
    let range = |k: usize| {
        let values = || s.sizes.iter().map(move |z| z[k]);
        [values().min().unwrap_or(0), values().max().unwrap_or(0)]
    };
    let example = |i: usize| {
        let e = &s.entries[i];
        let (file, caption) = (Some(e.name.clone()), e.caption.clone());
        ExampleInfo { index: i as u64, file, size: s.sizes[i], label: e.label, caption }
    };
    DataInfo {
        kind: "folder",
        path: Some(root),
        count: Some(s.entries.len() as u64),
        splits: BTreeMap::new(),
        height: range(0),
        width: range(1),
        classes: classes(s.entries.iter().filter_map(|e| e.label), &s.class_names, s.classes.unwrap_or(0)),
        captions: s.entries.iter().filter(|e| e.caption.is_some()).count() as u64,
        examples: spread(s.entries.len()).map(example).collect(),
        modes: s.modes,
        skipped: s.skipped,
        ignored: s.ignored,
        mean,
        std,
    }
}

/// Images per class, of at least `at_least` classes.
fn classes(labels: impl Iterator<Item = u32>, names: &[String], at_least: u32) -> Vec<ClassInfo> {
    let mut counts = vec![0u64; at_least as usize];
    for l in labels {
        counts.resize(counts.len().max(l as usize + 1), 0);
        counts[l as usize] += 1;
    }
    let class = |(i, count): (usize, u64)| ClassInfo { label: i as u32, name: names.get(i).cloned(), count };
    counts.into_iter().enumerate().map(class).collect()
}

/// A few indices, from the first on.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(EXAMPLES).max(1))
}
