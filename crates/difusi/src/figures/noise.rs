//! The forward process on one picture, at once and step by step.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Draw, ImageSize, Noise};
use difusi_data::{Channels, load_image};
use difusi_process::{ForwardWalk, Schedule, q_sample};
use difusi_store::Picture;

use crate::Error;
use crate::canvas::pictures;

/// The forward process on one picture, twice.
#[derive(Clone, Debug)]
pub struct NoiseStrip {
    /// Steps taken before each picture: 0 is the picture itself, T the last.
    pub steps: Vec<usize>,
    /// Drawn from q(x_t | x_0) at once.
    pub closed_form: Vec<Picture>,
    /// One walk x_0, x_1, .. x_T.
    pub step_by_step: Vec<Picture>,
}

/// Which picture to noise, and how.
#[derive(Clone, Debug)]
pub struct NoiseOptions {
    /// The schedule.
    pub schedule: Schedule,
    /// T.
    pub timesteps: usize,
    /// Pictures in the strip, at least 2.
    pub count: usize,
    /// Size to crop and resize to.
    pub size: ImageSize,
    /// Seed of the noise.
    pub seed: u64,
}

/// Noises the picture at `path`.
///
/// # Errors
/// A file that is no picture, a schedule with bad values.
pub fn noise_strip(path: &Path, options: &NoiseOptions, device: &Device) -> Result<NoiseStrip, Error> {
    let image = load_image(path, Some(options.size), Channels::Rgb, [255; 3])?;
    let [h, w, c] = image.shape;
    let x0 = Tensor::<4>::from_data(TensorData::new(image.pixels, [1, h, w, c]), device);
    let tables = options.schedule.tables(options.timesteps)?;
    let (last, noise) = (options.count.max(2) - 1, Noise::new(options.seed));
    let steps: Vec<usize> = (0..=last).map(|i| (i * options.timesteps + last / 2) / last).collect();
    let mut closed_form = pictures(x0.clone());
    for &step in steps.iter().filter(|s| **s > 0) {
        let eps = noise.normal(Draw::Target, 0..1, step as u32, h * w * c);
        let eps = Tensor::from_data(TensorData::new(eps, [1, h, w, c]), device);
        closed_form.extend(pictures(q_sample(&[tables.level(step - 1)?], x0.clone(), eps)?));
    }
    let mut step_by_step = pictures(x0.clone());
    for (i, x) in ForwardWalk::new(&tables, x0, noise, 0).enumerate() {
        if steps.contains(&(i + 1)) {
            step_by_step.extend(pictures(x));
        }
    }
    Ok(NoiseStrip { steps, closed_form, step_by_step })
}
