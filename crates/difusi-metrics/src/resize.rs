//! Resizing pictures to what a feature network sees, by three names that the literature compares by: Parmar, Zhang and Zhu,
//! "On Aliased Resizing and Surprising Subtleties in GAN Evaluation" (arXiv:2104.11222). Numbers stay f32, in 0..255, any size to any.
//!
//! Two pictures of one content resized differently have different FIDs: a comparison must use one of them throughout.
//! Deliberately absent: rounding to bytes in between, cropping (the aspect is not kept, as in the peers).

use std::fmt;
use std::str::FromStr;

use crate::MetricsError;

/// How pictures get the size that a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// TensorFlow 1's `ResizeBilinear` as in the Inception graph (torch-fidelity, guided-diffusion, clean-fid's `legacy_tensorflow`):
    /// output pixel i is at `i · in / out` of the input, without half-pixel centres.
    LegacyTensorflow,
    /// PyTorch's `interpolate(mode="bilinear", align_corners=False)` as in pytorch-fid: half-pixel centres, no antialiasing.
    #[default]
    Pytorch,
    /// Pillow's bicubic filter, antialiased, on f32 (clean-fid's `clean`): Keys' cubic with a = -1/2, widened when shrinking.
    Clean,
}

impl Resize {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LegacyTensorflow, Self::Pytorch, Self::Clean];

    /// The name in commands and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LegacyTensorflow => "tensorflow",
            Self::Pytorch => "pytorch",
            Self::Clean => "clean",
        }
    }

    /// `image` `[H, W, C]` in 0..255 to `to` `[H', W']`: `[H', W', C]`.
    ///
    /// # Errors
    /// An empty size, or bytes that are not `H · W · C`.
    pub fn apply(
        self,
        image: &[u8],
        [height, width, channels]: [usize; 3],
        to: [usize; 2],
    ) -> Result<Vec<f32>, MetricsError> {
        let sizes = [height, width, channels, to[0], to[1]];
        if sizes.contains(&0) || image.len() != height * width * channels {
            let got = format!("{} bytes for {height}x{width}x{channels}, to {}x{}", image.len(), to[0], to[1]);
            return Err(MetricsError::value("the picture", got, "a byte for every value, sizes of 1 or more"));
        }
        let from: Vec<f32> = image.iter().map(|&v| f32::from(v)).collect();
        let (across, down) = (self.windows(width, to[1]), self.windows(height, to[0]));
        // Across first, as Pillow; where nothing changes the pass is left out.
        let narrow = if width == to[1] { from } else { pass(&from, [height, width, channels], &across) };
        let mut out = if height == to[0] { narrow } else { pass(&narrow, [1, height, to[1] * channels], &down) };
        if self == Self::Clean {
            out.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
        }
        Ok(out)
    }

    /// What each of `out` lines takes of `n`.
    fn windows(self, n: usize, out: usize) -> Vec<Window> {
        match self {
            Self::Clean => (0..out).map(|i| cubic_window(i, n, out)).collect(),
            _ => (0..out).map(|i| self.bilinear(i, n, out)).collect(),
        }
    }

    /// Two neighbours; f32 as both frameworks compute it, because large pictures show the difference.
    fn bilinear(self, i: usize, n: usize, out: usize) -> Window {
        let scale = n as f32 / out as f32;
        let at = match self {
            Self::LegacyTensorflow => i as f32 * scale,
            _ => ((i as f32 + 0.5) * scale - 0.5).max(0.0),
        };
        let start = (at as usize).min(n - 1);
        let share = at - start as f32;
        match start + 1 < n {
            true => Window { start, weights: vec![f64::from(1.0 - share), f64::from(share)] },
            false => Window { start, weights: vec![1.0] },
        }
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Resize {
    type Err = MetricsError;

    fn from_str(name: &str) -> Result<Self, MetricsError> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| MetricsError::value("resize", name, known()))
    }
}

/// Weights of the lines `start..start + weights.len()`.
struct Window {
    start: usize,
    weights: Vec<f64>,
}

/// Pillow's window: the filter's support, widened by the scale when shrinking, of pixels whose centres are in it.
fn cubic_window(i: usize, n: usize, out: usize) -> Window {
    let scale = n as f64 / out as f64;
    let (stretch, centre) = (scale.max(1.0), (i as f64 + 0.5) * scale);
    let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
    let last = ((centre + 2.0 * stretch + 0.5) as usize).min(n);
    let raw: Vec<f64> = (first..last).map(|j| cubic((j as f64 - centre + 0.5) / stretch)).collect();
    let sum: f64 = raw.iter().sum();
    Window { start: first, weights: raw.iter().map(|w| w / sum).collect() }
}

/// Keys' cubic with a = -1/2; 0 beyond 2.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Each of `rows` rows of `[n, step]` values through the windows: `[rows, windows, step]`. Sums in f64, results in f32.
fn pass(from: &[f32], [rows, n, step]: [usize; 3], windows: &[Window]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows * windows.len() * step);
    let mut sums = vec![0.0; step];
    for row in from.chunks_exact(n * step) {
        for window in windows {
            sums.fill(0.0);
            for (weight, line) in window.weights.iter().zip(row[window.start * step..].chunks_exact(step)) {
                sums.iter_mut().zip(line).for_each(|(sum, v)| *sum += weight * f64::from(*v));
            }
            out.extend(sums.iter().map(|&sum| sum as f32));
        }
    }
    out
}
