//! The latents of a VAE, a GAN or a flow: drawn, taken from pictures, blended, and turned into pictures.

use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::ImageSize;
use difusi_data::{Channels, load_image};
use difusi_nn::{Flow, Gan, Vae};
use difusi_process::slerp;

use crate::families::{LatentSample, as_bytes};
use crate::network::ModelNetwork;
use crate::{Error, Model};

/// A model seen as a map between standard normal vectors and pictures.
#[derive(Clone, Debug)]
pub struct Latents {
    network: Network,
    size: ImageSize,
    channels: usize,
    device: Device,
}

#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved a few times")]
#[derive(Clone, Debug)]
enum Network {
    Vae(Vae),
    Gan(Gan),
    Flow(Flow),
}

impl Latents {
    /// Those of a model.
    ///
    /// # Errors
    /// A model without latents.
    pub fn new(model: &Model, device: &Device) -> Result<Self, Error> {
        let network = match &model.network {
            ModelNetwork::Vae(vae) => Network::Vae(vae.clone()),
            ModelNetwork::Gan(gan) => Network::Gan(gan.clone()),
            ModelNetwork::Flow(flow) => Network::Flow(flow.clone()),
            ModelNetwork::Diffusion(_) | ModelNetwork::Classifier(_) | ModelNetwork::NoisyClassifier(_) => {
                let accepted = "a model with latents: a VAE, a GAN or a flow";
                return Err(Error::value("the model", model.card.task.title(), accepted));
            }
        };
        let (size, channels) = (model.card.size(), model.card.task.channels());
        Ok(Self { network, size, channels, device: device.clone() })
    }

    /// Numbers in a latent.
    pub fn dim(&self) -> usize {
        match &self.network {
            Network::Vae(vae) => vae.latent(),
            Network::Gan(gan) => gan.latent(),
            Network::Flow(flow) => flow.latent(),
        }
    }

    /// Latents of the pictures `range` of a seed, `[count, dim]`.
    pub fn draw(&self, sample: &LatentSample, seed: u64, range: Range<u64>) -> Tensor<2> {
        let count = (range.end - range.start) as usize;
        let values: Vec<f32> = range.flat_map(|i| sample.latent(seed, i, self.dim())).collect();
        Tensor::from_data(TensorData::new(values, [count, self.dim()]), &self.device)
    }

    /// The latent at `fraction` of the way from `a` to `b` along the great circle, each `[B, dim]`.
    ///
    /// # Errors
    /// Shapes that differ; a device that cannot be read.
    pub fn between(&self, a: &Tensor<2>, b: &Tensor<2>, fraction: f64) -> Result<Tensor<2>, Error> {
        let [count, dim] = a.dims();
        let flat = |z: &Tensor<2>| {
            let [count, dim] = z.dims();
            z.clone().reshape([count, 1, 1, dim])
        };
        Ok(slerp(flat(a), flat(b), fraction)?.reshape([count, dim]))
    }

    /// Pictures `[B, H, W, C]` in [-1, 1] of latents `[B, dim]`; a flow's are of bytes.
    pub fn decode(&self, z: Tensor<2>) -> Tensor<4> {
        match &self.network {
            Network::Vae(vae) => vae.decode(z),
            Network::Gan(gan) => gan.generate(z),
            // A byte v is [v, v + 1) / 128 - 1 there.
            Network::Flow(flow) => ((flow.decode(z) + 1.0) * 128.0).floor().clamp(0.0, 255.0) / 127.5 - 1.0,
        }
    }

    /// Latents `[B, dim]` of pictures `[B, H, W, C]`: the middle of a VAE's posterior, a flow's own (of the middle of each byte).
    ///
    /// # Errors
    /// A GAN, which has none.
    pub fn encode(&self, x: Tensor<4>) -> Result<Tensor<2>, Error> {
        match &self.network {
            Network::Vae(vae) => Ok(vae.encode(x).mean),
            Network::Gan(_) => {
                Err(Error::value("the model", "a GAN", "a VAE or a flow: a GAN has no latents of pictures"))
            }
            Network::Flow(flow) => Ok(flow.encode(((as_bytes(x) + 1.0) * 127.5 + 0.5) / 128.0 - 1.0).0),
        }
    }

    /// The latent of a picture's file, `[1, dim]`; it is cropped and resized to the model's size.
    ///
    /// # Errors
    /// A file that is no picture; a model that does not draw grey or colours; a GAN.
    pub fn of_picture(&self, path: &Path) -> Result<Tensor<2>, Error> {
        let form = match self.channels {
            1 => Channels::Grey,
            3 => Channels::Rgb,
            other => {
                return Err(Error::value("the model's number of channels", other, "1 or 3, to start from pictures"));
            }
        };
        let image = load_image(path, Some(self.size), form, [255; 3])?;
        let [h, w, c] = image.shape;
        self.encode(Tensor::from_data(TensorData::new(image.pixels, [1, h, w, c]), &self.device))
    }
}
