//! The losses of a GAN: non-saturating (arXiv:1406.2661, section 3) and hinge (arXiv:1705.02894).
//!
//! One optimiser makes one step of both networks at once. Each image has a latent of its own, and its loss is the sum of the
//! discriminator's, whose pictures take no gradient, and the generator's, judged by a discriminator whose weights take none.
//! Deliberately absent: several steps of one network, learning rates of their own, gradient penalties.

use burn::tensor::{Tensor, activation};
use difusi_core::{Batch, Draw};
use difusi_nn::{Gan, baselines::softplus};
use difusi_train::{Objective, PartSums, StepContext, TrainError};
use serde::{Deserialize, Serialize};

use super::normal;

/// What discriminator and generator are told, of scores `r` of real and `f` of drawn pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adversarial {
    /// `softplus(-r) + softplus(f)` and `softplus(-f)`.
    #[default]
    NonSaturating,
    /// `max(0, 1 - r) + max(0, 1 + f)` and `-f`.
    Hinge,
}

impl Adversarial {
    /// The discriminator's loss, `[B]` each.
    pub fn discriminator(self, real: Tensor<1>, drawn: Tensor<1>) -> Tensor<1> {
        match self {
            Self::NonSaturating => softplus(-real) + softplus(drawn),
            Self::Hinge => activation::relu(-real + 1.0) + activation::relu(drawn + 1.0),
        }
    }

    /// The generator's loss, `[B]`.
    pub fn generator(self, drawn: Tensor<1>) -> Tensor<1> {
        match self {
            Self::NonSaturating => softplus(-drawn),
            Self::Hinge => -drawn,
        }
    }
}

/// What a GAN is trained for. In TOML: the section `[gan]`; every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GanLoss {
    /// `non_saturating` or `hinge`. Default non_saturating.
    pub loss: Adversarial,
}

/// Trains a GAN. Its loss is a sum of two that pull against each other, so it says little; the parts say more.
#[derive(Clone, Debug, Default)]
pub struct GanObjective {
    loss: GanLoss,
    parts: PartSums,
}

impl GanObjective {
    /// With this loss.
    pub fn new(loss: GanLoss) -> Self {
        Self { loss, parts: PartSums::default() }
    }
}

impl Objective for GanObjective {
    type Model = Gan;

    fn loss(&mut self, model: &Gan, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let drawn = model.generate(normal(context, Draw::Target, model.latent(), &batch.x));
        let judge = model.judge();
        let real = judge.score(batch.x);
        let fooled = judge.frozen().score(drawn.clone());
        let caught = judge.score(drawn.detach());
        let discriminator = self.loss.loss.discriminator(real.clone(), caught.clone());
        let generator = self.loss.loss.generator(fooled);
        self.parts.add([discriminator.clone(), generator.clone(), real, caught])?;
        Ok(discriminator + generator)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["discriminator", "generator", "score_real", "score_drawn"]
    }

    fn take_parts(&mut self) -> Vec<f64> {
        self.parts.take()
    }
}
