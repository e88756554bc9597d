//! For tests: a kernel's gradients against central differences in f64, and the kernel in f32 and bf16 against itself in f64.

use burn::tensor::bf16;

use crate::simd::{Float, Stored};

/// A kernel on inputs of which the last is dL/dy: gives y and the gradients of the other inputs.
pub(crate) type Case<'a> = &'a dyn Fn(&[Vec<f64>]) -> Vec<Vec<f64>>;

/// Numbers in about [-1, 1] that are exact in bf16.
pub(crate) fn numbers(n: usize, seed: usize) -> Vec<f64> {
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f64 / 504.5 - 1.0;
    (0..n).map(|i| f64::from(bf16::from_f64(number(i)).to_f32())).collect()
}

pub(crate) fn stored<E: Stored>(x: &[f64]) -> Vec<E> {
    x.iter().map(|&x| E::put(E::F::of_f64(x))).collect()
}

pub(crate) fn wide<E: Stored>(x: &[E]) -> Vec<f64> {
    x.iter().map(|x| x.get().to_f64()).collect()
}

/// Holds the gradients of `[f64, f32, bf16]`, the same kernel for each number, against differences and each other.
#[track_caller]
pub(crate) fn check([exact, single, half]: [Case<'_>; 3], sizes: &[usize], what: &str) {
    let mut inputs: Vec<Vec<f64>> = sizes.iter().enumerate().map(|(i, &n)| numbers(n, i + 1)).collect();
    let results = exact(&inputs);
    assert!(results.len() == sizes.len(), "{what}: y, and a gradient of every input but dL/dy");
    for (name, of, tolerance) in [("f32", single, 3e-6), ("bf16", half, 1.2e-2)] {
        for (i, (a, b)) in of(&inputs).iter().zip(&results).enumerate() {
            let size = b.iter().fold(0.1f64, |m, x| m.max(x.abs()));
            assert_eq!(a.len(), b.len());
            for (j, (a, b)) in a.iter().zip(b).enumerate() {
                assert!((a - b).abs() < tolerance * size, "{what}: {name}, result {i}, value {j}: {a}, exactly {b}");
            }
        }
    }
    let (last, h) = (sizes.len() - 1, 1e-5);
    let loss = |x: &[Vec<f64>]| exact(x)[0].iter().zip(&x[last]).map(|(y, dy)| y * dy).sum::<f64>();
    for i in 0..last {
        // Every value of small inputs, some of large ones.
        for j in (0..sizes[i]).step_by(sizes[i].div_ceil(60).max(1)) {
            let (x, g) = (inputs[i][j], results[i + 1][j]);
            inputs[i][j] = x + h;
            let above = loss(&inputs);
            inputs[i][j] = x - h;
            let slope = (above - loss(&inputs)) / (2.0 * h);
            inputs[i][j] = x;
            let close = (g - slope).abs() < 1e-7 * slope.abs().max(1.0);
            assert!(close, "{what}: input {i}, value {j}: gradient {g}, difference {slope}");
        }
    }
}
