//! Pictures from a diffusion model: batches of noise through the sampling loop.

use burn::tensor::{Device, Tensor};
use difusi_core::{Cond, ImageSize};
use difusi_process::{Guidance, NoiseSource, Plan, SampleConfig, SampleStep, mix, slerp};
use difusi_store::{HostTensor, Picture};

use super::asked::cond;
use super::guide::Guide;
use super::{SamplerOptions, Start, fraction};
use crate::canvas::{Canvas, pictures};
use crate::config::Drawing;
use crate::model::nhwc;
use crate::{Error, Model};

/// Draws pictures with a diffusion model.
#[derive(Debug)]
pub(super) struct DiffusionSampler {
    canvas: Canvas,
    options: SamplerOptions,
    plan: Plan,
    /// The pictures to go between, `[1, H, W, C]`.
    ends: Option<[Tensor<4>; 2]>,
    /// Deviation of x at the start, where a scheduler says it.
    start_std: Option<f64>,
    /// Labels of the pictures in turn; `None` asks nothing.
    labels: Option<Vec<u32>>,
    /// Classes that may be asked for, where any may.
    classes: Option<usize>,
    guidance: Guidance,
}

impl DiffusionSampler {
    /// Checks the options against the model.
    ///
    /// # Errors
    /// Sizes the network does not take, noise of another shape, bad sampling values, a precision that the device does not have.
    pub(super) fn new(model: &Model, options: SamplerOptions, device: &Device) -> Result<Self, Error> {
        let config = config_of(&options)?.clone();
        let size = match &options.start {
            Start::Given(noise) => size_of_noise(noise, model, &options)?,
            _ => options.size.unwrap_or_else(|| model.card.size()),
        };
        let mut canvas = Canvas::new(model, size, &config, options.batch, device)?;
        let (plan, ends, start_std) = match (&options.start, &options.scheduler) {
            (Start::Pictures { .. }, Some(_)) => {
                let accepted = "no pictures to go between: a scheduler starts from noise";
                return Err(Error::value("the scheduler", "given", accepted));
            }
            (Start::Pictures { ends: [a, b], t }, None) => {
                (canvas.diffusion.plan_from(&config, *t)?, Some([canvas.load(a)?, canvas.load(b)?]), None)
            }
            (_, Some(scheduler)) => {
                let recipe = scheduler.recipe(&canvas.diffusion, config.steps)?;
                canvas.threshold = recipe.threshold;
                (recipe.plan, None, Some(recipe.start))
            }
            (_, None) => (canvas.diffusion.plan(&config)?, None, None),
        };
        let task = model.diffusion()?.task;
        let led = options.guide.as_ref().map(Guide::classes);
        let labels = options.asked.labels(task, &config.guidance, led, options.negative)?;
        let classes = task.network.classes().or(led);
        Ok(Self { canvas, options, plan, ends, start_std, labels, classes, guidance: config.guidance })
    }

    /// `[H, W, C]` of each picture.
    pub(super) fn shape(&self) -> [usize; 3] {
        let [_, h, w, c] = self.canvas.shape(1);
        [h, w, c]
    }

    /// Network evaluations of one batch.
    pub(super) fn steps(&self) -> usize {
        self.plan.len()
    }

    /// Classes that may be asked for.
    pub(super) fn classes(&self) -> Option<usize> {
        self.classes
    }

    /// What picture `index` is asked to be.
    pub(super) fn label(&self, index: usize) -> Option<u32> {
        let labels = self.labels.as_ref()?;
        labels.get(index % labels.len().max(1)).copied()
    }

    /// Number of batches.
    pub(super) fn batches(&self) -> usize {
        self.options.count.div_ceil(self.canvas.batch)
    }

    /// Draws batch `index`; `on_step` sees every step of it.
    ///
    /// # Errors
    /// A failing network or device.
    pub(super) fn batch(&self, index: usize, on_step: &mut dyn FnMut(&SampleStep)) -> Result<Vec<Picture>, Error> {
        let first = index * self.canvas.batch;
        let count = self.canvas.batch.min(self.options.count.saturating_sub(first));
        let mut source = self.source(first, index);
        let x = match &self.options.start {
            Start::Counter | Start::Torch => self.start(self.canvas.noise(&mut source, count)?),
            Start::Given(noise) => self.given(noise, first, count),
            Start::Between(a, b) => self.start(self.between(*a, *b, first..first + count)?),
            Start::Pictures { t, .. } => self.mixed(*t, first..first + count)?,
        };
        let negative = self.options.negative.map(|label| Cond::labels(std::iter::repeat_n(label, count)));
        let mut denoiser = self.canvas.denoiser().guided(self.guidance, negative);
        if let Some(guide) = &self.options.guide {
            denoiser = denoiser.classified(guide, guide.scale());
        }
        let cond = cond(self.labels.as_deref(), first..first + count);
        let mut steps = difusi_process::Sampler::new(&denoiser, &self.plan, x, source, cond);
        for step in steps.by_ref() {
            on_step(&step?);
        }
        Ok(pictures(steps.x()))
    }

    /// Standard normal noise as x at the start.
    fn start(&self, noise: Tensor<4>) -> Tensor<4> {
        match self.start_std {
            Some(1.0) => noise,
            Some(std) => noise * std,
            None => self.canvas.start(&self.plan, noise),
        }
    }

    fn source(&self, first: usize, index: usize) -> NoiseSource {
        match self.options.start {
            // Each batch is a draw of its own seed, so that batch 0 is what the peer draws for the seed itself.
            Start::Torch => NoiseSource::torch(self.options.seed.wrapping_add(index as u64)),
            _ => NoiseSource::counter(self.options.seed, first as u64),
        }
    }

    fn given(&self, noise: &HostTensor, first: usize, count: usize) -> Tensor<4> {
        let [_, h, w, c] = self.canvas.shape(count);
        let size = h * w * c;
        nhwc(noise.to_f32()[first * size..][..count * size].to_vec(), [count, c, h, w], &self.canvas.device)
    }

    fn mixed(&self, t: usize, range: std::ops::Range<usize>) -> Result<Tensor<4>, Error> {
        let Some([a, b]) = &self.ends else { return Err(Error::value("the pictures", "absent", "two of them")) };
        let eps = self.canvas.noise(&mut NoiseSource::counter(self.options.seed, 0), 1)?;
        let ends = [a, b].map(|x| [x.clone(), eps.clone()]);
        let level = self.canvas.diffusion.level(t)?;
        let parts = range.map(|i| {
            let [a, b] = ends.clone();
            mix(level, a, b, fraction(i, self.options.count))
        });
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }

    fn between(&self, a: u64, b: u64, range: std::ops::Range<usize>) -> Result<Tensor<4>, Error> {
        let [a, b] = [a, b].map(|seed| self.canvas.noise(&mut NoiseSource::counter(seed, 0), 1));
        let (a, b) = (a?, b?);
        let parts = range.map(|i| slerp(a.clone(), b.clone(), fraction(i, self.options.count)));
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }
}

/// The settings, which must be a diffusion model's.
fn config_of(options: &SamplerOptions) -> Result<&SampleConfig, Error> {
    match &options.config {
        Drawing::Diffusion(config) => Ok(config),
        Drawing::Latent(_) => {
            Err(Error::value("the settings of sampling", "those of a latent", "those of a diffusion model"))
        }
    }
}

/// Height and width of the pictures that this noise becomes.
fn size_of_noise(noise: &HostTensor, model: &Model, options: &SamplerOptions) -> Result<ImageSize, Error> {
    let [n, c, height, width] = noise.shape[..] else {
        return Err(Error::value("the initial noise", format!("of shape {:?}", noise.shape), "[N, C, H, W]"));
    };
    let (size, channels) = (options.size.unwrap_or(ImageSize { height, width }), model.card.task.channels());
    if c != channels || [height, width] != [size.height, size.width] || n < options.count {
        let wanted = format!("[{} or more, {channels}, {}, {}]", options.count, size.height, size.width);
        return Err(Error::value("the initial noise", format!("of shape {:?}", noise.shape), wanted));
    }
    if let Some(bad) = noise.to_f32().iter().find(|v| !v.is_finite()) {
        return Err(Error::value("a number of the initial noise", bad, "finite numbers"));
    }
    Ok(size)
}
