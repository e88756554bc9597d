//! Convolutions of fixed weights and pooling: as composed, in a place of a wider image too, on every device the same.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_ops::{self as ops, Activation, ConvSpec, FixedConv, Pooling, composed};

use crate::support::{check_close, floats, random};

fn image<const D: usize>(dims: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(random(dims.iter().product(), seed), dims), device)
}

/// Plain, which has the kernels, and autodiff, which does not.
fn devices() -> [Device; 2] {
    [Device::flex(), Device::flex().autodiff()]
}

/// `[b, h, w, in]`, out, kernel, spec.
type Case = ([usize; 4], usize, [usize; 2], ConvSpec);

const fn wide(kernel: [usize; 2]) -> ConvSpec {
    ConvSpec { stride: 1, padding: [kernel[0] / 2, kernel[1] / 2] }
}

/// Direct and by tiles (many and few, more than a vector, ragged), long kernels, strides, a border wider than the kernel.
const CASES: [Case; 13] = [
    ([2, 9, 7, 16], 64, [3, 3], ConvSpec::same(3)),
    ([1, 5, 5, 3], 20, [3, 3], ConvSpec::new(1, 0)),
    ([3, 8, 6, 32], 48, [1, 1], ConvSpec::new(1, 0)),
    ([2, 11, 9, 40], 33, [1, 7], wide([1, 7])),
    ([2, 11, 9, 17], 48, [7, 1], wide([7, 1])),
    ([1, 8, 8, 16], 16, [1, 3], wide([1, 3])),
    ([2, 13, 13, 3], 32, [3, 3], ConvSpec::new(2, 0)),
    ([2, 9, 9, 20], 24, [5, 5], ConvSpec::same(5)),
    ([1, 4, 4, 256], 272, [3, 3], ConvSpec::same(3)),
    ([9, 16, 16, 32], 48, [3, 3], ConvSpec::same(3)),
    ([1, 12, 13, 21], 33, [3, 3], ConvSpec::new(1, 0)),
    ([1, 17, 19, 200], 70, [3, 3], ConvSpec::new(2, 1)),
    ([1, 4, 3, 5], 6, [1, 1], ConvSpec::new(1, 1)),
];

#[test]
fn convolution() {
    for (dims, out, [kh, kw], spec) in CASES {
        for device in devices() {
            for activation in [Activation::None, Activation::Relu] {
                let (x, bias) = (image(dims, 1, &device), image([out], 3, &device));
                let weight: Tensor<4> = image([out, dims[3], kh, kw], 2, &device);
                let conv = FixedConv::new(weight.clone(), bias.clone(), spec, activation);
                let exact = floats(composed::conv2d(x.clone(), weight, Some(bias), spec));
                let exact: Vec<f32> = match activation {
                    Activation::None => exact,
                    Activation::Relu => exact.iter().map(|x| x.max(0.0)).collect(),
                };
                let what = format!("{dims:?} {conv:?}");
                let y = conv.forward(x.clone());
                assert_eq!(y.dims(), conv.output(dims), "{what}");
                check_close(&floats(y), &exact, 3e-5, &what);
                check_close(&floats(conv.forward(x.clone())), &exact, 3e-5, &format!("{what} again"));
                check_place(&exact, conv.output(dims), &device, |y| conv.forward_into(x.clone(), y, 3), &what);
            }
        }
    }
}

/// What is written into channels from 3 on is `exact`; the other channels stay, and so does an image that somebody else holds.
fn check_place(exact: &[f32], part: [usize; 4], device: &Device, run: impl Fn(Tensor<4>) -> Tensor<4>, what: &str) {
    let [b, h, w, c] = part;
    let whole = || image([b, h, w, c + 5], 7, device);
    let held = whole();
    let before = floats(held.clone());
    let mut expected = before.clone();
    for (pixel, from) in expected.chunks_exact_mut(c + 5).zip(exact.chunks_exact(c)) {
        pixel[3..3 + c].copy_from_slice(from);
    }
    check_close(&floats(run(whole())), &expected, 3e-5, &format!("{what} in its place"));
    check_close(&floats(run(held.clone())), &expected, 3e-5, &format!("{what} in a copy"));
    assert_eq!(floats(held), before, "{what}: somebody else's image has changed");
}

#[test]
fn pooling() {
    let poolings = [Pooling::new(3, 2, 0), Pooling::new(3, 1, 1), Pooling::new(2, 2, 0), Pooling::new(5, 3, 2)];
    for dims in [[2, 9, 7, 16], [1, 8, 8, 35], [3, 5, 6, 3], [1, 5, 5, 64]] {
        for pooling in poolings {
            for device in devices() {
                let x: Tensor<4> = image(dims, 1, &device);
                type Pool = fn(Tensor<4>, Pooling, Option<(Tensor<4>, usize)>) -> Tensor<4>;
                let both: [(Pool, Tensor<4>); 2] = [
                    (ops::max_pool, composed::max_pool(x.clone(), pooling)),
                    (ops::mean_pool, composed::mean_pool(x.clone(), pooling)),
                ];
                for (pool, exact) in both {
                    let (what, exact) = (format!("{dims:?} {pooling:?}"), floats(exact));
                    let y = pool(x.clone(), pooling, None);
                    assert_eq!(y.dims(), pooling.output(dims));
                    check_close(&floats(y), &exact, 1e-6, &what);
                    let run = |y| pool(x.clone(), pooling, Some((y, 3)));
                    check_place(&exact, pooling.output(dims), &device, run, &what);
                }
            }
        }
        let x: Tensor<4> = image(dims, 1, &Device::flex());
        check_close(&floats(ops::mean_pixels(x.clone())), &floats(composed::mean_pixels(x)), 1e-6, "mean of pixels");
    }
}

/// The border does not count: the mean of ones is one everywhere, the largest of negative numbers is negative.
#[test]
fn borders_do_not_count() {
    let ones: Tensor<4> = Tensor::ones([2, 5, 6, 19], &Device::flex());
    let pooling = Pooling::new(3, 1, 1);
    assert!(floats(ops::mean_pool(ones.clone(), pooling, None)).iter().all(|x| (x - 1.0).abs() < 1e-6));
    assert!(floats(ops::max_pool(ones.neg(), pooling, None)).iter().all(|&x| x == -1.0));
}

/// Not a number stays so through every activation.
#[test]
fn nan_comes_through() {
    let device = Device::flex();
    for (dims, kernel) in [([1, 8, 8, 16], 3), ([1, 8, 8, 16], 1)] {
        let weight = Tensor::ones([16, 16, kernel, kernel], &device);
        let conv = FixedConv::new(weight, Tensor::zeros([16], &device), ConvSpec::same(kernel), Activation::Relu);
        let y = conv.forward(Tensor::full(dims, f32::NAN, &device));
        assert!(floats(y).iter().all(|x| x.is_nan()));
    }
}
