//! A small classifier of handwritten digits, as burn's MNIST example trains it: three 3x3 convolutions without padding (8, 16, 24
//! channels) with ReLU, a batch norm, 32 hidden units with ReLU (the features), ten classes with a batch norm on them.
//!
//! The batch norm after the convolutions is folded into the hidden units, that on the scores into the last layer.

use burn::tensor::{Device, Tensor, activation::relu};
use difusi_ops::{Activation, ConvSpec, FixedConv, linear};

use super::tensors::{self, Affine, Tensors};
use super::{FeatureNetwork, Input, Scale, Seen};
use crate::{NnError, ParamInfo, Weight};

/// Height and width of what it sees, and of what the convolutions leave.
const SIZE: usize = 28;
const LEFT: usize = SIZE - 6;
/// Channels that the convolutions leave.
const CHANNELS: usize = 24;
const FEATURES: usize = 32;
const CLASSES: usize = 10;
const EPSILON: f64 = 1e-5;

/// The network.
#[derive(Clone, Debug)]
pub struct MnistCnn {
    convs: [FixedConv; 3],
    hidden: (Tensor<2>, Tensor<1>),
    last: (Tensor<2>, Tensor<1>),
}

fn make(from: &mut Tensors<'_>) -> MnistCnn {
    let how = (ConvSpec::new(1, 0), Activation::Relu);
    let convs = [("conv1", [8, 1]), ("conv2", [16, 8]), ("conv3", [CHANNELS, 16])]
        .map(|(name, [out, inside])| from.conv(name, [out, inside, 3, 3], how));
    let norm = from.batch_norm("norm1", CHANNELS, EPSILON);
    let hidden = hidden(from, &norm);
    let weight = from.take("fc2.weight".into(), &[CLASSES, FEATURES]);
    let bias = from.take("fc2.bias".into(), &[CLASSES]);
    let Affine { factor, summand } = from.batch_norm("norm2", CLASSES, EPSILON);
    let weight = weight.iter().enumerate().map(|(i, w)| (f64::from(*w) * factor[i / FEATURES]) as f32).collect();
    let bias = (0..CLASSES).map(|k| (f64::from(bias[k]) * factor[k] + summand[k]) as f32).collect();
    MnistCnn { convs, hidden, last: (from.tensor(weight, [CLASSES, FEATURES]), from.tensor(bias, [CLASSES])) }
}

/// The hidden layer over `(row, column, channel)` with the batch norm before it; on disk it is over `(channel, row, column)`.
fn hidden(from: &mut Tensors<'_>, norm: &Affine) -> (Tensor<2>, Tensor<1>) {
    let (pixels, inside) = (LEFT * LEFT, CHANNELS * LEFT * LEFT);
    let weight = from.take("fc1.weight".into(), &[FEATURES, inside]);
    let bias = from.take("fc1.bias".into(), &[FEATURES]);
    let (mut turned, mut shifted) = (vec![0.0; FEATURES * inside], Vec::new());
    for unit in 0..FEATURES {
        let mut sum = f64::from(bias[unit]);
        for (i, w) in weight[unit * inside..(unit + 1) * inside].iter().enumerate() {
            let (channel, pixel) = (i / pixels, i % pixels);
            sum += f64::from(*w) * norm.summand[channel];
            turned[unit * inside + pixel * CHANNELS + channel] = (f64::from(*w) * norm.factor[channel]) as f32;
        }
        shifted.push(sum as f32);
    }
    (from.tensor(turned, [FEATURES, inside]), from.tensor(shifted, [FEATURES]))
}

impl MnistCnn {
    /// Names and shapes of its tensors.
    pub fn parameters() -> Vec<ParamInfo> {
        tensors::parameters(make)
    }

    /// The network with these weights.
    ///
    /// # Errors
    /// [`NnError::Weights`] lists every tensor that is missing, unknown or of another shape.
    pub fn load(weights: impl IntoIterator<Item = Weight>, device: &Device) -> Result<Self, NnError> {
        tensors::build(weights, device, |_| false, make)
    }
}

impl FeatureNetwork for MnistCnn {
    fn input(&self) -> Input {
        Input { size: [SIZE; 2], channels: 1, scale: Scale::Normal { mean: [0.1307; 3], deviation: [0.3081; 3] } }
    }

    fn dim(&self) -> usize {
        FEATURES
    }

    fn classes(&self) -> Option<usize> {
        Some(CLASSES)
    }

    fn look(&self, x: Tensor<4>) -> Seen {
        let [batch, ..] = x.dims();
        assert_eq!(x.dims()[1..], [SIZE, SIZE, 1], "what the network sees");
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x)); // [B, 22, 22, 24]
        let ((weight, bias), (last, last_bias)) = (self.hidden.clone(), self.last.clone());
        let features = relu(linear(x.reshape([batch, LEFT * LEFT * CHANNELS]), weight, Some(bias)));
        let logits = linear(features.clone(), last, Some(last_bias));
        Seen { features, logits: Some(logits), spatial: None }
    }
}
