//! The convolution by its definition against all three passes, and what f32 loses.

use super::*;
use crate::ConvSpec;
use crate::simd::Float;

fn numbers<F: Float>(n: usize, seed: u64) -> Vec<F> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((state >> 40) as u32) / f64::from(1 << 23) - 1.0
    };
    (0..n).map(|_| F::of_f64(next())).collect()
}

/// The convolution by its definition.
fn defined(x: &[f64], weight: &[f64], bias: &[f64], shape: &ConvShape) -> Vec<f64> {
    let ([batch, height, width, out], [_, h, w, inside]) = (shape.y(), shape.x);
    let pad = shape.spec.padding[0] as isize;
    let mut y = Vec::new();
    for at in 0..batch * height * width * out {
        let (o, column, row, image) =
            (at % out, at / out % width, at / out / width % height, at / out / width / height);
        let mut sum = bias[o];
        for (tap, i) in (0..9).flat_map(|tap| (0..inside).map(move |i| (tap, i))) {
            let (r, c) = ((row + tap / 3) as isize - pad, (column + tap % 3) as isize - pad);
            if (0..h as isize).contains(&r) && (0..w as isize).contains(&c) {
                let pixel = (image * h + r as usize) * w + c as usize;
                sum += x[pixel * inside + i] * weight[(o * inside + i) * 9 + tap];
            }
        }
        y.push(sum);
    }
    y
}

const SHAPES: [([usize; 4], usize, usize); 6] = [
    ([2, 8, 8, 32], 48, 1),
    ([1, 9, 7, 16], 17, 1),
    ([3, 5, 13, 21], 33, 0),
    ([1, 16, 12, 70], 100, 2),
    ([2, 12, 8, 130], 20, 1),
    ([1, 4, 4, 256], 256, 1),
];

fn shape((x, out, padding): ([usize; 4], usize, usize)) -> ConvShape {
    ConvShape { x, weight: [out, x[3], 3, 3], spec: ConvSpec::new(1, padding), doubled: false }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, x| m.max(x.abs()))
}

fn error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest(b)
}

/// In f64 it is the convolution, and its gradients are the adjoints: <y, conv x> is linear in x and in the weight.
#[test]
fn it_is_the_convolution_and_its_adjoints() {
    for given in SHAPES {
        let s = shape(given);
        let (x, w) = (numbers::<f64>(s.x.iter().product(), 1), numbers::<f64>(s.weight.iter().product(), 2));
        let (b, dy) = (numbers::<f64>(s.weight[0], 3), numbers::<f64>(s.y().iter().product(), 4));
        let y = conv::conv2d(&x, &w, &b, &s);
        assert!(error(&y, &defined(&x, &w, &b, &s)) < 1e-13, "{s:?}");
        let none = vec![0.0; b.len()];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let through = dot(&defined(&x, &w, &none, &s), &dy);
        let dx = input_gradient(&dy, &w, &s);
        let (dw, db) = weight_gradient(&x, &dy, &s);
        assert!((dot(&x, &dx) - through).abs() < 1e-10 && (dot(&w, &dw) - through).abs() < 1e-10, "{s:?}");
        let ones = vec![1.0; dy.len()];
        assert!((db.iter().sum::<f64>() - dot(&ones, &dy)).abs() < 1e-10);
        // One element of each against a unit vector, through the definition.
        for at in [0, dx.len() / 2, dx.len() - 1] {
            let mut unit = vec![0.0; dx.len()];
            unit[at] = 1.0;
            assert!((dot(&defined(&unit, &w, &none, &s), &dy) - dx[at]).abs() < 1e-11);
        }
        for at in [0, dw.len() / 2, dw.len() - 1] {
            let mut unit = vec![0.0; dw.len()];
            unit[at] = 1.0;
            assert!((dot(&defined(&x, &unit, &none, &s), &dy) - dw[at]).abs() < 1e-11);
        }
    }
}

/// What f32 loses against f64: the bound that the module's documentation names.
#[test]
fn rounding_is_bounded() {
    let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    for given in SHAPES {
        let s = shape(given);
        let (x, w) = (numbers::<f32>(s.x.iter().product(), 1), numbers::<f32>(s.weight.iter().product(), 2));
        let (b, dy) = (numbers::<f32>(s.weight[0], 3), numbers::<f32>(s.y().iter().product(), 4));
        let exact = conv::conv2d(&wide(&x), &wide(&w), &wide(&b), &s);
        let (dw, db) = weight_gradient(&wide(&x), &wide(&dy), &s);
        let dx = input_gradient(&wide(&dy), &wide(&w), &s);
        let got = weight_gradient(&x, &dy, &s);
        let errors = [
            error(&wide(&conv::conv2d(&x, &w, &b, &s)), &exact),
            error(&wide(&input_gradient(&dy, &w, &s)), &dx),
            error(&wide(&got.0), &dw),
            error(&wide(&got.1), &db),
        ];
        assert!(errors.iter().all(|&e| e < 3e-5), "{s:?} {errors:?}");
    }
}

/// Reading every pixel for two by two is doubling the image first, in all three passes and where tiles do not apply.
#[test]
fn doubled_images_are_upsampled_ones() {
    use crate::kernel::{conv, conv_grad, layout};
    for (x, out, kernel) in
        [([2, 4, 6, 32], 16, 3), ([1, 5, 3, 20], 17, 3), ([1, 3, 4, 3], 5, 3), ([1, 4, 4, 16], 16, 5)]
    {
        let weight = [out, x[3], kernel, kernel];
        let s = ConvShape { x, weight, spec: ConvSpec::same(kernel), doubled: true };
        let (image, w) = (numbers::<f64>(x.iter().product(), 1), numbers::<f64>(weight.iter().product(), 2));
        let (b, dy) = (numbers::<f64>(out, 3), numbers::<f64>(s.y().iter().product(), 4));
        let large = ConvShape { x: s.seen(), doubled: false, ..s };
        let upsampled = layout::upsample2(&image, x);
        assert!(error(&conv::conv2d(&image, &w, &b, &s), &conv::conv2d(&upsampled, &w, &b, &large)) < 1e-13);
        let dx = layout::upsample2_backward(&conv::input_gradient(&dy, &w, &large), x);
        assert!(error(&conv::input_gradient(&dy, &w, &s), &dx) < 1e-13);
        let (got, expected) =
            (conv_grad::weight_gradient(&image, &dy, &s), conv_grad::weight_gradient(&upsampled, &dy, &large));
        assert!(error(&got.0, &expected.0) < 1e-13 && error(&got.1, &expected.1) < 1e-13);
    }
}
