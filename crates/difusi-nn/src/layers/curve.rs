//! A rising function of one number, made of positive weights: variational diffusion models (arXiv:2107.00630), appendix H.
//!
//! `f(u) = a u + mean_j b_j sigmoid(c_j u + d_j)` with `a`, `b`, `c` positive (softplus of what is trained), taken from one end to the
//! other in proportion: `place(u) = (f(u) - f(0)) / (f(1) - f(0))`. It starts as a straight line within a thousandth, its 1024
//! sigmoids spread over the way, each steep enough to bend it in its place. Deliberately absent: what is measured by it.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation};
use difusi_core::NoiseCurve;

use super::Init;

/// Number of sigmoids, the paper's.
const WIDTH: usize = 1024;
/// How steep they start.
const STEEPNESS: f64 = 12.0;
/// Their share of the way at first.
const SHARE: f64 = 0.05;

/// The function, and the values between which it rises.
#[derive(Module, Debug)]
pub struct RisingCurve {
    ends: Param<Tensor<1>>,
    slope: Param<Tensor<1>>,
    heights: Param<Tensor<1>>,
    steepness: Param<Tensor<1>>,
    offsets: Param<Tensor<1>>,
}

impl RisingCurve {
    /// From `ends[0]` to `ends[1]`.
    pub fn new(init: &Init<'_>, ends: [f64; 2]) -> Self {
        let centre = |j: usize| (j as f64 + 0.5) / WIDTH as f64;
        Self {
            ends: init.values(ends.to_vec()),
            slope: init.values(vec![inverse_softplus(1.0)]),
            heights: init.values(vec![inverse_softplus(SHARE); WIDTH]),
            steepness: init.values(vec![inverse_softplus(STEEPNESS); WIDTH]),
            offsets: init.values((0..WIDTH).map(|j| -STEEPNESS * centre(j)).collect()),
        }
    }

    /// Its values at `count` evenly spread times from the first end to the last; 2 or more.
    pub fn table(&self, count: usize) -> Vec<f64> {
        let times: Vec<f64> = (0..count).map(|i| i as f64 / (count as f64 - 1.0)).collect();
        let ends = self.ends.val();
        let place = self.place(Tensor::from_data(TensorData::new(times, [count]), (&ends.device(), ends.dtype())));
        let [first, last] = [0, 1].map(|i| ends.clone().narrow(0, i, 1));
        ((last - first.clone()) * place + first).into_data().iter::<f64>().collect()
    }

    /// `f` of `[N]` numbers.
    fn rise(&self, times: Tensor<1>) -> Tensor<1> {
        let positive = |p: &Param<Tensor<1>>| activation::softplus(p.val(), 1.0);
        let (count, column) = (times.dims()[0], times.clone().unsqueeze_dim::<2>(1)); // [N, 1]
        let row = |x: Tensor<1>| x.unsqueeze::<2>(); // [1, J]
        let bends = activation::sigmoid(column * row(positive(&self.steepness)) + row(self.offsets.val())); // [N, J]
        let bends = (bends * row(positive(&self.heights))).mean_dim(1).reshape([count]);
        times * positive(&self.slope) + bends
    }
}

impl NoiseCurve for RisingCurve {
    fn ends(&self) -> Tensor<1> {
        self.ends.val()
    }

    fn place(&self, times: Tensor<1>) -> Tensor<1> {
        let count = times.dims()[0];
        let like = (&times.device(), times.dtype());
        let both = Tensor::cat(vec![times, Tensor::from_data([0.0, 1.0], like)], 0);
        let rise = self.rise(both); // [N + 2]
        let [low, high] = [count, count + 1].map(|i| rise.clone().narrow(0, i, 1));
        (rise.narrow(0, 0, count) - low.clone()) / (high - low)
    }
}

fn inverse_softplus(y: f64) -> f64 {
    y.exp_m1().ln()
}
