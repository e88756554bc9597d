//! The blocks of Inception-v3 (arXiv:1512.00567, figures 5, 6, 7 and 10): paths over one input, their results side by side.

use burn::tensor::Tensor;
use difusi_ops::{Activation, ConvSpec, FixedConv, Pooling, max_pool, mean_pool};

use crate::features::tensors::Tensors;

/// Of the batch norms.
const EPSILON: f64 = 1e-3;

/// One step of a path.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// With its batch norm and ReLU.
    Conv(FixedConv),
    Mean(Pooling),
    Max(Pooling),
}

impl Step {
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Mean(pooling) => mean_pool(x, *pooling, None),
            Self::Max(pooling) => max_pool(x, *pooling, None),
        }
    }

    /// The shape of the result from that of x.
    fn output(&self, x: [usize; 4]) -> [usize; 4] {
        match self {
            Self::Conv(conv) => conv.output(x),
            Self::Mean(pooling) | Self::Max(pooling) => pooling.output(x),
        }
    }

    /// Into the channels of y from `first` on.
    fn forward_into(&self, x: Tensor<4>, y: Tensor<4>, first: usize) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward_into(x, y, first),
            Self::Mean(pooling) => mean_pool(x, *pooling, Some((y, first))),
            Self::Max(pooling) => max_pool(x, *pooling, Some((y, first))),
        }
    }
}

/// Steps one after the other, and those that end it, each from where the last of these arrived.
#[derive(Clone, Debug)]
struct Path {
    steps: Vec<Step>,
    ends: Vec<Step>,
}

/// Paths over one input. The results of all ends, in their order, are the channels of its output.
#[derive(Clone, Debug)]
pub(super) struct Block(Vec<Path>);

impl Block {
    /// `[B, H, W, in]` to `[B, H', W', out]`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (mut y, mut first) = (None, 0);
        let channels = self.channels(x.dims());
        for path in &self.0 {
            let arrived = path.steps.iter().fold(x.clone(), |x, step| step.forward(x));
            for end in &path.ends {
                let [batch, height, width, own] = end.output(arrived.dims());
                let to = y.take().unwrap_or_else(|| Tensor::zeros([batch, height, width, channels], &x.device()));
                y = Some(end.forward_into(arrived.clone(), to, first));
                first += own;
            }
        }
        y.unwrap_or(x)
    }

    /// Channels of all ends together.
    fn channels(&self, x: [usize; 4]) -> usize {
        let ends = |path: &Path| {
            let arrived = path.steps.iter().fold(x, |x, step| step.output(x));
            path.ends.iter().map(|end| end.output(arrived)[3]).sum::<usize>()
        };
        self.0.iter().map(ends).sum()
    }
}

/// Kernel, stride, padding.
pub(super) type Window = ([usize; 2], usize, [usize; 2]);

/// `BasicConv2d`: a convolution, its batch norm, a ReLU.
pub(super) fn basic(
    from: &mut Tensors<'_>,
    name: &str,
    [inside, out]: [usize; 2],
    (kernel, stride, padding): Window,
) -> Step {
    let names = [&*format!("{name}.conv"), &*format!("{name}.bn")];
    let (shape, spec) = ([out, inside, kernel[0], kernel[1]], ConvSpec { stride, padding });
    Step::Conv(from.normed_conv(names, shape, (spec, Activation::Relu), EPSILON))
}

/// A kernel that keeps the size.
const fn same(height: usize, width: usize) -> Window {
    ([height, width], 1, [height / 2, width / 2])
}

/// Halves the size.
const HALF: Window = ([3, 3], 2, [0, 0]);

/// Reads the paths of one block.
struct Reader<'a, 'b> {
    from: &'a mut Tensors<'b>,
    block: &'a str,
    inside: usize,
    paths: Vec<Path>,
}

/// A convolution of a path: its name, output channels and kernel.
type Named = (&'static str, usize, Window);

impl Reader<'_, '_> {
    /// Convolutions one after the other, after `before`.
    fn path(&mut self, before: Option<Step>, convs: &[Named]) {
        self.fork(before, convs, &[]);
    }

    /// The same, and then `ends` side by side.
    fn fork(&mut self, before: Option<Step>, convs: &[Named], ends: &[Named]) {
        let (mut steps, mut channels): (Vec<Step>, _) = (before.into_iter().collect(), self.inside);
        for &conv in convs {
            steps.push(self.conv(channels, conv));
            channels = conv.1;
        }
        let ends: Vec<Step> = match ends {
            [] => steps.pop().into_iter().collect(),
            ends => ends.iter().map(|&end| self.conv(channels, end)).collect(),
        };
        self.paths.push(Path { steps, ends });
    }

    fn conv(&mut self, inside: usize, (name, out, window): Named) -> Step {
        basic(self.from, &format!("{}.{name}", self.block), [inside, out], window)
    }
}

fn read(from: &mut Tensors<'_>, block: &str, inside: usize, paths: impl FnOnce(&mut Reader<'_, '_>)) -> Block {
    let mut reader = Reader { from, block, inside, paths: Vec::new() };
    paths(&mut reader);
    Block(reader.paths)
}

/// The mean of the neighbours, the border left out.
fn neighbours() -> Option<Step> {
    Some(Step::Mean(Pooling::new(3, 1, 1)))
}

/// `FIDInceptionA`: 35x35; `pooled` channels after the mean.
pub(super) fn block_a(from: &mut Tensors<'_>, name: &str, inside: usize, pooled: usize) -> Block {
    read(from, name, inside, |block| {
        block.path(None, &[("branch1x1", 64, same(1, 1))]);
        block.path(None, &[("branch5x5_1", 48, same(1, 1)), ("branch5x5_2", 64, same(5, 5))]);
        let three = [
            ("branch3x3dbl_1", 64, same(1, 1)),
            ("branch3x3dbl_2", 96, same(3, 3)),
            ("branch3x3dbl_3", 96, same(3, 3)),
        ];
        block.path(None, &three);
        block.path(neighbours(), &[("branch_pool", pooled, same(1, 1))]);
    })
}

/// `InceptionB`: 35x35 to 17x17.
pub(super) fn block_b(from: &mut Tensors<'_>, name: &str, inside: usize) -> Block {
    read(from, name, inside, |block| {
        block.path(None, &[("branch3x3", 384, HALF)]);
        let three =
            [("branch3x3dbl_1", 64, same(1, 1)), ("branch3x3dbl_2", 96, same(3, 3)), ("branch3x3dbl_3", 96, HALF)];
        block.path(None, &three);
        block.path(Some(Step::Max(Pooling::new(3, 2, 0))), &[]);
    })
}

/// `FIDInceptionC`: 17x17; 7x7 kernels as 1x7 and 7x1 of `narrow` channels.
pub(super) fn block_c(from: &mut Tensors<'_>, name: &str, inside: usize, narrow: usize) -> Block {
    read(from, name, inside, |block| {
        block.path(None, &[("branch1x1", 192, same(1, 1))]);
        let once = [
            ("branch7x7_1", narrow, same(1, 1)),
            ("branch7x7_2", narrow, same(1, 7)),
            ("branch7x7_3", 192, same(7, 1)),
        ];
        block.path(None, &once);
        let twice = [
            ("branch7x7dbl_1", narrow, same(1, 1)),
            ("branch7x7dbl_2", narrow, same(7, 1)),
            ("branch7x7dbl_3", narrow, same(1, 7)),
            ("branch7x7dbl_4", narrow, same(7, 1)),
            ("branch7x7dbl_5", 192, same(1, 7)),
        ];
        block.path(None, &twice);
        block.path(neighbours(), &[("branch_pool", 192, same(1, 1))]);
    })
}

/// `InceptionD`: 17x17 to 8x8.
pub(super) fn block_d(from: &mut Tensors<'_>, name: &str, inside: usize) -> Block {
    read(from, name, inside, |block| {
        block.path(None, &[("branch3x3_1", 192, same(1, 1)), ("branch3x3_2", 320, HALF)]);
        let seven = [
            ("branch7x7x3_1", 192, same(1, 1)),
            ("branch7x7x3_2", 192, same(1, 7)),
            ("branch7x7x3_3", 192, same(7, 1)),
            ("branch7x7x3_4", 192, HALF),
        ];
        block.path(None, &seven);
        block.path(Some(Step::Max(Pooling::new(3, 2, 0))), &[]);
    })
}

/// `FIDInceptionE_1` and `FIDInceptionE_2`: 8x8; they differ in the pooling.
pub(super) fn block_e(from: &mut Tensors<'_>, name: &str, inside: usize, pool: Step) -> Block {
    read(from, name, inside, |block| {
        block.path(None, &[("branch1x1", 320, same(1, 1))]);
        let ends = [("branch3x3_2a", 384, same(1, 3)), ("branch3x3_2b", 384, same(3, 1))];
        block.fork(None, &[("branch3x3_1", 384, same(1, 1))], &ends);
        let ends = [("branch3x3dbl_3a", 384, same(1, 3)), ("branch3x3dbl_3b", 384, same(3, 1))];
        block.fork(None, &[("branch3x3dbl_1", 448, same(1, 1)), ("branch3x3dbl_2", 384, same(3, 3))], &ends);
        block.path(Some(pool), &[("branch_pool", 192, same(1, 1))]);
    })
}
