//! The Inception-v3 of the Frechet Inception Distance (Szegedy et al., arXiv:1512.00567; Heusel et al., arXiv:1706.08500): the network
//! in TensorFlow's archive of 2015-12-05, as ported by pytorch-fid, whose names and shapes the tensors have
//! (`pt_inception-2015-12-05-6726825d.pth`; torch-fidelity's file is the same).
//!
//! It is not torchvision's: means over a 3x3 window leave out the border, the last block takes the largest value instead of the
//! mean, and there are 1,008 classes. Batch norms have epsilon 0.001.
//!
//! [`InceptionTap`] says which features are taken. With them come, where the network gets so far:
//! - class scores of the 1,008-way head, without its bias: TensorFlow's Inception Score, guided-diffusion's and
//!   torch-fidelity's (`logits_unbiased`) leave it out. [`Inception::with_bias`] puts it back.
//! - the spatial features of sFID (Nash et al., arXiv:2103.03841) as guided-diffusion takes them: its graph's `mixed_6/conv` is the 1x1
//!   branch of the block that is called `Mixed_6d` here, after its ReLU, of which it keeps the first 7 channels: 17 x 17 x 7 = 2,023
//!   numbers, in this order.
//!
//! Deliberately absent: the auxiliary head (no file of these weights has one), other sizes than 299x299.

mod blocks;

use blocks::{Block, Step, basic, block_a, block_b, block_c, block_d, block_e};
use burn::tensor::{Device, Tensor};
use difusi_ops::{Pooling, linear, mean_pixels};

use super::tensors::{self, Tensors};
use super::{FeatureNetwork, Input, Scale, Seen};
use crate::{NnError, ParamInfo, Weight};

/// Height and width of what it sees.
const SIZE: usize = 299;
/// Classes of its head.
const CLASSES: usize = 1008;
/// Channels that spatial features are taken from.
pub const SPATIAL_CHANNELS: usize = 7;
/// Height and width of the images that spatial features are taken from.
const SPATIAL_SIZE: usize = 17;

/// Where features are taken: the mean over the pixels of ...
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InceptionTap {
    /// ... the first max pooling: 64 features.
    FirstPool,
    /// ... the second max pooling: 192.
    SecondPool,
    /// ... what would go to the auxiliary classifier, `Mixed_6e`: 768.
    PreAux,
    /// ... the last block: 2,048, the features of FID and KID.
    #[default]
    Final,
}

impl InceptionTap {
    /// All of them, in the network's order.
    pub const ALL: [Self; 4] = [Self::FirstPool, Self::SecondPool, Self::PreAux, Self::Final];

    /// How many features.
    pub const fn dim(self) -> usize {
        match self {
            Self::FirstPool => 64,
            Self::SecondPool => 192,
            Self::PreAux => 768,
            Self::Final => 2048,
        }
    }

    /// The tap with so many features.
    pub fn of_dim(dim: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|tap| tap.dim() == dim)
    }
}

/// The network. A tap before the last leaves out what comes after it.
#[derive(Clone, Debug)]
pub struct Inception {
    /// Up to the first max pooling, up to the second, up to `Mixed_6d`, `Mixed_6e`, up to the end.
    stages: [Vec<Stage>; 5],
    weight: Tensor<2>,
    bias: Tensor<1>,
    tap: InceptionTap,
    with_bias: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    Step(Step),
    Block(Block),
}

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Step(step) => step.forward(x),
            Self::Block(block) => block.forward(x),
        }
    }
}

fn make(from: &mut Tensors<'_>) -> Inception {
    let step = |step| Stage::Step(step);
    let pool = || step(Step::Max(Pooling::new(3, 2, 0)));
    let first = vec![
        step(basic(from, "Conv2d_1a_3x3", [3, 32], ([3, 3], 2, [0, 0]))),
        step(basic(from, "Conv2d_2a_3x3", [32, 32], ([3, 3], 1, [0, 0]))),
        step(basic(from, "Conv2d_2b_3x3", [32, 64], ([3, 3], 1, [1, 1]))),
        pool(),
    ];
    let second = vec![
        step(basic(from, "Conv2d_3b_1x1", [64, 80], ([1, 1], 1, [0, 0]))),
        step(basic(from, "Conv2d_4a_3x3", [80, 192], ([3, 3], 1, [0, 0]))),
        pool(),
    ];
    let middle = vec![
        block_a(from, "Mixed_5b", 192, 32),
        block_a(from, "Mixed_5c", 256, 64),
        block_a(from, "Mixed_5d", 288, 64),
        block_b(from, "Mixed_6a", 288),
        block_c(from, "Mixed_6b", 768, 128),
        block_c(from, "Mixed_6c", 768, 160),
        block_c(from, "Mixed_6d", 768, 160),
    ];
    let last = vec![block_c(from, "Mixed_6e", 768, 192)];
    let end = vec![
        block_d(from, "Mixed_7a", 768),
        block_e(from, "Mixed_7b", 1280, Step::Mean(Pooling::new(3, 1, 1))),
        block_e(from, "Mixed_7c", 2048, Step::Max(Pooling::new(3, 1, 1))),
    ];
    let blocks = |blocks: Vec<Block>| blocks.into_iter().map(Stage::Block).collect();
    let weight = from.take("fc.weight".into(), &[CLASSES, 2048]);
    let bias = from.take("fc.bias".into(), &[CLASSES]);
    Inception {
        stages: [first, second, blocks(middle), blocks(last), blocks(end)],
        weight: from.tensor(weight, [CLASSES, 2048]),
        bias: from.tensor(bias, [CLASSES]),
        tap: InceptionTap::Final,
        with_bias: false,
    }
}

impl Inception {
    /// Names and shapes of its tensors.
    pub fn parameters() -> Vec<ParamInfo> {
        tensors::parameters(make)
    }

    /// The network with these weights, looking at its last tap. Counters of batch norms and an auxiliary head are not looked at.
    ///
    /// # Errors
    /// [`NnError::Weights`] lists every tensor that is missing, unknown or of another shape.
    pub fn load(weights: impl IntoIterator<Item = Weight>, device: &Device) -> Result<Self, NnError> {
        tensors::build(weights, device, |name| name.starts_with("AuxLogits."), make)
    }

    /// The same, its features taken at `tap`.
    pub fn at(mut self, tap: InceptionTap) -> Self {
        self.tap = tap;
        self
    }

    /// The same, its class scores with the head's bias.
    pub fn with_bias(mut self) -> Self {
        self.with_bias = true;
        self
    }
}

impl FeatureNetwork for Inception {
    fn input(&self) -> Input {
        Input { size: [SIZE; 2], channels: 3, scale: Scale::Symmetric }
    }

    fn dim(&self) -> usize {
        self.tap.dim()
    }

    fn classes(&self) -> Option<usize> {
        (self.tap == InceptionTap::Final).then_some(CLASSES)
    }

    fn spatial_dim(&self) -> Option<usize> {
        let reached = matches!(self.tap, InceptionTap::PreAux | InceptionTap::Final);
        reached.then_some(SPATIAL_SIZE * SPATIAL_SIZE * SPATIAL_CHANNELS)
    }

    fn look(&self, x: Tensor<4>) -> Seen {
        assert_eq!(x.dims()[1..], [SIZE, SIZE, 3], "what the network sees");
        let last = match self.tap {
            InceptionTap::FirstPool => 0,
            InceptionTap::SecondPool => 1,
            InceptionTap::PreAux => 3,
            InceptionTap::Final => 4,
        };
        let (mut x, mut spatial) = (x, None);
        for (i, stages) in self.stages.iter().enumerate().take(last + 1) {
            x = stages.iter().fold(x, |x, stage| stage.forward(x));
            if i == 2 {
                let [batch, height, width, _] = x.dims();
                // The 1x1 branch comes first in the block's output.
                let part = x.clone().narrow(3, 0, SPATIAL_CHANNELS);
                spatial = Some(part.reshape([batch, height * width * SPATIAL_CHANNELS]));
            }
        }
        let features = mean_pixels(x); // [B, D]
        let bias = self.with_bias.then(|| self.bias.clone());
        let logits = self.classes().map(|_| linear(features.clone(), self.weight.clone(), bias));
        Seen { features, logits, spatial }
    }
}
