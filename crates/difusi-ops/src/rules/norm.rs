//! Norms as rules: over channels (RMS), with and without a residual, and over groups of channels.

use burn::backend::TensorMetadata;
use burn_flex::FlexTensor;

use super::{
    LinearLayer, Rule,
    number::{Number, contiguous, dims, shaped, tensor, values, with_number},
};
use crate::{
    kernel::{
        group_norm::{self, Affine, GroupShape},
        norm::{self, Coefficients, NormShape},
    },
    profile::timed,
};

/// `values` with the shape of `x`.
fn like<E: Number>(x: &FlexTensor, values: Vec<E>) -> FlexTensor {
    shaped(values, x.shape())
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

    fn compute<E: Number>(self, inputs: [FlexTensor; 4], residual: Option<FlexTensor>) -> FlexTensor {
        let [x, rest @ ..] = inputs;
        let (x, rest) = (contiguous::<E>(&x), rest.map(|t| contiguous::<f32>(&t)));
        let residual = residual.map(|r| contiguous::<E>(&r));
        let (shape, residual) = (self.shape(&x, &rest[1]), residual.as_ref().map(values::<E>));
        let y = || norm::forward(values::<E>(&x), residual, coefficients(&rest), shape);
        like(&x, timed("rms norm", || shape.label(), y))
    }

    fn gradients<E: Number>(
        self,
        inputs: [FlexTensor; 4],
        dy: &FlexTensor,
        needed: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let [x, rest @ ..] = inputs;
        let (x, rest, dy) = (contiguous::<E>(&x), rest.map(|t| contiguous::<f32>(&t)), contiguous::<E>(dy));
        let shape = self.shape(&x, &rest[1]);
        let work = || norm::backward(values::<E>(&x), coefficients(&rest), values(&dy), shape);
        let d = timed("rms norm backward", || shape.label(), work);
        let per_image = [shape.images, shape.channels];
        [
            needed[0].then(|| like(&x, d.x)),
            needed[1].then(|| tensor(d.gain, [shape.channels])),
            needed[2].then(|| tensor(d.scale, per_image)),
            needed[3].then(|| tensor(d.shift, per_image)),
        ]
    }
}

fn coefficients([gain, scale, shift]: &[FlexTensor; 3]) -> Coefficients<'_, f32> {
    Coefficients { gain: values(gain), scale: values(scale), shift: values(shift) }
}

impl Rule<4> for Norm {
    fn is_cheap(self) -> bool {
        true
    }

    fn forward(self, inputs: [FlexTensor; 4]) -> FlexTensor {
        with_number!(&inputs[0], E => self.compute::<E>(inputs, None))
    }

    fn backward(self, inputs: [FlexTensor; 4], dy: FlexTensor, needed: [bool; 4]) -> [Option<FlexTensor>; 4] {
        with_number!(&inputs[0], E => self.gradients::<E>(inputs, &dy, needed))
    }
}

/// Ops of five tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quinary {
    /// The four of a norm, and what is added behind the activation.
    Added(Norm),
    /// `x`, gain and bias `[C]`, scale and shift `[images, C]` or `[1, C]`.
    Group(GroupNorm),
    /// `x` and the projections of a whole attention layer.
    Layer(LinearLayer),
}

/// The norm of groups of channels, and an activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNorm {
    pub groups: usize,
    pub epsilon: f64,
    pub silu: bool,
}

impl GroupNorm {
    fn shape(self, x: &FlexTensor, gain: &FlexTensor) -> GroupShape {
        let ([channels], shape) = (dims(gain), x.shape());
        let (images, GroupNorm { groups, epsilon, silu }) = (shape[0], self);
        GroupShape { images, pixels: shape.num_elements() / (images * channels), channels, groups, epsilon, silu }
    }

    fn compute<E: Number>(self, [x, rest @ ..]: [FlexTensor; 5]) -> FlexTensor {
        let (x, rest) = (contiguous::<E>(&x), rest.map(|t| contiguous::<f32>(&t)));
        let shape = self.shape(&x, &rest[0]);
        let work = || group_norm::forward(values::<E>(&x), affine(&rest), shape);
        like(&x, timed("group norm", || shape.label(), work))
    }

    fn gradients<E: Number>(
        self,
        [x, rest @ ..]: [FlexTensor; 5],
        dy: &FlexTensor,
        needed: [bool; 5],
    ) -> [Option<FlexTensor>; 5] {
        let (x, rest, dy) = (contiguous::<E>(&x), rest.map(|t| contiguous::<f32>(&t)), contiguous::<E>(dy));
        let shape = self.shape(&x, &rest[0]);
        let work = || group_norm::backward(values::<E>(&x), affine(&rest), values(&dy), shape);
        let d = timed("group norm backward", || shape.label(), work);
        [
            needed[0].then(|| like(&x, d.x)),
            needed[1].then(|| like(&rest[0], d.gain)),
            needed[2].then(|| like(&rest[1], d.bias)),
            needed[3].then(|| like(&rest[2], d.scale)),
            needed[4].then(|| like(&rest[3], d.shift)),
        ]
    }
}

fn affine([gain, bias, scale, shift]: &[FlexTensor; 4]) -> Affine<'_, f32> {
    Affine { gain: values(gain), bias: values(bias), scale: values(scale), shift: values(shift) }
}

impl Rule<5> for Quinary {
    fn is_cheap(self) -> bool {
        !matches!(self, Quinary::Layer(_))
    }

    fn keeps(self) -> [bool; 5] {
        match self {
            Quinary::Added(_) => [true, true, true, true, false],
            Quinary::Group(_) | Quinary::Layer(_) => [true; 5],
        }
    }

    fn forward(self, inputs: [FlexTensor; 5]) -> FlexTensor {
        match self {
            Quinary::Added(norm) => {
                let [x, gain, scale, shift, residual] = inputs;
                with_number!(&x, E => norm.compute::<E>([x, gain, scale, shift], Some(residual)))
            }
            Quinary::Group(norm) => with_number!(&inputs[0], E => norm.compute::<E>(inputs)),
            Quinary::Layer(layer) => with_number!(&inputs[0], E => layer.compute::<E>(inputs)),
        }
    }

    fn backward(self, inputs: [FlexTensor; 5], dy: FlexTensor, needed: [bool; 5]) -> [Option<FlexTensor>; 5] {
        match self {
            Quinary::Added(norm) => {
                let ([x, gain, scale, shift, _], [a, b, c, d, residual]) = (inputs, needed);
                let inputs = [x, gain, scale, shift];
                let gradients = with_number!(&inputs[0], E => norm.gradients::<E>(inputs, &dy, [a, b, c, d]));
                let [dx, dgain, dscale, dshift] = gradients;
                [dx, dgain, dscale, dshift, residual.then_some(dy)]
            }
            Quinary::Group(norm) => with_number!(&inputs[0], E => norm.gradients::<E>(inputs, &dy, needed)),
            Quinary::Layer(layer) => with_number!(&inputs[0], E => layer.gradients::<E>(inputs, &dy)),
        }
    }
}
