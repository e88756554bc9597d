//! Networks that judges look through: pictures in, features and class scores out. Inference only.
//!
//! Each is built from its weights by name, batch norms folded into the convolutions (f64) as they are read, so there is nothing to
//! initialise and nothing to train. [`FeatureNetwork`] is what they have in common, and what a network of one's own implements.
//!
//! Deliberately absent: resizing and scaling of pictures (difusi-metrics, by [`Input`]), files, gradients of any speed.

mod inception;
mod mnist_cnn;
mod resnet;
mod tensors;

pub use inception::{Inception, InceptionTap, SPATIAL_CHANNELS};
pub use mnist_cnn::MnistCnn;
pub use resnet::Resnet20;

use burn::tensor::{Device, Tensor};

use crate::{NnError, ParamInfo, Weight};

/// What a feature network wants to see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// What a byte becomes.
    pub scale: Scale,
}

/// What bytes become before a network sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// [-1, 1]: which way exactly goes with how pictures are resized (TensorFlow's graph takes `(v - 128) / 128`).
    Symmetric,
    /// `(v / 255 - mean) / deviation`, per channel (of grey, the first).
    Normal {
        /// Of values in [0, 1].
        mean: [f64; 3],
        /// Of values in [0, 1].
        deviation: [f64; 3],
    },
}

/// What a network sees in B pictures.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `[B, D]`.
    pub features: Tensor<2>,
    /// `[B, K]`: class scores, whose softmax are probabilities.
    pub logits: Option<Tensor<2>>,
    /// `[B, S]`: features that keep their place, `(row, column, channel)`.
    pub spatial: Option<Tensor<2>>,
}

/// A network that turns pictures into features.
pub trait FeatureNetwork: std::fmt::Debug + Send {
    /// What it wants to see.
    fn input(&self) -> Input;

    /// D: features of a picture.
    fn dim(&self) -> usize;

    /// K: its classes, where it is a classifier.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// S: spatial features of a picture, where it has such.
    fn spatial_dim(&self) -> Option<usize> {
        None
    }

    /// `x` `[B, H, W, C]` as [`FeatureNetwork::input`] says, on the network's device.
    ///
    /// # Panics
    /// On another shape.
    fn look(&self, x: Tensor<4>) -> Seen;
}

/// The networks that are known by the names of their tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureKind {
    /// [`Inception`].
    Inception,
    /// [`MnistCnn`].
    MnistCnn,
    /// [`Resnet20`].
    Resnet20,
}

impl FeatureKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inception, Self::MnistCnn, Self::Resnet20];

    /// The name in commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inception => "inception",
            Self::MnistCnn => "mnist-cnn",
            Self::Resnet20 => "resnet20",
        }
    }

    /// Names and shapes of the tensors that it is built from.
    pub fn parameters(self) -> Vec<ParamInfo> {
        match self {
            Self::Inception => Inception::parameters(),
            Self::MnistCnn => MnistCnn::parameters(),
            Self::Resnet20 => Resnet20::parameters(),
        }
    }

    /// A tensor that no other of these networks has.
    const fn mark(self) -> &'static str {
        match self {
            Self::Inception => "Mixed_7c.branch3x3dbl_3b.conv.weight",
            Self::MnistCnn => "norm2.running_mean",
            Self::Resnet20 => "layer3.2.bn2.running_mean",
        }
    }

    /// The network of tensors with these names, and what stands before every one of its names (`""`, `module.` and the like).
    pub fn recognise<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<(Self, String)> {
        names.into_iter().find_map(|name| Self::ALL.into_iter().find_map(|kind| Some((kind, kind.prefix(name)?))))
    }

    /// What stands before this network's names among `names`.
    pub fn prefix_among<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
        names.into_iter().find_map(|name| self.prefix(name))
    }

    fn prefix(self, name: &str) -> Option<String> {
        name.strip_suffix(self.mark()).filter(|p| p.is_empty() || p.ends_with('.')).map(str::to_owned)
    }

    /// Builds the network; an Inception with `tap`.
    ///
    /// # Errors
    /// [`NnError::Weights`] lists every tensor that is missing, unknown or of another shape.
    pub fn load(
        self,
        weights: impl IntoIterator<Item = Weight>,
        tap: InceptionTap,
        device: &Device,
    ) -> Result<Box<dyn FeatureNetwork>, NnError> {
        Ok(match self {
            Self::Inception => Box::new(Inception::load(weights, device)?.at(tap)),
            Self::MnistCnn => Box::new(MnistCnn::load(weights, device)?),
            Self::Resnet20 => Box::new(Resnet20::load(weights, device)?),
        })
    }
}
