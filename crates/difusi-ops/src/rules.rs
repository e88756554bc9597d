//! Every CPU op as a forward and a backward rule on flex tensors: what [`crate::extension`] registers with burn.

use burn::backend::TensorMetadata;
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

mod attention;
mod norm;

pub(crate) use attention::{Fused, LinearLayer};
pub(crate) use norm::{GroupNorm, Norm, Quinary};

use crate::{
    AttentionKind, ConvSpec,
    kernel::{
        conv::{self, ConvShape},
        conv_grad, layout, sums,
    },
    profile::timed,
};

/// An op of `N` tensors with its gradient.
pub(crate) trait Rule<const N: usize>: Copy + std::fmt::Debug + Send + 'static {
    /// Whether computing it again costs less than keeping its result (for gradient checkpointing).
    fn is_cheap(self) -> bool;
    fn forward(self, inputs: [FlexTensor; N]) -> FlexTensor;
    /// Which inputs the backward rule looks at; it gets something empty for the others.
    fn keeps(self) -> [bool; N] {
        [true; N]
    }
    /// The gradients of the inputs that are `needed`.
    fn backward(self, inputs: [FlexTensor; N], dy: FlexTensor, needed: [bool; N]) -> [Option<FlexTensor>; N];
}

fn values(tensor: &FlexTensor) -> &[f32] {
    match tensor.as_slice::<f32>() {
        Some(values) => values,
        None => unreachable!("the wrappers pass f32 only, and the rules make tensors contiguous first"),
    }
}

/// An input that a rule does not keep.
pub(crate) fn nothing() -> FlexTensor {
    tensor(Vec::new(), [0])
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
    /// Image, weight, bias; whether every pixel of the image counts for two by two.
    Conv { spec: ConvSpec, doubled: bool },
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
            Ternary::Conv { spec, doubled } => {
                let [x, weight, bias] = inputs.map(|t| t.to_contiguous());
                let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec, doubled };
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
            Ternary::Conv { spec, doubled } => conv_backward(inputs, dy, needed, (spec, doubled)),
        }
    }
}

fn conv_backward(
    [x, weight, _]: [FlexTensor; 3],
    dy: FlexTensor,
    needed: [bool; 3],
    (spec, doubled): (ConvSpec, bool),
) -> [Option<FlexTensor>; 3] {
    let (x, weight, dy) = (x.to_contiguous(), weight.to_contiguous(), dy.to_contiguous());
    let shape = ConvShape { x: dims(&x), weight: dims(&weight), spec, doubled };
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
