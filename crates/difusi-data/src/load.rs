//! One image from a file, for the commands that work on a single picture.

use std::path::Path;

use difusi_core::{ImageSize, pixels};

use crate::decode::{self, Form};
use crate::{Channels, DataError};

/// One image in `[-1, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// `[H * W * C]`, channels last, in `[-1, 1]`.
    pub pixels: Vec<f32>,
    /// `[H, W, C]`.
    pub shape: [usize; 3],
}

/// Reads a PNG, JPEG or WebP file, centre-cropped and resized to `size` (its own size where `None`), transparent pixels
/// over `background` `[r, g, b]`.
///
/// # Errors
/// [`DataError::Broken`] with the file and the reason.
pub fn load_image(
    path: &Path,
    size: Option<ImageSize>,
    channels: Channels,
    background: [u8; 3],
) -> Result<LoadedImage, DataError> {
    let decoded = decode::decode(path).map_err(DataError::Broken)?;
    let (values, shape) = decode::fitted(&decoded.image, size, Form { channels, background });
    let bytes = crate::resize::to_bytes(&values);
    Ok(LoadedImage { pixels: bytes.into_iter().map(pixels::from_byte).collect(), shape })
}
