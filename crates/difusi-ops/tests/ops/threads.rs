//! The same bits, gradients included, at one, two, three and four threads.

use burn::tensor::{Device, Tensor};
use difusi_ops::{
    self as ops, Activation, AttentionKind, ConvSpec, FixedConv, LinearAttentionWeights, Pooling, WeightDecay,
};

use crate::support::{Op, flat, inputs, run};

/// Checks an op in f32 and in bf16: it is given what makes an image of either.
fn check_numbers(op: &(dyn Fn(&[Tensor<1>], Number) -> Tensor<1> + Sync), sizes: &[usize], what: &str) {
    check_threads(&|t| op(t, |x| x), sizes, what);
    check_threads(&|t| ops::to_f32(op(t, ops::to_bf16)), sizes, &format!("{what} in bf16"));
}

/// Makes a flat image of the number under test.
type Number = fn(Tensor<1>) -> Tensor<1>;

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
        let op = |t: &[Tensor<1>], image: Number| {
            let x = image(t[0].clone()).reshape([b, n, n, i]);
            flat(ops::conv2d(x, t[1].clone().reshape([o, i, k, k]), Some(t[2].clone()), ConvSpec::same(k)))
        };
        check_numbers(&op, &[b * n * n * i, o * i * k * k, o], &format!("convolution {i} -> {o}"));
    }
}

/// Winograd's tiles: filters' gradients by position (few tiles of many channels) and by group of tiles, and doubled images.
#[test]
fn tiles() {
    for [b, n, i, o] in [[2, 4, 256, 272], [12, 28, 16, 32], [5, 9, 21, 33]] {
        for run in [ops::conv2d, ops::upsample_conv2d] {
            let op = |t: &[Tensor<1>]| {
                let x = t[0].clone().reshape([b, n, n, i]);
                flat(run(x, t[1].clone().reshape([o, i, 3, 3]), Some(t[2].clone()), ConvSpec::same(3)))
            };
            check_threads(&op, &[b * n * n * i, o * i * 9, o], &format!("tiles of {i} -> {o}"));
        }
    }
}

#[test]
fn linear_layer() {
    let [b, n, c, heads, m, d] = [19, 130, 40, 2, 4, 24];
    let hidden = heads * d;
    let op = |t: &[Tensor<1>]| {
        let weights = LinearAttentionWeights {
            qkv: t[1].clone().reshape([3 * hidden, c]),
            memory: t[2].clone().reshape([2, heads, m, d]),
            out: t[3].clone().reshape([c, hidden]),
            bias: t[4].clone(),
        };
        flat(ops::linear_attention_layer(t[0].clone().reshape([b, n, c]), weights))
    };
    check_threads(&op, &[b * n * c, 3 * hidden * c, 2 * hidden * m, c * hidden, c], "layer of linear attention");
}

#[test]
fn block() {
    let (b, n, c) = (5, 28, 48);
    let op = |t: &[Tensor<1>], image: Number| {
        let per_image = |x: &Tensor<1>| x.clone().reshape([b, c]);
        let x = image(t[0].clone()).reshape([b, n, n, c]);
        flat(ops::rms_norm_silu(x, t[1].clone(), Some((per_image(&t[2]), per_image(&t[3]))), None))
    };
    check_numbers(&op, &[b * n * n * c, c, b * c, b * c], "block");
    let op = |t: &[Tensor<1>], image: Number| {
        let per_image = |x: &Tensor<1>| x.clone().reshape([b, c]);
        let (x, affine) = (image(t[0].clone()).reshape([b, n, n, c]), (t[1].clone(), t[2].clone()));
        flat(ops::group_norm_silu(x, ops::Groups::new(8), affine, Some((per_image(&t[3]), per_image(&t[4])))))
    };
    check_numbers(&op, &[b * n * n * c, c, c, b * c, b * c], "block of groups");
}

#[test]
fn attention_of_both_kinds() {
    let (b, heads, n, d) = (3, 4, 196, 32);
    let view = |x: &Tensor<1>| x.clone().reshape([b, n, heads, d]).swap_dims(1, 2);
    let qkv = |t: Tensor<1>| t.reshape([b, n, 3 * heads * d]);
    let memory = |t: &Tensor<1>| Some(t.clone().reshape([2, heads, 4, d]));
    let size = b * heads * n * d;
    for kind in [AttentionKind::Full, AttentionKind::Linear] {
        check_threads(&|t| flat(ops::attention(view(&t[0]), view(&t[1]), view(&t[2]), kind)), &[size; 3], "attention");
        let op = |t: &[Tensor<1>], image: Number| {
            flat(ops::self_attention(qkv(image(t[0].clone())), memory(&t[1]), heads, kind))
        };
        check_numbers(&op, &[3 * size, 8 * heads * d], "attention with memory");
    }
}

#[test]
fn moving_joining_and_adding() {
    let (b, n, c) = (3, 32, 24);
    let b_size = b * n * n * c;
    let op = |t: &[Tensor<1>], image: Number| {
        let [a, b] = [0, 1].map(|i| image(t[i].clone()).reshape([b, n, n, c]));
        let ([a, twin], [b, other]) = (ops::fork(a), ops::fork(b));
        let both = ops::cat_channels(ops::cat_channels(ops::add(a, b), twin), other);
        let [both, again] = ops::fork(both);
        let up = flat(ops::upsample_nearest2(ops::pixel_unshuffle2(both)));
        ops::cat_channels(up.reshape([1, 1, 1, 12 * b_size]), flat(again).reshape([1, 1, 1, 3 * b_size]))
            .reshape([15 * b_size])
    };
    check_numbers(&op, &[b * n * n * c; 2], "moves");
    let op = |t: &[Tensor<1>], image: Number| {
        let x = ops::add_to_pixels(image(t[0].clone()).reshape([b, n, n, c]), t[1].clone().reshape([b, c]));
        flat(ops::downsample_mean2(x))
    };
    check_numbers(&op, &[b_size, b * c], "rows at every pixel, then means");
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

/// Convolutions of fixed weights and pooling, side by side in one image.
#[test]
fn inference() {
    let device = Device::flex();
    let sizes = [3 * 21 * 19 * 32, 48 * 32 * 9, 48, 16 * 32 * 7];
    let inputs = inputs(&sizes);
    let tensor =
        |i: usize| Tensor::<1>::from_data(burn::tensor::TensorData::new(inputs[i].clone(), [sizes[i]]), &device);
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let x = tensor(0).reshape([3, 21, 19, 32]);
            let long = ConvSpec { stride: 1, padding: [3, 0] };
            let square =
                FixedConv::new(tensor(1).reshape([48, 32, 3, 3]), tensor(2), ConvSpec::same(3), Activation::Relu);
            let tall =
                FixedConv::new(tensor(3).reshape([16, 32, 7, 1]), tensor(2).narrow(0, 0, 16), long, Activation::None);
            let y = square.forward_into(x.clone(), Tensor::zeros([3, 21, 19, 128], &device), 0);
            let y = tall.forward_into(x.clone(), y, 48);
            let y = ops::mean_pool(x.clone(), Pooling::new(3, 1, 1), Some((y, 64)));
            let y = ops::max_pool(x, Pooling::new(3, 1, 1), Some((y, 96)));
            bits_of(&crate::support::floats(y))
        })
    };
    let one = bits(1);
    assert!((2..=4).all(|threads| bits(threads) == one), "inference depends on the number of threads");
}
