//! The loss of a VAE: minus the evidence lower bound (arXiv:1312.6114, eq. 10), its two terms weighed.

use burn::tensor::Tensor;
use difusi_core::{Batch, Draw};
use difusi_nn::Vae;
use difusi_train::{Objective, PartSums, Phase, StepContext, TrainError};
use serde::{Deserialize, Serialize};

use super::{as_bytes, bits_per_dim, normal};
use crate::ConfigError;

/// How the terms of the bound are weighed. In TOML: the section `[vae]`; every key may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeLoss {
    /// What the KL term is multiplied by, 0 to 1000: beta of arXiv:1804.03599. 1 is the bound. Default 1.
    pub kl_weight: f64,
    /// Steps in which that weight rises linearly from 0 (arXiv:1511.06349); 0 switches warm-up off. Default 0.
    pub kl_warmup: u64,
    /// Nats of KL that each dimension of an image's latent has for free, 0 to 100: below them nothing is gained by saying less
    /// (arXiv:1606.04934, appendix C.8, there of a batch's mean, here of every image). Default 0.
    pub free_bits: f64,
}

impl Default for VaeLoss {
    fn default() -> Self {
        Self { kl_weight: 1.0, kl_warmup: 0, free_bits: 0.0 }
    }
}

impl VaeLoss {
    /// Everything in it that is not accepted.
    pub fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if !(0.0..=1000.0).contains(&self.kl_weight) {
            errors.push(ConfigError::value("vae.kl_weight", self.kl_weight, "a number from 0 to 1000"));
        }
        if !(0.0..=100.0).contains(&self.free_bits) {
            errors.push(ConfigError::value("vae.free_bits", self.free_bits, "a number from 0 to 100"));
        }
        errors
    }

    /// The weight of the KL term after `step` finished steps.
    pub fn kl_weight_at(&self, step: u64) -> f64 {
        let risen = if self.kl_warmup == 0 { 1.0 } else { (step as f64 / self.kl_warmup as f64).min(1.0) };
        self.kl_weight * risen
    }
}

/// Trains a VAE. The loss is in bits per dimension; so are its parts, whatever their weights.
#[derive(Clone, Debug, Default)]
pub struct VaeObjective {
    loss: VaeLoss,
    parts: PartSums,
}

impl VaeObjective {
    /// The loss with these weights.
    pub fn new(loss: VaeLoss) -> Self {
        Self { loss, parts: PartSums::default() }
    }
}

impl Objective for VaeObjective {
    type Model = Vae;

    /// In validation the KL term has its final weight and no free bits: losses of different steps can be compared.
    fn loss(&mut self, model: &Vae, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let discrete = model.likelihood().is_discrete();
        let x = if discrete { as_bytes(batch.x) } else { batch.x };
        let bits = bits_per_dim(x.dims());
        let posterior = model.encode(x.clone());
        let z = posterior.sample(normal(context, Draw::Target, model.latent(), &x));
        let reconstruction = -model.log_likelihood(z, x) * bits;
        let each = posterior.kl(); // [B, latent]
        let kl = difusi_ops::row_sums(each.clone()) * bits;
        self.parts.add([reconstruction.clone(), kl.clone()])?;
        let (weight, charged) = match context.phase {
            Phase::Training if self.loss.free_bits > 0.0 => {
                let charged = difusi_ops::row_sums(each.clamp_min(self.loss.free_bits)) * bits;
                (self.loss.kl_weight_at(context.step), charged)
            }
            Phase::Training => (self.loss.kl_weight_at(context.step), kl),
            Phase::Validation => (self.loss.kl_weight, kl),
        };
        Ok(reconstruction + charged * weight)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["reconstruction", "kl"]
    }

    fn take_parts(&mut self) -> Vec<f64> {
        self.parts.take()
    }
}
