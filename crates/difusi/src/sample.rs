//! Pictures from a model: batches of noise through the sampling loop, to bytes.
//!
//! Image i of a seed is the same picture at any batch size and thread count (up to the network's rounding in the batch).

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use difusi_core::{Cond, ImageSize};
use difusi_process::{NoiseSource, Plan, SampleConfig, SampleStep, mix, slerp};
use difusi_store::{HostTensor, Picture};

use crate::canvas::{Canvas, pictures};
use crate::model::nhwc;
use crate::scheduler::SchedulerRun;
use crate::{Error, Model};

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
    /// arXiv:2006.11239, section 4.3).
    Pictures {
        /// PNG, JPEG or WebP files, cropped and resized to the model's size.
        ends: [PathBuf; 2],
        /// Step to noise to: small keeps the pictures, large invents.
        t: usize,
    },
}

/// What to draw.
#[derive(Clone, Debug, PartialEq)]
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
    /// Solver, grid, steps, threshold.
    pub config: SampleConfig,
    /// A scheduler of diffusers in the place of solver, grid and threshold.
    pub scheduler: Option<SchedulerRun>,
}

impl SamplerOptions {
    /// As the model's card says: its `[sample]` section, seed 0.
    pub fn of(model: &Model) -> Self {
        let config = model.card.sample.clone();
        Self { count: config.count, batch: None, seed: 0, start: Start::default(), size: None, config, scheduler: None }
    }
}

/// Draws pictures with a model.
#[derive(Debug)]
pub struct Sampler {
    canvas: Canvas,
    options: SamplerOptions,
    plan: Plan,
    /// The pictures to go between, `[1, H, W, C]`.
    ends: Option<[Tensor<4>; 2]>,
    /// Deviation of x at the start, where a scheduler says it.
    start_std: Option<f64>,
}

impl Sampler {
    /// Checks the options against the model.
    ///
    /// # Errors
    /// Sizes the network does not take, noise of another shape, bad sampling values, a precision that the device does not have.
    pub fn new(model: &Model, options: SamplerOptions, device: &Device) -> Result<Self, Error> {
        let size = match &options.start {
            Start::Given(noise) => size_of_noise(noise, model, &options)?,
            _ => options.size.unwrap_or_else(|| model.card.size()),
        };
        let mut canvas = Canvas::new(model, size, &options.config, options.batch, device)?;
        let (plan, ends, start_std) = match (&options.start, &options.scheduler) {
            (Start::Pictures { .. }, Some(_)) => {
                let accepted = "no pictures to go between: a scheduler starts from noise";
                return Err(Error::value("the scheduler", "given", accepted));
            }
            (Start::Pictures { ends: [a, b], t }, None) => {
                (canvas.diffusion.plan_from(&options.config, *t)?, Some([canvas.load(a)?, canvas.load(b)?]), None)
            }
            (_, Some(scheduler)) => {
                let recipe = scheduler.recipe(&canvas.diffusion, options.config.steps)?;
                canvas.threshold = recipe.threshold;
                (recipe.plan, None, Some(recipe.start))
            }
            (_, None) => (canvas.diffusion.plan(&options.config)?, None, None),
        };
        Ok(Self { canvas, options, plan, ends, start_std })
    }

    /// Network evaluations of one batch.
    pub fn steps(&self) -> usize {
        self.plan.len()
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.options.count.div_ceil(self.canvas.batch)
    }

    /// Draws batch `index`; `on_step` sees every step of it.
    ///
    /// # Errors
    /// A failing network or device.
    pub fn batch(&self, index: usize, on_step: &mut dyn FnMut(&SampleStep)) -> Result<Vec<Picture>, Error> {
        let first = index * self.canvas.batch;
        let count = self.canvas.batch.min(self.options.count.saturating_sub(first));
        let mut source = self.source(first, index);
        let x = match &self.options.start {
            Start::Counter | Start::Torch => self.start(self.canvas.noise(&mut source, count)?),
            Start::Given(noise) => self.given(noise, first, count),
            Start::Between(a, b) => self.start(self.between(*a, *b, first..first + count)?),
            Start::Pictures { t, .. } => self.mixed(*t, first..first + count)?,
        };
        let denoiser = self.canvas.denoiser();
        let mut steps = difusi_process::Sampler::new(&denoiser, &self.plan, x, source, Cond::None);
        for step in steps.by_ref() {
            on_step(&step?);
        }
        Ok(pictures(steps.x()))
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

    /// How far picture `i` is from the first end to the second, 0 to 1.
    fn fraction(&self, i: usize) -> f64 {
        i as f64 / self.options.count.saturating_sub(1).max(1) as f64
    }

    fn mixed(&self, t: usize, range: std::ops::Range<usize>) -> Result<Tensor<4>, Error> {
        let Some([a, b]) = &self.ends else { return Err(Error::value("the pictures", "absent", "two of them")) };
        let eps = self.canvas.noise(&mut NoiseSource::counter(self.options.seed, 0), 1)?;
        let ends = [a, b].map(|x| [x.clone(), eps.clone()]);
        let level = self.canvas.diffusion.level(t)?;
        let parts = range.map(|i| {
            let [a, b] = ends.clone();
            mix(level, a, b, self.fraction(i))
        });
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }

    fn between(&self, a: u64, b: u64, range: std::ops::Range<usize>) -> Result<Tensor<4>, Error> {
        let [a, b] = [a, b].map(|seed| self.canvas.noise(&mut NoiseSource::counter(seed, 0), 1));
        let (a, b) = (a?, b?);
        let parts = range.map(|i| slerp(a.clone(), b.clone(), self.fraction(i)));
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }
}

/// Height and width of the pictures that this noise becomes.
fn size_of_noise(noise: &HostTensor, model: &Model, options: &SamplerOptions) -> Result<ImageSize, Error> {
    let [n, c, height, width] = noise.shape[..] else {
        return Err(Error::value("the initial noise", format!("of shape {:?}", noise.shape), "[N, C, H, W]"));
    };
    let (size, channels) = (options.size.unwrap_or(ImageSize { height, width }), model.card.model.channels());
    if c != channels || [height, width] != [size.height, size.width] || n < options.count {
        let wanted = format!("[{} or more, {channels}, {}, {}]", options.count, size.height, size.width);
        return Err(Error::value("the initial noise", format!("of shape {:?}", noise.shape), wanted));
    }
    if let Some(bad) = noise.to_f32().iter().find(|v| !v.is_finite()) {
        return Err(Error::value("a number of the initial noise", bad, "finite numbers"));
    }
    Ok(size)
}
