//! Activations: ops of every number by itself.

use burn::backend::TensorMetadata;
use burn_flex::FlexTensor;

use super::{
    Rule,
    number::{Number, contiguous, shaped, values, with_number},
};
use crate::{kernel::pointwise, profile::timed};

/// Ops of one tensor, number by number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pointwise {
    /// With this slope below 0.
    LeakyRelu(f32),
}

impl Pointwise {
    fn compute<E: Number>(self, x: &FlexTensor) -> FlexTensor {
        let Self::LeakyRelu(slope) = self;
        shaped(pointwise::leaky_relu(values::<E>(&contiguous::<E>(x)), slope), x.shape())
    }

    fn gradient<E: Number>(self, x: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
        let Self::LeakyRelu(slope) = self;
        let [x, dy] = [x, dy].map(contiguous::<E>);
        shaped(pointwise::leaky_relu_backward(values::<E>(&x), values(&dy), slope), dy.shape())
    }
}

impl Rule<1> for Pointwise {
    fn is_cheap(self) -> bool {
        true
    }

    fn forward(self, [x]: [FlexTensor; 1]) -> FlexTensor {
        let work = || with_number!(&x, E => self.compute::<E>(&x));
        timed("leaky relu", || (format!("{:?}", x.shape()), 0.0), work)
    }

    fn backward(self, [x]: [FlexTensor; 1], dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let work = || with_number!(&x, E => self.gradient::<E>(&x, &dy));
        [Some(timed("leaky relu dx", || (format!("{:?}", dy.shape()), 0.0), work))]
    }
}
