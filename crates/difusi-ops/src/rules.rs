//! Every CPU op as a forward and a backward rule on flex tensors: what [`crate::extension`] registers with burn.

use burn::backend::TensorMetadata;
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

mod attention;

pub(crate) use attention::Fused;

use crate::{
    AttentionKind, ConvSpec,
    kernel::{
        conv::{self, ConvShape},
        conv_grad, layout,
        norm::{self, Coefficients, NormShape},
        sums,
    },
    profile::timed,
};

/// An op of `N` tensors with its gradient.
pub(crate) trait Rule<const N: usize>: Copy + std::fmt::Debug + Send + 'static {
    /// Whether computing it again costs less than keeping its result (for gradient checkpointing).
    fn is_cheap(self) -> bool;
    fn forward(self, inputs: [FlexTensor; N]) -> FlexTensor;
    /// The gradients of the inputs that are `needed`.
    fn backward(self, inputs: [FlexTensor; N], dy: FlexTensor, needed: [bool; N]) -> [Option<FlexTensor>; N];
}

fn values(tensor: &FlexTensor) -> &[f32] {
    match tensor.as_slice::<f32>() {
        Some(values) => values,
        None => unreachable!("the wrappers pass f32 only, and the rules make tensors contiguous first"),
    }
}

fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(dims.to_vec())), DType::F32)
}

fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    let shape = tensor.shape();
    std::array::from_fn(|i| shape[i])
}

/// Ops of one image or matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unary {
    Upsample2,
    Unshuffle2,
    RowSums,
}

impl Rule<1> for Unary {
    fn is_cheap(self) -> bool {
        true
    }

    fn forward(self, [x]: [FlexTensor; 1]) -> FlexTensor {
        let x = x.to_contiguous();
        let shape = x.shape();
        timed(self.name(), || (format!("{shape:?}"), 0.0), || self.compute(x))
    }

    fn backward(self, [x]: [FlexTensor; 1], dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = x.shape();
        [Some(timed(self.name(), || (format!("{shape:?}"), 0.0), || self.gradient(&x, dy.to_contiguous())))]
    }
}

impl Unary {
    fn name(self) -> &'static str {
        match self {
            Unary::Upsample2 => "upsample",
            Unary::Unshuffle2 => "unshuffle",
            Unary::RowSums => "row sums",
        }
    }

    fn compute(self, x: FlexTensor) -> FlexTensor {
        if let Unary::RowSums = self {
            let [rows, columns] = dims(&x);
            return tensor(sums::row_sums(values(&x), columns), [rows]);
        }
        let [batch, height, width, channels] = dims(&x);
        match self {
            Unary::Upsample2 => {
                let y = layout::upsample2(values(&x), [batch, height, width, channels]);
                tensor(y, [batch, 2 * height, 2 * width, channels])
            }
            _ => {
                let y = layout::unshuffle2(values(&x), [batch, height, width, channels]);
                tensor(y, [batch, height / 2, width / 2, 4 * channels])
            }
        }
    }

    fn gradient(self, x: &FlexTensor, dy: FlexTensor) -> FlexTensor {
        match self {
            Unary::RowSums => {
                let [rows, columns] = dims(x);
                let dx = values(&dy).iter().flat_map(|&g| std::iter::repeat_n(g, columns)).collect();
                tensor(dx, [rows, columns])
            }
            Unary::Upsample2 => tensor(layout::upsample2_backward(values(&dy), dims(x)), dims::<4>(x)),
            Unary::Unshuffle2 => tensor(layout::shuffle2(values(&dy), dims(x)), dims::<4>(x)),
        }
    }
}

/// Ops of three tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ternary {
    /// Image, weight, bias.
    Conv(ConvSpec),
    /// Queries, keys, values.
    Attention(AttentionKind),
}

impl Rule<3> for Ternary {
    fn is_cheap(self) -> bool {
        false
    }

    fn forward(self, inputs: [FlexTensor; 3]) -> FlexTensor {
        match self {
            Ternary::Attention(kind) => attention::forward(kind, inputs),
            Ternary::Conv(spec) => {
                let [x, weight, bias] = inputs.map(|t| t.to_contiguous());
                let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec };
                timed(
                    "conv2d",
                    || shape.label(),
                    || tensor(conv::conv2d(values(&x), values(&weight), values(&bias), &shape), shape.y()),
                )
            }
        }
    }

    fn backward(self, inputs: [FlexTensor; 3], dy: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        match self {
            Ternary::Attention(kind) => attention::backward(kind, inputs, dy),
            Ternary::Conv(spec) => conv_backward(inputs, dy, needed, spec),
        }
    }
}

fn conv_backward(
    [x, weight, _]: [FlexTensor; 3],
    dy: FlexTensor,
    needed: [bool; 3],
    spec: ConvSpec,
) -> [Option<FlexTensor>; 3] {
    let (x, weight, dy) = (x.to_contiguous(), weight.to_contiguous(), dy.to_contiguous());
    let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec };
    let dx = needed[0].then(|| {
        let dx = || conv::input_gradient(values(&dy), values(&weight), &shape);
        tensor(timed("conv2d dx", || shape.label(), dx), shape.x)
    });
    if !needed[1] && !needed[2] {
        return [dx, None, None];
    }
    let gradients = || conv_grad::weight_gradient(values(&x), values(&dy), &shape);
    let (dw, db) = timed("conv2d dw", || shape.label(), gradients);
    [dx, Some(tensor(dw, shape.weight)), Some(tensor(db, [shape.weight[0]]))]
}

/// The norm of `x` with gain `[C]`, scale and shift `[images, C]`, and an activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    pub silu: bool,
}

impl Norm {
    fn shape(self, x: &FlexTensor, scale: &FlexTensor) -> NormShape {
        let ([images, channels], values) = (dims(scale), x.shape().num_elements());
        NormShape { images, pixels: values / (images * channels), channels, silu: self.silu }
    }
}

impl Rule<4> for Norm {
    fn is_cheap(self) -> bool {
        true
    }

    fn forward(self, inputs: [FlexTensor; 4]) -> FlexTensor {
        let [x, gain, scale, shift] = inputs.map(|t| t.to_contiguous());
        let given = Coefficients { gain: values(&gain), scale: values(&scale), shift: values(&shift) };
        let shape = self.shape(&x, &scale);
        let y = timed("rms norm", || shape.label(), || norm::forward(values(&x), given, shape));
        FlexTensor::new(Bytes::from_elems(y), Layout::contiguous(x.shape()), DType::F32)
    }

    fn backward(self, inputs: [FlexTensor; 4], dy: FlexTensor, needed: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let ([x, gain, scale, shift], dy) = (inputs.map(|t| t.to_contiguous()), dy.to_contiguous());
        let shape = self.shape(&x, &scale);
        let given = Coefficients { gain: values(&gain), scale: values(&scale), shift: values(&shift) };
        let d = timed("rms norm backward", || shape.label(), || norm::backward(values(&x), given, values(&dy), shape));
        let dx = FlexTensor::new(Bytes::from_elems(d.x), Layout::contiguous(x.shape()), DType::F32);
        let per_image = [shape.images, shape.channels];
        [
            needed[0].then_some(dx),
            needed[1].then(|| tensor(d.gain, [shape.channels])),
            needed[2].then(|| tensor(d.scale, per_image)),
            needed[3].then(|| tensor(d.shift, per_image)),
        ]
    }
}
