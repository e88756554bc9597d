//! Sums of tensors as lists of factors, so that every step costs each of its tensors one multiplication and rounds once.

use burn::tensor::Tensor;

use super::{Estimate, weighted};

/// `factor * tensor`, added up at the end. Factors of the same tensor are added in f64 before anything is rounded.
#[derive(Clone, Default)]
pub(super) struct Sum<'a>(Vec<(f64, &'a Tensor<4>)>);

impl<'a> Sum<'a> {
    #[must_use]
    pub(super) fn with(mut self, factor: f64, tensor: &'a Tensor<4>) -> Self {
        match self.0.iter_mut().find(|term| std::ptr::eq(term.1, tensor)) {
            Some(term) => term.0 += factor,
            None => self.0.push((factor, tensor)),
        }
        self
    }

    /// The eps for which `alpha x_0 + sigma eps` is x_t: that of the thresholded x_0. Not of the data, which have none.
    #[must_use]
    pub(super) fn eps(self, factor: f64, said: &'a Estimate) -> Self {
        let per_sigma = factor / said.at.sigma;
        self.with(per_sigma, &said.x).with(-per_sigma * said.at.alpha, &said.x0)
    }

    /// `alpha eps - sigma x_0`.
    #[must_use]
    pub(super) fn velocity(self, factor: f64, said: &'a Estimate) -> Self {
        self.eps(factor * said.at.alpha, said).with(-factor * said.at.sigma, &said.x0)
    }

    /// `eps - x_0`.
    #[must_use]
    pub(super) fn flow(self, factor: f64, said: &'a Estimate) -> Self {
        self.eps(factor, said).with(-factor, &said.x0)
    }

    /// `alpha x_0 + sigma eps`: a straight step to another level.
    #[must_use]
    pub(super) fn step(self, (alpha, sigma): (f64, f64), said: &'a Estimate) -> Self {
        self.with(alpha, &said.x0).eps(sigma, said)
    }

    pub(super) fn total(&self) -> Tensor<4> {
        weighted(&self.0)
    }
}
