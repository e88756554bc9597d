//! One tensor for several consumers: their gradients are added here, not by burn, whose sum of bf16 takes twenty times as long.
//!
//! The tensor's trunk and its branches share a slot. Each branch adds its gradient to what lies there and tells burn one zero;
//! the trunk's turn comes after all of them, and it takes the sum.

use std::sync::{Arc, Mutex, PoisonError};

use burn_flex::FlexTensor;

use super::{LinearRule, linear::add, number::tensor};

/// Where the gradients of a fork's branches meet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<FlexTensor>>>);

impl Slot {
    fn put(&self, dy: FlexTensor) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = Some(match sum.take() {
            Some(before) => add(before, dy),
            None => dy,
        });
    }

    fn take(&self) -> Option<FlexTensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The tensor itself, before it forks.
#[derive(Clone, Debug)]
pub(crate) struct Trunk(pub Slot);

impl LinearRule<1> for Trunk {
    fn forward(&self, [x]: [FlexTensor; 1]) -> FlexTensor {
        x
    }

    fn backward(&self, _: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [self.0.take()]
    }
}

/// The tensor itself, for one of its consumers.
#[derive(Clone, Debug)]
pub(crate) struct Branch(pub Slot);

impl LinearRule<1> for Branch {
    fn forward(&self, [x]: [FlexTensor; 1]) -> FlexTensor {
        x
    }

    fn backward(&self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        self.0.put(dy);
        [Some(tensor(vec![0.0f32], [1]))]
    }
}
