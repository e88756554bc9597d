//! Pictures from a model: batches of noise through the sampling loop, to bytes.
//!
//! Image i of a seed is the same picture at any batch size and thread count (up to the network's rounding in the batch).

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Cond, ImageSize, Network, Precision};
use difusi_data::{Channels, load_image};
use difusi_nn::{Unet, UnetConfig};
use difusi_process::{Diffusion, NetworkDenoiser, NoiseSource, Plan, SampleConfig, SampleStep, mix, slerp};
use difusi_store::{HostTensor, Picture};
use difusi_train::{auto_micro_batch, available_memory};

use crate::model::nhwc;
use crate::{Error, Model, ModelConfig};

/// Pictures in one network evaluation where memory is no concern.
const BATCH: usize = 64;

/// Largest height or width.
const MAX_SIDE: usize = 8192;

/// Where sampling starts and gets its noise.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Start {
    /// Counter-based noise of the seed.
    #[default]
    Counter,
    /// What PyTorch draws on a CPU after `manual_seed`; as there, the pictures depend on the batch size.
    Torch,
    /// This noise, `[N, C, H, W]`; a stochastic solver's further noise is counter-based.
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
}

impl SamplerOptions {
    /// As the model's card says: its `[sample]` section, seed 0.
    pub fn of(model: &Model) -> Self {
        let config = model.card.sample.clone();
        Self { count: config.count, batch: None, seed: 0, start: Start::default(), size: None, config }
    }
}

/// Draws pictures with a model.
#[derive(Debug)]
pub struct Sampler<'a> {
    model: &'a Model,
    /// In the precision that was chosen.
    network: Unet,
    options: SamplerOptions,
    diffusion: Diffusion,
    plan: Plan,
    size: ImageSize,
    batch: usize,
    /// The pictures to go between, `[1, H, W, C]`.
    ends: Option<[Tensor<4>; 2]>,
    device: Device,
}

impl<'a> Sampler<'a> {
    /// Checks the options against the model.
    ///
    /// # Errors
    /// Sizes the network does not take, noise of another shape, bad sampling values, a precision that the device does not have.
    pub fn new(model: &'a Model, options: SamplerOptions, device: &Device) -> Result<Self, Error> {
        let ModelConfig::Unet(unet) = &model.card.model;
        let mut size = options.size.unwrap_or_else(|| model.card.size());
        if let Start::Given(noise) = &options.start {
            let [n, c, height, width] = noise.shape[..] else {
                return Err(Error::value("the initial noise", format!("of shape {:?}", noise.shape), "[N, C, H, W]"));
            };
            if options.size.is_none() {
                size = ImageSize { height, width };
            }
            if c != unet.channels || [height, width] != [size.height, size.width] || n < options.count {
                let wanted = format!("[{} or more, {}, {}, {}]", options.count, unet.channels, size.height, size.width);
                return Err(Error::value("the initial noise", format!("of shape {:?}", noise.shape), wanted));
            }
            if let Some(bad) = noise.to_f32().iter().find(|v| !v.is_finite()) {
                return Err(Error::value("a number of the initial noise", bad, "finite numbers"));
            }
        }
        if let Some(issue) = unet.check_size("the picture size", size) {
            return Err(Error::value(issue.key, issue.value, issue.accepted));
        }
        if size.height.max(size.width) > MAX_SIDE {
            return Err(Error::value("the picture size", size, format!("at most {MAX_SIDE} on each side")));
        }
        if unet.output_channels() != unet.channels && unet.output_channels() != 2 * unet.channels {
            let accepted = format!("{} (or twice that), to be sampled from", unet.channels);
            return Err(Error::value("the network's number of output channels", unet.output_channels(), accepted));
        }
        let diffusion = model.card.diffusion.build()?;
        let (plan, ends) = match &options.start {
            Start::Pictures { ends: [a, b], t } => {
                let load = |path| load(path, size, unet.channels, device);
                (diffusion.plan_from(&options.config, *t)?, Some([load(a)?, load(b)?]))
            }
            _ => (diffusion.plan(&options.config)?, None),
        };
        // What the model was trained in is a wish where the device may not have it, what is asked for is none.
        let trained = if difusi_ops::has_kernels(device) { model.card.precision } else { Precision::F32 };
        let precision = options.config.precision.unwrap_or(trained);
        let network = in_precision(&model.network, precision, device)?;
        let batch = options.batch.unwrap_or_else(|| batch_that_fits(unet, size, precision)).max(1);
        Ok(Self { model, network, options, diffusion, plan, size, batch, ends, device: device.clone() })
    }

    /// Network evaluations of one batch.
    pub fn steps(&self) -> usize {
        self.plan.len()
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.options.count.div_ceil(self.batch)
    }

    /// Draws batch `index`; `on_step` sees every step of it.
    ///
    /// # Errors
    /// A failing network or device.
    pub fn batch(&self, index: usize, on_step: &mut dyn FnMut(&SampleStep)) -> Result<Vec<Picture>, Error> {
        let first = index * self.batch;
        let count = self.batch.min(self.options.count.saturating_sub(first));
        let (mut source, shape) = (self.source(first, index), self.shape(count));
        let x = match &self.options.start {
            Start::Counter | Start::Torch => source.initial(shape, &self.device)?,
            Start::Given(noise) => self.given(noise, first, count),
            Start::Between(a, b) => self.between(*a, *b, first..first + count)?,
            Start::Pictures { t, .. } => self.mixed(*t, first..first + count)?,
        };
        let denoiser = NetworkDenoiser::new(&self.network, &self.diffusion, self.options.config.threshold);
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

    fn shape(&self, count: usize) -> [usize; 4] {
        [count, self.size.height, self.size.width, self.model.card.model.channels()]
    }

    fn source(&self, first: usize, index: usize) -> NoiseSource {
        match self.options.start {
            // Each batch is a draw of its own seed, so that batch 0 is what the peer draws for the seed itself.
            Start::Torch => NoiseSource::torch(self.options.seed.wrapping_add(index as u64)),
            _ => NoiseSource::counter(self.options.seed, first as u64),
        }
    }

    fn given(&self, noise: &HostTensor, first: usize, count: usize) -> Tensor<4> {
        let [_, h, w, c] = self.shape(count);
        let size = h * w * c;
        nhwc(noise.to_f32()[first * size..][..count * size].to_vec(), [count, c, h, w], &self.device)
    }

    /// How far picture `i` is from the first end to the second, 0 to 1.
    fn fraction(&self, i: usize) -> f64 {
        i as f64 / self.options.count.saturating_sub(1).max(1) as f64
    }

    fn mixed(&self, t: usize, range: std::ops::Range<usize>) -> Result<Tensor<4>, Error> {
        let Some([a, b]) = &self.ends else { return Err(Error::value("the pictures", "absent", "two of them")) };
        let eps = NoiseSource::counter(self.options.seed, 0).initial(self.shape(1), &self.device)?;
        let ends = [a, b].map(|x| [x.clone(), eps.clone()]);
        let level = self.diffusion.level(t)?;
        let parts = range.map(|i| {
            let [a, b] = ends.clone();
            mix(level, a, b, self.fraction(i))
        });
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }

    fn between(&self, a: u64, b: u64, range: std::ops::Range<usize>) -> Result<Tensor<4>, Error> {
        let shape = self.shape(1);
        let ends = [a, b].map(|seed| NoiseSource::counter(seed, 0).initial(shape, &self.device));
        let [a, b] = ends;
        let (a, b) = (a?, b?);
        let parts = range.map(|i| slerp(a.clone(), b.clone(), self.fraction(i)));
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }
}

/// At most [`BATCH`] pictures, fewer where half of what memory is left would not hold their activations.
pub(crate) fn batch_that_fits(unet: &UnetConfig, size: ImageSize, precision: Precision) -> usize {
    match (unet.cost(size), available_memory()) {
        (Ok(cost), Some(bytes)) => {
            auto_micro_batch(BATCH, precision.of_f32_bytes(cost.sampling_bytes) as u64, bytes / 2)
        }
        _ => BATCH,
    }
}

/// The network in this precision, to be sampled from on `device`.
///
/// # Errors
/// A precision that the network or the device does not have.
pub(crate) fn in_precision(network: &Unet, precision: Precision, device: &Device) -> Result<Unet, Error> {
    let there = precision == Precision::F32 || difusi_ops::has_kernels(device);
    let network = network.clone().with_precision(precision).filter(|_| there);
    network
        .ok_or_else(|| Error::value("sample.precision", precision, "f32 on this device; there is bf16 on the CPU only"))
}

/// A picture as the network takes it, `[1, H, W, C]`.
fn load(path: &Path, size: ImageSize, channels: usize, device: &Device) -> Result<Tensor<4>, Error> {
    let form = match channels {
        1 => Channels::Grey,
        3 => Channels::Rgb,
        _ => return Err(Error::value("the model's number of channels", channels, "1 or 3, to start from pictures")),
    };
    let image = load_image(path, Some(size), form, [255; 3])?;
    let [h, w, c] = image.shape;
    Ok(Tensor::from_data(TensorData::new(image.pixels, [1, h, w, c]), device))
}

/// `[B, H, W, C]` in `[-1, 1]` to pictures.
pub fn pictures(x: Tensor<4>) -> Vec<Picture> {
    let [_, h, w, c] = x.dims();
    let values: Vec<f32> = x.into_data().iter::<f32>().collect();
    Picture::from_batch(ImageSize { height: h, width: w }, c, &values).unwrap_or_default()
}
