//! The gradient of a step: the memory that the backward pass has left it in, tensor by tensor, added up over a step's parts.
//!
//! Deliberately absent: a flat copy. The norm and the optimiser read it where it lies.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use difusi_ops::ordered;
use rayon::prelude::*;

use crate::TrainError;
use crate::params::{Layout, data, has_bad, slice};

/// One entry per trainable tensor, in the module's order; `None` where the loss has not reached it.
pub(crate) struct Gradient(Vec<Option<TensorData>>);

impl Gradient {
    /// Of `trainable` tensors, before any part.
    pub(crate) fn none(trainable: usize) -> Self {
        Self(vec![None; trainable])
    }

    /// Adds what a backward pass has left to `model`'s trainable weights.
    pub(crate) fn add<M: Module>(
        &mut self,
        model: &M,
        gradients: Gradients,
        layout: &Layout,
    ) -> Result<(), TrainError> {
        let mut taker = Taker { gradients, layout, next: 0, taken: Vec::with_capacity(self.0.len()), error: None };
        model.visit(&mut taker);
        match taker.error {
            Some(error) => return Err(error),
            None => self.0.par_iter_mut().zip(taker.taken).for_each(|(sum, part)| add(sum, part)),
        }
        Ok(())
    }

    /// The L2 norm of all of it.
    pub(crate) fn norm(&self) -> f64 {
        ordered::grad_norm(self.0.iter().flatten().map(slice))
    }

    /// The first tensor with a value that is not finite.
    pub(crate) fn first_bad<'a>(&self, layout: &'a Layout) -> Option<&'a str> {
        let bad = |g: &Option<TensorData>| g.as_ref().is_some_and(|g| has_bad(slice(g)));
        layout.trained().zip(&self.0).find(|(_, g)| bad(g)).map(|((entry, _), _)| entry.name.as_str())
    }

    /// As the optimiser takes it.
    pub(crate) fn tensors(&self, layout: &Layout) -> Vec<difusi_ops::Gradient<'_>> {
        let tensors = layout.trained().zip(&self.0).map(|((_, range), gradient)| match gradient {
            Some(gradient) => difusi_ops::Gradient::Of(slice(gradient)),
            None => difusi_ops::Gradient::Absent(range.len()),
        });
        tensors.collect()
    }
}

fn add(sum: &mut Option<TensorData>, part: Option<TensorData>) {
    match (sum, part) {
        (_, None) => {}
        (sum @ None, part) => *sum = part,
        (Some(sum), Some(part)) => {
            if let Ok(sum) = sum.as_mut_slice::<f32>() {
                sum.iter_mut().zip(slice(&part)).for_each(|(s, g)| *s += g);
            }
        }
    }
}

/// Takes gradients out of burn's container.
struct Taker<'a> {
    gradients: Gradients,
    layout: &'a Layout,
    next: usize,
    taken: Vec<Option<TensorData>>,
    error: Option<TrainError>,
}

impl ModuleVisitor for Taker<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let entry = &self.layout.entries[self.next];
        self.next += 1;
        if entry.trained.is_none() {
            return;
        }
        let gradient = param.val().grad_remove(&mut self.gradients).map(|g| data(g, &entry.name)).transpose();
        self.taken.push(gradient.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            None
        }));
    }
}
