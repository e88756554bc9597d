//! Bits per dimension of a VAE (the evidence lower bound, and the tighter one of importance-weighted samples, arXiv:1509.00519) and of a
//! flow (its density, of bytes made continuous by uniform noise: one draw of a bound).
//!
//! Deliberately absent: a GAN's, which has no likelihood, and diffusion's ([`super::BoundEval`], [`super::OdeEval`]).

use burn::tensor::{Device, Tensor};
use difusi_core::{Draw, Noise};
use difusi_nn::{Flow, Vae, baselines::standard_normal_log_prob};
use difusi_process::bound::{Estimate, Running, bits_per_dim};

use super::bound::count_of;
use super::{Calibration, Reference};
use crate::families::{bits_of_density, dequantised, normal_of};
use crate::network::ModelNetwork;
use crate::{Error, Model};

/// Images in one network evaluation unless told.
const BATCH: usize = 64;

/// How to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatentOptions {
    /// Images, at least 1; at most all.
    pub count: u64,
    /// Latents drawn for each image of a VAE, 1 or more.
    pub samples: u32,
    /// Of everything random.
    pub seed: u64,
    /// Images in one evaluation; `None` takes 64.
    pub batch: Option<usize>,
}

/// What is known so far.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentReport {
    /// Images.
    pub images: u64,
    /// Values of an image.
    pub dims: usize,
    /// Bits per dimension: minus a VAE's evidence lower bound, or a flow's.
    pub total: Estimate,
    /// Those of a VAE's importance-weighted bound: at most `total`, but for chance.
    pub importance: Option<Estimate>,
    /// Mean KL of each dimension of a VAE's latent, in nats; near 0 where the posterior has collapsed to the prior.
    pub kl: Vec<f64>,
    /// Whether `total` is a code length: not where a VAE's likelihood is no probability of bytes.
    pub code_length: bool,
}

/// An evaluation under way.
pub struct LatentEval<'a> {
    reference: &'a Reference,
    network: Network,
    options: LatentOptions,
    calibration: Option<Calibration>,
    count: u64,
    total: Running,
    importance: Running,
    kl: Vec<Running>,
    device: Device,
}

#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved a few times")]
enum Network {
    Vae(Vae),
    Flow(Flow),
}

impl<'a> LatentEval<'a> {
    /// Checks the options against model and data.
    ///
    /// # Errors
    /// A model that is no VAE and no flow; no images; no samples.
    pub fn new(
        model: &Model,
        reference: &'a Reference,
        options: LatentOptions,
        device: &Device,
    ) -> Result<Self, Error> {
        let network = match &model.network {
            ModelNetwork::Vae(vae) => Network::Vae(vae.clone()),
            ModelNetwork::Flow(flow) => Network::Flow(flow.clone()),
            _ => {
                let accepted = "a VAE or a flow, to be measured without a process";
                return Err(Error::value("the model", model.card.task.title(), accepted));
            }
        };
        if options.samples == 0 {
            return Err(Error::value("the number of latents per image", 0, "1 or more"));
        }
        let (count, none) = (count_of(options.count, reference)?, Running::default());
        let (kl, device) = (Vec::new(), device.clone());
        Ok(Self { reference, network, options, calibration: None, count, total: none, importance: none, kl, device })
    }

    /// The same with bytes as likely, given what a VAE's decoder says, as they were among training images: a code length where its own
    /// likelihood has none.
    #[must_use]
    pub fn calibrated(self, calibration: Calibration) -> Self {
        Self { calibration: Some(calibration), ..self }
    }

    /// Images to evaluate.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Evaluates one more batch of images; how many are done.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn advance(&mut self) -> Result<u64, Error> {
        let done = self.total.count();
        let images = (self.count - done).min(self.options.batch.unwrap_or(BATCH).max(1) as u64);
        let x = self.reference.batch(done, images as usize, &self.device)?;
        match &self.network {
            Network::Flow(flow) => {
                let shape = x.dims();
                let x = dequantised(x, Noise::new(self.options.seed), done);
                numbers(bits_of_density(flow.log_prob(x), shape)).into_iter().for_each(|bits| self.total.add(bits));
            }
            Network::Vae(vae) => {
                let vae = vae.clone();
                self.vae(&vae, &x, done..done + images);
            }
        }
        Ok(self.total.count())
    }

    /// With `w_k = p(x, z_k) / q(z_k | x)`: the bound is the mean of `log w_k`, the tighter one the logarithm of their mean.
    fn vae(&mut self, vae: &Vae, x: &Tensor<4>, images: std::ops::Range<u64>) {
        let posterior = vae.encode(x.clone());
        let kl = numbers(posterior.kl());
        self.kl.resize(vae.latent(), Running::default());
        for image in kl.chunks(vae.latent()) {
            self.kl.iter_mut().zip(image).for_each(|(sum, v)| sum.add(*v));
        }
        let noise = Noise::new(self.options.seed);
        let weights: Vec<Vec<f64>> = (0..self.options.samples)
            .map(|k| {
                let eps = normal_of(noise, (Draw::Bound, k), images.clone(), vae.latent(), x);
                let z = posterior.sample(eps.clone());
                let prior = numbers(standard_normal_log_prob(z.clone()) - posterior.log_prob(eps));
                let likelihood = match &self.calibration {
                    Some(calibration) => calibration.log_likelihood(vae, z, x),
                    None => numbers(vae.log_likelihood(z, x.clone())),
                };
                prior.into_iter().zip(likelihood).map(|(a, b)| a + b).collect()
            })
            .collect();
        for image in 0..(images.end - images.start) as usize {
            let own: Vec<f64> = weights.iter().map(|w| w[image]).collect();
            let (n, most) = (own.len() as f64, own.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let log_mean = most + (own.iter().map(|w| (w - most).exp()).sum::<f64>() / n).ln();
            self.total.add(bits_per_dim(-own.iter().sum::<f64>() / n, self.dims()));
            self.importance.add(bits_per_dim(-log_mean, self.dims()));
        }
    }

    /// Whether all images are done.
    pub fn is_done(&self) -> bool {
        self.total.count() >= self.count
    }

    /// Everything that is known so far.
    pub fn report(&self) -> LatentReport {
        let (importance, code_length) = match &self.network {
            Network::Vae(vae) => {
                (Some(self.importance.estimate()), vae.likelihood().is_discrete() || self.calibration.is_some())
            }
            Network::Flow(_) => (None, true),
        };
        LatentReport {
            images: self.total.count(),
            dims: self.dims(),
            total: self.total.estimate(),
            importance,
            kl: self.kl.iter().map(|sum| sum.estimate().mean).collect(),
            code_length,
        }
    }

    fn dims(&self) -> usize {
        self.reference.shape().iter().product()
    }
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}
