//! Adam and AdamW over the flat vector of trainable weights, and clipping of the gradient by its norm.
//!
//! The arithmetic per element is `difusi_ops::AdamStep`; here are the moments and the count of updates.

use difusi_ops::{AdamState, AdamStep, Average, Gradient, WeightDecay};

use crate::OptimizerConfig;

/// The optimiser's state.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// First moments, in the order of the trainable weights.
    pub(crate) first: Vec<f32>,
    /// Second moments.
    pub(crate) second: Vec<f32>,
    /// Updates made; skipped steps do not count.
    pub(crate) updates: u64,
}

impl Moments {
    pub(crate) fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], updates: 0 }
    }

    /// One update of the weights, the gradients multiplied by `with.grad_scale`, and of the averages. Returns each tensor's
    /// new values.
    pub(crate) fn update(
        &mut self,
        weights: &mut [f32],
        averages: Vec<Average<'_>>,
        gradients: &[Gradient<'_>],
        with: Update,
    ) -> Vec<Vec<f32>> {
        self.updates += 1;
        let (beta1, beta2, eps, decay) = match with.optimizer {
            OptimizerConfig::Adam { beta1, beta2, eps } => (beta1, beta2, eps, WeightDecay::None),
            OptimizerConfig::Adamw { beta1, beta2, eps, weight_decay } => {
                (beta1, beta2, eps, WeightDecay::Decoupled(weight_decay))
            }
        };
        let Update { learning_rate, grad_scale, .. } = with;
        let step = AdamStep { learning_rate, beta1, beta2, eps, decay, grad_scale, step: self.updates };
        let Self { first, second, .. } = self;
        step.apply(AdamState { values: weights, first, second, averages }, gradients)
    }
}

/// The numbers of one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    pub(crate) optimizer: OptimizerConfig,
    pub(crate) learning_rate: f64,
    pub(crate) grad_scale: f64,
}

/// What a gradient of L2 norm `norm` is multiplied by so that its norm is at most `clip`, as in PyTorch's `clip_grad_norm_`
/// (`clip / (norm + 1e-6)`, at most 1); 1 where `clip` is 0.
pub(crate) fn clip_scale(norm: f64, clip: f64) -> f64 {
    if clip == 0.0 { 1.0 } else { (clip / (norm + 1e-6)).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_bounds_the_norm_and_leaves_short_gradients_alone() {
        assert_eq!(clip_scale(0.5, 1.0), 1.0);
        assert_eq!(clip_scale(50.0, 0.0), 1.0);
        for norm in [1.5, 10.0, 1e20] {
            let clipped = norm * clip_scale(norm, 1.0);
            assert!(clipped <= 1.0 && clipped > 1.0 - 1e-5, "{norm} -> {clipped}");
        }
    }
}
