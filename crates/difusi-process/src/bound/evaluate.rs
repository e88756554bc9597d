//! The bound of images, from their terms: each image at its times through the denoiser, many images and times in one evaluation.

use burn::tensor::{Int, Tensor, TensorData};
use difusi_core::{Draw, Noise};

use super::{Chain, Decoder, Reverse, Strata, bound_terms, prior_terms};
use crate::{Denoised, Level, ProcessError, q_sample};

/// A denoiser of images at levels of their own: `x_t` `[B, H, W, C]` with one level per image.
pub type DenoiseEach<'a> = dyn Fn(Tensor<4>, &[Level]) -> Result<Denoised, ProcessError> + 'a;

/// What is evaluated.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The reverse chain.
    pub chain: Chain,
    /// Which of its terms.
    pub strata: Strata,
    /// What the last of them is.
    pub decoder: Decoder,
    /// Standard deviation of p(x_T), 1 for variance-preserving processes.
    pub prior_std: f64,
    /// The random numbers.
    pub noise: Noise,
    /// Network inputs in one evaluation, at least 1; results do not depend on it beyond rounding.
    pub batch: usize,
}

/// Costs of one image, in nats (not per dimension).
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBound {
    /// L_T, exact.
    pub prior: f64,
    /// One term from each stratum, the first L_0; not yet counted [`Strata::weight`] times.
    pub terms: Vec<f64>,
}

impl Bound {
    /// Costs of the images `x0` `[N, H, W, C]`, which have the numbers `first_image ..` of the noise: their times and noise depend on
    /// the seed and these alone.
    ///
    /// # Errors
    /// Those of the denoiser.
    pub fn images(
        &self,
        x0: Tensor<4>,
        first_image: u64,
        denoise: &DenoiseEach,
    ) -> Result<Vec<ImageBound>, ProcessError> {
        let images = x0.dims()[0];
        let prior = host(prior_terms(x0.clone(), self.chain.start(), self.prior_std))?;
        let times: Vec<Vec<usize>> =
            (0..images).map(|i| self.strata.draw(self.noise, first_image + i as u64)).collect();
        let pairs: Vec<Pair> = (0..images)
            .flat_map(|image| {
                let place = |(k, &position): (usize, &usize)| Pair { image, stratum: k, position };
                times[image].iter().enumerate().map(place).collect::<Vec<_>>()
            })
            .collect();
        let mut terms = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(self.batch.max(1)) {
            terms.extend(self.pairs(&x0, pairs, first_image, denoise)?);
        }
        let image = |(prior, terms): (f64, &[f64])| ImageBound { prior, terms: terms.to_vec() };
        Ok(prior.into_iter().zip(terms.chunks(self.strata.len())).map(image).collect())
    }

    /// Terms of some pairs of an image and a time.
    fn pairs(
        &self,
        x0: &Tensor<4>,
        pairs: &[Pair],
        first_image: u64,
        denoise: &DenoiseEach,
    ) -> Result<Vec<f64>, ProcessError> {
        let ([_, h, w, c], device) = (x0.dims(), x0.device());
        let which: Vec<i64> = pairs.iter().map(|pair| pair.image as i64).collect();
        let which = Tensor::<1, Int>::from_data(TensorData::new(which, [pairs.len()]), &device);
        let x0 = x0.clone().select(0, which);
        let normals = pairs.iter().flat_map(|pair| {
            let image = first_image + pair.image as u64;
            self.noise.normal(Draw::Bound, image..image + 1, pair.stratum as u32, h * w * c)
        });
        let eps = TensorData::new(normals.collect::<Vec<f32>>(), [pairs.len(), h, w, c]);
        let eps = Tensor::from_data(eps, (&device, x0.dtype()));
        let positions: Vec<usize> = pairs.iter().map(|pair| pair.position).collect();
        let jumps: Vec<_> = positions.iter().map(|&p| self.chain.jumps()[p]).collect();
        let levels: Vec<Level> = jumps.iter().map(|jump| jump.from).collect();
        let denoised = denoise(q_sample(&levels, x0.clone(), eps)?, &levels)?;
        let log_variance = self.chain.log_variance(&positions, denoised.variance)?;
        host(bound_terms(x0, Reverse { x0: denoised.x0, log_variance }, &jumps, self.decoder)?)
    }
}

/// An image at one of its times.
#[derive(Clone, Copy)]
struct Pair {
    image: usize,
    stratum: usize,
    position: usize,
}

fn host(x: Tensor<1>) -> Result<Vec<f64>, ProcessError> {
    Ok(x.into_data().iter::<f64>().collect())
}
