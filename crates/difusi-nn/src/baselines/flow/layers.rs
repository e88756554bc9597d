//! The invertible layers of a flow. Each maps images to images of as many numbers, back, and says the logarithm of the absolute
//! determinant of its Jacobian, `[B]`.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::matrix::{Factors, Square, random_rotation};
use crate::baselines::{constant, row_sums, sum_images};
use crate::layers::{Conv2d, Init, RmsNorm};

/// An affine coupling scales by `e^(LIMIT tanh(s / LIMIT))`: by a factor between 1/7.4 and 7.4.
const LIMIT: f64 = 2.0;

/// `log s` and `t` of a coupling from what it leaves alone: 3x3, 1x1 and 3x3 convolutions, RMS norm and SiLU between them. The
/// last starts at zero, so that a coupling starts as the identity.
#[derive(Module, Debug)]
pub(super) struct CouplingNet {
    first: Conv2d,
    norm1: RmsNorm,
    second: Conv2d,
    norm2: RmsNorm,
    last: Conv2d,
    outputs: usize,
}

impl CouplingNet {
    /// From `inputs` channels to scales and shifts of `outputs` channels.
    pub(super) fn new(init: &Init<'_>, [inputs, dim, outputs]: [usize; 3]) -> Self {
        Self {
            first: Conv2d::new(&init.at("first"), [inputs, dim], 3),
            norm1: RmsNorm::new(&init.at("norm1"), dim),
            second: Conv2d::new(&init.at("second"), [dim, dim], 1),
            norm2: RmsNorm::new(&init.at("norm2"), dim),
            last: Conv2d::zeros(&init.at("last"), [dim, 2 * outputs], 3),
            outputs,
        }
    }

    /// `[B, H, W, inputs]` -> log scale and shift, each `[B, H, W, outputs]`.
    fn forward(&self, x: Tensor<4>) -> [Tensor<4>; 2] {
        let h = self.norm1.forward_silu(self.first.forward(x), None, None);
        let h = self.norm2.forward_silu(self.second.forward(h), None, None);
        let [log_scale, shift] = split(self.last.forward(h), self.outputs);
        [(log_scale / LIMIT).tanh() * LIMIT, shift]
    }
}

/// The first `at` channels and the others.
pub(super) fn split(x: Tensor<4>, at: usize) -> [Tensor<4>; 2] {
    let [b, h, w, c] = x.dims();
    [x.clone().slice([0..b, 0..h, 0..w, 0..at]), x.slice([0..b, 0..h, 0..w, at..c])]
}

/// `y_2 = x_2 s(x_1) + t(x_1)` for two halves of the channels (RealNVP, arXiv:1605.08803, eq. 4 and 5).
#[derive(Module, Debug)]
pub(super) struct Coupling {
    net: CouplingNet,
    kept: usize,
}

impl Coupling {
    pub(super) fn new(init: &Init<'_>, channels: usize, dim: usize) -> Self {
        let kept = channels / 2;
        Self { net: CouplingNet::new(&init.at("net"), [kept, dim, channels - kept]), kept }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let [kept, moved] = split(x, self.kept);
        let [log_scale, shift] = self.net.forward(kept.clone());
        let moved = moved * log_scale.clone().exp() + shift;
        (difusi_ops::cat_channels(kept, moved), sum_images(log_scale))
    }

    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        let [kept, moved] = split(y, self.kept);
        let [log_scale, shift] = self.net.forward(kept.clone());
        difusi_ops::cat_channels(kept, (moved - shift) * (-log_scale).exp())
    }
}

/// The same for two halves of the pixels, those of one colour of a checkerboard being kept (arXiv:1605.08803, section 3.4).
#[derive(Module, Debug)]
pub(super) struct Checkerboard {
    net: CouplingNet,
    odd: bool,
}

impl Checkerboard {
    pub(super) fn new(init: &Init<'_>, channels: usize, dim: usize, odd: bool) -> Self {
        Self { net: CouplingNet::new(&init.at("net"), [channels, dim, channels]), odd }
    }

    /// Ones where pixels are moved, `[1, H, W, 1]`.
    fn moved(&self, like: &Tensor<4>) -> Tensor<4> {
        let [_, h, w, _] = like.dims();
        let one = |i: usize| f64::from(u8::from(((i / w + i % w) % 2 == 1) != self.odd));
        constant((0..h * w).map(one).collect(), [1, h, w, 1], like)
    }

    /// Log scale and shift, zero at the pixels that are kept.
    fn terms(&self, x: &Tensor<4>) -> [Tensor<4>; 2] {
        let moved = self.moved(x);
        let kept = x.clone() * (-moved.clone() + 1.0);
        self.net.forward(kept).map(|v| v * moved.clone())
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let [log_scale, shift] = self.terms(&x);
        (x * log_scale.clone().exp() + shift, sum_images(log_scale))
    }

    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        // What is kept is the same in y as in x, so the terms are too.
        let [log_scale, shift] = self.terms(&y);
        (y - shift) * (-log_scale).exp()
    }
}

/// Actnorm and invertible 1x1 convolution in one: `W ((x + bias) e^(log_scale))` (Glow, arXiv:1807.03039, sections 3.1 and 3.2).
///
/// Actnorm starts as the identity, not from the first batch, so that a network's initial weights depend on nothing but the seed.
/// `W` is `P L (U + diag(s))` (eq. 10): `P` a permutation and the signs of `s` are not trained, `L` is lower triangular with ones
/// on its diagonal, `U` strictly upper triangular. It starts as a rotation.
#[derive(Module, Debug)]
pub(super) struct Mix {
    norm_bias: Param<Tensor<1>>,
    norm_log_scale: Param<Tensor<1>>,
    lower: Param<Tensor<2>>,
    upper: Param<Tensor<2>>,
    log_scale: Param<Tensor<1>>,
    sign: Param<Tensor<1>>,
    permutation: Param<Tensor<2>>,
}

impl Mix {
    pub(super) fn new(init: &Init<'_>, channels: usize) -> Self {
        let Factors { permutation, lower, upper, diagonal } = random_rotation(init.stream(), channels).factors();
        let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let log: Vec<f64> = diagonal.iter().map(|s| s.abs().ln()).collect();
        let sign: Vec<f64> = diagonal.iter().map(|s| s.signum()).collect();
        let square = [channels, channels];
        Self {
            norm_bias: init.at("norm_bias").zeros([channels]),
            norm_log_scale: init.at("norm_log_scale").zeros([channels]),
            lower: init.at("lower").given(single(&lower), square, true),
            upper: init.at("upper").given(single(&upper), square, true),
            log_scale: init.at("log_scale").given(single(&log), [channels], true),
            sign: init.at("sign").given(single(&sign), [channels], false),
            permutation: init.at("permutation").given(single(&permutation), square, false),
        }
    }

    /// `W diag(e^(norm_log_scale))`, `[C, C]`; rows are outputs.
    fn matrix(&self) -> Tensor<2> {
        let lower = self.lower.val();
        let [c, _] = lower.dims();
        let like = lower.clone();
        let part = |keep: fn(usize, usize) -> bool| {
            let values = (0..c * c).map(|i| f64::from(u8::from(keep(i / c, i % c)))).collect();
            constant(values, [c, c], &like)
        };
        let diagonal = part(|i, j| i == j);
        let scale = self.sign.val() * self.log_scale.val().exp();
        let upper = self.upper.val() * part(|i, j| i < j) + diagonal.clone() * scale.reshape([1, c]);
        let lower = lower * part(|i, j| i > j) + diagonal;
        // `linear(a, b)` is a b^T.
        let product = difusi_ops::linear(lower, upper.transpose(), None);
        let product = difusi_ops::linear(self.permutation.val(), product.transpose(), None);
        product * self.norm_log_scale.val().exp().reshape([1, c])
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let ([_, h, w, _], matrix, bias) = (x.dims(), self.matrix(), self.norm_bias.val());
        let [c] = bias.dims();
        let shift = difusi_ops::linear(bias.reshape([1, c]), matrix.clone(), None).reshape([c]);
        let log_scales = (self.log_scale.val() + self.norm_log_scale.val()).reshape([1, c]);
        let log_det = row_sums(log_scales) * (h * w) as f64; // [1]
        (difusi_ops::linear(x, matrix, Some(shift)), log_det)
    }

    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        let (matrix, bias) = (self.matrix(), self.norm_bias.val());
        let [c] = bias.dims();
        let values: Vec<f64> = matrix.into_data().iter::<f64>().collect();
        let inverse = Square::new(c, values).inverse();
        difusi_ops::linear(y.clone(), constant(inverse, [c, c], &y), Some(-bias))
    }
}
