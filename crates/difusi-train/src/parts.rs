//! What a loss is made of, for people to look at: sums of named parts over the images of a step.
//!
//! Deliberately absent: anything that training depends on.

use burn::tensor::Tensor;

use crate::{TrainError, params};

/// Sums that an objective keeps for [`crate::Objective::take_parts`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartSums {
    sums: Vec<f64>,
    images: u64,
}

impl PartSums {
    /// Adds parts of some images, one number per image in each: `N` times `[B]`.
    ///
    /// # Errors
    /// Numbers that the device does not give.
    pub fn add<const N: usize>(&mut self, parts: [Tensor<1>; N]) -> Result<(), TrainError> {
        self.sums.resize(N, 0.0);
        let mut images = 0;
        for (sum, part) in self.sums.iter_mut().zip(parts) {
            let values = params::values(part, "a part of the loss")?;
            *sum += values.iter().map(|v| f64::from(*v)).sum::<f64>();
            images = values.len() as u64;
        }
        self.images += images;
        Ok(())
    }

    /// The means over all images since the last call; empty where there were none.
    pub fn take(&mut self) -> Vec<f64> {
        let Self { sums, images } = std::mem::take(self);
        if images == 0 { Vec::new() } else { sums.iter().map(|sum| sum / images as f64).collect() }
    }
}
