//! Exponential moving averages of the trainable weights.
//!
//! Constants and buffers are never averaged: an average of the weights is worn by a copy of the model that keeps its own.

use difusi_ops::Average;

/// The rate of update `n` (from 0): `rate`, or with warm-up `min(rate, (1 + n) / (10 + n))`, which forgets the
/// initial weights quickly.
pub fn ema_decay(rate: f64, n: u64, warmup: bool) -> f64 {
    if warmup { rate.min((1.0 + n as f64) / (10.0 + n as f64)) } else { rate }
}

/// One average of all trainable weights.
#[derive(Clone, Debug)]
pub(crate) struct Ema {
    pub(crate) rate: f64,
    /// In the order of the trainable weights.
    pub(crate) values: Vec<f32>,
}

impl Ema {
    /// An average that starts at `weights`.
    pub(crate) fn new(rate: f64, weights: &[f32]) -> Self {
        Self { rate, values: weights.to_vec() }
    }

    /// As update `n` (from 0) takes it.
    pub(crate) fn at(&mut self, n: u64, warmup: bool) -> Average<'_> {
        Average { decay: ema_decay(self.rate, n, warmup), values: &mut self.values }
    }
}

#[cfg(test)]
mod tests {
    use difusi_ops::Gradient;

    use super::*;
    use crate::OptimizerConfig;
    use crate::optimizer::{Moments, Update};

    #[test]
    fn warm_up_follows_its_formula_and_ends_at_the_rate() {
        assert_eq!(ema_decay(0.995, 0, true), 0.1);
        assert_eq!(ema_decay(0.995, 8, true), 0.5);
        assert_eq!(ema_decay(0.995, 1790, true), 0.995); // (1 + n) / (10 + n) reaches 0.995 at n = 1790
        assert!(ema_decay(0.995, 1700, true) < 0.995);
        assert_eq!(ema_decay(0.995, 0, false), 0.995);
        assert!((0..5000).all(|n| ema_decay(0.995, n, true) <= ema_decay(0.995, n + 1, true)));
    }

    /// A step that reaches no weight.
    fn update(ema: &mut Ema, weights: &mut [f32], n: u64) {
        let gradient = [Gradient::Absent(weights.len())];
        let with = Update { optimizer: OptimizerConfig::default(), learning_rate: 1.0, grad_scale: 1.0 };
        Moments::new(weights.len()).update(weights, vec![ema.at(n, true)], &gradient, with);
    }

    /// The average of weights that do not move is those weights, to the last bit.
    #[test]
    fn constants_stay() {
        let mut weights: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let mut ema = Ema::new(0.9999, &weights);
        (0..200).for_each(|n| update(&mut ema, &mut weights, n));
        assert_eq!(ema.values, weights);
    }

    /// Against the recurrence in f64.
    #[test]
    fn average_follows_the_recurrence() {
        let mut ema = Ema::new(0.9, &[1.0]);
        let mut exact = 1.0;
        for n in 0..50u64 {
            let w = (n as f64 * 0.3).cos();
            update(&mut ema, &mut [w as f32], n);
            let d = 0.9f64.min((1.0 + n as f64) / (10.0 + n as f64));
            exact = d * exact + (1.0 - d) * w;
        }
        assert!((f64::from(ema.values[0]) - exact).abs() < 1e-6);
    }
}
