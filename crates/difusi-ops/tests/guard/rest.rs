//! Norms, moved pixels, sums, and what works on host slices.

use burn::tensor::Tensor;
use difusi_ops::{self as ops, AdamState, AdamStep, Average, Gradient, Groups, WeightDecay};

use crate::support::{check, check_work, numbers};

#[test]
fn norms() {
    for [b, h, w, c] in [
        [2, 5, 7, 64],
        [1, 3, 3, 5],
        [3, 13, 12, 17],
        [2, 1, 1, 1],
        [1, 20, 9, 32],
        [1, 2, 2, 1040],
        [1, 1, 2, 1025],
        [2, 16, 8, 33],
    ] {
        let (image, what) = (b * h * w * c, format!("norm {b}x{h}x{w}x{c}"));
        let x = |t: &[Tensor<1>]| t[0].clone().reshape([b, h, w, c]);
        let per_image = |t: &[Tensor<1>]| Some((t[2].clone().reshape([b, c]), t[3].clone().reshape([b, c])));
        check(&what, &[image, c], |t| ops::rms_norm(x(t), t[1].clone()));
        check(&what, &[image, c], |t| ops::rms_norm_silu(x(t), t[1].clone(), None, None));
        check(&what, &[image, c, b * c, b * c], |t| ops::rms_norm_silu(x(t), t[1].clone(), per_image(t), None));
        check(&what, &[image, c, image], |t| {
            ops::rms_norm_silu(x(t), t[1].clone(), None, Some(t[2].clone().reshape([b, h, w, c])))
        });
        let groups = Groups::new(if c.is_multiple_of(2) { 2 } else { 1 });
        check(&what, &[image, c, b * c, b * c, c], |t| {
            ops::group_norm_silu(x(t), groups, (t[1].clone(), t[4].clone()), per_image(t))
        });
    }
}

#[test]
fn pixels_and_sums() {
    for [b, h, w, c] in [[2, 4, 6, 3], [1, 2, 2, 16], [3, 6, 2, 1], [1, 8, 4, 33]] {
        let image = |x: &Tensor<1>| x.clone().reshape([b, h, w, c]);
        let (size, what) = ([b * h * w * c; 2], format!("{b}x{h}x{w}x{c}"));
        check(&format!("up {what}"), &size[..1], |t| ops::upsample_nearest2(image(&t[0])));
        check(&format!("down {what}"), &size[..1], |t| ops::pixel_unshuffle2(image(&t[0])));
        check(&format!("mean {what}"), &size[..1], |t| ops::downsample_mean2(image(&t[0])));
        let rows = |t: &Tensor<1>| t.clone().reshape([b, c]);
        check(&format!("rows {what}"), &[size[0], b * c], |t| ops::add_to_pixels(image(&t[0]), rows(&t[1])));
        check(&format!("joined {what}"), &size, |t| ops::cat_channels(image(&t[0]), image(&t[1])));
    }
    for n in [1, 15, 16, 17, 40_003] {
        check("leaky relu", &[n], |t| ops::leaky_relu(t[0].clone(), 0.2));
    }
    for [rows, columns] in [[3, 50], [1, 1], [5, 16_400]] {
        check("row sums", &[rows * columns], |t| ops::row_sums(t[0].clone().reshape([rows, columns])));
    }
}

/// A step of the optimiser and of the average, on lengths around vectors and chunks.
#[test]
fn host_slices() {
    for n in [1, 15, 16, 17, 63, 64, 65, 1000, 1 << 14, (1 << 14) + 1, 40_003] {
        for decay in [WeightDecay::None, WeightDecay::L2(0.1), WeightDecay::Decoupled(0.1)] {
            check_work(&format!("{n} weights, {decay:?}"), || {
                let (mut w, mut m, mut v) = (numbers(n, 1), vec![0.0; n], vec![0.0; n]);
                let (grad, mut average) = (numbers(n, 2), numbers(n, 3));
                let (beta1, beta2, eps) = (0.9, 0.99, 1e-8);
                let step = AdamStep { learning_rate: 1e-3, beta1, beta2, eps, decay, grad_scale: 0.5, step: 3 };
                let averages = vec![Average { values: &mut average, decay: 0.9 }];
                let state = AdamState { values: &mut w, first: &mut m, second: &mut v, averages };
                let (reached, rest) = grad.split_at(n / 3);
                step.apply(state, &[Gradient::Of(reached), Gradient::Absent(rest.len())]);
                let norm = ops::ordered::grad_norm([&w[..], &average[..]]);
                vec![w, m, v, average, vec![norm as f32]]
            });
        }
    }
}
