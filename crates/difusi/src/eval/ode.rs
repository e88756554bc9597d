//! Bits per dimension along the probability-flow ODE. The images' bytes are made continuous first, so that what comes out is a
//! bound on their probability; the network is followed by autodiff, its weights are not.

use burn::module::Module;
use burn::tensor::Device;
use difusi_core::{Cond, Noise, Precision};
use difusi_process::bound::{Chain, DenoiseEach, Estimate, LogVariance, Running, bits_per_dim};
use difusi_process::likelihood::{Dequantisation, Divergence, Flow, OdeMethod};
use difusi_process::{Denoise, Diffusion, Level, NetworkDenoiser, Process, Threshold};
use difusi_train::{auto_micro_batch, available_memory};

use super::Reference;
use super::bound::count_of;
use crate::model::DiffusionModel;
use crate::network::DiffusionNetwork;
use crate::{Error, Model};

/// Images that travel together where memory is no concern.
const BATCH: usize = 50;
/// Half the width of a byte's bucket.
const BUCKET: f64 = 1.0 / 255.0;
/// Beyond this `sigma / alpha`, nothing that matters happens: the data are 1/1000 of the noise.
const NOISY: f64 = 1000.0;

/// What is evaluated, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct OdeOptions {
    /// How many images; more than there are means all.
    pub count: u64,
    /// How the ODE is solved.
    pub method: OdeMethod,
    /// How volumes are measured.
    pub divergence: Divergence,
    /// How bytes become numbers.
    pub dequantisation: Dequantisation,
    /// The step whose noise the data are given, 0-based: where the way begins.
    pub decode_at: usize,
    /// Of probes and dequantisation.
    pub seed: u64,
    /// Images that travel together; `None` takes 50, or as many as memory holds.
    pub batch: Option<usize>,
}

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OdeReport {
    /// How many images.
    pub images: u64,
    /// Numbers in each.
    pub dims: usize,
    /// Bits per dimension.
    pub total: Estimate,
    /// Evaluations of network and gradient per image.
    pub evaluations: Estimate,
    /// `sigma / alpha` at both ends of the way.
    pub way: [f64; 2],
}

/// An evaluation under way.
pub struct OdeEval<'a> {
    reference: &'a Reference,
    network: DiffusionNetwork,
    diffusion: Diffusion,
    options: OdeOptions,
    way: [f64; 2],
    prior_std: f64,
    bits: Running,
    evaluations: Running,
    count: u64,
    batch: usize,
    device: Device,
}

impl<'a> OdeEval<'a> {
    /// Checks the options against model and data.
    ///
    /// # Errors
    /// A model without a process of noise; fewer images than one.
    pub fn new(model: &Model, reference: &'a Reference, options: OdeOptions, device: &Device) -> Result<Self, Error> {
        let DiffusionModel { network, task } = model.diffusion()?;
        task.needs_no_label("counting bits")?;
        let diffusion = task.diffusion.build()?;
        let process = &diffusion.process;
        let last = process.timesteps() - 1;
        if options.decode_at >= last {
            let accepted = format!("a step before the model's last, 0 to {}", last.saturating_sub(1));
            return Err(Error::value("--decode-at", options.decode_at, accepted));
        }
        let [clean, noisy] = [options.decode_at, last].map(|t| process.level(t as f64).ratio());
        // Noise that fills a bucket evenly is at home where the process' own is as wide.
        let clean = if options.dequantisation == Dequantisation::Uniform { clean.max(BUCKET) } else { clean };
        let way = [clean, noisy.min(NOISY.max(2.0 * clean))];
        let prior_std = match process {
            Process::Edm { .. } | Process::Ve { .. } => way[1] / (1.0 + way[1] * way[1]).sqrt(),
            _ => 1.0,
        };
        let fits = match (task.network.cost(model.card.size()), available_memory()) {
            (Ok(cost), Some(bytes)) => auto_micro_batch(BATCH, cost.training_bytes as u64, bytes / 2),
            _ => BATCH,
        };
        let device = device.clone().autodiff();
        let network = crate::canvas::in_precision(network, Precision::F32, &device.clone().inner())?;
        let network = network.fork(&device).no_grad();
        let (count, batch) = (count_of(options.count, reference)?, options.batch.unwrap_or(fits).max(1));
        let none = Running::default();
        Ok(Self {
            reference,
            network,
            diffusion,
            options,
            way,
            prior_std,
            bits: none,
            evaluations: none,
            count,
            batch,
            device,
        })
    }

    /// Images to evaluate.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Evaluates one more batch of images; how many are done.
    ///
    /// # Errors
    /// An image that cannot be read; a failing network or device; a solver that cannot go on.
    pub fn advance(&mut self) -> Result<u64, Error> {
        let done = self.bits.count();
        let images = (self.count - done).min(self.batch as u64) as usize;
        let x0 = self.reference.batch(done, images, &self.device.clone().inner())?;
        let denoiser = NetworkDenoiser::new(&self.network, &self.diffusion, Threshold::None {});
        let denoise: &DenoiseEach = &|x_t, levels| {
            denoiser.begin();
            denoiser.denoise_each(x_t, levels, &Cond::None)
        };
        let level_at_ratio = |ratio| self.diffusion.process.level_at_ratio(ratio);
        let clean: Level = level_at_ratio(self.way[0]);
        let (kind, noise) = (self.options.dequantisation, Noise::new(self.options.seed));
        let drawn = kind.draw(&x0, clean, noise, done);
        let flow = Flow {
            level_at_ratio: &level_at_ratio,
            clean: self.way[0],
            noisy: self.way[1],
            prior_std: self.prior_std,
            method: self.options.method,
            divergence: self.options.divergence,
            noise,
        };
        let densities = flow.log_density(drawn.x.clone(), done, denoise)?;
        let decoder = kind.log_decoder(&x0, clean, || {
            let estimate = denoise(drawn.x.clone().autodiff(), &vec![clean; images])?.x0.inner();
            let width = Chain::new(&[clean], difusi_process::Variance::FixedLarge {})?.range(0)[0];
            Ok((estimate, LogVariance::PerImage(vec![width; images])))
        })?;
        let dims = self.dims();
        for ((density, decoder), log_q) in densities.iter().zip(decoder).zip(drawn.log_q) {
            self.bits.add(bits_per_dim(log_q - density.nats - decoder, dims));
            self.evaluations.add(f64::from(density.evaluations));
        }
        Ok(self.bits.count())
    }

    /// Whether all images are done.
    pub fn is_done(&self) -> bool {
        self.bits.count() >= self.count
    }

    /// Everything that is known so far.
    pub fn report(&self) -> OdeReport {
        OdeReport {
            images: self.bits.count(),
            dims: self.dims(),
            total: self.bits.estimate(),
            evaluations: self.evaluations.estimate(),
            way: self.way,
        }
    }

    fn dims(&self) -> usize {
        self.reference.shape().iter().product()
    }
}
