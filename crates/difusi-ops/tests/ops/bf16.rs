//! Ops on bf16 images against the same ops in f32 on the same numbers; forks, whose gradients this crate adds.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_ops::{self as ops, AttentionKind, ConvSpec, Groups, composed, to_bf16, to_f32};

use crate::support::{check_close, check_equal_ops, flat, floats, inputs, random};

/// An op over images (the first inputs, flat) and parameters (the others). It gets the images in the number under test.
type Mixed<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

fn flat_tensor(x: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = x.len();
    Tensor::from_data(TensorData::new(x, [n]), device)
}

/// The nearest bf16 numbers.
fn rounded(x: Vec<f32>) -> Vec<f32> {
    floats(to_f32(to_bf16(flat_tensor(x, &Device::flex()))))
}

/// The output in the op's own number, and the gradients of all inputs for `Σ w y`; images and `w` are bf16 numbers, lying in
/// memory as `image` makes them.
fn run(op: Mixed<'_>, image: fn(Tensor<1>) -> Tensor<1>, images: usize, sizes: &[usize]) -> (DType, Vec<Vec<f32>>) {
    let device = Device::flex().autodiff();
    let leaves: Vec<Tensor<1>> = inputs(sizes)
        .into_iter()
        .enumerate()
        .map(|(i, x)| flat_tensor(if i < images { rounded(x) } else { x }, &device).require_grad())
        .collect();
    let given = leaves.iter().enumerate().map(|(i, x)| if i < images { image(x.clone()) } else { x.clone() });
    let y = op(&given.collect::<Vec<_>>());
    let number = y.dtype();
    let y = to_f32(y);
    let w = flat_tensor(rounded(random(y.dims()[0], 99)), &device);
    let grads = (y.clone() * w).sum().backward();
    let mut results = vec![floats(y)];
    results.extend(leaves.iter().map(|x| floats(x.grad(&grads).expect("every input takes part"))));
    (number, results)
}

/// In bf16 the op does what it does in f32, rounding what it writes to memory: its output and the gradients of the images to bf16,
/// the gradients of the parameters not at all. So does the composed op.
#[track_caller]
fn check_bf16(ours: Mixed<'_>, composed: Mixed<'_>, images: usize, sizes: &[usize], what: &str) {
    let (number, exact) = run(ours, |x| x, images, sizes);
    assert_eq!(number, DType::F32);
    let (number, half) = run(ours, to_bf16, images, sizes);
    assert_eq!(number, DType::BF16, "{what}");
    for (i, (a, b)) in half.iter().zip(&exact).enumerate() {
        let (size, relative) =
            (b.iter().fold(0.0f32, |m, x| m.max(x.abs())), if i <= images { 1.0 / 256.0 } else { 0.0 });
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= relative * b.abs() + 1e-5 * size, "{what}, result {i}: {a} in bf16, {b} in f32");
        }
    }
    let (number, burns) = run(composed, to_bf16, images, sizes);
    assert_eq!(number, DType::BF16, "{what}, composed");
    for (i, (a, b)) in half.iter().zip(&burns).enumerate() {
        check_close(a, b, 1.0 / 64.0, &format!("{what}, result {i}, composed"));
    }
}

#[test]
fn convolution() {
    // batch, size, in, out, kernel, stride, padding: Winograd, direct, strided, pointwise
    for [b, n, i, o, k, stride, padding] in
        [[2, 12, 32, 48, 3, 1, 1], [2, 9, 3, 20, 5, 1, 2], [1, 8, 17, 33, 4, 2, 1], [2, 6, 40, 24, 1, 1, 0]]
    {
        let spec = ConvSpec::new(stride, padding);
        let given = |t: &[Tensor<1>]| {
            let (x, weight) = (t[0].clone().reshape([b, n, n, i]), t[1].clone().reshape([o, i, k, k]));
            (x, weight, Some(t[2].clone()))
        };
        check_bf16(
            &|t| {
                let (x, weight, bias) = given(t);
                flat(ops::conv2d(x, weight, bias, spec))
            },
            &|t| {
                let (x, weight, bias) = given(t);
                flat(composed::conv2d(x, weight, bias, spec))
            },
            1,
            &[b * n * n * i, o * i * k * k, o],
            &format!("convolution {i} -> {o}, {k}, {spec:?}"),
        );
    }
}

#[test]
fn norms() {
    for [b, n, c] in [[2, 5, 32], [3, 3, 21]] {
        let x = |t: &[Tensor<1>]| t[0].clone().reshape([b, n, n, c]);
        let pair = |t: &[Tensor<1>]| Some((t[2].clone().reshape([b, c]), t[3].clone().reshape([b, c])));
        let sizes = [b * n * n * c, c, b * c, b * c];
        check_bf16(
            &|t| flat(ops::rms_norm_silu(x(t), t[1].clone(), pair(t), None)),
            &|t| flat(composed::rms_norm_silu(x(t), t[1].clone(), pair(t), None)),
            1,
            &sizes,
            "block",
        );
        check_bf16(
            &|t| flat(ops::rms_norm(x(t), t[1].clone())),
            &|t| flat(composed::rms_norm(x(t), t[1].clone())),
            1,
            &sizes[..2],
            "norm",
        );
        let residual = |t: &[Tensor<1>]| Some(t[1].clone().reshape([b, n, n, c]));
        check_bf16(
            &|t| flat(ops::rms_norm_silu(x(t), t[2].clone(), None, residual(t))),
            &|t| flat(composed::rms_norm_silu(x(t), t[2].clone(), None, residual(t))),
            2,
            &[b * n * n * c, b * n * n * c, c],
            "block with a residual",
        );
        let (groups, affine) =
            (Groups::new(if c == 32 { 4 } else { 3 }), |t: &[Tensor<1>]| (t[1].clone(), t[4].clone()));
        check_bf16(
            &|t| flat(ops::group_norm_silu(x(t), groups, affine(t), pair(t))),
            &|t| flat(composed::group_norm_silu(x(t), groups, affine(t), pair(t))),
            1,
            &[b * n * n * c, c, b * c, b * c, c],
            "block of groups",
        );
    }
}

#[test]
fn attention_of_both_kinds() {
    let [b, heads, n, m, d] = [2, 3, 70, 4, 16];
    let fused = |t: &[Tensor<1>]| t[0].clone().reshape([b, n, 3 * heads * d]);
    let memory = |t: &[Tensor<1>]| Some(t[1].clone().reshape([2, heads, m, d]));
    let heads_of = |t: &Tensor<1>| t.clone().reshape([b, n, heads, d]).swap_dims(1, 2);
    let size = b * n * heads * d;
    for kind in [AttentionKind::Full, AttentionKind::Linear] {
        check_bf16(
            &|t| flat(ops::self_attention(fused(t), memory(t), heads, kind)),
            &|t| flat(composed::self_attention(fused(t), memory(t), heads, kind)),
            1,
            &[3 * size, 2 * heads * m * d],
            &format!("{kind:?} with memory"),
        );
        check_bf16(
            &|t| flat(ops::attention(heads_of(&t[0]), heads_of(&t[1]), heads_of(&t[2]), kind)),
            &|t| flat(composed::attention(heads_of(&t[0]), heads_of(&t[1]), heads_of(&t[2]), kind)),
            3,
            &[size; 3],
            &format!("{kind:?}"),
        );
    }
}

#[test]
fn moving_joining_and_adding() {
    let [b, n, c] = [2, 6, 19];
    let x = |t: &Tensor<1>| t.clone().reshape([b, n, n, c]);
    let size = b * n * n * c;
    check_bf16(
        &|t| flat(ops::upsample_nearest2(x(&t[0]))),
        &|t| flat(composed::upsample_nearest2(x(&t[0]))),
        1,
        &[size],
        "up",
    );
    check_bf16(
        &|t| flat(ops::pixel_unshuffle2(x(&t[0]))),
        &|t| flat(composed::pixel_unshuffle2(x(&t[0]))),
        1,
        &[size],
        "down",
    );
    check_bf16(
        &|t| flat(ops::downsample_mean2(x(&t[0]))),
        &|t| flat(composed::downsample_mean2(x(&t[0]))),
        1,
        &[size],
        "mean",
    );
    check_bf16(
        &|t| flat(ops::add_to_pixels(x(&t[0]), t[1].clone().reshape([b, c]))),
        &|t| flat(composed::add_to_pixels(x(&t[0]), t[1].clone().reshape([b, c]))),
        1,
        &[size, b * c],
        "rows at every pixel",
    );
    check_bf16(
        &|t| flat(ops::cat_channels(ops::cat_channels(x(&t[0]), x(&t[1])), x(&t[2]))),
        &|t| flat(Tensor::cat(vec![x(&t[0]), x(&t[1]), x(&t[2])], 3)),
        3,
        &[size; 3],
        "joined",
    );
    check_bf16(
        &|t| ops::leaky_relu(t[0].clone(), 0.2),
        &|t| composed::leaky_relu(t[0].clone(), 0.2),
        1,
        &[size],
        "leaky relu",
    );
    check_bf16(&|t| ops::add(t[0].clone(), t[1].clone()), &|t| t[0].clone() + t[1].clone(), 2, &[size; 2], "sum");
}

/// What is not a multiple of a vector or a job comes through a conversion, special values too.
#[test]
fn conversions_round_to_the_nearest_even() {
    let device = Device::flex();
    let step = 1.0 / 128.0;
    let given = [1.0 + 0.5 * step, 1.0 + 1.5 * step, -1.0 - 0.6 * step, 3.3e38, f32::INFINITY, 0.0, 1e-40];
    let [large, smallest] = [1.9375 * 2.0f32.powi(127), f32::from_bits(1 << 16)];
    let wanted = [1.0, 1.0 + 2.0 * step, -1.0 - step, large, f32::INFINITY, 0.0, smallest];
    for n in [7, 39, 40_007] {
        let x: Vec<f32> = given.iter().cycle().take(n).copied().collect();
        for (i, y) in rounded(x).into_iter().enumerate() {
            assert_eq!(y, wanted[i % 7], "{n}");
        }
    }
    assert!(rounded(vec![f32::NAN; 18]).iter().all(|x| x.is_nan()));
    let x = Tensor::<4>::ones([1, 2, 3, 4], &device);
    assert_eq!((to_f32(x.clone()).dtype(), to_bf16(x.clone()).dims()), (DType::F32, x.dims()));
}

/// A fork is a clone, whatever becomes of its branches.
#[test]
fn forks_add_what_their_branches_say() {
    let shape = |t: &Tensor<1>| t.clone().reshape([2, 3, 3, 8]);
    let through = |a: Tensor<4>, b: Tensor<4>, c: Tensor<4>| {
        flat(ops::upsample_nearest2(a * 2.0 + b.clone() * c)).narrow(0, 0, 500)
    };
    check_equal_ops(
        &|t| {
            let [a, b] = ops::fork(shape(&t[0]));
            let [b, c] = ops::fork(b);
            through(a, b, c)
        },
        &|t| through(shape(&t[0]), shape(&t[0]), shape(&t[0])),
        &[144],
        "fork of a fork",
    );
    check_equal_ops(
        &|t| flat(ops::fork(shape(&t[0]))[0].clone() * 3.0),
        &|t| flat(shape(&t[0]) * 3.0),
        &[144],
        "a branch that leads nowhere",
    );
    let both = |a: Tensor<1>, b: Tensor<1>| a * 0.5 + b.clone().narrow(0, 0, 144) * b;
    let [ours, burns] = [true, false].map(|ours| {
        run(
            &|t| {
                let [a, b] = if ours { ops::fork(t[0].clone()) } else { [t[0].clone(), t[0].clone()] };
                both(a, b)
            },
            to_bf16,
            1,
            &[144],
        )
    });
    for (a, b) in ours.1.iter().zip(&burns.1) {
        check_close(a, b, 1.0 / 64.0, "fork in bf16");
    }
    let plain = Tensor::<1>::ones([3], &Device::flex());
    assert!(ops::fork(plain).into_iter().all(|x| floats(x) == [1.0; 3]));
}
