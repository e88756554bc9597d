//! ResNet-20 for CIFAR-10 (He et al., arXiv:1512.03385, section 4.2): three stages of three blocks with 16, 32 and 64 channels,
//! shortcuts without parameters (option A). Its 64 features are the mean over the last stage's pixels. Names are those of
//! akamaster's pytorch_resnet_cifar10, without its `module.`.

use burn::tensor::{Device, Tensor, activation::relu};
use difusi_ops::{Activation, ConvSpec, FixedConv, add, linear, mean_pixels};

use super::tensors::{self, Tensors};
use super::{FeatureNetwork, Input, Scale, Seen};
use crate::{NnError, ParamInfo, Weight};

/// Height and width of what it sees.
const SIZE: usize = 32;
const BLOCKS: usize = 3;
const CHANNELS: [usize; 3] = [16, 32, 64];
const FEATURES: usize = 64;
const CLASSES: usize = 10;
const EPSILON: f64 = 1e-5;

/// The network.
#[derive(Clone, Debug)]
pub struct Resnet20 {
    first: FixedConv,
    blocks: Vec<Block>,
    weight: Tensor<2>,
    bias: Tensor<1>,
}

/// Two convolutions beside a shortcut.
#[derive(Clone, Debug)]
struct Block([FixedConv; 2]);

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let Self([first, second]) = self;
        let y = second.forward(first.forward(x.clone()));
        relu(add(y.clone(), shortcut(x, y.dims())))
    }
}

/// Itself, or every second pixel between channels of zeros: as many before as after.
fn shortcut(x: Tensor<4>, [batch, height, width, channels]: [usize; 4]) -> Tensor<4> {
    let [_, _, _, inside] = x.dims();
    if inside == channels {
        return x;
    }
    let pixels = x.reshape([batch, height, 2, width, 2, inside]).narrow(2, 0, 1).narrow(4, 0, 1);
    let pixels = pixels.reshape([batch, height, width, inside]);
    let zeros = Tensor::zeros([batch, height, width, (channels - inside) / 2], &pixels.device());
    Tensor::cat(vec![zeros.clone(), pixels, zeros], 3)
}

fn make(from: &mut Tensors<'_>) -> Resnet20 {
    let first = from.normed_conv(["conv1", "bn1"], [16, 3, 3, 3], (ConvSpec::same(3), Activation::Relu), EPSILON);
    let (mut blocks, mut inside) = (Vec::new(), CHANNELS[0]);
    for (stage, out) in CHANNELS.into_iter().enumerate() {
        for block in 0..BLOCKS {
            let name = format!("layer{}.{block}", stage + 1);
            let spec = ConvSpec::new(if inside == out { 1 } else { 2 }, 1);
            let mut conv = |i: usize, inside: usize, how| {
                let names = [&*format!("{name}.conv{i}"), &*format!("{name}.bn{i}")];
                from.normed_conv(names, [out, inside, 3, 3], how, EPSILON)
            };
            let first = conv(1, inside, (spec, Activation::Relu));
            blocks.push(Block([first, conv(2, out, (ConvSpec::same(3), Activation::None))]));
            inside = out;
        }
    }
    let weight = from.take("linear.weight".into(), &[CLASSES, FEATURES]);
    let bias = from.take("linear.bias".into(), &[CLASSES]);
    Resnet20 { first, blocks, weight: from.tensor(weight, [CLASSES, FEATURES]), bias: from.tensor(bias, [CLASSES]) }
}

impl Resnet20 {
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

impl FeatureNetwork for Resnet20 {
    fn input(&self) -> Input {
        // ImageNet's means and deviations, which its author trained with.
        let scale = Scale::Normal { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
        Input { size: [SIZE; 2], channels: 3, scale }
    }

    fn dim(&self) -> usize {
        FEATURES
    }

    fn classes(&self) -> Option<usize> {
        Some(CLASSES)
    }

    fn look(&self, x: Tensor<4>) -> Seen {
        assert_eq!(x.dims()[1..], [SIZE, SIZE, 3], "what the network sees");
        let x = self.blocks.iter().fold(self.first.forward(x), |x, block| block.forward(x)); // [B, 8, 8, 64]
        let features = mean_pixels(x);
        let logits = linear(features.clone(), self.weight.clone(), Some(self.bias.clone()));
        Seen { features, logits: Some(logits), spatial: None }
    }
}
