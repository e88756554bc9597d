//! Every op equals the one composed of burn's ops, forward and backward, on awkward shapes.

use burn::tensor::Tensor;
use difusi_ops::{self as ops, AttentionKind, ConvSpec, composed};

use crate::support::{check_equal_ops, check_equal_within, flat};

/// A norm with gain, scale and shift, residual.
type Normed = fn(Tensor<4>, Tensor<1>, Option<(Tensor<2>, Tensor<2>)>, Option<Tensor<4>>) -> Tensor<4>;

#[test]
fn convolution() {
    // batch, height, width, in, out, kernel, stride, padding
    let cases: &[[usize; 8]] = &[
        [2, 9, 7, 16, 64, 3, 1, 1],
        [1, 5, 5, 3, 20, 3, 1, 1],
        [3, 8, 6, 1, 32, 7, 1, 3],
        [2, 7, 9, 32, 1, 3, 1, 1],
        [1, 6, 6, 17, 33, 5, 1, 2],
        [2, 4, 4, 32, 80, 1, 1, 0],
        [5, 3, 3, 48, 112, 3, 1, 1],
        [2, 9, 8, 5, 7, 3, 2, 1],
        [2, 8, 8, 6, 18, 4, 2, 1],
        [2, 8, 10, 4, 16, 2, 2, 0],
        [1, 1, 1, 2, 3, 3, 1, 1],
        [2, 7, 7, 3, 5, 3, 1, 0],
        [2, 6, 5, 3, 5, 1, 2, 0],
        [1, 40, 33, 4, 8, 3, 1, 1],
        [70, 4, 4, 8, 16, 3, 1, 1],
        [2, 3, 4, 3, 5, 1, 1, 1],
    ];
    for &[b, h, w, i, o, k, stride, padding] in cases {
        let spec = ConvSpec::new(stride, padding);
        let shape = |t: &[Tensor<1>]| {
            let [x, weight, bias] = [t[0].clone(), t[1].clone(), t[2].clone()];
            (x.reshape([b, h, w, i]), weight.reshape([o, i, k, k]), Some(bias))
        };
        let ours = |t: &[Tensor<1>]| {
            let (x, weight, bias) = shape(t);
            flat(ops::conv2d(x, weight, bias, spec))
        };
        let burns = |t: &[Tensor<1>]| {
            let (x, weight, bias) = shape(t);
            flat(composed::conv2d(x, weight, bias, spec))
        };
        // Winograd's transforms round more.
        let near = if (k, stride) == (3, 1) && i.min(o) >= 16 { [3e-5; 2] } else { [2e-6, 5e-6] };
        let what = format!("{b}x{h}x{w}x{i} -> {o}, {k} {spec:?}");
        check_equal_within(near, (&ours, &burns), &[b * h * w * i, o * i * k * k, o], &what);
    }
}

#[test]
fn convolution_without_bias_of_a_view() {
    let shape = |t: &[Tensor<1>]| {
        let x = t[0].clone().reshape([2, 8, 5, 6]).permute([0, 2, 3, 1]); // not contiguous
        (x, t[1].clone().reshape([4, 8, 3, 3]))
    };
    let spec = ConvSpec::same(3);
    let ours = |t: &[Tensor<1>]| flat(ops::conv2d(shape(t).0, shape(t).1, None, spec));
    let burns = |t: &[Tensor<1>]| flat(composed::conv2d(shape(t).0, shape(t).1, None, spec));
    check_equal_ops(&ours, &burns, &[480, 288], "a permuted image");
}

#[test]
fn linear() {
    for (rows, inside, out) in [(1, 16, 64), (7, 33, 5), (64, 32, 128), (13, 1, 1)] {
        let shape = |t: &[Tensor<1>]| {
            let [x, weight, bias] = [t[0].clone(), t[1].clone(), t[2].clone()];
            (x.reshape([rows, 1, inside]), weight.reshape([out, inside]), Some(bias))
        };
        let ours = |t: &[Tensor<1>]| {
            let (x, w, b) = shape(t);
            flat(ops::linear(x, w, b))
        };
        let burns = |t: &[Tensor<1>]| {
            let (x, w, b) = shape(t);
            flat(composed::linear(x, w, b))
        };
        check_equal_ops(&ours, &burns, &[rows * inside, out * inside, out], &format!("linear {rows} {inside} {out}"));
    }
}

#[test]
fn norms() {
    for [b, h, w, c] in [[2, 5, 7, 64], [1, 3, 3, 5], [3, 13, 12, 17], [2, 1, 1, 1], [1, 20, 9, 32], [1, 2, 2, 1040]] {
        let x = |t: &[Tensor<1>]| t[0].clone().reshape([b, h, w, c]);
        let gain = |t: &[Tensor<1>]| t[1].clone();
        let both = |t: &[Tensor<1>]| Some((t[2].clone().reshape([b, c]), t[3].clone().reshape([b, c])));
        let (image, what) = (b * h * w * c, format!("{b}x{h}x{w}x{c}"));
        check_equal_ops(
            &|t| flat(ops::rms_norm(x(t), gain(t))),
            &|t| flat(composed::rms_norm(x(t), gain(t))),
            &[image, c],
            &format!("norm {what}"),
        );
        check_equal_ops(
            &|t| flat(ops::rms_norm_silu(x(t), gain(t), None, None)),
            &|t| flat(composed::rms_norm_silu(x(t), gain(t), None, None)),
            &[image, c],
            &format!("norm and silu {what}"),
        );
        check_equal_ops(
            &|t| flat(ops::rms_norm_silu(x(t), gain(t), both(t), None)),
            &|t| flat(composed::rms_norm_silu(x(t), gain(t), both(t), None)),
            &[image, c, b * c, b * c],
            &format!("block {what}"),
        );
        let residual = |t: &[Tensor<1>]| Some(t[4].clone().reshape([b, c, h, w]).permute([0, 2, 3, 1])); // a view
        check_equal_ops(
            &|t| flat(ops::rms_norm_silu(x(t), gain(t), both(t), residual(t))),
            &|t| flat(composed::rms_norm_silu(x(t), gain(t), both(t), residual(t))),
            &[image, c, b * c, b * c, image],
            &format!("block with residual {what}"),
        );
    }
}

#[test]
fn a_residual_may_be_the_input_itself() {
    let shape = |t: &[Tensor<1>]| (t[0].clone().reshape([2, 3, 3, 8]), t[1].clone());
    let op = |f: Normed, t: &[Tensor<1>]| {
        let (x, gain) = shape(t);
        flat(f(x.clone(), gain, None, Some(x)))
    };
    check_equal_ops(&|t| op(ops::rms_norm_silu, t), &|t| op(composed::rms_norm_silu, t), &[144, 8], "x + block(x)");
}

#[test]
fn group_norms() {
    for ([b, h, w, c], count) in
        [([2, 5, 7, 64], 32), ([1, 3, 3, 5], 1), ([3, 13, 12, 18], 6), ([2, 2, 1, 4], 2), ([1, 20, 9, 32], 8)]
    {
        let groups = ops::Groups::new(count);
        let x = |t: &[Tensor<1>]| t[0].clone().reshape([b, h, w, c]);
        let affine = |t: &[Tensor<1>]| (t[1].clone(), t[2].clone());
        let both = |t: &[Tensor<1>]| Some((t[3].clone().reshape([b, c]), t[4].clone().reshape([b, c])));
        let (image, what) = (b * h * w * c, format!("{b}x{h}x{w}x{c}, {count} groups"));
        check_equal_ops(
            &|t| flat(ops::group_norm(x(t), groups, affine(t))),
            &|t| flat(composed::group_norm(x(t), groups, affine(t))),
            &[image, c, c],
            &format!("group norm {what}"),
        );
        check_equal_ops(
            &|t| flat(ops::group_norm_silu(x(t), groups, affine(t), None)),
            &|t| flat(composed::group_norm_silu(x(t), groups, affine(t), None)),
            &[image, c, c],
            &format!("group norm and silu {what}"),
        );
        check_equal_ops(
            &|t| flat(ops::group_norm_silu(x(t), groups, affine(t), both(t))),
            &|t| flat(composed::group_norm_silu(x(t), groups, affine(t), both(t))),
            &[image, c, c, b * c, b * c],
            &format!("group norm block {what}"),
        );
    }
}

/// Against torch 2.15's `GroupNorm(2, 4, eps=1e-3)` of `x[b, c, p] = sin(1 + 8 b + 2 c + p)`, gain `[1, 2, 3, 4]`, bias `[0, 1, 0, -1]`.
#[test]
fn group_norm_is_pytorchs() {
    let device = burn::tensor::Device::flex();
    let floats = |values: Vec<f32>| {
        let n = values.len();
        Tensor::<1>::from_data(burn::tensor::TensorData::new(values, [n]), &device)
    };
    let x = (0..2).flat_map(|b| (0..2).flat_map(move |p| (0..4).map(move |c| ((1 + 8 * b + 2 * c + p) as f32).sin())));
    let x = floats(x.collect()).reshape([2, 1, 2, 4]);
    let affine = (floats(vec![1.0, 2.0, 3.0, 4.0]), floats(vec![0.0, 1.0, 0.0, -1.0]));
    let y = crate::support::floats(ops::group_norm(x, ops::Groups { count: 2, epsilon: 1e-3 }, affine));
    let torch = [
        0.8291944, 0.5758081, -4.134476, 1.8837383, 0.9300395, -2.094276, -1.4863988, 3.6107621, 1.6095225, -1.2626843,
        -0.1477607, 0.7637006, -0.2463185, 0.5362764, 3.4975111, -7.230035,
    ];
    assert!(y.iter().zip(torch).all(|(y, t)| (y - t).abs() < 2e-6), "{y:?}");
}

#[test]
fn norm_of_nothing_is_nothing() {
    let device = burn::tensor::Device::flex();
    let y = ops::rms_norm(Tensor::<4>::zeros([1, 2, 2, 20], &device), Tensor::ones([20], &device));
    assert!(crate::support::floats(y).iter().all(|&y| y == 0.0));
}

#[test]
fn attention_of_both_kinds() {
    for [b, heads, n, m, d] in
        [[2, 4, 49, 53, 32], [1, 1, 1, 1, 1], [3, 2, 70, 5, 7], [1, 3, 130, 130, 16], [2, 1, 5, 9, 40]]
    {
        // As a network has them: cut from [B, tokens, heads, D], so the heads are strided views.
        let view = |x: &Tensor<1>, n: usize| x.clone().reshape([b, n, heads, d]).swap_dims(1, 2);
        let qkv = |t: &[Tensor<1>]| (view(&t[0], n), view(&t[1], m), view(&t[2], m));
        let sizes = [b * heads * n * d, b * heads * m * d, b * heads * m * d];
        for kind in [AttentionKind::Full, AttentionKind::Linear] {
            let ours = |t: &[Tensor<1>]| {
                let (q, k, v) = qkv(t);
                flat(ops::attention(q, k, v, kind))
            };
            let burns = |t: &[Tensor<1>]| {
                let (q, k, v) = qkv(t);
                flat(composed::attention(q, k, v, kind))
            };
            check_equal_ops(&ours, &burns, &sizes, &format!("{kind:?} attention {b} {heads} {n} {m} {d}"));
        }
    }
}

#[test]
fn self_attention_with_and_without_memory() {
    // batch, heads, tokens, learned tokens, depth; the last has more keys than one block
    for [b, heads, n, m, d] in [
        [2, 4, 64, 4, 32],
        [1, 1, 1, 1, 1],
        [3, 2, 65, 2, 7],
        [2, 3, 130, 70, 16],
        [1, 2, 33, 5, 40],
        [1, 1, 700, 3, 8],
    ] {
        for kind in [AttentionKind::Full, AttentionKind::Linear] {
            let qkv = |t: &[Tensor<1>]| t[0].clone().reshape([b, n, 3 * heads * d]);
            // A view, as the peer's layout of linear attention's memory gives.
            let memory = |t: &[Tensor<1>]| t[1].clone().reshape([2, heads, d, m]).swap_dims(2, 3);
            let sizes = [b * n * 3 * heads * d, 2 * heads * m * d];
            let what = format!("{kind:?} {b} {heads} {n} {m} {d}");
            check_equal_ops(
                &|t| flat(ops::self_attention(qkv(t), Some(memory(t)), heads, kind)),
                &|t| flat(composed::self_attention(qkv(t), Some(memory(t)), heads, kind)),
                &sizes,
                &what,
            );
            check_equal_ops(
                &|t| flat(ops::self_attention(qkv(t), None, heads, kind)),
                &|t| flat(composed::self_attention(qkv(t), None, heads, kind)),
                &sizes[..1],
                &format!("{what} without memory"),
            );
        }
    }
}

#[test]
fn moving_pixels() {
    for [b, h, w, c] in [[2, 4, 6, 3], [1, 2, 2, 16], [3, 6, 2, 1]] {
        let x = |t: &[Tensor<1>]| t[0].clone().reshape([b, h, w, c]);
        let size = [b * h * w * c];
        check_equal_ops(
            &|t| flat(ops::upsample_nearest2(x(t))),
            &|t| flat(composed::upsample_nearest2(x(t))),
            &size,
            "up",
        );
        check_equal_ops(
            &|t| flat(ops::pixel_unshuffle2(x(t))),
            &|t| flat(composed::pixel_unshuffle2(x(t))),
            &size,
            "down",
        );
        check_equal_ops(
            &|t| flat(ops::downsample_mean2(x(t))),
            &|t| flat(composed::downsample_mean2(x(t))),
            &size,
            "mean",
        );
        check_equal_ops(
            &|t| flat(ops::add_to_pixels(x(t), t[1].clone().reshape([b, c]))),
            &|t| flat(composed::add_to_pixels(x(t), t[1].clone().reshape([b, c]))),
            &[size[0], b * c],
            "rows at every pixel",
        );
    }
}

#[test]
fn activations() {
    for n in [1, 17, 40_003] {
        check_equal_ops(
            &|t| ops::leaky_relu(t[0].clone(), 0.2),
            &|t| composed::leaky_relu(t[0].clone(), 0.2),
            &[n],
            "leaky relu",
        );
    }
}

/// Channel `4c + 2 p1 + p2` of the small image is channel `c` of pixel `(2h + p1, 2w + p2)`.
#[test]
fn unshuffled_channels_are_in_einops_order() {
    let device = burn::tensor::Device::flex();
    let x = Tensor::<1>::from_data(burn::tensor::TensorData::new((0..24).map(|i| i as f32).collect(), [24]), &device);
    let y = crate::support::floats(ops::pixel_unshuffle2(x.reshape([1, 2, 4, 3])));
    for (w, c, p1, p2) in (0..24).map(|i| (i / 12, i / 4 % 3, i / 2 % 2, i % 2)) {
        assert_eq!(y[w * 12 + 4 * c + 2 * p1 + p2], ((p1 * 4 + 2 * w + p2) * 3 + c) as f32);
    }
}

#[test]
fn row_sums() {
    let x = |t: &[Tensor<1>]| t[0].clone().reshape([3, 50]);
    check_equal_ops(&|t| ops::row_sums(x(t)), &|t| composed::row_sums(x(t)), &[150], "row sums");
}

#[test]
fn channels_are_joined() {
    let device = burn::tensor::Device::flex();
    let (a, b) = (Tensor::<4>::zeros([2, 3, 4, 5], &device), Tensor::ones([2, 3, 4, 6], &device));
    assert_eq!(ops::cat_channels(a, b).dims(), [2, 3, 4, 11]);
}
