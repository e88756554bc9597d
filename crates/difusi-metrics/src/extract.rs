//! The seam between pictures and numbers: what turns pictures into features.

use crate::MetricsError;

/// Pictures of one size as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageBatch {
    /// How many.
    pub count: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `[count * height * width * channels]`, channels last.
    pub bytes: Vec<u8>,
    /// What each picture is meant to be, 0-based; `None` where that is not known.
    pub labels: Option<Vec<u32>>,
}

impl ImageBatch {
    /// Pictures `[count, height, width, channels]` whose count follows from the number of bytes.
    ///
    /// # Errors
    /// Bytes that are no whole number of pictures; an empty size; other than 1 or 3 channels.
    pub fn new([height, width, channels]: [usize; 3], bytes: Vec<u8>) -> Result<Self, MetricsError> {
        if ![1, 3].contains(&channels) {
            return Err(MetricsError::value("the number of channels", channels, "1 (grey) or 3 (red, green, blue)"));
        }
        let one = height * width * channels;
        if one == 0 || !bytes.len().is_multiple_of(one) {
            let accepted = format!("whole pictures of {height}x{width} with {channels} channels");
            return Err(MetricsError::value("the pictures", format!("{} bytes", bytes.len()), accepted));
        }
        Ok(Self { count: bytes.len() / one, height, width, channels, bytes, labels: None })
    }

    /// With what each picture is meant to be; a picture without a label leaves all without.
    #[must_use]
    pub fn with_labels(self, labels: impl IntoIterator<Item = Option<u32>>) -> Self {
        let labels: Option<Vec<u32>> = labels.into_iter().collect();
        Self { labels, ..self }
    }

    /// `[H, W, C]` of each picture.
    pub fn shape(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// The bytes of picture `index`, `[H * W * C]`; empty beyond the last.
    pub fn image(&self, index: usize) -> &[u8] {
        let one = self.height * self.width * self.channels;
        self.bytes.get(index * one..(index + 1) * one).unwrap_or_default()
    }
}

/// What an extractor sees in B pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    /// `[B * D]`: D features of each picture, picture after picture.
    pub features: Vec<f32>,
    /// `[B * K]`: the probabilities of K classes, where the extractor is a classifier; each picture's sum to 1.
    pub probabilities: Option<Vec<f32>>,
    /// `[B * S]`: features that keep where in the picture they are (sFID), where the extractor has such.
    pub spatial: Option<Vec<f32>>,
}

/// Turns pictures into features. Features of a picture do not depend on the batch it is in (up to rounding), and an extractor never
/// saw the pictures that it judges.
pub trait FeatureExtractor: Send {
    /// Its name, as in `--features` and in reports.
    fn name(&self) -> &str;

    /// D: features of each picture.
    fn dim(&self) -> usize;

    /// K: classes of its softmax; `None` where it is no classifier.
    fn classes(&self) -> Option<usize>;

    /// S: spatial features of each picture; `None` where it has none.
    fn spatial_dim(&self) -> Option<usize>;

    /// Features of pictures of any size, grey or colour.
    ///
    /// # Errors
    /// Pictures that it cannot take; a network that fails.
    fn extract(&self, images: &ImageBatch) -> Result<Extracted, MetricsError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_whole_pictures() {
        let batch = ImageBatch::new([2, 3, 1], (0..12).collect()).unwrap();
        assert_eq!((batch.count, batch.image(1), batch.image(2)), (2, &[6, 7, 8, 9, 10, 11][..], &[][..]));
        for (shape, bytes, part) in [([2, 2, 2], 8, "1 (grey) or 3"), ([2, 2, 1], 7, "7 bytes"), ([0, 2, 1], 0, "0x2")]
        {
            let e = ImageBatch::new(shape, vec![0; bytes]).unwrap_err().to_string();
            assert!(e.contains(part), "{e}");
        }
    }
}
