//! Pictures from a model: batches of noise through the sampling loop, or of latents through a network at once, to bytes.
//!
//! Image i of a seed is the same picture at any batch size and thread count (up to the network's rounding in the batch).

mod asked;
mod diffusion;
mod guide;
mod latent;

use std::path::PathBuf;

use burn::tensor::Device;
use difusi_core::ImageSize;
use difusi_process::SampleStep;
use difusi_store::{HostTensor, Picture};

use crate::config::Drawing;
use crate::families::LatentSample;
use crate::scheduler::SchedulerRun;
use crate::{Error, Model};
pub use asked::Asked;
use diffusion::DiffusionSampler;
pub use guide::Guide;
use latent::LatentSampler;

/// Where sampling starts and gets its noise.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Start {
    /// Counter-based noise of the seed.
    #[default]
    Counter,
    /// What PyTorch draws on a CPU after `manual_seed`; as there, the pictures depend on the batch size.
    Torch,
    /// This x, `[N, C, H, W]` (standard normal, but for processes whose noise grows beyond 1); a stochastic solver's further noise is counter-based.
    Given(HostTensor),
    /// Between the first image's noise of two seeds, along the great circle, in as many pictures as are asked for.
    Between(u64, u64),
    /// Between two pictures: both are noised to the 0-based step `t` with the same noise, mixed, and denoised from there (DDPM,
    /// arXiv:2006.11239, section 4.3). A VAE and a flow go between their latents instead, and have no `t`; a GAN has no latents of
    /// pictures.
    Pictures {
        /// PNG, JPEG or WebP files, cropped and resized to the model's size.
        ends: [PathBuf; 2],
        /// Step to noise to: small keeps the pictures, large invents.
        t: usize,
    },
}

/// What to draw.
#[derive(Clone, Debug)]
pub struct SamplerOptions {
    /// How many pictures.
    pub count: usize,
    /// Pictures in one network evaluation; `None` takes 64, or as many as memory holds.
    pub batch: Option<usize>,
    /// The seed.
    pub seed: u64,
    /// Where to start.
    pub start: Start,
    /// Height and width, where they differ from training's.
    pub size: Option<ImageSize>,
    /// Solver, grid, steps, threshold; or the temperature of latents.
    pub config: Drawing,
    /// A scheduler of diffusers in the place of solver, grid and threshold.
    pub scheduler: Option<SchedulerRun>,
    /// What the pictures are asked to be.
    pub asked: Asked,
    /// A classifier that leads to the label as well.
    pub guide: Option<Guide>,
    /// The class that guidance leads away from; `None` leads away from pictures of any class.
    pub negative: Option<u32>,
}

impl SamplerOptions {
    /// As the model's card says: its `[sample]` section, seed 0.
    pub fn of(model: &Model) -> Self {
        let config = model.card.task.drawing().unwrap_or(Drawing::Latent(LatentSample::default()));
        Self {
            count: config.count(),
            batch: None,
            seed: 0,
            start: Start::default(),
            size: None,
            config,
            scheduler: None,
            asked: Asked::default(),
            guide: None,
            negative: None,
        }
    }
}

/// Draws pictures with a model.
#[derive(Debug)]
pub struct Sampler {
    kind: Kind,
    count: usize,
    shape: [usize; 3],
}

#[derive(Debug)]
enum Kind {
    Diffusion(Box<DiffusionSampler>),
    Latent(Box<LatentSampler>),
}

impl Sampler {
    /// Checks the options against the model.
    ///
    /// # Errors
    /// A model that draws nothing, options that its kind does not have, sizes the network does not take, noise of another shape, bad
    /// sampling values, a precision that the device does not have.
    pub fn new(model: &Model, options: SamplerOptions, device: &Device) -> Result<Self, Error> {
        let count = options.count;
        let kind = match model.card.task.drawing() {
            Some(Drawing::Diffusion(_)) => Kind::Diffusion(Box::new(DiffusionSampler::new(model, options, device)?)),
            Some(Drawing::Latent(_)) => Kind::Latent(Box::new(LatentSampler::new(model, options, device)?)),
            None => return Err(Error::value("the model", model.card.task.title(), "a model that draws pictures")),
        };
        let shape = match &kind {
            Kind::Diffusion(sampler) => sampler.shape(),
            Kind::Latent(_) => model.card.shape,
        };
        Ok(Self { kind, count, shape })
    }

    /// Network evaluations of one batch.
    pub fn steps(&self) -> usize {
        match &self.kind {
            Kind::Diffusion(sampler) => sampler.steps(),
            Kind::Latent(_) => 1,
        }
    }

    /// How many pictures.
    pub fn count(&self) -> usize {
        self.count
    }

    /// `[H, W, C]` of each.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of classes that pictures may be asked to be of, where they may be asked at all.
    pub fn classes(&self) -> Option<usize> {
        match &self.kind {
            Kind::Diffusion(sampler) => sampler.classes(),
            Kind::Latent(_) => None,
        }
    }

    /// The label that picture `index` is asked to be, where it is asked for one.
    pub fn label(&self, index: usize) -> Option<u32> {
        match &self.kind {
            Kind::Diffusion(sampler) => sampler.label(index),
            Kind::Latent(_) => None,
        }
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        match &self.kind {
            Kind::Diffusion(sampler) => sampler.batches(),
            Kind::Latent(sampler) => sampler.batches(),
        }
    }

    /// Draws batch `index`; `on_step` sees every step of it. What is drawn at once has no steps to see.
    ///
    /// # Errors
    /// A failing network or device.
    pub fn batch(&self, index: usize, on_step: &mut dyn FnMut(&SampleStep)) -> Result<Vec<Picture>, Error> {
        match &self.kind {
            Kind::Diffusion(sampler) => sampler.batch(index, on_step),
            Kind::Latent(sampler) => sampler.batch(index),
        }
    }

    /// All pictures.
    ///
    /// # Errors
    /// A failing network or device.
    pub fn all(&self) -> Result<Vec<Picture>, Error> {
        let mut out = Vec::new();
        for index in 0..self.batches() {
            out.extend(self.batch(index, &mut |_| {})?);
        }
        Ok(out)
    }
}

/// How far picture `i` of `count` is from the first end to the second, 0 to 1.
fn fraction(i: usize, count: usize) -> f64 {
    i as f64 / count.saturating_sub(1).max(1) as f64
}
