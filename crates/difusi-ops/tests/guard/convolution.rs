//! Convolutions of all kernels, strides and paddings, direct and by Winograd's tiles, and linear layers.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_ops::{self as ops, Activation, ConvSpec, FixedConv, Pooling};

use crate::support::{check, check_work, numbers};

/// Input and output channels: one, fewer than a vector, whole vectors, more, and more than one block of columns.
const CHANNELS: [[usize; 2]; 8] = [[1, 1], [3, 17], [17, 3], [16, 16], [33, 65], [32, 64], [64, 33], [15, 130]];

/// `x` `[b, h, w, i]`, `o` output channels.
fn convolution(x: [usize; 4], o: usize, kernel: [usize; 2], spec: ConvSpec, doubled: bool) {
    let ([b, h, w, i], [kh, kw]) = (x, kernel);
    let seen = if doubled { [2 * h, 2 * w] } else { [h, w] };
    if (0..2).any(|side| seen[side] + 2 * spec.padding[side] < kernel[side]) {
        return;
    }
    let name = if doubled { "doubled convolution" } else { "convolution" };
    let what = format!("{name} {x:?} -> {o}, {kernel:?}, {spec:?}");
    check(&what, &[b * h * w * i, o * i * kh * kw, o], |t| {
        let [x, weight, bias] = [0, 1, 2].map(|n| t[n].clone());
        let (x, weight) = (x.reshape([b, h, w, i]), weight.reshape([o, i, kh, kw]));
        let run = if doubled { ops::upsample_conv2d } else { ops::conv2d };
        run(x, weight, Some(bias), spec)
    });
}

/// All channels and these sizes of images under a kernel, with no border, the usual one and the widest.
fn all(sizes: &[[usize; 3]], kernel: [usize; 2], stride: usize) {
    let mut paddings = vec![[0; 2], kernel.map(|k| k / 2), kernel.map(|k| k - 1)];
    paddings.dedup();
    for &[b, h, w] in sizes {
        for [i, o] in CHANNELS {
            for &padding in &paddings {
                convolution([b, h, w, i], o, kernel, ConvSpec { stride, padding }, false);
            }
        }
    }
}

#[test]
fn square_kernels() {
    for k in [1, 3, 5, 7] {
        all(&[[1, 9, 7], [3, 5, 1], [2, 8, 8]], [k, k], 1);
    }
}

#[test]
fn long_kernels() {
    for kernel in [[1, 7], [7, 1], [2, 3]] {
        all(&[[1, 9, 7], [2, 8, 11]], kernel, 1);
    }
}

#[test]
fn strides() {
    for k in [1, 2, 3, 4] {
        all(&[[1, 9, 7], [2, 8, 6]], [k, k], 2);
    }
    all(&[[2, 11, 10]], [3, 3], 3);
}

/// Tiles on the border and away from it, whole vectors and not, few tiles of many channels, and more than one run per job.
#[test]
fn tiles() {
    let channels = [[16, 16], [16, 17], [21, 33], [48, 32], [70, 100], [130, 20]];
    for [b, h, w] in [[1, 4, 4], [2, 8, 8], [1, 9, 7], [3, 13, 5], [1, 16, 12]] {
        for [i, o] in channels {
            for padding in 0..3 {
                convolution([b, h, w, i], o, [3, 3], ConvSpec::new(1, padding), false);
            }
            convolution([b, h, w, i], o, [3, 3], ConvSpec::same(3), true);
        }
    }
    convolution([9, 16, 16, 32], 48, [3, 3], ConvSpec::same(3), false);
    convolution([1, 4, 4, 256], 272, [3, 3], ConvSpec::same(3), false);
}

#[test]
fn doubled_images() {
    for [b, h, w] in [[1, 3, 5], [2, 4, 4], [1, 1, 1]] {
        for [i, o] in CHANNELS {
            for k in [1, 3, 5] {
                convolution([b, h, w, i], o, [k, k], ConvSpec::same(k), true);
            }
            convolution([b, h, w, i], o, [2, 2], ConvSpec::new(2, 0), true);
        }
    }
}

/// More pixels than one strip, and more depth than one piece of a panel.
#[test]
fn large_ones() {
    for ([b, h, w, i], o, k, stride) in
        [([1, 40, 33, 4], 8, 3, 1), ([70, 4, 4, 8], 16, 3, 1), ([2, 6, 5, 300], 70, 3, 2), ([3, 17, 19, 200], 33, 1, 1)]
    {
        convolution([b, h, w, i], o, [k, k], ConvSpec::new(stride, k / 2), false);
    }
}

#[test]
fn without_bias_of_a_view() {
    for i in [8, 16] {
        check("a permuted image", &[2 * i * 5 * 6, 17 * i * 9], |t| {
            let x: Tensor<4> = t[0].clone().reshape([2, i, 5, 6]).permute([0, 2, 3, 1]);
            ops::conv2d(x, t[1].clone().reshape([17, i, 3, 3]), None, ConvSpec::same(3))
        });
    }
}

#[test]
fn linear() {
    for [rows, inside, out] in [[1, 16, 64], [7, 33, 5], [64, 32, 128], [130, 17, 1], [13, 1, 1], [113, 64, 90]] {
        check(&format!("linear {rows} {inside} {out}"), &[rows * inside, out * inside, out], |t| {
            let x: Tensor<2> = t[0].clone().reshape([rows, inside]);
            ops::linear(x, t[1].clone().reshape([out, inside]), Some(t[2].clone()))
        });
    }
}

/// Fixed convolutions and pooling, on their own and in a place of a wider image.
#[test]
fn inference() {
    let device = Device::flex();
    let image = |dims: [usize; 4], seed: usize| {
        Tensor::<4>::from_data(TensorData::new(numbers(dims.iter().product(), seed), dims), &device)
    };
    let results = |shape: [usize; 4], run: &dyn Fn(Option<(Tensor<4>, usize)>) -> Tensor<4>| {
        let [b, h, w, c] = shape;
        let floats = |y: Tensor<4>| y.into_data().try_to_vec::<f32>().expect("f32");
        [(0, 0), (16, 0), (3, 5)].map(|(before, after)| match before + after {
            0 => floats(run(None)),
            more => floats(run(Some((image([b, h, w, c + more], 5), before)))),
        })
    };
    for x in [[1, 9, 7, 16], [2, 8, 11, 33], [1, 12, 12, 3]] {
        for (out, kernel) in [(16, [3, 3]), (33, [3, 3]), (80, [1, 1]), (17, [1, 7]), (48, [7, 1])] {
            for stride in [1, 2] {
                let spec = ConvSpec { stride, padding: kernel.map(|k| k / 2) };
                check_work(&format!("fixed convolution {x:?} -> {out}, {kernel:?}, {spec:?}"), || {
                    let weight = image([out, x[3], kernel[0], kernel[1]], 2);
                    let bias = Tensor::from_data(TensorData::new(numbers(out, 3), [out]), &device);
                    let (conv, x) = (FixedConv::new(weight, bias, spec, Activation::Relu), image(x, 1));
                    let run = |into: Option<_>| match into {
                        None => conv.forward(x.clone()),
                        Some((y, first)) => conv.forward_into(x.clone(), y, first),
                    };
                    results(conv.output(x.dims()), &run).to_vec()
                });
            }
        }
        for pooling in [Pooling::new(3, 2, 0), Pooling::new(3, 1, 1), Pooling::new(2, 1, 0)] {
            check_work(&format!("pooling {x:?} {pooling:?}"), || {
                let x = image(x, 1);
                let max = results(pooling.output(x.dims()), &|into| ops::max_pool(x.clone(), pooling, into));
                let mean = results(pooling.output(x.dims()), &|into| ops::mean_pool(x.clone(), pooling, into));
                let whole = ops::mean_pixels(x).into_data().try_to_vec::<f32>().expect("f32");
                [max.to_vec(), mean.to_vec(), vec![whole]].concat()
            });
        }
    }
}
