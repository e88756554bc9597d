//! Adam and AdamW in one pass over host slices, and the exponential moving average of weights.
//!
//! Adam: arXiv:1412.6980; decoupled decay: arXiv:1711.05101; the order of operations is PyTorch's (`torch.optim.Adam`,
//! not fused). Every element stands alone, so the number of threads cannot change a bit.
//! Deliberately absent: AMSGrad, parameter groups, and which parameters there are: the trainer holds the state.

use rayon::prelude::*;

const CHUNK: usize = 1 << 14;

/// How weights are pulled towards zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// Not at all.
    None,
    /// `decay · w` is added to the gradient (Adam).
    L2(f64),
    /// `w` shrinks by `learning_rate · decay · w` before the step (AdamW).
    Decoupled(f64),
}

/// The numbers of one optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment; PyTorch's default is 1e-8.
    pub eps: f64,
    /// Weight decay.
    pub decay: WeightDecay,
    /// Every gradient is multiplied by this first (clipping, mean over accumulated batches); 1 changes nothing.
    pub grad_scale: f64,
    /// How many steps this makes, itself included: 1 at the first. Sets the bias corrections.
    pub step: u64,
}

/// One parameter's values, gradient and moments: four slices of one length.
pub struct ParamState<'a> {
    /// The weights, changed in place.
    pub param: &'a mut [f32],
    /// The gradient of the loss.
    pub grad: &'a [f32],
    /// First moment; zeros before the first step.
    pub first: &'a mut [f32],
    /// Second moment; zeros before the first step.
    pub second: &'a mut [f32],
}

/// The step's numbers as the inner loop wants them.
#[derive(Clone, Copy)]
struct Factors {
    shrink: f32,
    l2: f32,
    grad_scale: f32,
    keep1: f32,
    keep2: f32,
    take2: f32,
    root_correction: f32,
    eps: f32,
    step_size: f32,
}

impl AdamStep {
    /// Applies the step to one parameter.
    ///
    /// # Panics
    /// If the four slices differ in length.
    pub fn apply(&self, state: ParamState<'_>) {
        let ParamState { param, grad, first, second } = state;
        let lengths = [grad.len(), first.len(), second.len()];
        assert!(
            lengths == [param.len(); 3],
            "gradient and moments have {lengths:?} values, the weights {}",
            param.len()
        );
        let factors = self.factors();
        param
            .par_chunks_mut(CHUNK)
            .zip(grad.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((param, grad), first), second)| factors.apply(param, grad, first, second));
    }

    fn factors(&self) -> Factors {
        let steps = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - self.beta1.powi(steps);
        let correction2 = 1.0 - self.beta2.powi(steps);
        let (l2, shrink) = match self.decay {
            WeightDecay::None => (0.0, 1.0),
            WeightDecay::L2(decay) => (decay, 1.0),
            WeightDecay::Decoupled(decay) => (0.0, 1.0 - self.learning_rate * decay),
        };
        Factors {
            shrink: shrink as f32,
            l2: l2 as f32,
            grad_scale: self.grad_scale as f32,
            keep1: (1.0 - self.beta1) as f32,
            keep2: self.beta2 as f32,
            take2: (1.0 - self.beta2) as f32,
            root_correction: correction2.sqrt() as f32,
            eps: self.eps as f32,
            step_size: (self.learning_rate / correction1) as f32,
        }
    }
}

impl Factors {
    fn apply(self, param: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        for (((w, &g), m), v) in param.iter_mut().zip(grad).zip(first).zip(second) {
            let g = g * self.grad_scale + self.l2 * *w;
            *m += (g - *m) * self.keep1;
            *v = *v * self.keep2 + g * g * self.take2;
            let root = v.sqrt() / self.root_correction + self.eps;
            *w = *w * self.shrink - self.step_size * (*m / root);
        }
    }
}

/// `average = decay · average + (1 - decay) · param`, elementwise, `decay` in [0, 1].
///
/// # Panics
/// If the slices differ in length.
pub fn ema_update(average: &mut [f32], param: &[f32], decay: f64) {
    assert_eq!(average.len(), param.len(), "the average and the parameter differ in length");
    let take = (1.0 - decay) as f32;
    average.par_chunks_mut(CHUNK).zip(param.par_chunks(CHUNK)).for_each(|(average, param)| {
        for (a, &p) in average.iter_mut().zip(param) {
            *a += (p - *a) * take;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(n: u64, decay: WeightDecay) -> AdamStep {
        AdamStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay, grad_scale: 1.0, step: n }
    }

    /// The first step moves every weight by the learning rate against its gradient's sign, whatever its size.
    #[test]
    fn first_step_is_the_learning_rate() {
        let grad = [3.0f32, -0.02, 700.0];
        let (mut w, mut m, mut v) = ([0.0f32; 3], [0.0f32; 3], [0.0f32; 3]);
        step(1, WeightDecay::None).apply(ParamState { param: &mut w, grad: &grad, first: &mut m, second: &mut v });
        for (w, g) in w.iter().zip(grad) {
            assert!((w + 1e-2 * g.signum()).abs() < 1e-7, "{w}");
        }
    }

    /// The recurrence of arXiv:1412.6980 algorithm 1 (and 1711.05101 algorithm 2) in f64.
    #[test]
    fn agrees_with_the_paper() {
        for decay in [WeightDecay::None, WeightDecay::L2(0.1), WeightDecay::Decoupled(0.1)] {
            let n = 40_001;
            let mut w: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut exact: Vec<[f64; 3]> = w.iter().map(|&w| [f64::from(w), 0.0, 0.0]).collect();
            let (mut m, mut v) = (vec![0.0f32; n], vec![0.0f32; n]);
            for t in 1..=5u64 {
                let grad: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11 + t as f32).cos()).collect();
                let now = step(t, decay);
                now.apply(ParamState { param: &mut w, grad: &grad, first: &mut m, second: &mut v });
                for (e, &g) in exact.iter_mut().zip(&grad) {
                    paper_step(e, f64::from(g), &now);
                }
            }
            for (w, e) in w.iter().zip(&exact) {
                assert!((f64::from(*w) - e[0]).abs() < 2e-6, "{w} {e:?} {decay:?}");
            }
        }
    }

    fn paper_step([w, m, v]: &mut [f64; 3], g: f64, at: &AdamStep) {
        let g = if let WeightDecay::L2(d) = at.decay { g + d * *w } else { g };
        *m = at.beta1 * *m + (1.0 - at.beta1) * g;
        *v = at.beta2 * *v + (1.0 - at.beta2) * g * g;
        let (c1, c2) = (1.0 - at.beta1.powi(at.step as i32), 1.0 - at.beta2.powi(at.step as i32));
        let d = if let WeightDecay::Decoupled(d) = at.decay { d } else { 0.0 };
        *w -= at.learning_rate * (*m / c1 / ((*v / c2).sqrt() + at.eps) + d * *w);
    }

    #[test]
    fn average_moves_by_what_decay_leaves() {
        let mut average = vec![1.0f32; 20_000];
        ema_update(&mut average, &vec![3.0f32; 20_000], 0.75);
        assert!(average.iter().all(|&a| a == 1.5));
        ema_update(&mut average, &vec![7.0f32; 20_000], 0.0);
        assert!(average.iter().all(|&a| a == 7.0));
    }
}
