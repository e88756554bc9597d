//! The training image that is nearest to a drawn picture, pixel by pixel: is the model remembering?
//!
//! Distances are Euclidean in bytes. Beside the median of what a model draws stands that of test images: a model that draws copies is
//! far below it.

use std::path::Path;

use difusi_core::{Dataset, Draw, ImageSize, Noise, pixels};
use difusi_metrics::{Features, Nearest, Neighbour};
use difusi_store::{Panel, PanelRow, Picture, write_png};
use rayon::prelude::*;

use crate::Error;

/// Training images in memory at a time.
const AT_ONCE: u64 = 2048;
/// Small pictures are enlarged to about so many pixels.
const SHOWN_AT: usize = 64;

/// The nearest of the first `count` training images to each picture.
pub(super) fn distances(pictures: &[Picture], training: &dyn Dataset, count: u64) -> Result<Vec<Neighbour>, Error> {
    let dim = training.shape().iter().product();
    let queries: Vec<f32> = pictures.iter().flat_map(|p| p.pixels().iter().map(|b| f32::from(*b))).collect();
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let mut search = Nearest::new(Features::new(&queries, dim)?, 1);
    let mut first = 0;
    while first < count {
        let end = count.min(first + AT_ONCE);
        let images: Vec<Vec<f32>> =
            (first..end).into_par_iter().map(|i| image(training, i)).collect::<Result<_, _>>()?;
        search.push(&images.concat());
        first = end;
    }
    Ok(search.finish().iter().filter_map(|found| found.first().copied()).collect())
}

/// Draws pictures above their nearest training images.
pub(super) fn panel(pictures: &[Picture], training: &dyn Dataset, count: u64, path: &Path) -> Result<(), Error> {
    let [height, width, channels] = training.shape();
    let scale = (SHOWN_AT / height.max(width)).max(1);
    let near = distances(pictures, training, count)?.into_iter().map(|n| {
        let bytes = image(training, n.index)?.into_iter().map(|v| v as u8).collect();
        Ok(Picture::new(ImageSize { height, width }, channels, bytes)?.upscaled(scale))
    });
    let near = near.collect::<Result<Vec<_>, Error>>()?;
    let row = |label: &str, pictures| PanelRow { label: label.to_owned(), pictures };
    let drawn = pictures.iter().map(|p| p.upscaled(scale)).collect();
    Ok(write_png(path, &Panel::new(vec![row("drawn", drawn), row("nearest", near)]).draw()?, &[])?)
}

/// Bytes of a training image, as numbers.
fn image(training: &dyn Dataset, index: u64) -> Result<Vec<f32>, Error> {
    let mut unused = Noise::new(0).stream(Draw::Augment, index, 0);
    let example = training.get(index, &mut unused).map_err(|source| Error::Image { index, source })?;
    Ok(example.pixels.into_iter().map(|v| f32::from(pixels::to_byte(v))).collect())
}
