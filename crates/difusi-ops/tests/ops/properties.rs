//! The kernels against burn's composed ops, forward and backward, on random small shapes; the same shapes in every run.

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};
use difusi_ops::{self as ops, AttentionKind, ConvSpec, LinearAttentionWeights, composed};
use proptest::{prelude::*, sample::select, test_runner::RngSeed};

use crate::support::{Op, flat, inputs, run};

/// Rounding of sums in another order.
const SUMS: f32 = 1e-5;
/// And of Winograd's transforms.
const TILES: f32 = 3e-5;

/// So many shapes, the same in every run.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(271_828), ..ProptestConfig::default() }
}

/// Outputs and gradients are equal within `tolerance` of the largest value of each (or of 0.1, as they are of sums of such size).
fn check(ours: Op<'_>, burns: Op<'_>, sizes: &[usize], tolerance: f32) -> Result<(), TestCaseError> {
    let (inputs, device) = (inputs(sizes), Device::flex().autodiff());
    let ((y, dy), (z, dz)) = (run(ours, &inputs, &device), run(burns, &inputs, &device));
    for (i, (a, b)) in std::iter::once((&y, &z)).chain(dy.iter().zip(&dz)).enumerate() {
        prop_assert_eq!(a.len(), b.len());
        let size = b.iter().fold(0.1f32, |m, x| m.max(x.abs()));
        for (j, (a, b)) in a.iter().zip(b).enumerate() {
            prop_assert!((a - b).abs() <= tolerance * size, "result {i}, value {j}: {a} and {b}, of {size}");
        }
    }
    Ok(())
}

/// A convolution of `x` `[b, h, w, i]`, made larger where the kernel would not fit.
#[derive(Debug)]
struct Convolution {
    x: [usize; 4],
    out: usize,
    kernel: [usize; 2],
    spec: ConvSpec,
    doubled: bool,
}

impl Convolution {
    fn check(mut self, tolerance: f32) -> Result<(), TestCaseError> {
        let scale = 1 + usize::from(self.doubled);
        for ((n, k), padding) in self.x[1..].iter_mut().zip(self.kernel).zip(self.spec.padding) {
            *n = (*n).max(k.saturating_sub(2 * padding).div_ceil(scale));
        }
        let Self { x: [b, h, w, i], out, kernel: [kh, kw], spec, doubled } = self;
        let shape = |t: &[Tensor<1>]| {
            let [x, weight, bias] = [0, 1, 2].map(|i| t[i].clone());
            (x.reshape([b, h, w, i]), weight.reshape([out, i, kh, kw]), Some(bias))
        };
        let ours = |t: &[Tensor<1>]| {
            let (x, weight, bias) = shape(t);
            flat(if doubled { ops::upsample_conv2d } else { ops::conv2d }(x, weight, bias, spec))
        };
        let burns = |t: &[Tensor<1>]| {
            let (x, weight, bias) = shape(t);
            let x = if doubled { composed::upsample_nearest2(x) } else { x };
            flat(composed::conv2d(x, weight, bias, spec))
        };
        check(&ours, &burns, &[b * h * w * i, out * i * kh * kw, out], tolerance)
    }
}

fn kernels() -> impl Strategy<Value = [usize; 2]> {
    select(vec![[1, 1], [3, 3], [3, 3], [5, 5], [7, 7], [1, 7], [7, 1], [4, 4], [2, 2], [2, 3]])
}

/// Sizes of an image, and its channels.
fn images(size: usize, channels: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 4]> {
    (1usize..4, 1..size, 1..size, channels).prop_map(|(b, h, w, c)| [b, h, w, c])
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn convolution(
        (x, out) in (images(13, 1..40), 1usize..40),
        (kernel, stride, border) in (kernels(), 1usize..4, (0usize..8, 0usize..8)),
    ) {
        // At or above the kernel's size too: that goes through burn.
        let spec = ConvSpec { stride, padding: [border.0 % (kernel[0] + 1), border.1 % (kernel[1] + 1)] };
        Convolution { x, out, kernel, spec, doubled: false }.check(TILES)?;
    }

    #[test]
    fn convolution_by_tiles(x in images(18, 16..72), out in 16usize..72, padding in 0usize..3) {
        let spec = ConvSpec::new(1, padding);
        Convolution { x, out, kernel: [3, 3], spec, doubled: false }.check(TILES)?;
    }

    #[test]
    fn norm_and_silu([b, h, w, c] in images(13, 1..80), per_image: bool) {
        let x = |t: &[Tensor<1>]| t[0].clone().reshape([b, h, w, c]);
        let pair = |t: &[Tensor<1>]| t.get(2..).filter(|t| !t.is_empty()).map(|t| (t[0].clone().reshape([b, c]), t[1].clone().reshape([b, c])));
        let sizes = [b * h * w * c, c, b * c, b * c];
        check(
            &|t| flat(ops::rms_norm_silu(x(t), t[1].clone(), pair(t), None)),
            &|t| flat(composed::rms_norm_silu(x(t), t[1].clone(), pair(t), None)),
            &sizes[..if per_image { 4 } else { 2 }],
            SUMS,
        )?;
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn doubled_convolution(x in images(9, 1..40), out in 1usize..40, kernel in kernels(), stride in 1usize..3, border in 0usize..7) {
        let spec = ConvSpec::new(stride, border % kernel[0].min(kernel[1]));
        Convolution { x, out, kernel, spec, doubled: true }.check(TILES)?;
    }

    #[test]
    fn fused_attention([b, heads, n, d] in images(5, 1..40), tokens in 1usize..150, remembered in 0usize..9, full: bool) {
        let (n, kind) = (n * tokens / 4 + 1, if full { AttentionKind::Full } else { AttentionKind::Linear });
        let qkv = |t: &[Tensor<1>]| t[0].clone().reshape([b, n, 3 * heads * d]);
        let memory = |t: &[Tensor<1>]| t.get(1).map(|t| t.clone().reshape([2, heads, remembered, d]));
        let sizes = [b * n * 3 * heads * d, 2 * heads * remembered * d];
        check(
            &|t| flat(ops::self_attention(qkv(t), memory(t), heads, kind)),
            &|t| flat(composed::self_attention(qkv(t), memory(t), heads, kind)),
            if remembered > 0 { &sizes } else { &sizes[..1] },
            SUMS,
        )?;
    }

    /// Keys that are hidden score minus infinity; every image sees its first.
    #[test]
    fn attention_to_what_is_seen([b, heads, n, d] in images(5, 1..40), keys in 1usize..40, every in 1usize..4) {
        let seen: Vec<bool> = (0..b * keys).map(|i| i % keys == 0 || i % (every + 1) == 0).collect();
        let bias: Vec<f32> = seen.iter().map(|seen| if *seen { 0.0 } else { f32::NEG_INFINITY }).collect();
        let shape = |t: &[Tensor<1>]| {
            let [q, k, v] = [(0, n), (1, keys), (2, keys)].map(|(i, count)| t[i].clone().reshape([b, heads, count, d]));
            (q, k, v)
        };
        let burns = |t: &[Tensor<1>]| {
            let (q, k, v) = shape(t);
            let bias = Tensor::<4>::from_data(TensorData::new(bias.clone(), [b, 1, 1, keys]), &q.device());
            let scores = q.matmul(k.swap_dims(2, 3)) * (d as f64).powf(-0.5) + bias;
            flat(softmax(scores, 3).matmul(v))
        };
        let ours = |t: &[Tensor<1>]| {
            let (q, k, v) = shape(t);
            flat(ops::attention_where(q, k, v, &seen))
        };
        check(&ours, &burns, &[b * heads * n * d, b * heads * keys * d, b * heads * keys * d], SUMS)?;
    }

    #[test]
    fn linear_attention([b, heads, m, d] in images(5, 1..40), n in 1usize..150, c in 1usize..70) {
        let hidden = heads * d;
        let given = |t: &[Tensor<1>]| {
            let weights = LinearAttentionWeights {
                qkv: t[1].clone().reshape([3 * hidden, c]),
                memory: t[2].clone().reshape([2, heads, m, d]),
                out: t[3].clone().reshape([c, hidden]),
                bias: t[4].clone(),
            };
            (t[0].clone().reshape([b, n, c]), weights)
        };
        let ours = |t: &[Tensor<1>]| {
            let (x, weights) = given(t);
            flat(ops::linear_attention_layer(x, weights))
        };
        let burns = |t: &[Tensor<1>]| {
            let (x, LinearAttentionWeights { qkv, memory, out, bias }) = given(t);
            let qkv = composed::linear(x, qkv, None);
            let y = composed::self_attention(qkv, Some(memory), heads, AttentionKind::Linear);
            flat(composed::linear(y, out, Some(bias)))
        };
        check(&ours, &burns, &[b * n * c, 3 * hidden * c, 2 * hidden * m, c * hidden, c], SUMS)?;
    }
}
