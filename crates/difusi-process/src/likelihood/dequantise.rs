//! From the density around a byte to a bound on the byte's probability.
//!
//! With any distribution q(x | x_0) of numbers x around the byte x_0, `ln P(x_0) >= E_q[ln p(x) + ln P(x_0 | x) - ln q(x | x_0)]`
//! (Theis, van den Oord & Bethge, arXiv:1511.01844; Ho et al., arXiv:1902.00275). One draw from q is an unbiased estimate of that.

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Draw, Noise};

use crate::{
    Jump, Level, ProcessError,
    bound::{Decoder, LogVariance, Reverse, bound_terms, image_sums},
};

/// What q is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dequantisation {
    /// The forward process' own q(x_1 | x_0); `P(x_0 | x)` is the discretised decoder. What a network of bytes was trained on: where a
    /// byte is certain (a black border), nothing is lost.
    #[default]
    Gaussian,
    /// Uniform over the byte's bucket, 2/255 wide; `P(x_0 | x)` is 1. What flows report (RealNVP and since). A diffusion model that was
    /// trained on bytes pays for it: its densities are normal around a certain byte, and no level of noise makes them boxes
    /// (about half a bit for each such number).
    Uniform,
}

/// Images made continuous.
#[derive(Clone, Debug)]
pub struct Dequantised {
    /// `[B, H, W, C]`, at the cleanest level.
    pub x: Tensor<4>,
    /// `ln q(x | x_0)` of each image, in nats.
    pub log_q: Vec<f64>,
}

impl Dequantisation {
    /// A draw of q for the images `x0` `[B, H, W, C]` (bytes in `[-1, 1]`), which have the numbers `first_image ..` of the noise;
    /// `clean` is the cleanest level.
    pub fn draw(self, x0: &Tensor<4>, clean: Level, noise: Noise, first_image: u64) -> Dequantised {
        let shape @ [b, h, w, c] = x0.dims();
        let (images, numbers) = (first_image..first_image + b as u64, h * w * c);
        let tensor = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, shape), (&x0.device(), x0.dtype()));
        match self {
            Self::Uniform => {
                let of = |image| {
                    let mut stream = noise.stream(Draw::Dequantise, image, 0);
                    (0..numbers).map(|_| ((2.0 * stream.uniform() - 1.0) / 255.0) as f32).collect::<Vec<_>>()
                };
                let around = tensor(images.flat_map(of).collect());
                let log_q = -(numbers as f64) * (2.0 / 255.0f64).ln();
                Dequantised { x: x0.clone() + around, log_q: vec![log_q; b] }
            }
            Self::Gaussian => {
                let eps = tensor(noise.normal(Draw::Dequantise, images, 1, numbers));
                let constant = numbers as f64 * (0.5 * std::f64::consts::TAU.ln() + clean.sigma.ln());
                let squares = image_sums(eps.clone().square()).into_data();
                let log_q = squares.iter::<f64>().map(|sum| -0.5 * sum - constant).collect();
                Dequantised { x: x0.clone() * clean.alpha + eps * clean.sigma, log_q }
            }
        }
    }

    /// `ln P(x_0 | x)` of each image in nats. `estimate` is the denoiser's x_0 of x, `log_variance` the decoder's.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn log_decoder(
        self,
        x0: &Tensor<4>,
        clean: Level,
        estimate: impl FnOnce() -> Result<(Tensor<4>, LogVariance), ProcessError>,
    ) -> Result<Vec<f64>, ProcessError> {
        let batch = x0.dims()[0];
        if self == Self::Uniform {
            return Ok(vec![0.0; batch]);
        }
        let (estimate, log_variance) = estimate()?;
        let jumps = vec![Jump { from: clean, to: Level::DATA }; batch];
        let reverse = Reverse { x0: estimate, log_variance };
        let costs = bound_terms(x0.clone(), reverse, &jumps, Decoder::Discretised)?.into_data();
        Ok(costs.iter::<f64>().map(|nats| -nats).collect())
    }
}
