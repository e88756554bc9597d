//! Which kind of data lies at a path.

use std::collections::BTreeMap;
use std::path::Path;

use difusi_core::ImageSize;

use crate::folder::{Entry, scan};
use crate::locate::named;
use crate::{
    Channels, Cifar10Config, DataConfig, DataError, DigitsConfig, FolderConfig, IdxConfig, LabelSource, NamedSet,
    Search, Split, cifar, decode, idx,
};

/// Images of a folder that are looked at.
const LOOKED_AT: usize = 64;
/// Largest side taken over from the images; larger ones are shown at 64x64.
const LARGEST: usize = 128;

/// The config that opens what lies at `path`: a file or folder, or a name (`digits`, `mnist`, `fashion-mnist`, `cifar10`)
/// where no such file exists. A folder's size and channels are those of its images where they agree and are small.
///
/// # Errors
/// Nothing at `path`, or nothing known there.
pub fn guess(path: &Path, search: &Search) -> Result<DataConfig, DataError> {
    let split_of =
        |holds: &dyn Fn(&Path, Split) -> bool| [Split::Train, Split::Test].into_iter().find(|s| holds(path, *s));
    if path.is_file() {
        return guess_file(path);
    }
    if let Some(split) = split_of(&idx::holds) {
        return Ok(DataConfig::Idx(IdxConfig { path: path.into(), split, ..IdxConfig::default() }));
    }
    if let Some(split) = split_of(&cifar::holds) {
        return Ok(DataConfig::Cifar10(Cifar10Config { path: path.into(), split, ..Cifar10Config::default() }));
    }
    match named(path) {
        _ if path.is_dir() => guess_folder(path),
        Some(NamedSet::Cifar10) => Ok(DataConfig::Cifar10(Cifar10Config::default())),
        Some(NamedSet::Mnist | NamedSet::FashionMnist) => {
            Ok(DataConfig::Idx(IdxConfig { path: path.into(), ..IdxConfig::default() }))
        }
        None if path == Path::new("digits") => Ok(DataConfig::Digits(DigitsConfig::default())),
        None => match search.root.as_ref().map(|r| r.join(path)).filter(|p| p.is_dir()) {
            Some(below) => guess(&below, &Search::default()),
            None => Err(DataError::NotFound {
                what: format!("`{}`", path.display()),
                looked: vec![path.display().to_string()],
                hint: "expected a folder, an idx file, or one of digits, mnist, fashion-mnist, cifar10".into(),
            }),
        },
    }
}

fn guess_file(path: &Path) -> Result<DataConfig, DataError> {
    if idx::is_images(path) {
        return Ok(DataConfig::Idx(IdxConfig { path: path.into(), ..IdxConfig::default() }));
    }
    let expected = "a folder, or an idx file of images (magic number 0x00000803), gzipped or not";
    Err(DataError::format(path, "file", "of another kind", expected))
}

fn guess_folder(path: &Path) -> Result<DataConfig, DataError> {
    let found = scan(path, LabelSource::Auto)?;
    let step = found.entries.len().div_ceil(LOOKED_AT).max(1);
    let mut sizes: BTreeMap<[usize; 2], usize> = BTreeMap::new();
    let mut grey = true;
    let look = |e: &Entry| decode::decode(&e.path).ok();
    for d in found.entries.iter().step_by(step).filter_map(look) {
        *sizes.entry([d.image.height() as usize, d.image.width() as usize]).or_default() += 1;
        grey &= !d.image.color().has_color();
    }
    let common = sizes.iter().next().filter(|_| sizes.len() == 1).map(|(s, _)| *s);
    let size = common.filter(|s| s.iter().all(|n| *n <= LARGEST)).map_or(ImageSize::square(64), Into::into);
    let channels = if grey && !sizes.is_empty() { Channels::Grey } else { Channels::Rgb };
    Ok(DataConfig::Folder(FolderConfig { path: Some(path.into()), size, channels, ..FolderConfig::default() }))
}
