//! CIFAR-10, binary version (cs.toronto.edu/~kriz/cifar.html): records of one label byte and 3,072 pixel bytes, planes
//! red, green, blue, rows first. Deliberately absent: the Python version (a pickle) and CIFAR-100.

use std::path::{Path, PathBuf};

use crate::locate::{Wanted, named};
use crate::{Cifar10Config, DataError, InMemory, NamedSet, Opened, Report, Search, Split};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// Bytes of a record.
pub const RECORD: usize = 1 + 3 * PLANE;

/// Files of a split.
const fn files(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => {
            &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
        }
        Split::Test => &["test_batch.bin"],
    }
}

/// The folder itself or the one the archive unpacks to.
fn inner(folder: &Path, split: Split) -> Option<PathBuf> {
    let candidates = [folder.to_path_buf(), folder.join("cifar-10-batches-bin")];
    candidates.into_iter().find(|f| f.join(files(split)[0]).is_file())
}

/// Whether a folder has the images of a split.
pub(crate) fn holds(folder: &Path, split: Split) -> bool {
    inner(folder, split).is_some()
}

/// Images `[N, 32, 32, 3]` and labels `[N]` of one file.
///
/// # Errors
/// An unreadable file, a size that is no multiple of a record, a label above 9.
pub fn read(path: &Path) -> Result<(Vec<u8>, Vec<u32>), DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        let expected = format!("a multiple of {RECORD} (label and 32x32 RGB; 30730000 as published)");
        return Err(DataError::format(path, "size in bytes", bytes.len(), expected));
    }
    let (mut images, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
    for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
        let label = u32::from(record[0]);
        if label > 9 {
            let path = path.to_path_buf();
            return Err(DataError::LabelRange { path, entry: i as u64, label: i64::from(label), classes: 10 });
        }
        labels.push(label);
        let planes = &record[1..];
        images.extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    Ok((images, labels))
}

/// Reads a split; the flip of the config is applied, the size is not.
pub(crate) fn load(config: &Cifar10Config, search: &Search) -> Result<(InMemory, PathBuf), DataError> {
    let what = format!("the {} images of `{}`", word(config.split), config.path.display());
    let names = format!("a folder that has {}", files(config.split).join(", "));
    let wanted = Wanted { what: &what, files: &names };
    let at = search.locate(&config.path, wanted, |p| holds(p, config.split))?;
    let folder = inner(&at, config.split).unwrap_or(at);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for name in files(config.split) {
        let (i, l) = read(&folder.join(name))?;
        images.extend(i);
        labels.extend(l);
    }
    Ok((InMemory::new(images, [SIDE, SIDE, 3], Some(labels), 10).with_flip(config.flip), folder))
}

const fn word(split: Split) -> &'static str {
    match split {
        Split::Train => "training",
        Split::Test => "test",
    }
}

/// Opens a split.
pub(crate) fn open(config: &Cifar10Config, search: &Search) -> Result<Opened, DataError> {
    let (set, source) = load(config, search)?;
    let names = named(&config.path).unwrap_or(NamedSet::Cifar10).class_names();
    let class_names = names.iter().map(ToString::to_string).collect();
    let report = Report { source: Some(source), class_names, ..Report::default() };
    Ok(Opened { dataset: Box::new(set.with_size(config.size)), report })
}
