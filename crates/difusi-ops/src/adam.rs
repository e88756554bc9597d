//! Adam or AdamW, the moving averages of the weights and the tensors' new values, in one pass over all parameters.
//!
//! Adam: arXiv:1412.6980; decoupled decay: arXiv:1711.05101; the order of operations is PyTorch's (`torch.optim.Adam`,
//! not fused). Every element stands alone and no multiplication is fused with an addition, so neither the number of threads
//! nor the vector unit can change a bit.
//! Deliberately absent: AMSGrad, parameter groups, clipping (a factor, see [`AdamStep::grad_scale`]; [`crate::ordered::grad_norm`]
//! is the norm), and which parameters there are: the trainer holds the state.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::simd::{Kernel, Lanes, dispatch};

/// Elements that one thread takes at a time: all their slices stay in the second-level cache.
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

/// Everything a step changes: flat vectors of one length, the parameters one after the other.
pub struct AdamState<'a> {
    /// The weights.
    pub values: &'a mut [f32],
    /// First moments; zeros before the first step.
    pub first: &'a mut [f32],
    /// Second moments; zeros before the first step.
    pub second: &'a mut [f32],
    /// Moving averages of the weights; none in a step that does not update them.
    pub averages: Vec<Average<'a>>,
}

/// A moving average: `average = decay · average + (1 - decay) · weight`.
pub struct Average<'a> {
    /// In the order of the weights.
    pub values: &'a mut [f32],
    /// In [0, 1].
    pub decay: f64,
}

/// What the loss says of one parameter.
#[derive(Clone, Copy, Debug)]
pub enum Gradient<'a> {
    /// Its gradient, a number for each weight.
    Of(&'a [f32]),
    /// Nothing: the loss does not reach these many weights. They and their moments stay; averages still follow them.
    Absent(usize),
}

impl Gradient<'_> {
    fn len(self) -> usize {
        match self {
            Gradient::Of(values) => values.len(),
            Gradient::Absent(len) => len,
        }
    }
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
    /// Applies the step to the parameters whose gradients these are, then moves the averages. Returns each parameter's new
    /// values, for its tensor.
    ///
    /// # Panics
    /// If the slices differ in length, or the gradients together are not as long.
    pub fn apply(&self, weights: AdamState<'_>, gradients: &[Gradient<'_>]) -> Vec<Vec<f32>> {
        let len: usize = gradients.iter().map(|g| g.len()).sum();
        let lengths = [weights.values.len(), weights.first.len(), weights.second.len()];
        assert!(lengths == [len; 3], "weights and moments have {lengths:?} values, the gradients {len}");
        assert!(weights.averages.iter().all(|a| a.values.len() == len), "the averages are not as long as the weights");
        let mut copies: Vec<Vec<f32>> = gradients.iter().map(|g| Vec::with_capacity(g.len())).collect();
        let takes: Vec<f32> = weights.averages.iter().map(|a| (1.0 - a.decay) as f32).collect();
        let pass = Pass { factors: self.factors(), takes: &takes };
        // SAFETY: all slices of a piece have its length.
        let work = |piece| unsafe { dispatch(Run { pass, piece }) };
        pieces(weights, gradients, &mut copies).into_par_iter().for_each(work);
        for (copy, gradient) in copies.iter_mut().zip(gradients) {
            // SAFETY: the capacity is there, and the pieces of this parameter have written all of it.
            unsafe { copy.set_len(gradient.len()) };
        }
        copies
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

/// What one job works on: slices of one length.
struct Piece<'a> {
    values: &'a mut [f32],
    grad: Option<&'a [f32]>,
    first: &'a mut [f32],
    second: &'a mut [f32],
    averages: Vec<&'a mut [f32]>,
    copy: &'a mut [MaybeUninit<f32>],
}

/// Cuts everything into pieces of at most [`CHUNK`], none of which spans two parameters.
fn pieces<'a>(weights: AdamState<'a>, gradients: &[Gradient<'a>], copies: &'a mut [Vec<f32>]) -> Vec<Piece<'a>> {
    let AdamState { mut values, mut first, mut second, averages } = weights;
    let mut averages: Vec<&mut [f32]> = averages.into_iter().map(|a| a.values).collect();
    let mut pieces = Vec::new();
    for (gradient, copy) in gradients.iter().zip(copies) {
        let mut copy = &mut copy.spare_capacity_mut()[..gradient.len()];
        for start in (0..gradient.len()).step_by(CHUNK) {
            let len = CHUNK.min(gradient.len() - start);
            let grad = match gradient {
                Gradient::Of(values) => Some(&values[start..start + len]),
                Gradient::Absent(_) => None,
            };
            pieces.push(Piece {
                values: cut(&mut values, len),
                grad,
                first: cut(&mut first, len),
                second: cut(&mut second, len),
                averages: averages.iter_mut().map(|rest| cut(rest, len)).collect(),
                copy: cut(&mut copy, len),
            });
        }
    }
    pieces
}

/// Takes the first `len` elements off `rest`.
fn cut<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

/// What every piece goes through.
#[derive(Clone, Copy)]
struct Pass<'a> {
    factors: Factors,
    /// What each average takes of the new weight.
    takes: &'a [f32],
}

/// The pass over one piece.
struct Run<'a> {
    pass: Pass<'a>,
    piece: Piece<'a>,
}

impl Kernel for Run<'_> {
    /// # Safety
    /// All slices of the piece have one length.
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let Self { pass: Pass { factors, takes }, piece } = self;
        let Piece { values, grad, first, second, mut averages, copy } = piece;
        for start in (0..values.len()).step_by(16) {
            let at = start..values.len().min(start + 16);
            unsafe {
                let mut w = get::<L>(&values[at.clone()]);
                if let Some(grad) = grad {
                    let (m, v) = (get(&first[at.clone()]), get(&second[at.clone()]));
                    let (m, v, new) = factors.apply(w, get(&grad[at.clone()]), (m, v));
                    w = new;
                    put(m, first[at.clone()].as_mut_ptr(), at.len());
                    put(v, second[at.clone()].as_mut_ptr(), at.len());
                    put(w, values[at.clone()].as_mut_ptr(), at.len());
                }
                put(w, copy[at.clone()].as_mut_ptr().cast(), at.len());
                for (average, &take) in averages.iter_mut().zip(takes) {
                    let a = get::<L>(&average[at.clone()]);
                    put(a.add(w.sub(a).mul(L::splat(take))), average[at.clone()].as_mut_ptr(), at.len());
                }
            }
        }
    }
}

impl Factors {
    /// The moments and weights after the step.
    ///
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    unsafe fn apply<L: Lanes<F = f32>>(self, w: L, g: L, (m, v): (L, L)) -> (L, L, L) {
        unsafe {
            let g = g.mul(L::splat(self.grad_scale)).add(L::splat(self.l2).mul(w));
            let m = m.add(g.sub(m).mul(L::splat(self.keep1)));
            let v = v.mul(L::splat(self.keep2)).add(g.mul(g).mul(L::splat(self.take2)));
            let root = v.sqrt().div(L::splat(self.root_correction)).add(L::splat(self.eps));
            let w = w.mul(L::splat(self.shrink)).sub(L::splat(self.step_size).mul(m.div(root)));
            (m, v, w)
        }
    }
}

/// Sixteen numbers, or as many as there are and zeros.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn get<L: Lanes<F = f32>>(from: &[f32]) -> L {
    if from.len() >= 16 {
        return unsafe { L::load(from.as_ptr()) };
    }
    let mut lanes = [0.0; 16];
    lanes[..from.len()].copy_from_slice(from);
    unsafe { L::load(lanes.as_ptr()) }
}

/// The first `len` of sixteen numbers.
///
/// # Safety
/// As [`Lanes`]; `len` is at most 16, and there is room for as many values at `to`.
#[inline(always)]
unsafe fn put<L: Lanes<F = f32>>(lanes: L, to: *mut f32, len: usize) {
    unsafe {
        if len == 16 {
            return lanes.store(to);
        }
        let mut values = [0.0; 16];
        lanes.store(values.as_mut_ptr());
        to.copy_from_nonoverlapping(values.as_ptr(), len);
    }
}

#[cfg(test)]
mod tests;
