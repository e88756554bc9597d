//! Pixels as features: grey, at a fixed small size. They know nothing of what is in a picture, need no file, and are the baseline that
//! any network's features should beat.

use crate::{Extracted, FeatureExtractor, ImageBatch, MetricsError};

/// Largest side.
const MAX_SIDE: usize = 64;

/// Grey pixels of `side` x `side` in [0, 1], each the mean over its area of the picture.
#[derive(Clone, Debug)]
pub struct Pixels {
    name: String,
    side: usize,
}

impl Pixels {
    /// `pixels` (8) or `pixels:SIDE`; `None` where `name` means something else.
    ///
    /// # Errors
    /// A side that is not 1 to 64.
    pub fn named(name: &str) -> Option<Result<Self, MetricsError>> {
        let side = match name.strip_prefix("pixels")? {
            "" => return Some(Self::new(8)),
            rest => rest.strip_prefix(':')?,
        };
        let accepted = format!("pixels:SIDE with a side of 1 to {MAX_SIDE}");
        Some(side.parse().map_err(|_| MetricsError::value("the features", name, accepted)).and_then(Self::new))
    }

    /// Pictures of `side` x `side`, 1 to 64.
    ///
    /// # Errors
    /// Another side.
    pub fn new(side: usize) -> Result<Self, MetricsError> {
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(MetricsError::value("the side of `pixels`", side, format!("1 to {MAX_SIDE}")));
        }
        Ok(Self { name: if side == 8 { "pixels".into() } else { format!("pixels:{side}") }, side })
    }
}

impl FeatureExtractor for Pixels {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        self.side * self.side
    }

    fn classes(&self) -> Option<usize> {
        None
    }

    fn spatial_dim(&self) -> Option<usize> {
        None
    }

    fn extract(&self, images: &ImageBatch) -> Result<Extracted, MetricsError> {
        let rows = areas(images.height, self.side);
        let columns = areas(images.width, self.side);
        let (w, c) = (images.width, images.channels);
        let mut features = Vec::with_capacity(images.count * self.dim());
        for i in 0..images.count {
            let image = images.image(i);
            for (top, down) in &rows {
                for (left, right) in &columns {
                    let mut sum = 0.0;
                    for (y, a) in down.iter().enumerate() {
                        for (x, b) in right.iter().enumerate() {
                            sum += a * b * luma(&image[((top + y) * w + left + x) * c..][..c]);
                        }
                    }
                    features.push((sum / 255.0) as f32);
                }
            }
        }
        Ok(Extracted { features, probabilities: None, spatial: None })
    }
}

/// Rec. 601.
fn luma(pixel: &[u8]) -> f64 {
    match pixel {
        [r, g, b] => 0.299 * f64::from(*r) + 0.587 * f64::from(*g) + 0.114 * f64::from(*b),
        _ => pixel.first().map_or(0.0, |v| f64::from(*v)),
    }
}

/// For each of `to` equal parts of `from` pixels: the first pixel it touches, and the share of it that each covers.
fn areas(from: usize, to: usize) -> Vec<(usize, Vec<f64>)> {
    let part = |i: usize| {
        // In units of 1 / to of a pixel, so that ends are exact.
        let (start, end) = (i * from, (i + 1) * from);
        let (first, last) = (start / to, end.div_ceil(to));
        let weight = |p: usize| (end.min((p + 1) * to) - start.max(p * to)) as f64 / from as f64;
        (first, (first..last).map(weight).collect())
    };
    (0..to).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(side: usize, shape: [usize; 3], bytes: &[u8]) -> Vec<f32> {
        Pixels::new(side).unwrap().extract(&ImageBatch::new(shape, bytes.to_vec()).unwrap()).unwrap().features
    }

    /// The same size is the picture; halves are means of four; the mean survives any size; colours become luma.
    #[test]
    fn means_of_areas() {
        let bytes: Vec<u8> = (0..16).map(|v| v * 15).collect();
        let same = of(4, [4, 4, 1], &bytes);
        assert!(same.iter().zip(&bytes).all(|(f, b)| (f * 255.0 - f32::from(*b)).abs() < 1e-4));
        assert!((of(2, [4, 4, 1], &bytes)[1] * 255.0 - 15.0 * (2.0 + 3.0 + 6.0 + 7.0) / 4.0).abs() < 1e-4);
        for side in [1, 3, 5, 9] {
            let f = of(side, [4, 4, 1], &bytes);
            let mean = f.iter().sum::<f32>() / f.len() as f32;
            assert!((mean * 255.0 - 112.5).abs() < 1e-3, "{side}: {mean}");
        }
        let colours = of(1, [1, 2, 3], &[255, 0, 0, 0, 0, 255]);
        assert!((colours[0] - (0.299 + 0.114) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn names() {
        assert_eq!(Pixels::named("pixels").unwrap().unwrap().dim(), 64);
        assert_eq!(Pixels::named("pixels:16").unwrap().unwrap().name(), "pixels:16");
        assert!(Pixels::named("inception").is_none() && Pixels::named("pixelated").is_none());
        for bad in ["pixels:0", "pixels:65", "pixels:x", "pixels:"] {
            assert!(Pixels::named(bad).unwrap().unwrap_err().to_string().contains("1 to 64"));
        }
    }
}
