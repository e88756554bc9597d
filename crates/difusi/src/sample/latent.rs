//! Pictures from a model that draws from a latent: VAE, GAN, flow.

use burn::tensor::{Device, Tensor};
use difusi_store::Picture;

use super::{Asked, SamplerOptions, Start, fraction};
use crate::canvas::pictures;
use crate::config::Drawing;
use crate::families::LatentSample;
use crate::latents::Latents;
use crate::{Error, Model};

/// Pictures in one network evaluation unless told.
const BATCH: usize = 64;

/// Draws pictures from latents.
#[derive(Debug)]
pub(super) struct LatentSampler {
    latents: Latents,
    sample: LatentSample,
    /// What to go between, each `[1, latent]`.
    ends: Option<[Tensor<2>; 2]>,
    count: usize,
    batch: usize,
    seed: u64,
}

impl LatentSampler {
    pub(super) fn new(model: &Model, options: SamplerOptions, device: &Device) -> Result<Self, Error> {
        let SamplerOptions { count, batch, seed, start, size, config, scheduler, asked, guide, negative } = options;
        let title = model.card.task.title();
        let Drawing::Latent(sample) = config else {
            let accepted = format!("those of {title}");
            return Err(Error::value("the settings of sampling", "those of a diffusion model", accepted));
        };
        if let Some(error) = sample.check().into_iter().next() {
            return Err(crate::ConfigErrors(vec![error]).into());
        }
        if let Some(size) = size.filter(|size| *size != model.card.size()) {
            let accepted = format!("{}, the only one of {title}", model.card.size());
            return Err(Error::value("the picture size", size, accepted));
        }
        if matches!(asked, Asked::Labels(_)) || guide.is_some() || negative.is_some() {
            return Err(Error::value("the label", "given", format!("no labels with {title}")));
        }
        if scheduler.is_some() {
            return Err(Error::value("the scheduler", "given", format!("none with {title}")));
        }
        let latents = Latents::new(model, device)?;
        let ends = match &start {
            Start::Counter => None,
            Start::Between(a, b) => Some([*a, *b].map(|seed| latents.draw(&sample, seed, 0..1))),
            Start::Pictures { ends: [a, b], .. } => Some([latents.of_picture(a)?, latents.of_picture(b)?]),
            Start::Torch => return Err(Error::value("the noise", "PyTorch's", format!("difusi's own with {title}"))),
            Start::Given(_) => return Err(Error::value("the initial noise", "given", format!("none with {title}"))),
        };
        Ok(Self { latents, sample, ends, count, batch: batch.unwrap_or(BATCH).max(1), seed })
    }

    pub(super) fn batches(&self) -> usize {
        self.count.div_ceil(self.batch)
    }

    pub(super) fn batch(&self, index: usize) -> Result<Vec<Picture>, Error> {
        let first = index * self.batch;
        let range = first..self.count.min(first + self.batch);
        let z = match &self.ends {
            None => self.latents.draw(&self.sample, self.seed, range.start as u64..range.end as u64),
            Some([a, b]) => {
                let between = |i| self.latents.between(a, b, fraction(i, self.count));
                Tensor::cat(range.map(between).collect::<Result<Vec<_>, _>>()?, 0)
            }
        };
        Ok(pictures(self.latents.decode(z)))
    }
}
