//! The idx container of MNIST (yann.lecun.com/exdb/mnist), plain or gzipped: a big-endian magic number (type 8 =
//! unsigned bytes, number of dimensions), the dimensions, the bytes. Deliberately absent: other element types.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::locate::{Wanted, named};
use crate::{DataError, IdxConfig, InMemory, Opened, Report, Search, Split};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
/// Most bytes of images accepted in one file: 16 GiB.
const MAX_BYTES: u64 = 16 << 30;

/// The content of an idx file with unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxFile {
    /// Sizes of the dimensions: `[N, H, W]` for images, `[N]` for labels.
    pub dims: Vec<usize>,
    /// All values, last dimension fastest.
    pub bytes: Vec<u8>,
}

/// What an idx file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdxKind {
    /// Grey images, magic number 0x00000803.
    Images,
    /// Labels, magic number 0x00000801.
    Labels,
}

impl IdxKind {
    const fn magic(self) -> u32 {
        match self {
            Self::Images => IMAGES,
            Self::Labels => LABELS,
        }
    }

    fn describe(magic: u32) -> String {
        match magic {
            IMAGES => "0x00000803 (idx images)".into(),
            LABELS => "0x00000801 (idx labels)".into(),
            m if m >> 16 == 0x1F8B => format!("{m:#010x} (gzip inside gzip)"),
            m => format!("{m:#010x}"),
        }
    }
}

/// Reads an idx file, gzipped or not (its content tells).
///
/// # Errors
/// An unreadable, truncated or overlong file, or another magic number.
pub fn read(path: &Path, kind: IdxKind) -> Result<IdxFile, DataError> {
    let mut reader = reader(path)?;
    let dims = header(&mut reader, path, kind)?;
    let expected = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64)).filter(|n| *n <= MAX_BYTES);
    let Some(expected) = expected.filter(|n| *n > 0) else {
        let accepted = format!("sizes of 1 or more, {MAX_BYTES} bytes in all");
        return Err(DataError::format(path, "shape", format!("{dims:?}"), accepted));
    };
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(expected + 1).read_to_end(&mut bytes);
    let found = bytes.len() as u64;
    let wanted = format!("{expected} ({} after the header)", joined(&dims));
    match read {
        Err(e) => Err(DataError::format(path, "content", format!("cut or corrupt after {found} bytes ({e})"), wanted)),
        Ok(_) if found < expected => Err(DataError::format(path, "number of bytes", found, wanted)),
        Ok(_) if found > expected => Err(DataError::format(path, "number of bytes", "more", wanted)),
        Ok(_) => Ok(IdxFile { dims, bytes }),
    }
}

fn joined(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// A reader of the unpacked content.
fn reader(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let mut start = Vec::new();
    let open = || File::open(path).map_err(DataError::io("read", path));
    open()?.take(2).read_to_end(&mut start).map_err(DataError::io("read", path))?;
    let file = BufReader::new(open()?);
    Ok(if start == [0x1F, 0x8B] { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Reads magic number and dimensions.
fn header(reader: &mut impl Read, path: &Path, kind: IdxKind) -> Result<Vec<usize>, DataError> {
    let mut word = || -> Result<u32, DataError> {
        let mut b = [0; 4];
        reader.read_exact(&mut b).map_err(|_| DataError::format(path, "header", "cut", "a whole idx header"))?;
        Ok(u32::from_be_bytes(b))
    };
    let magic = word()?;
    if magic != kind.magic() {
        let (found, expected) = (IdxKind::describe(magic), IdxKind::describe(kind.magic()));
        return Err(DataError::format(path, "magic number", found, expected));
    }
    (0..magic & 0xFF).map(|_| word().map(|d| d as usize)).collect()
}

/// Whether a file begins as an idx file of images, gzipped or not.
pub(crate) fn is_images(path: &Path) -> bool {
    reader(path).is_ok_and(|mut r| header(&mut r, path, IdxKind::Images).is_ok())
}

/// The usual names of a split's files, gzipped or not, with both spellings.
fn usual(folder: &Path, split: Split, kind: IdxKind) -> Option<PathBuf> {
    let start = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let end = match kind {
        IdxKind::Images => ["images-idx3-ubyte", "images.idx3-ubyte"],
        IdxKind::Labels => ["labels-idx1-ubyte", "labels.idx1-ubyte"],
    };
    let names = end.iter().flat_map(|e| ["", ".gz"].map(|gz| format!("{start}-{e}{gz}")));
    names.map(|n| folder.join(n)).find(|p| p.is_file())
}

/// Whether a folder has the images of a split.
pub(crate) fn holds(folder: &Path, split: Split) -> bool {
    usual(folder, split, IdxKind::Images).is_some()
}

/// The label file that belongs to an image file given by name.
fn sibling(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let other = name.replace("images", "labels").replace("idx3", "idx1");
    let bare = other.strip_suffix(".gz").unwrap_or(&other);
    let names = [other.clone(), bare.to_string(), format!("{bare}.gz")];
    names.into_iter().filter(|n| n != name).map(|n| images.with_file_name(n)).find(|p| p.is_file())
}

/// The image file and the label file, where there is one.
fn find(config: &IdxConfig, search: &Search) -> Result<(PathBuf, Option<PathBuf>), DataError> {
    let (what, file) = match config.split {
        Split::Train => ("the training images of", "train-images-idx3-ubyte"),
        Split::Test => ("the test images of", "t10k-images-idx3-ubyte"),
    };
    let what = format!("{what} `{}`", search.data.as_ref().unwrap_or(&config.path).display());
    let files = format!("a folder that has {file}.gz (or {file}), or such a file");
    let at = search
        .locate(&config.path, Wanted { what: &what, files: &files }, |p| p.is_file() || holds(p, config.split))?;
    if at.is_file() {
        let labels = sibling(&at);
        return Ok((at, labels));
    }
    let images = usual(&at, config.split, IdxKind::Images).unwrap_or_else(|| at.clone());
    Ok((images, usual(&at, config.split, IdxKind::Labels)))
}

/// Reads images and labels; the flip of the config is applied, the size is not.
pub(crate) fn load(config: &IdxConfig, search: &Search) -> Result<(InMemory, PathBuf), DataError> {
    let (images_path, labels_path) = find(config, search)?;
    let images = read(&images_path, IdxKind::Images)?;
    let labels = labels_path.map(|p| read_labels(&p, config.classes, &images_path, images.dims[0])).transpose()?;
    let shape = [images.dims[1], images.dims[2], 1];
    Ok((InMemory::new(images.bytes, shape, labels, config.classes).with_flip(config.flip), images_path))
}

fn read_labels(path: &Path, classes: u32, images_path: &Path, images: usize) -> Result<Vec<u32>, DataError> {
    let file = read(path, IdxKind::Labels)?;
    if file.bytes.len() != images {
        return Err(DataError::LabelCount {
            path: path.to_path_buf(),
            labels: file.bytes.len() as u64,
            images_path: images_path.to_path_buf(),
            images: images as u64,
        });
    }
    let labels: Vec<u32> = file.bytes.into_iter().map(u32::from).collect();
    match labels.iter().position(|l| *l >= classes) {
        None => Ok(labels),
        Some(i) => Err(DataError::LabelRange {
            path: path.to_path_buf(),
            entry: i as u64,
            label: i64::from(labels[i]),
            classes,
        }),
    }
}

/// Opens images and labels.
pub(crate) fn open(config: &IdxConfig, search: &Search) -> Result<Opened, DataError> {
    let (set, source) = load(config, search)?;
    let class_names = match named(&config.path) {
        Some(s) if set.labels().is_some() => s.class_names().iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let report = Report { source: Some(source), class_names, ..Report::default() };
    Ok(Opened { dataset: Box::new(set.with_size(config.size)), report })
}
