//! Bits per dimension by the variational bound of the reverse chain: every term, or one from each of K strata of times.

use burn::tensor::Device;
use difusi_core::{Cond, Noise, Precision};
use difusi_process::bound::{Bound, BoundReport, BoundSums, Chain, Decoder, Estimate, Strata};
use difusi_process::{Denoise, Diffusion, Level, NetworkDenoiser, SampleConfig, Threshold};

use super::Reference;
use crate::canvas::{batch_that_fits, in_precision};
use crate::model::DiffusionModel;
use crate::network::DiffusionNetwork;
use crate::{Error, Model};

/// Which terms of the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// All of them.
    Exact,
    /// L_0, and one from each of so many strata less one: at least 2.
    PerImage(usize),
}

/// What is evaluated, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundOptions {
    /// How many images; more than there are means all.
    pub count: u64,
    /// Which times.
    pub times: Times,
    /// Length of the chain. `None` is T. Fewer steps take the grid of `config`; more than T ask the network between its steps.
    pub steps: Option<usize>,
    /// The cleanest step, 0-based: from there the decoder takes over. 0 is the whole chain; any other bounds the likelihood as well, and
    /// better where noise finer than a byte's bucket has told the network nothing.
    pub decode_at: usize,
    /// Grid, threshold, precision.
    pub config: SampleConfig,
    /// Of times and noise.
    pub seed: u64,
    /// Network inputs in one evaluation; `None` takes 64, or as many as memory holds.
    pub batch: Option<usize>,
}

/// An evaluation under way.
pub struct BoundEval<'a> {
    reference: &'a Reference,
    network: DiffusionNetwork,
    diffusion: Diffusion,
    threshold: Threshold,
    bound: Bound,
    sums: BoundSums,
    count: u64,
    device: Device,
}

impl<'a> BoundEval<'a> {
    /// Checks the options against model and data.
    ///
    /// # Errors
    /// A number of steps or times that cannot be; a precision that the device does not have.
    pub fn new(
        model: &Model,
        reference: &'a Reference,
        options: &BoundOptions,
        device: &Device,
    ) -> Result<Self, Error> {
        let DiffusionModel { network, task } = model.diffusion()?;
        task.needs_no_label("counting bits")?;
        let diffusion = task.diffusion.build()?;
        let levels = levels(&diffusion, options)?;
        let chain = Chain::new(&levels, diffusion.variance)?;
        let strata = match options.times {
            Times::Exact => Strata::exact(&chain),
            Times::PerImage(count) => Strata::spread(&chain, count)?,
        };
        let precision = precision(model, options.config.precision, device);
        let network = in_precision(network, precision, device)?;
        let batch = options.batch.unwrap_or_else(|| batch_that_fits(&task.network, model.card.size(), precision));
        let sums = BoundSums::new(&strata, reference.shape().iter().product());
        let prior_std = diffusion.process.prior_std(chain.start());
        let noise = Noise::new(options.seed);
        let bound = Bound { chain, strata, decoder: Decoder::Discretised, prior_std, noise, batch };
        let (count, threshold) = (count_of(options.count, reference)?, options.config.threshold);
        Ok(Self { reference, network, diffusion, threshold, bound, sums, count, device: device.clone() })
    }

    /// Images to evaluate.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Network inputs that each image takes.
    pub fn evaluations_per_image(&self) -> usize {
        self.bound.strata.len()
    }

    /// Number of terms of the whole sum.
    pub fn terms(&self) -> usize {
        self.bound.chain.len()
    }

    /// Evaluates some more images, about one batch of the network; how many are done.
    ///
    /// # Errors
    /// An image that cannot be read; a failing network or device.
    pub fn advance(&mut self) -> Result<u64, Error> {
        let done = self.sums.images();
        let images = (self.bound.batch / self.bound.strata.len()).max(1) as u64;
        let images = images.min(self.count - done) as usize;
        let x0 = self.reference.batch(done, images, &self.device)?;
        let denoiser = NetworkDenoiser::new(&self.network, &self.diffusion, self.threshold);
        let costs = self.bound.images(x0, done, &|x_t, levels| {
            denoiser.begin();
            denoiser.denoise_each(x_t, levels, &Cond::None)
        })?;
        costs.iter().for_each(|image| self.sums.add(image));
        Ok(self.sums.images())
    }

    /// Whether all images are done.
    pub fn is_done(&self) -> bool {
        self.sums.images() >= self.count
    }

    /// Bits per dimension so far.
    pub fn total(&self) -> Estimate {
        self.sums.total()
    }

    /// Everything that is known so far.
    pub fn report(&self) -> BoundReport {
        self.sums.report(&self.bound.chain, &self.bound.strata)
    }
}

/// The levels of the chain, noisiest first.
fn levels(diffusion: &Diffusion, options: &BoundOptions) -> Result<Vec<Level>, Error> {
    let (process, timesteps) = (&diffusion.process, diffusion.process.timesteps());
    let first = options.decode_at;
    if first >= timesteps {
        return Err(Error::value("--decode-at", first, format!("a step of the model, 0 to {}", timesteps - 1)));
    }
    let steps = options.steps.unwrap_or(timesteps);
    let levels: Vec<Level> = match steps {
        _ if steps == timesteps => (first..timesteps).rev().map(|t| process.level(t as f64)).collect(),
        _ if steps < timesteps => options.config.grid.levels(process, steps)?,
        _ => {
            let (first, last) = (first as f64, (timesteps - 1) as f64);
            let between = |i: usize| first + (last - first) * i as f64 / (steps - 1) as f64;
            (0..steps).rev().map(|i| process.level(between(i))).collect()
        }
    };
    let cleanest = process.level(first as f64).ratio();
    Ok(levels.into_iter().filter(|level| level.ratio() >= cleanest * (1.0 - 1e-9)).collect())
}

/// At least one image, at most all.
pub(super) fn count_of(asked: u64, reference: &Reference) -> Result<u64, Error> {
    match reference.count().map_or(asked, |all| asked.min(all)) {
        0 => Err(Error::value("--count", 0, "at least 1")),
        count => Ok(count),
    }
}

/// What is asked for, or else what the model was trained in where the device has it.
pub(super) fn precision(model: &Model, asked: Option<Precision>, device: &Device) -> Precision {
    let trained = if difusi_ops::has_kernels(device) { model.card.precision } else { Precision::F32 };
    asked.unwrap_or(trained)
}
