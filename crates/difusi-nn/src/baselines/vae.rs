//! Variational autoencoder: Kingma & Welling 2013 (arXiv:1312.6114), convolutional, with one normal latent vector.
//!
//! Deliberately absent: hierarchies of latents, flows in the posterior, learned priors, and the loss with its weights and
//! warm-ups, which is the caller's: here are the parts it is made of.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use difusi_core::{ImageSize, Noise};
use serde::{Deserialize, Serialize};

use super::check::check_width;
use super::likelihood::Likelihood;
use super::{Grow, GrowSpec, Pyramid, groups};
use crate::error::{ConfigIssue, NnError};
use crate::layers::{Conv2d, GroupNorm, Init, Linear, PixelUnshuffle};

/// The logarithm of the posterior's variance is within this of 0: `12 tanh(v / 12)` of what the network says. So no variance
/// becomes 0 or infinite, and near 0 nothing changes.
const LOG_VARIANCE: f64 = 12.0;

/// A convolutional variational autoencoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Numbers in a latent; 1 to 65536. Default 32.
    #[serde(default = "latent")]
    pub latent: usize,
    /// Width; stage i is `dim * dim_mults[i]` wide. 1 to 65536. Default 32.
    #[serde(default = "dim")]
    pub dim: usize,
    /// One multiple of `dim` per stage, 1 to 16 stages; between two stages the image is halved. Default `[1, 2, 4]`.
    #[serde(default = "dim_mults")]
    pub dim_mults: Vec<usize>,
    /// Channels of the image. Default: the data's in a run, 1 in the library.
    #[serde(default = "channels")]
    pub channels: usize,
    /// How a picture is distributed around what the decoder says: `bce`, `mse`, `mae` or `discretised_logistic`, the only one
    /// whose bound is in bits per dimension; see `model.likelihood`. Default bce.
    #[serde(default)]
    pub likelihood: Likelihood,
}

fn latent() -> usize {
    32
}

fn dim() -> usize {
    32
}

fn dim_mults() -> Vec<usize> {
    vec![1, 2, 4]
}

fn channels() -> usize {
    1
}

impl Default for VaeConfig {
    fn default() -> Self {
        let (latent, dim, dim_mults, channels) = (latent(), dim(), dim_mults(), channels());
        Self { latent, dim, dim_mults, channels, likelihood: Likelihood::default() }
    }
}

impl VaeConfig {
    fn pyramid(&self) -> Pyramid<'_> {
        Pyramid { dim: self.dim, dim_mults: &self.dim_mults, channels: self.channels }
    }

    /// Everything in this configuration that is not accepted; empty if it is usable.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = self.pyramid().check();
        issues.extend(check_width("latent", self.latent));
        issues
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        self.pyramid().check_size(key, size)
    }

    /// Bytes of activations that training keeps for one image: an estimate.
    pub fn training_bytes(&self, size: ImageSize) -> usize {
        // Both halves: a convolution's output and the norm's; the likelihood's elementwise steps.
        let likelihood = 12 * size.pixels() * self.channels * self.likelihood.outputs();
        4 * (4 * self.pyramid().activations(size) + likelihood)
    }

    /// A network for images of `size` with initial weights from `noise`: the same bits everywhere. Weights are drawn when first
    /// read.
    ///
    /// # Errors
    /// Where [`VaeConfig::check`] or [`VaeConfig::check_size`] finds anything.
    pub fn init(&self, size: ImageSize, noise: Noise, device: &Device) -> Result<Vae, NnError> {
        let mut issues = self.check();
        if issues.is_empty() {
            issues.extend(self.check_size("size", size));
        }
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let (root, pyramid) = (Init::new(noise, device), self.pyramid());
        let (widths, innermost) = (pyramid.widths(), pyramid.innermost(size));
        let outputs = self.channels * self.likelihood.outputs();
        let spec = GrowSpec { inputs: self.latent, widths: widths.clone(), outputs, innermost };
        Ok(Vae {
            encoder: Encoder::new(&root.at("encoder"), self, &widths, innermost),
            decoder: Grow::new(&root.at("decoder"), &spec),
            likelihood: self.likelihood,
            latent: self.latent,
        })
    }
}

/// Image to the numbers of a posterior: a convolution, then for each halving norm, SiLU, and a 2x2 convolution of stride 2.
#[derive(Module, Debug)]
struct Encoder {
    stem: Conv2d,
    norms: Vec<GroupNorm>,
    downs: Vec<Conv2d>,
    norm_out: GroupNorm,
    out: Linear,
}

impl Encoder {
    fn new(init: &Init<'_>, config: &VaeConfig, widths: &[usize], innermost: ImageSize) -> Self {
        let [first, last] = [widths.first(), widths.last()].map(|w| w.copied().unwrap_or_default());
        let norm = |(i, w): (usize, &[usize])| GroupNorm::new(&init.at("norms").at(i), w[0], groups(w[0]));
        let down = |(i, w): (usize, &[usize])| Conv2d::new(&init.at("downs").at(i), [4 * w[0], w[1]], 1);
        Self {
            stem: Conv2d::new(&init.at("stem"), [config.channels, first], 3),
            norms: widths.windows(2).enumerate().map(norm).collect(),
            downs: widths.windows(2).enumerate().map(down).collect(),
            norm_out: GroupNorm::new(&init.at("norm_out"), last, groups(last)),
            out: Linear::new(&init.at("out"), [innermost.pixels() * last, 2 * config.latent]),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = self.stem.forward(x);
        for (norm, down) in self.norms.iter().zip(&self.downs) {
            x = down.forward(PixelUnshuffle.forward(norm.forward_silu(x)));
        }
        let x = self.norm_out.forward_silu(x);
        let [b, h, w, c] = x.dims();
        self.out.forward(x.reshape([b, h * w * c]))
    }
}

/// Normal distributions with independent dimensions, one per image.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[B, latent]`.
    pub mean: Tensor<2>,
    /// Logarithm of the variance, within 12 of 0, `[B, latent]`.
    pub log_variance: Tensor<2>,
}

impl Posterior {
    /// `mean + std eps`, `eps` standard normal `[B, latent]` -> `[B, latent]`.
    pub fn sample(&self, eps: Tensor<2>) -> Tensor<2> {
        self.mean.clone() + (self.log_variance.clone() * 0.5).exp() * eps
    }

    /// `KL(q(z_j | x) || N(0, 1))` of every image and dimension in nats, `[B, latent]`: arXiv:1312.6114, appendix B.
    pub fn kl(&self) -> Tensor<2> {
        let Self { mean, log_variance } = self.clone();
        (mean.clone() * mean + log_variance.clone().exp() - log_variance - 1.0) * 0.5
    }

    /// `log q(z | x)` of `z = mean + std eps`, by that `eps` `[B, latent]` -> `[B]`.
    pub fn log_prob(&self, eps: Tensor<2>) -> Tensor<1> {
        super::standard_normal_log_prob(eps) - super::row_sums(self.log_variance.clone()) * 0.5
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Vae {
    encoder: Encoder,
    decoder: Grow,
    #[module(skip)]
    likelihood: Likelihood,
    latent: usize,
}

impl Vae {
    /// Numbers in a latent.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// The decoder's likelihood.
    pub fn likelihood(&self) -> Likelihood {
        self.likelihood
    }

    /// `q(z | x)`: `[B, H, W, C]` in [-1, 1] -> two of `[B, latent]`.
    pub fn encode(&self, x: Tensor<4>) -> Posterior {
        let [mean, log_variance] = halves(self.encoder.forward(x), self.latent);
        Posterior { mean, log_variance: (log_variance / LOG_VARIANCE).tanh() * LOG_VARIANCE }
    }

    /// `log p(x | z)` in nats: `z` `[B, latent]`, `x` `[B, H, W, C]` -> `[B]`; see [`Likelihood::log_prob`].
    pub fn log_likelihood(&self, z: Tensor<2>, x: Tensor<4>) -> Tensor<1> {
        self.likelihood.log_prob(self.decoder.forward(z), x)
    }

    /// The picture in the middle of `p(x | z)`: `[B, latent]` -> `[B, H, W, C]` in [-1, 1].
    pub fn decode(&self, z: Tensor<2>) -> Tensor<4> {
        self.likelihood.mean(self.decoder.forward(z))
    }
}

/// `[B, 2 n]` to its two halves.
fn halves(x: Tensor<2>, n: usize) -> [Tensor<2>; 2] {
    let [b, _] = x.dims();
    [x.clone().slice([0..b, 0..n]), x.slice([0..b, n..2 * n])]
}
