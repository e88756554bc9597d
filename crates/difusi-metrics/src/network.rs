//! Feature networks of difusi-nn as extractors: pictures of any size, grey or colour, brought to what a network sees.
//!
//! Grey becomes three equal channels; colour becomes grey by Rec. 601's integers, as Pillow's `convert("L")`. Values are scaled as goes
//! with the way of resizing: for Inception `2 v / 255 - 1` with [`Resize::Pytorch`] (pytorch-fid), `(v - 128) / 128` with the others
//! (TensorFlow's graph, torch-fidelity, clean-fid).
//!
//! Deliberately absent: files (see [`crate::FeatureSource`]).

use burn::tensor::{Device, Tensor, TensorData};
use difusi_nn::features::{FeatureNetwork, Input, Scale};
use rayon::prelude::*;

use crate::{Extracted, FeatureExtractor, ImageBatch, MetricsError, Resize};

/// Numbers that go through a network at once, about 16 pictures of 299x299: more fills caches, not processors.
const AT_ONCE: usize = 16 * 299 * 299 * 3;
/// The most pictures that go through a network at once.
const MOST: usize = 500;

/// A feature network as an extractor.
#[derive(Debug)]
pub struct NetworkFeatures {
    name: String,
    network: Box<dyn FeatureNetwork>,
    resize: Resize,
    batch: usize,
    device: Device,
}

impl NetworkFeatures {
    /// `network`, which lies on `device`, as the extractor `name`; resizes like PyTorch.
    pub fn new(name: impl Into<String>, network: Box<dyn FeatureNetwork>, device: &Device) -> Self {
        let Input { size: [height, width], channels, .. } = network.input();
        let batch = (AT_ONCE / (height * width * channels)).clamp(1, MOST);
        Self { name: name.into(), network, resize: Resize::default(), batch, device: device.clone() }
    }

    /// The same, resizing pictures so.
    #[must_use]
    pub fn with_resize(mut self, resize: Resize) -> Self {
        self.resize = resize;
        self
    }

    /// The same with so many pictures (at least 1) at once.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// What the network is shown of pictures `first..first + count`: `[count, H, W, C]`.
    fn shown(&self, images: &ImageBatch, first: usize, count: usize) -> Result<Vec<f32>, MetricsError> {
        let (input, resize) = (self.network.input(), self.resize);
        let [height, width] = input.size;
        let one = height * width * input.channels;
        let mut values = vec![0.0; count * one];
        values.par_chunks_exact_mut(one).enumerate().try_for_each(|(i, to)| {
            let [h, w, c] = images.shape();
            let (bytes, channels) = match (c, input.channels) {
                (3, 1) => (grey(images.image(first + i)), 1),
                _ => (images.image(first + i).to_vec(), c),
            };
            let resized = resize.apply(&bytes, [h, w, channels], input.size)?;
            for (pixel, from) in to.chunks_exact_mut(input.channels).zip(resized.chunks_exact(channels)) {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = scaled(from[channel % channels], channel, (input.scale, resize));
                }
            }
            Ok::<_, MetricsError>(())
        })?;
        Ok(values)
    }
}

/// Rec. 601 in 16-bit integers.
fn grey(colour: &[u8]) -> Vec<u8> {
    let part = |v: u8, weight: u32| u32::from(v) * weight;
    colour
        .chunks_exact(3)
        .map(|p| ((part(p[0], 19_595) + part(p[1], 38_470) + part(p[2], 7_471) + 0x8000) >> 16) as u8)
        .collect()
}

fn scaled(value: f32, channel: usize, (scale, resize): (Scale, Resize)) -> f32 {
    match (scale, resize) {
        (Scale::Symmetric, Resize::Pytorch) => value / 255.0 * 2.0 - 1.0,
        (Scale::Symmetric, _) => (value - 128.0) / 128.0,
        (Scale::Normal { mean, deviation }, _) => {
            ((f64::from(value) / 255.0 - mean[channel]) / deviation[channel]) as f32
        }
    }
}

/// Probabilities `[B * K]` of scores `[B * K]`, in f64.
fn softmax(scores: &[f32], classes: usize) -> Vec<f32> {
    let mut probabilities = Vec::with_capacity(scores.len());
    for row in scores.chunks_exact(classes) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = row.iter().map(|&s| (f64::from(s) - f64::from(largest)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        probabilities.extend(powers.iter().map(|p| (p / sum) as f32));
    }
    probabilities
}

impl FeatureExtractor for NetworkFeatures {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        self.network.dim()
    }

    fn classes(&self) -> Option<usize> {
        self.network.classes()
    }

    fn spatial_dim(&self) -> Option<usize> {
        self.network.spatial_dim()
    }

    fn extract(&self, images: &ImageBatch) -> Result<Extracted, MetricsError> {
        let Input { size: [height, width], channels, .. } = self.network.input();
        let room = |len: Option<usize>| len.map(|len| Vec::with_capacity(images.count * len));
        let mut features = Vec::with_capacity(images.count * self.dim());
        let (mut probabilities, mut spatial) = (room(self.classes()), room(self.spatial_dim()));
        for first in (0..images.count).step_by(self.batch) {
            let count = self.batch.min(images.count - first);
            let values = self.shown(images, first, count)?;
            let x = Tensor::from_data(TensorData::new(values, [count, height, width, channels]), &self.device);
            let seen = self.network.look(x);
            features.extend(self.floats(seen.features)?);
            if let (Some(all), Some(scores), Some(classes)) = (&mut probabilities, seen.logits, self.classes()) {
                all.extend(softmax(&self.floats(scores)?, classes));
            }
            if let (Some(all), Some(part)) = (&mut spatial, seen.spatial) {
                all.extend(self.floats(part)?);
            }
        }
        Ok(Extracted { features, probabilities, spatial })
    }
}

impl NetworkFeatures {
    /// A network's numbers on the host.
    fn floats(&self, x: Tensor<2>) -> Result<Vec<f32>, MetricsError> {
        let values: Vec<f32> = x.into_data().iter::<f32>().collect();
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => {
                Err(MetricsError::features(&self.name, format!("the network answers {v}; are these weights whole?")))
            }
            None => Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use difusi_nn::features::Seen;

    use super::*;

    /// Shows what it is shown: the pixels are the features, the first two the scores.
    #[derive(Debug)]
    struct Mirror {
        channels: usize,
        scale: Scale,
    }

    impl FeatureNetwork for Mirror {
        fn input(&self) -> Input {
            Input { size: [2, 2], channels: self.channels, scale: self.scale }
        }

        fn dim(&self) -> usize {
            4 * self.channels
        }

        fn classes(&self) -> Option<usize> {
            Some(2)
        }

        fn look(&self, x: Tensor<4>) -> Seen {
            let [batch, ..] = x.dims();
            let features = x.reshape([batch, self.dim()]);
            Seen { logits: Some(features.clone().narrow(1, 0, 2)), features, spatial: None }
        }
    }

    fn extractor(channels: usize, scale: Scale) -> NetworkFeatures {
        NetworkFeatures::new("mirror", Box::new(Mirror { channels, scale }), &Device::flex())
    }

    /// Bytes at the ends and the middle, in every scale.
    #[test]
    fn scales() {
        let batch = ImageBatch::new([2, 2, 1], vec![0, 128, 255, 51]).unwrap();
        let seen = |resize, scale| extractor(1, scale).with_resize(resize).extract(&batch).unwrap().features;
        assert_eq!(seen(Resize::LegacyTensorflow, Scale::Symmetric), [-1.0, 0.0, 127.0 / 128.0, -77.0 / 128.0]);
        assert_eq!(seen(Resize::Clean, Scale::Symmetric), [-1.0, 0.0, 127.0 / 128.0, -77.0 / 128.0]);
        let torch = seen(Resize::Pytorch, Scale::Symmetric);
        assert_eq!((torch[0], torch[2]), (-1.0, 1.0));
        assert!((torch[3] + 0.6).abs() < 1e-6);
        let normal = seen(Resize::Pytorch, Scale::Normal { mean: [0.2; 3], deviation: [0.5; 3] });
        assert!((normal[0] + 0.4).abs() < 1e-6 && (normal[2] - 1.6).abs() < 1e-6 && normal[3].abs() < 1e-6);
    }

    /// Grey is repeated; colour becomes Pillow's grey (`Image.convert("L")` of these pixels gives these bytes).
    #[test]
    fn channels() {
        let plain = Scale::Normal { mean: [0.0; 3], deviation: [1.0 / 255.0; 3] };
        let grey = ImageBatch::new([2, 2, 1], vec![1, 2, 3, 4]).unwrap();
        let seen = extractor(3, plain).extract(&grey).unwrap().features;
        assert!(seen.iter().zip([1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]).all(|(a, b)| (a - b as f32).abs() < 1e-4));
        let colour = ImageBatch::new([2, 2, 3], vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 90]).unwrap();
        let seen = extractor(1, plain).extract(&colour).unwrap().features;
        assert!(seen.iter().zip([76, 150, 29, 131]).all(|(a, b)| (a - b as f32).abs() < 1e-3), "{seen:?}");
    }

    /// How many go through the network at once changes nothing; probabilities sum to one.
    #[test]
    fn batches() {
        let batch = ImageBatch::new([5, 3, 3], (0..7 * 45).map(|i| (i * 37 % 256) as u8).collect()).unwrap();
        let all = extractor(3, Scale::Symmetric).extract(&batch).unwrap();
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(extractor(3, Scale::Symmetric).with_batch(size).extract(&batch).unwrap(), all);
        }
        let probabilities = all.probabilities.unwrap();
        assert!(probabilities.chunks_exact(2).all(|p| (p[0] + p[1] - 1.0).abs() < 1e-6 && p[0] > 0.0));
        let none = extractor(3, Scale::Symmetric).extract(&ImageBatch::new([5, 3, 3], vec![]).unwrap()).unwrap();
        assert_eq!((none.features.len(), none.probabilities), (0, Some(vec![])));
    }

    /// Large scores do not overflow; a network that answers no number is an error.
    #[test]
    fn numbers() {
        let p = softmax(&[1000.0, 999.0, -1000.0, -1000.0], 2);
        assert!((p[0] - 0.731_058_6).abs() < 1e-6 && (p[2] - 0.5).abs() < 1e-6);
        let batch = ImageBatch::new([2, 2, 1], vec![9; 4]).unwrap();
        let scale = Scale::Normal { mean: [0.0; 3], deviation: [0.0; 3] };
        let e = extractor(1, scale).extract(&batch).unwrap_err().to_string();
        assert!(e.contains("`mirror`") && e.contains("inf"), "{e}");
    }
}
