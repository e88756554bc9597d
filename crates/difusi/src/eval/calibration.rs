//! A code length for decoders that have none: how often each byte stood beside each mean.
//!
//! Binary cross-entropy and squared and absolute errors are no probabilities of bytes. But what a decoder says can be read as a symptom: of
//! all pixels of training images that it called `m`, a share `H[m][v]` was the byte `v`. `prod_i H[m_i(z)][x_i]` is a probability of bytes
//! given the latent, and with it the evidence lower bound is one of bits per dimension. It is fitted after training, on training images,
//! as the scale of a Gaussian decoder may be (Rybkin et al. 2021, arXiv:2006.13202, section 3.3).
//!
//! Deliberately absent: neighbouring pixels, channels of their own.

use burn::tensor::{Device, Tensor};
use difusi_core::{Draw, Noise, pixels};
use difusi_nn::Vae;

use super::Reference;
use crate::families::normal_of;
use crate::network::ModelNetwork;
use crate::{Error, Model};

/// Images in one network evaluation.
const BATCH: u64 = 64;
/// What every byte is counted beforehand, so that none is impossible.
const PRIOR: f64 = 0.1;

/// `log H[m][v]` for means and bytes from 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    log: Vec<f32>,
    images: u64,
}

impl Calibration {
    /// Counts bytes beside means over `images` of the training images, each by one latent of its posterior.
    ///
    /// # Errors
    /// A model that is no VAE; images that cannot be read.
    pub fn fit(model: &Model, training: &Reference, images: u64, seed: u64, device: &Device) -> Result<Self, Error> {
        let ModelNetwork::Vae(vae) = &model.network else {
            return Err(Error::value("the model", model.card.task.title(), "a VAE, whose decoder says means"));
        };
        let images = images.min(training.count().unwrap_or(images));
        let mut counts = vec![PRIOR; 256 * 256];
        let mut first = 0;
        while first < images {
            let count = BATCH.min(images - first);
            let x = training.batch(first, count as usize, device)?;
            let eps = normal_of(Noise::new(seed), (Draw::Target, 0), first..first + count, vae.latent(), &x);
            let means = means(vae, vae.encode(x.clone()).sample(eps));
            means.iter().zip(bytes(x)).for_each(|(m, v)| counts[256 * usize::from(*m) + usize::from(v)] += 1.0);
            first += count;
        }
        let log = counts.chunks(256).flat_map(|row| {
            let sum: f64 = row.iter().sum();
            row.iter().map(move |n| (n / sum).ln() as f32).collect::<Vec<f32>>()
        });
        Ok(Self { log: log.collect(), images })
    }

    /// Training images it was fitted on.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// `log p(x | z)` in nats of each image: `z` `[B, latent]`, `x` `[B, H, W, C]` of bytes in [-1, 1].
    pub(super) fn log_likelihood(&self, vae: &Vae, z: Tensor<2>, x: &Tensor<4>) -> Vec<f64> {
        let count = x.dims()[0];
        let (means, bytes) = (means(vae, z), bytes(x.clone()));
        let each = (bytes.len() / count.max(1)).max(1);
        let one = |(m, v): (&u8, &u8)| f64::from(self.log[256 * usize::from(*m) + usize::from(*v)]);
        means.chunks(each).zip(bytes.chunks(each)).map(|(m, v)| m.iter().zip(v).map(one).sum()).collect()
    }
}

/// What the decoder says, as bytes.
fn means(vae: &Vae, z: Tensor<2>) -> Vec<u8> {
    bytes(vae.decode(z))
}

fn bytes(x: Tensor<4>) -> Vec<u8> {
    x.into_data().iter::<f32>().map(pixels::to_byte).collect()
}
