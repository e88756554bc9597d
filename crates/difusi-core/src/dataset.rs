//! The seam between data and training.

use crate::Stream;

/// One training image.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// `[H * W * C]`, channels last, in `[-1, 1]`.
    pub pixels: Vec<f32>,
    /// 0-based class, where the data set has labels.
    pub label: Option<u32>,
}

/// Random access to training images of one shape.
pub trait Dataset: Send + Sync {
    /// Number of images; `u64::MAX` for an unlimited (synthetic) set. Never 0.
    fn count(&self) -> u64;

    /// `[H, W, C]`.
    fn shape(&self) -> [usize; 3];

    /// Number of classes, where the data set has labels.
    fn classes(&self) -> Option<u32>;

    /// Image `index` (below [`Dataset::count`]), augmented with numbers from `augment`: the same index and stream give the
    /// same bits. Fails where a file can no longer be read; the error names the file.
    fn get(&self, index: u64, augment: &mut Stream) -> Result<Example, Box<dyn std::error::Error + Send + Sync>>;
}
