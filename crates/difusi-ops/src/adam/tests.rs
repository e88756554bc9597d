//! The step against the paper, and against itself on other vector units and cut otherwise.

use super::*;
use crate::simd::{Unit, tests::LIMIT};

fn step(n: u64, decay: WeightDecay) -> AdamStep {
    AdamStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay, grad_scale: 1.0, step: n }
}

/// Weights, moments and averages that own their memory.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    values: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    averages: Vec<(Vec<f32>, f64)>,
}

impl Owned {
    fn new(values: Vec<f32>, decays: &[f64]) -> Self {
        let averages = decays.iter().map(|&d| (values.clone(), d)).collect();
        Self { first: vec![0.0; values.len()], second: vec![0.0; values.len()], values, averages }
    }

    fn step(&mut self, step: &AdamStep, gradients: &[Gradient<'_>]) -> Vec<Vec<f32>> {
        let Self { values, first, second, averages } = self;
        let averages = averages.iter_mut().map(|(values, decay)| Average { values, decay: *decay }).collect();
        step.apply(AdamState { values, first, second, averages }, gradients)
    }
}

/// The first step moves every weight by the learning rate against its gradient's sign, whatever its size.
#[test]
fn first_step_is_the_learning_rate() {
    let grad = [3.0f32, -0.02, 700.0];
    let mut state = Owned::new(vec![0.0; 3], &[]);
    let copies = state.step(&step(1, WeightDecay::None), &[Gradient::Of(&grad)]);
    for (w, g) in state.values.iter().zip(grad) {
        assert!((w + 1e-2 * g.signum()).abs() < 1e-7, "{w}");
    }
    assert_eq!(copies, [state.values]);
}

/// The recurrence of arXiv:1412.6980 algorithm 1 (and 1711.05101 algorithm 2) in f64.
#[test]
fn agrees_with_the_paper() {
    for decay in [WeightDecay::None, WeightDecay::L2(0.1), WeightDecay::Decoupled(0.1)] {
        let n = 40_001;
        let mut state = Owned::new((0..n).map(|i| (i as f32 * 0.37).sin()).collect(), &[]);
        let mut exact: Vec<[f64; 3]> = state.values.iter().map(|&w| [f64::from(w), 0.0, 0.0]).collect();
        for t in 1..=5u64 {
            let grad: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11 + t as f32).cos()).collect();
            let now = step(t, decay);
            state.step(&now, &[Gradient::Of(&grad)]);
            for (e, &g) in exact.iter_mut().zip(&grad) {
                paper_step(e, f64::from(g), &now);
            }
        }
        for (w, e) in state.values.iter().zip(&exact) {
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

/// An average takes what its decay leaves, also of weights that the step does not move; these and their moments stay.
#[test]
fn averages_follow_and_absent_gradients_move_nothing() {
    let mut state = Owned::new(vec![3.0; 20_000], &[0.75, 1.0, 0.0]);
    state.averages.iter_mut().for_each(|(values, _)| values.fill(1.0));
    let copies = state.step(&step(1, WeightDecay::Decoupled(0.5)), &[Gradient::Absent(19_999), Gradient::Absent(1)]);
    assert!(state.values.iter().all(|&w| w == 3.0) && copies.concat() == state.values);
    assert!(state.first.iter().chain(&state.second).all(|&m| m == 0.0));
    for ((values, _), expected) in state.averages.iter().zip([1.5, 1.0, 3.0]) {
        assert!(values.iter().all(|&a| a == expected));
    }
}

/// Three steps over parameters of these lengths, every third without a gradient, as one vector cut there.
fn three_steps(lengths: &[usize]) -> (Owned, Vec<Vec<f32>>) {
    let len = lengths.iter().sum::<usize>();
    let mut state = Owned::new((0..len).map(|i| (i as f32 * 0.37).sin()).collect(), &[0.9, 0.995]);
    let mut copies = Vec::new();
    for t in 1..=3u64 {
        let grads: Vec<f32> = (0..len).map(|i| (i as f32 * 0.11 + t as f32).cos()).collect();
        let mut rest = &grads[..];
        let mut gradients = Vec::new();
        for (i, &n) in lengths.iter().enumerate() {
            let (grad, tail) = rest.split_at(n);
            rest = tail;
            gradients.push(if i % 3 == 1 { Gradient::Absent(n) } else { Gradient::Of(grad) });
        }
        let now = AdamStep { grad_scale: 0.3, ..step(t, WeightDecay::L2(0.1)) };
        copies = state.step(&now, &gradients);
    }
    (state, copies)
}

const LENGTHS: [usize; 12] = [1, 2, 17, 15, 16, 0, 5, CHUNK + 1, 31, 3 * CHUNK, 33, 2 * CHUNK - 1];

/// No product is fused with a sum, so every unit gives the same bits; the tensors get the weights.
#[test]
fn units_agree_to_the_bit() {
    let widest = three_steps(&LENGTHS);
    assert_eq!(widest.1.iter().map(Vec::len).collect::<Vec<_>>(), LENGTHS);
    assert_eq!(widest.1.concat(), widest.0.values);
    // One thread, since the limit is this thread's.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for unit in [Unit::Portable, Unit::Avx2] {
        let (state, copies) = pool.install(|| {
            LIMIT.set(unit);
            three_steps(&LENGTHS)
        });
        assert!(state == widest.0 && copies == widest.1, "{unit:?}");
    }
}

#[test]
#[should_panic(expected = "the gradients 4")]
fn lengths_are_checked() {
    Owned::new(vec![0.0; 3], &[]).step(&step(1, WeightDecay::None), &[Gradient::Of(&[0.0; 4])]);
}
