//! The images of a folder as they are, one at a time: each at its own size, grey or in colour, for those who judge pictures rather than
//! train on them. Nothing is cropped, resized or left out.

use std::path::{Path, PathBuf};

use super::scan::scan;
use crate::decode::{self, Form};
use crate::{Channels, DataError, LabelSource, resize};

/// One image as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawImage {
    /// `[H * W * C]`, channels last.
    pub bytes: Vec<u8>,
    /// `[H, W, C]`; C is 1 where the file has no colour, else 3.
    pub shape: [usize; 3],
}

/// The PNG, JPEG and WebP files of a folder and those below it, or those that its `metadata.jsonl` lists, in the order of their paths.
#[derive(Clone, Debug)]
pub struct FolderImages {
    paths: Vec<PathBuf>,
}

impl FolderImages {
    /// Lists the files; none is read.
    ///
    /// # Errors
    /// A folder that cannot be listed or has no images, files that are listed but not there.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let found = scan(path, LabelSource::None)?;
        match found.missing.into_iter().next() {
            Some(missing) => Err(DataError::Broken(missing)),
            None => Ok(Self { paths: found.entries.into_iter().map(|e| e.path).collect() }),
        }
    }

    /// Number of images, at least 1.
    pub fn count(&self) -> u64 {
        self.paths.len() as u64
    }

    /// The file of an image.
    pub fn path(&self, index: u64) -> Option<&Path> {
        self.paths.get(index as usize).map(PathBuf::as_path)
    }

    /// Decodes an image; transparent pixels lie over white.
    ///
    /// # Errors
    /// [`DataError::Broken`] with the file and the reason; an index beyond the last.
    pub fn get(&self, index: u64) -> Result<RawImage, DataError> {
        let count = self.count();
        let path = self.path(index).ok_or(DataError::Index { index, count })?;
        let decoded = decode::decode(path).map_err(DataError::Broken)?;
        let channels = if decoded.image.color().has_color() { Channels::Rgb } else { Channels::Grey };
        let (values, shape) = decode::fitted(&decoded.image, None, Form { channels, background: [255; 3] });
        Ok(RawImage { bytes: resize::to_bytes(&values), shape })
    }
}
