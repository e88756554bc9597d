//! A folder of images as a data set: found, decoded in parallel, centre-cropped, resized, kept as bytes in memory up to a
//! budget. Broken images are left out and reported; more than 5 % is an error.
//!
//! Deliberately absent: archives, remote folders, `metadata.csv`, aspect-ratio buckets.

mod images;
mod metadata;
mod scan;
mod survey;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use difusi_core::{Dataset, Example, Stream};
use rayon::prelude::*;

pub use images::{FolderImages, RawImage};
pub(crate) use scan::{Scan, scan};
pub(crate) use survey::{Survey, survey};

use crate::decode::{Form, read_bytes};
use crate::locate::Wanted;
use crate::memory::to_floats;
use crate::{DataError, FolderConfig, OpenOptions, Report, Search, Skipped};

/// Most files decoded between two appends to memory, and most bytes they come to (but one file per thread at least).
const CHUNK_FILES: usize = 1024;
const CHUNK_BYTES: usize = 64 << 20;

/// An image of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// Path below the folder with `/` between the parts.
    pub(crate) name: String,
    pub(crate) label: Option<u32>,
    pub(crate) caption: Option<String>,
}

/// A folder of images, opened.
pub struct Folder {
    config: FolderConfig,
    entries: Vec<Entry>,
    /// The first images, `[n, H, W, C]`; the rest is decoded at each use.
    bytes: Vec<u8>,
    classes: Option<u32>,
    report: Report,
}

impl Folder {
    /// Finds and decodes every image; those beyond the memory budget are decoded once to see that they can be, and again
    /// at each use.
    ///
    /// # Errors
    /// No such folder, no images in it, bad `metadata.jsonl`, more than 5 % broken images.
    pub fn open(config: &FolderConfig, options: &OpenOptions<'_>) -> Result<Self, DataError> {
        let root = locate(config, &options.search)?;
        let Scan { entries, missing, ignored, class_names, classes } = scan(&root, config.labels)?;
        let mut folder =
            Self { config: config.clone(), entries: Vec::new(), bytes: Vec::new(), classes, report: Report::default() };
        let total = (entries.len() + missing.len()) as u64;
        let mut skipped = missing;
        skipped.extend(folder.decode_all(entries, options));
        check_broken(&root, &skipped, total)?;
        let captions = folder.entries.iter().filter(|e| e.caption.is_some()).count() as u64;
        let lazy = folder.entries.len() as u64 - folder.in_memory();
        folder.report = Report { source: Some(root), skipped, ignored, class_names, captions, lazy };
        Ok(folder)
    }

    /// Decodes in file order, chunk by chunk; returns the broken ones.
    fn decode_all(&mut self, entries: Vec<Entry>, options: &OpenOptions<'_>) -> Vec<Skipped> {
        let (total, done) = (entries.len() as u64, AtomicU64::new(0));
        let (mut skipped, form, size) = (Vec::new(), self.form(), self.config.size);
        let room = options.memory_budget as usize;
        let one = self.shape().iter().product::<usize>().max(1);
        let files = (CHUNK_BYTES / one).clamp(rayon::current_num_threads().min(CHUNK_FILES), CHUNK_FILES);
        let mut rest = entries.into_iter().peekable();
        while rest.peek().is_some() {
            let chunk: Vec<Entry> = rest.by_ref().take(files).collect();
            let decoded: Vec<_> = chunk
                .par_iter()
                .map(|e| {
                    let bytes = read_bytes(&e.path, size, form);
                    if let Some(progress) = options.progress {
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                    }
                    bytes
                })
                .collect();
            for (entry, bytes) in chunk.into_iter().zip(decoded) {
                match bytes {
                    Err(broken) => skipped.push(broken),
                    Ok(bytes) => {
                        if self.entries.len() as u64 == self.in_memory() && self.bytes.len() + bytes.len() <= room {
                            self.bytes.extend(bytes);
                        }
                        self.entries.push(entry);
                    }
                }
            }
        }
        self.bytes.shrink_to_fit();
        skipped
    }

    fn form(&self) -> Form {
        Form { channels: self.config.channels, background: self.config.background }
    }

    /// Images that lie in memory: the first ones.
    fn in_memory(&self) -> u64 {
        (self.bytes.len() / self.shape().iter().product::<usize>().max(1)) as u64
    }

    /// What was found while opening.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The caption of an image: key `text` (or `caption`) of `metadata.jsonl`.
    pub fn caption(&self, index: u64) -> Option<&str> {
        self.entries.get(index as usize)?.caption.as_deref()
    }

    /// The file of an image.
    pub fn path(&self, index: u64) -> Option<&Path> {
        Some(&self.entries.get(index as usize)?.path)
    }
}

impl Dataset for Folder {
    fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    fn shape(&self) -> [usize; 3] {
        [self.config.size.height, self.config.size.width, self.config.channels.count()]
    }

    fn classes(&self) -> Option<u32> {
        self.classes
    }

    fn get(&self, index: u64, augment: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        let count = self.count();
        let entry = self.entries.get(index as usize).ok_or(DataError::Index { index, count })?;
        let (shape, flip) = (self.shape(), self.config.flip);
        let size: usize = shape.iter().product();
        let pixels = match self.bytes.get(index as usize * size..(index as usize + 1) * size) {
            Some(bytes) => to_floats(bytes, shape, flip, augment),
            None => {
                let bytes = read_bytes(&entry.path, self.config.size, self.form()).map_err(DataError::Broken)?;
                to_floats(&bytes, shape, flip, augment)
            }
        };
        Ok(Example { pixels, label: entry.label })
    }
}

/// The folder that the config and `--data` mean.
fn locate(config: &FolderConfig, search: &Search) -> Result<PathBuf, DataError> {
    let path = match (&search.data, &config.path) {
        (Some(data), _) => data,
        (None, Some(path)) => path,
        (None, None) => {
            let hint = "pass `--data PATH` with a folder of PNG, JPEG or WebP files, or set `path` in [data]".into();
            return Err(DataError::NotFound {
                what: "a folder of images".into(),
                looked: vec!["(no path given)".into()],
                hint,
            });
        }
    };
    let what = format!("the folder of images `{}`", path.display());
    let wanted = Wanted { what: &what, files: "a folder of PNG, JPEG or WebP files" };
    search.locate(path, wanted, Path::is_dir)
}

/// At most one image in twenty may be broken.
pub(crate) fn check_broken(root: &Path, skipped: &[Skipped], total: u64) -> Result<(), DataError> {
    if skipped.len() as u64 * 20 > total {
        return Err(DataError::TooManyBroken { path: root.to_path_buf(), broken: skipped.to_vec(), total });
    }
    Ok(())
}
