//! Every hand-written gradient against central differences of a plain f64 version of the op.

use burn::tensor::{Device, Tensor};
use difusi_ops::{self as ops, ConvSpec};

use crate::support::{Op, flat, inputs, random, run};

/// An op over flat f64 inputs.
type Exact<'a> = &'a dyn Fn(&[Vec<f64>]) -> Vec<f64>;

fn check_gradients(op: Op<'_>, exact: Exact<'_>, sizes: &[usize], what: &str) {
    let inputs = inputs(sizes);
    let (y, gradients) = run(op, &inputs, &Device::flex().autodiff());
    let mut wide: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|&x| f64::from(x)).collect()).collect();
    let reference = exact(&wide);
    let close = |a: f32, b: f64| (f64::from(a) - b).abs() < 2e-5 * b.abs().max(1.0);
    assert!(y.iter().zip(&reference).all(|(a, b)| close(*a, *b)), "{what}: output");
    let weights = random(y.len(), 99);
    let loss = |x: &[Vec<f64>]| exact(x).iter().zip(&weights).map(|(y, w)| y * f64::from(*w)).sum::<f64>();
    for (i, gradient) in gradients.iter().enumerate() {
        for (j, &g) in gradient.iter().enumerate() {
            let (x, h) = (wide[i][j], 1e-5);
            wide[i][j] = x + h;
            let above = loss(&wide);
            wide[i][j] = x - h;
            let slope = (above - loss(&wide)) / (2.0 * h);
            wide[i][j] = x;
            assert!(close(g, slope), "{what}: input {i}, value {j}: gradient {g}, difference {slope}");
        }
    }
}

#[test]
fn convolution() {
    for [b, h, w, i, o, k, stride, padding] in
        [[2, 4, 5, 3, 4, 3, 1, 1], [1, 5, 4, 2, 17, 3, 2, 1], [1, 4, 4, 2, 3, 1, 1, 0]]
    {
        let spec = ConvSpec::new(stride, padding);
        let op = |t: &[Tensor<1>]| {
            let x = t[0].clone().reshape([b, h, w, i]);
            flat(ops::conv2d(x, t[1].clone().reshape([o, i, k, k]), Some(t[2].clone()), spec))
        };
        let exact = |t: &[Vec<f64>]| {
            let [ho, wo] = spec.output([h, w], [k, k]);
            let mut y = Vec::new();
            for (n, oy, ox, oc) in grid([b, ho, wo, o]) {
                let mut sum = t[2][oc];
                for (ky, kx, c, _) in grid([k, k, i, 1]) {
                    let (sy, sx) = ((oy * stride + ky).wrapping_sub(padding), (ox * stride + kx).wrapping_sub(padding));
                    if sy < h && sx < w {
                        sum += t[0][((n * h + sy) * w + sx) * i + c] * t[1][((oc * i + c) * k + ky) * k + kx];
                    }
                }
                y.push(sum);
            }
            y
        };
        check_gradients(
            &op,
            &exact,
            &[b * h * w * i, o * i * k * k, o],
            &format!("convolution {i} -> {o}, {k}, {spec:?}"),
        );
    }
}

#[test]
fn block() {
    for [b, h, w, c] in [[2, 2, 3, 5], [1, 2, 2, 16]] {
        let op = |t: &[Tensor<1>]| {
            let per_image = |x: &Tensor<1>| x.clone().reshape([b, c]);
            let x = t[0].clone().reshape([b, h, w, c]);
            flat(ops::rms_norm_silu(x, t[1].clone(), Some((per_image(&t[2]), per_image(&t[3]))), None))
        };
        let exact = |t: &[Vec<f64>]| {
            let mut y = Vec::new();
            for (pixel, x) in t[0].chunks(c).enumerate() {
                let image = pixel / (h * w);
                let length = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                for (j, x) in x.iter().enumerate() {
                    let n = x / length * t[1][j] * (c as f64).sqrt();
                    let z = n * (1.0 + t[2][image * c + j]) + t[3][image * c + j];
                    y.push(z / (1.0 + (-z).exp()));
                }
            }
            y
        };
        check_gradients(&op, &exact, &[b * h * w * c, c, b * c, b * c], &format!("block of {c} channels"));
    }
}

/// All index quadruples, the last running fastest.
fn grid([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}
