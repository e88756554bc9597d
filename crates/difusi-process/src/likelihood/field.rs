//! The field f(z, s) of a probability flow and its divergence, by vector-Jacobian products.

use burn::tensor::{Tensor, TensorData};
use difusi_core::Draw;

use super::{Divergence, Flow, Probe};
use crate::{
    ProcessError,
    bound::{DenoiseEach, image_sums},
    forward::per_image,
};

/// A flow, its denoiser, and the images it moves.
pub(super) struct Field<'a> {
    pub(super) flow: &'a Flow<'a>,
    denoise: &'a DenoiseEach<'a>,
    first_image: u64,
    dims: [usize; 4],
    /// Probes of all images, made once: each `[B, H, W, C]`.
    probes: Vec<Tensor<4>>,
}

/// At one point each of some images.
pub(super) struct Flowing {
    /// dz / ds, `[B, H, W, C]`, without autodiff.
    pub(super) velocity: Tensor<4>,
    /// Its divergence, one per image.
    pub(super) divergence: Vec<f64>,
}

impl<'a> Field<'a> {
    pub(super) fn new(flow: &'a Flow<'a>, first_image: u64, dims: [usize; 4], denoise: &'a DenoiseEach<'a>) -> Self {
        Self { flow, denoise, first_image, dims, probes: Vec::new() }
    }

    /// The field at `z` `[B, H, W, C]`: image b is number `images[b]` of the batch and stands at `times[b]`, ln(rho).
    pub(super) fn at(&mut self, z: &Tensor<4>, images: &[usize], times: &[f64]) -> Result<Flowing, ProcessError> {
        if self.probes.is_empty() {
            self.probes = self.make_probes(z);
        }
        let share = match self.flow.divergence {
            Divergence::Hutchinson { probes, .. } => 1.0 / f64::from(probes),
            Divergence::Exact => 1.0,
        };
        let mut divergence = vec![0.0; images.len()];
        let mut velocity = None;
        for probe in &self.probes {
            let probe = super::integrate::rows(probe, images);
            let z = z.clone().autodiff().require_grad();
            let f = self.velocity(z.clone(), times)?;
            let mut gradients = (f.clone() * probe.clone().autodiff()).sum().backward();
            // A field that does not depend on z has no gradient: its divergence is 0.
            let product = z.grad_remove(&mut gradients).map(|g| image_sums(g * probe).into_data());
            if let Some(product) = product {
                divergence.iter_mut().zip(product.iter::<f64>()).for_each(|(sum, one)| *sum += share * one);
            }
            velocity = Some(f.inner());
        }
        let velocity = velocity.unwrap_or_else(|| z.zeros_like());
        Ok(Flowing { velocity, divergence })
    }

    /// f, followed by autodiff.
    fn velocity(&self, z: Tensor<4>, times: &[f64]) -> Result<Tensor<4>, ProcessError> {
        let levels: Vec<_> = times.iter().map(|s| (self.flow.level_at_ratio)(s.exp())).collect();
        let norms: Vec<f64> = levels.iter().map(|l| l.alpha.hypot(l.sigma)).collect();
        let (eps, x0): (Vec<f64>, Vec<f64>) = levels
            .iter()
            .zip(&norms)
            .map(|(l, norm)| (l.alpha / norm, l.sigma / norm))
            .map(|(cos, sin)| (sin * cos * cos, -sin * cos * sin))
            .unzip();
        let x = if norms.iter().all(|n| (n - 1.0).abs() < 1e-12) { z } else { z.clone() * per_image(&norms, &z) };
        let said = (self.denoise)(x, &levels)?;
        Ok(said.eps.clone() * per_image(&eps, &said.eps) + said.x0.clone() * per_image(&x0, &said.x0))
    }

    fn make_probes(&self, like: &Tensor<4>) -> Vec<Tensor<4>> {
        let [b, h, w, c] = self.dims;
        let numbers = h * w * c;
        let tensor =
            |values: Vec<f32>| Tensor::from_data(TensorData::new(values, self.dims), (&like.device(), like.dtype()));
        let images = self.first_image..self.first_image + b as u64;
        match self.flow.divergence {
            Divergence::Exact => (0..numbers)
                .map(|d| tensor((0..b * numbers).map(|i| if i % numbers == d { 1.0 } else { 0.0 }).collect()))
                .collect(),
            Divergence::Hutchinson { probe, probes } => (0..probes)
                .map(|p| match probe {
                    Probe::Gaussian => tensor(self.flow.noise.normal(Draw::Probe, images.clone(), p, numbers)),
                    Probe::Rademacher => tensor(images.clone().flat_map(|i| self.signs(i, p, numbers)).collect()),
                })
                .collect(),
        }
    }

    fn signs(&self, image: u64, probe: u32, numbers: usize) -> Vec<f32> {
        let mut stream = self.flow.noise.stream(Draw::Probe, image, probe);
        (0..numbers).map(|_| if stream.next_u32() & 1 == 0 { -1.0 } else { 1.0 }).collect()
    }
}
