//! Built-in data: handwritten-looking digits, drawn. No files, unlimited, the same bits for the same (seed, index) on every
//! machine (all transcendental functions go through `libm`).
//!
//! A digit is drawn as a hand would: a way of writing it is chosen (open or closed 4, 7 with a bar, 2 with a loop, ...), its
//! key points vary (`glyphs`), a curve runs through them, the curve is wobbled, slanted, turned, stretched and fitted to
//! a box like MNIST's (`style`), and a pen of varying width and pressure follows it (`raster`).
//! Deliberately absent: colour, background, more than one digit.

mod glyphs;
mod raster;
mod style;

use std::error::Error;

use difusi_core::{Dataset, Draw, Example, ImageSize, Noise, Stream};

use crate::{DataError, DigitsConfig};

/// Drawn digits: white on black, one channel. Image `index` has label `index % 10`.
#[derive(Clone, Debug)]
pub struct Digits {
    size: ImageSize,
    count: u64,
    noise: Noise,
}

impl Digits {
    /// The digits of a config.
    pub fn new(config: &DigitsConfig) -> Self {
        Self { size: config.size, count: config.count.unwrap_or(u64::MAX), noise: Noise::new(config.seed) }
    }

    /// Image `index` as `[H * W]` in `[-1, 1]`, and its label.
    pub fn draw(&self, index: u64) -> (Vec<f32>, u32) {
        let mut random = Random(self.noise.stream(Draw::Synthetic, index, 0));
        let label = (index % 10) as u32;
        let strokes = style::write(label, self.size, &mut random);
        let mut pixels = raster::ink(&strokes, self.size);
        pixels.iter_mut().for_each(|v| *v = *v * 2.0 - 1.0);
        (pixels, label)
    }
}

impl Dataset for Digits {
    fn count(&self) -> u64 {
        self.count
    }

    fn shape(&self) -> [usize; 3] {
        [self.size.height, self.size.width, 1]
    }

    fn classes(&self) -> Option<u32> {
        Some(10)
    }

    fn get(&self, index: u64, _: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        if index >= self.count {
            return Err(DataError::Index { index, count: self.count }.into());
        }
        let (pixels, label) = self.draw(index);
        Ok(Example { pixels, label: Some(label) })
    }
}

/// A point; x to the right, y down.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

/// Random numbers in the shapes that drawing needs.
struct Random(Stream);

impl Random {
    /// Uniform in `low..high`.
    fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.uniform()
    }

    /// Normal, cut at two and a half standard deviations.
    fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        mean + deviation * f64::from(self.0.normal()).clamp(-2.5, 2.5)
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.0.uniform() < probability
    }

    /// An index of `weights`, in proportion to them.
    fn pick(&mut self, weights: &[f64]) -> usize {
        let mut at = self.range(0.0, weights.iter().sum());
        for (i, w) in weights.iter().enumerate() {
            at -= w;
            if at < 0.0 {
                return i;
            }
        }
        weights.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests;
