//! Generative adversarial network: Goodfellow et al. 2014 (arXiv:1406.2661), a convolutional generator and discriminator in the
//! manner of DCGAN (arXiv:1511.06434), with spectral normalisation (arXiv:1802.05957) instead of batch norm in the discriminator.
//!
//! Deliberately absent: gradient penalties (burn has no second derivatives), labels, styles, and the losses (the caller's).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use difusi_core::{ImageSize, Noise};
use difusi_ops::ConvSpec;
use serde::{Deserialize, Serialize};

use super::check::check_width;
use super::{Grow, GrowSpec, Pyramid, row_sums};
use crate::error::{ConfigIssue, NnError};
use crate::layers::Init;

/// `W W^T` is squared so often: 2^8 rounds of power iteration. They begin at the same vector every time, so that a discriminator has
/// no state beside its weights; so many find the largest singular value of its layers to about a hundredth, from below.
const SQUARINGS: usize = 8;
/// Slope of the discriminator's activation below 0.
const SLOPE: f64 = 0.2;

/// A generator and a discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanConfig {
    /// Numbers in a latent; 1 to 65536. Default 64.
    #[serde(default = "latent")]
    pub latent: usize,
    /// Width of the generator; stage i is `dim * dim_mults[i]` wide. 1 to 65536. Default 32.
    #[serde(default = "dim")]
    pub dim: usize,
    /// Width of the discriminator likewise. 1 to 65536. Default 32.
    #[serde(default = "dim")]
    pub discriminator_dim: usize,
    /// One multiple of `dim` per stage, 1 to 16 stages; between two stages the image is doubled, and halved in the
    /// discriminator. Default `[1, 2, 4]`.
    #[serde(default = "dim_mults")]
    pub dim_mults: Vec<usize>,
    /// Channels of the image. Default: the data's in a run, 1 in the library.
    #[serde(default = "channels")]
    pub channels: usize,
    /// Whether the weights of every layer of the discriminator are divided by their largest singular value. Default true.
    #[serde(default = "spectral_norm")]
    pub spectral_norm: bool,
}

fn latent() -> usize {
    64
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

fn spectral_norm() -> bool {
    true
}

impl Default for GanConfig {
    fn default() -> Self {
        let (latent, dim, dim_mults, channels) = (latent(), dim(), dim_mults(), channels());
        Self { latent, dim, discriminator_dim: dim, dim_mults, channels, spectral_norm: spectral_norm() }
    }
}

impl GanConfig {
    fn generator(&self) -> Pyramid<'_> {
        Pyramid { dim: self.dim, dim_mults: &self.dim_mults, channels: self.channels }
    }

    fn discriminator(&self) -> Pyramid<'_> {
        Pyramid { dim: self.discriminator_dim, ..self.generator() }
    }

    /// Everything in this configuration that is not accepted; empty if it is usable.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = self.generator().check();
        issues.extend(check_width("latent", self.latent));
        issues.extend(check_width("discriminator_dim", self.discriminator_dim));
        issues
    }

    /// Whether the networks take images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        self.generator().check_size(key, size)
    }

    /// Bytes of activations that training keeps for one image: an estimate.
    pub fn training_bytes(&self, size: ImageSize) -> usize {
        // The generator once; the discriminator on the real picture and twice on the drawn one.
        4 * (2 * self.generator().activations(size) + 3 * 3 * self.discriminator().activations(size))
    }

    /// Networks for images of `size` with initial weights from `noise`: the same bits everywhere. Weights are drawn when first
    /// read.
    ///
    /// # Errors
    /// Where [`GanConfig::check`] or [`GanConfig::check_size`] finds anything.
    pub fn init(&self, size: ImageSize, noise: Noise, device: &Device) -> Result<Gan, NnError> {
        let mut issues = self.check();
        if issues.is_empty() {
            issues.extend(self.check_size("size", size));
        }
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let (root, innermost) = (Init::new(noise, device), self.generator().innermost(size));
        let spec =
            GrowSpec { inputs: self.latent, widths: self.generator().widths(), outputs: self.channels, innermost };
        Ok(Gan {
            generator: Grow::new(&root.at("generator"), &spec),
            discriminator: Discriminator::new(&root.at("discriminator"), self, innermost),
            latent: self.latent,
        })
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct Gan {
    generator: Grow,
    discriminator: Discriminator,
    latent: usize,
}

impl Gan {
    /// Numbers in a latent.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// `[B, latent]` -> pictures `[B, H, W, C]` in [-1, 1].
    pub fn generate(&self, z: Tensor<2>) -> Tensor<4> {
        self.generator.forward(z).tanh()
    }

    /// The discriminator as it judges in this step: its weights, normalised where it does that.
    pub fn judge(&self) -> Judge {
        self.discriminator.judge()
    }
}

/// A 3x3 convolution, then for each halving 2x2 pixels become channels and a 3x3 convolution follows (DCGAN has 4x4 ones of stride 2,
/// which take longer here), then a linear layer to one number.
#[derive(Module, Debug)]
struct Discriminator {
    convs: Vec<Weights>,
    out: Weights,
    spectral_norm: bool,
}

/// Weight `[out, in, k, k]`, bias `[out]`, and where the power iteration begins, `[1, out]`, which is not trained.
#[derive(Module, Debug)]
struct Weights {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    start: Param<Tensor<2>>,
}

impl Weights {
    fn new(init: &Init<'_>, [inputs, outputs]: [usize; 2], kernel: usize) -> Self {
        let bound = ((inputs * kernel * kernel) as f64).powf(-0.5);
        Self {
            weight: init.at("weight").uniform([outputs, inputs, kernel, kernel], bound),
            bias: init.at("bias").zeros([outputs]),
            start: init.at("start").normal([1, outputs], false),
        }
    }

    /// Weight and bias as they are used.
    fn effective(&self, spectral_norm: bool) -> (Tensor<4>, Tensor<1>) {
        let weight = self.weight.val();
        let weight = match spectral_norm {
            true => weight.clone() / self.largest_singular_value(weight).reshape([1, 1, 1, 1]),
            false => weight,
        };
        (weight, self.bias.val())
    }

    /// `u^T W v` of the matrix `[out, in k k]`, with unit vectors `u` and `v` from power iteration, which take no gradient
    /// (arXiv:1802.05957, algorithm 1, which goes on from the last step's instead of making many rounds).
    fn largest_singular_value(&self, weight: Tensor<4>) -> Tensor<1> {
        let [out, inputs, kh, kw] = weight.dims();
        let matrix = weight.reshape([out, inputs * kh * kw]);
        let fixed = matrix.clone().detach();
        // `linear(a, b)` is a b^T, and these are symmetric.
        let mut power = difusi_ops::linear(fixed.clone(), fixed.clone(), None); // [out, out]
        for _ in 0..SQUARINGS {
            power = unit(power);
            power = difusi_ops::linear(power.clone(), power, None);
        }
        let u = unit(difusi_ops::linear(self.start.val().detach(), unit(power), None)); // [1, out]
        let v = unit(difusi_ops::linear(u.clone(), fixed.transpose(), None)); // [1, in k k]
        row_sums(difusi_ops::linear(v, matrix, None) * u)
    }
}

/// `x / |x|`, the norm that of all numbers.
fn unit(x: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let norm = row_sums((x.clone() * x.clone()).reshape([1, rows * columns])).sqrt() + 1e-30;
    x / norm.reshape([1, 1])
}

impl Discriminator {
    fn new(init: &Init<'_>, config: &GanConfig, innermost: ImageSize) -> Self {
        let widths = config.discriminator().widths();
        let conv = |i: usize, channels| Weights::new(&init.at("convs").at(i), channels, 3);
        let [first, last] = [widths.first(), widths.last()].map(|w| w.copied().unwrap_or_default());
        let halvings = widths.windows(2).enumerate().map(|(i, w)| conv(i + 1, [4 * w[0], w[1]]));
        Self {
            convs: std::iter::once(conv(0, [config.channels, first])).chain(halvings).collect(),
            out: Weights::new(&init.at("out"), [innermost.pixels() * last, 1], 1),
            spectral_norm: config.spectral_norm,
        }
    }

    fn judge(&self) -> Judge {
        let effective = |w: &Weights| w.effective(self.spectral_norm);
        Judge { convs: self.convs.iter().map(effective).collect(), out: effective(&self.out) }
    }
}

/// A discriminator with its weights made ready.
#[derive(Clone, Debug)]
pub struct Judge {
    convs: Vec<(Tensor<4>, Tensor<1>)>,
    out: (Tensor<4>, Tensor<1>),
}

impl Judge {
    /// The same, its weights taking no gradient: what the generator is trained by.
    #[must_use]
    pub fn frozen(&self) -> Self {
        let detached = |(weight, bias): &(Tensor<4>, Tensor<1>)| (weight.clone().detach(), bias.clone().detach());
        Self { convs: self.convs.iter().map(detached).collect(), out: detached(&self.out) }
    }

    /// The weights of its layers as they are used, `[out, in, k, k]`.
    pub fn weights(&self) -> Vec<Tensor<4>> {
        self.convs.iter().chain([&self.out]).map(|(weight, _)| weight.clone()).collect()
    }

    /// How real each picture looks, from -inf to inf: `[B, H, W, C]` -> `[B]`.
    pub fn score(&self, x: Tensor<4>) -> Tensor<1> {
        let mut x = x;
        for (i, (weight, bias)) in self.convs.iter().enumerate() {
            if i > 0 {
                x = difusi_ops::pixel_unshuffle2(x);
            }
            x = difusi_ops::conv2d(x, weight.clone(), Some(bias.clone()), ConvSpec::new(1, 1));
            x = difusi_ops::leaky_relu(x, SLOPE);
        }
        let [b, h, w, c] = x.dims();
        let (weight, bias) = &self.out;
        let matrix = weight.clone().reshape([1, h * w * c]);
        difusi_ops::linear(x.reshape([b, h * w * c]), matrix, Some(bias.clone())).reshape([b])
    }
}
