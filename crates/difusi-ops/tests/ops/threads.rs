//! The same bits, gradients included, at one, two, three and four threads.

use burn::tensor::{Device, Tensor};
use difusi_ops::{self as ops, AttentionKind, ConvSpec, WeightDecay};

use crate::support::{Op, flat, inputs, run};

fn check_threads(op: Op<'_>, sizes: &[usize], what: &str) {
    let (inputs, device) = (inputs(sizes), Device::flex().autodiff());
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let (y, gradients) = pool.install(|| run(op, &inputs, &device));
        (bits_of(&y), gradients.iter().map(|g| bits_of(g)).collect::<Vec<_>>())
    };
    let one = bits(1);
    for threads in 2..=4 {
        assert!(bits(threads) == one, "{what} differs at {threads} threads");
    }
}

fn bits_of(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn convolution() {
    for [b, n, i, o, k] in
        [[6, 28, 32, 64, 3], [3, 28, 1, 32, 7], [16, 7, 128, 64, 3], [5, 14, 64, 96, 1], [1, 32, 16, 1, 3]]
    {
        let op = |t: &[Tensor<1>]| {
            let x = t[0].clone().reshape([b, n, n, i]);
            flat(ops::conv2d(x, t[1].clone().reshape([o, i, k, k]), Some(t[2].clone()), ConvSpec::same(k)))
        };
        check_threads(&op, &[b * n * n * i, o * i * k * k, o], &format!("convolution {i} -> {o}"));
    }
}

#[test]
fn block() {
    let (b, n, c) = (5, 28, 48);
    let op = |t: &[Tensor<1>]| {
        let per_image = |x: &Tensor<1>| x.clone().reshape([b, c]);
        let x = t[0].clone().reshape([b, n, n, c]);
        flat(ops::rms_norm_silu(x, t[1].clone(), Some((per_image(&t[2]), per_image(&t[3]))), None))
    };
    check_threads(&op, &[b * n * n * c, c, b * c, b * c], "block");
    let op = |t: &[Tensor<1>]| {
        let per_image = |x: &Tensor<1>| x.clone().reshape([b, c]);
        let (x, affine) = (t[0].clone().reshape([b, n, n, c]), (t[1].clone(), t[2].clone()));
        flat(ops::group_norm_silu(x, ops::Groups::new(8), affine, Some((per_image(&t[3]), per_image(&t[4])))))
    };
    check_threads(&op, &[b * n * n * c, c, c, b * c, b * c], "block of groups");
}

#[test]
fn attention_of_both_kinds() {
    let (b, heads, n, d) = (3, 4, 196, 32);
    let view = |x: &Tensor<1>| x.clone().reshape([b, n, heads, d]).swap_dims(1, 2);
    let qkv = |t: &Tensor<1>| t.clone().reshape([b, n, 3 * heads * d]);
    let memory = |t: &Tensor<1>| Some(t.clone().reshape([2, heads, 4, d]));
    let size = b * heads * n * d;
    for kind in [AttentionKind::Full, AttentionKind::Linear] {
        check_threads(&|t| flat(ops::attention(view(&t[0]), view(&t[1]), view(&t[2]), kind)), &[size; 3], "attention");
        let op = |t: &[Tensor<1>]| flat(ops::self_attention(qkv(&t[0]), memory(&t[1]), heads, kind));
        check_threads(&op, &[3 * size, 8 * heads * d], "attention with memory");
    }
}

#[test]
fn host_slices() {
    let (grad, start) = (&inputs(&[100_003])[0], &inputs(&[7, 100_003])[1]);
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let (mut w, mut m, mut v) = (start.clone(), vec![0.0; grad.len()], vec![0.0; grad.len()]);
            let norm = ops::ordered::grad_norm([&grad[..], &start[..]]);
            let step = ops::AdamStep {
                learning_rate: 1e-3,
                beta1: 0.9,
                beta2: 0.99,
                eps: 1e-8,
                decay: WeightDecay::Decoupled(0.01),
                grad_scale: 1.0 / norm,
                step: 3,
            };
            let mut average = start.clone();
            let averages = vec![ops::Average { values: &mut average, decay: 0.9 }];
            let state = ops::AdamState { values: &mut w, first: &mut m, second: &mut v, averages };
            let new = step.apply(state, &[ops::Gradient::Of(grad)]);
            (norm.to_bits(), ops::ordered::sum(&w).to_bits(), bits_of(&w), bits_of(&new[0]), bits_of(&average))
        })
    };
    assert!((2..=4).all(|threads| result(threads) == result(1)));
}
