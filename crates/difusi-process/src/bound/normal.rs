//! The normal distribution where its tails decide: logarithms of its distribution function, of intervals, and divergences.
//!
//! Everything is exact to rounding, on the host in f64 and on tensors with gradients that are finite wherever the value is.
//! The one approximation is a Chebyshev series of `ln(erfcx(z) / t)`, `t = 2 / (2 + z)`, on `z >= 0` (our own coefficients, from 50
//! digits): a smooth function, since t carries the fall of erfcx and `erfc(z) = exp(-z^2) erfcx(z)` the rest. So the logarithm of a
//! probability of 1e-10000 is as good as that of a half. Deliberately absent: the tanh approximation of the distribution function
//! that improved-diffusion and guided-diffusion use, which is wrong by up to 3e-4 and far more in the tails.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI};

use burn::tensor::{DType, Tensor};

/// Chebyshev coefficients of `ln(erfcx(z) / t)` in `2 t - 1`.
const LOG_ERFCX: [f64; 30] = [
    -6.513_268_598_908_547e-1,
    6.419_697_923_564_903e-1,
    1.947_647_320_418_583_6e-2,
    -9.561_514_786_808_632e-3,
    -9.465_953_444_820_369e-4,
    3.668_394_978_527_615e-4,
    4.252_332_480_690_777e-5,
    -2.027_857_811_253_424_3e-5,
    -1.624_290_004_647_025_5e-6,
    1.303_655_835_580_523_2e-6,
    1.562_644_172_206_614_3e-8,
    -8.523_809_591_492_654e-8,
    6.529_054_439_098_851e-9,
    5.059_343_495_551_469e-9,
    -9.913_641_566_933_03e-10,
    -2.273_651_222_931_836e-10,
    9.646_791_102_015_526e-11,
    2.394_038_083_061_115e-12,
    -6.886_027_525_497_553e-12,
    8.944_879_273_090_726e-13,
    3.130_921_399_342_958e-13,
    -1.127_082_236_136_725_2e-13,
    3.810_905_255_189_232e-16,
    7.106_097_613_609_237e-15,
    -1.523_028_201_457_104_3e-15,
    -9.457_494_571_291_2e-17,
    1.210_237_189_224_279e-16,
    -2.816_663_087_747_177e-17,
    5.003_005_559_445_902e-20,
    2.328_104_257_952_925e-18,
];

/// How many of them f32 can tell from all.
const TERMS_F32: usize = 14;

/// Where the series of [`variance_gap`] takes over.
const SMALL: f64 = 0.05;

/// ln(sqrt(2 pi)).
pub(super) fn log_root_tau() -> f64 {
    0.5 * (2.0 * PI).ln()
}

/// `ln erfcx(z) - ln t` at `z >= 0`, given `t`.
fn series(t: f64) -> f64 {
    let x = 2.0 * t - 1.0;
    let (first, rest) = (LOG_ERFCX[0], &LOG_ERFCX[1..]);
    let (b1, b2) = rest.iter().rev().fold((0.0, 0.0), |(b1, b2), c| (c + 2.0 * x * b1 - b2, b1)); // Clenshaw
    first + x * b1 - b2
}

/// `ln(Phi(-z)) + z^2 / 2` at `z >= 0`: what is left of the lower tail without its Gaussian.
fn tail(z: f64) -> f64 {
    let t = 2.0 / (2.0 + z * FRAC_1_SQRT_2);
    (0.5 * t).ln() + series(t)
}

/// `ln Phi(z)`, the standard normal's distribution function.
pub fn log_cdf(z: f64) -> f64 {
    let below = tail(z.abs()) - 0.5 * z * z;
    if z <= 0.0 { below } else { (-below.exp()).ln_1p() }
}

/// `ln(Phi(centre + half) - Phi(centre - half))`, `half > 0`.
pub fn log_interval(centre: f64, half: f64) -> f64 {
    let (upper, lower) = (half - centre.abs(), half + centre.abs()); // the interval [-lower, upper], mirrored to the left
    if upper > 0.0 {
        let outside = (tail(upper) - 0.5 * upper * upper).exp() + (tail(lower) - 0.5 * lower * lower).exp();
        return if half > 0.5 { (-outside).ln_1p() } else { narrow(upper, lower) };
    }
    let fall = 2.0 * half * centre.abs() + tail(-upper) - tail(lower); // ln Phi(upper) - ln Phi(-lower)
    tail(-upper) - 0.5 * upper * upper + (-(-fall).exp_m1()).ln()
}

/// `ln(Phi(upper) - Phi(-lower))` of two small numbers, by the series of erf.
fn narrow(upper: f64, lower: f64) -> f64 {
    let erf = |z: f64| {
        let x2 = -0.5 * z * z;
        let (sum, _) =
            (0..40).fold((0.0, z), |(sum, term), n| (sum + term / f64::from(2 * n + 1), term * x2 / f64::from(n + 1)));
        sum // sqrt(pi / 2) erf(z / sqrt 2)
    };
    (erf(upper) + erf(lower)).ln() - log_root_tau()
}

/// `KL(N(m, v_q) || N(m + mean_difference, v_p))` of one number, in nats.
pub fn normal_kl(mean_difference: f64, log_variance_q: f64, log_variance_p: f64) -> f64 {
    let gap = log_variance_p - log_variance_q;
    0.5 * (variance_gap(gap) + mean_difference.powi(2) * (-log_variance_p).exp())
}

/// `d + exp(-d) - 1`, at least 0: twice the divergence of two normals of one mean whose log-variances differ by d.
pub(super) fn variance_gap(d: f64) -> f64 {
    if d.abs() < SMALL { d * d * gap_series(d) } else { d + (-d).exp_m1() }
}

/// `(d + exp(-d) - 1) / d^2` for small d.
fn gap_series(d: f64) -> f64 {
    1.0 / 2.0 - d * (1.0 / 6.0 - d * (1.0 / 24.0 - d * (1.0 / 120.0 - d * (1.0 / 720.0 - d * (1.0 / 5040.0)))))
}

/// [`log_cdf`] of every number, `[B, H, W, C]` -> the same shape.
pub(super) fn log_cdf_tensor(z: Tensor<4>) -> Tensor<4> {
    let below = log_lower_tail(z.clone().abs());
    let above = below.clone().exp().neg().log1p();
    above.mask_where(z.lower_equal_elem(0.0), below)
}

/// [`log_interval`] of every number; both `[B, H, W, C]`, `half` above 0.
pub(super) fn log_interval_tensor(centre: Tensor<4>, half: Tensor<4>) -> Tensor<4> {
    let distance = centre.abs();
    let (upper, lower) = (half.clone() - distance.clone(), half.clone() + distance.clone());
    let inside = upper.clone().greater_elem(0.0);
    // The mean lies outside: both ends in one tail. Numbers that lie inside are moved to its edge, so that gradients stay finite.
    let below = upper.clone().clamp_max(0.0).neg();
    let (near, far) = (tail_tensor(below.clone()), tail_tensor(lower.clone()));
    let fall = half * distance * 2.0 + near.clone() - far;
    let fall = fall.clamp_min(f64::from(f32::MIN_POSITIVE));
    let share = (fall.clone() * 0.5).tanh() * (fall.neg().exp() + 1.0); // 1 - exp(-fall), without cancellation
    let tails = near - below.square() * 0.5 + share.log();
    // It lies inside: the difference of two numbers of different sign.
    let middle = (upper.clamp_min(0.0) * FRAC_1_SQRT_2).erf() + (lower * FRAC_1_SQRT_2).erf();
    let middle = middle.log() - LN_2;
    tails.mask_where(inside, middle)
}

/// [`variance_gap`] of every number.
pub(super) fn variance_gap_tensor(d: Tensor<4>) -> Tensor<4> {
    let near = d.clone().clamp(-SMALL, SMALL);
    let coefficients = [-1.0 / 120.0, 1.0 / 24.0, -1.0 / 6.0, 1.0 / 2.0];
    let series = coefficients.into_iter().fold(near.zeros_like() + 1.0 / 720.0, |sum, c| sum * near.clone() + c);
    let small = d.clone().abs().lower_elem(SMALL);
    (d.clone() + d.neg().exp() - 1.0).mask_where(small, near.square() * series)
}

/// `ln Phi(-z)` at `z >= 0`.
fn log_lower_tail(z: Tensor<4>) -> Tensor<4> {
    tail_tensor(z.clone()) - z.square() * 0.5
}

/// [`tail`] of every number.
fn tail_tensor(z: Tensor<4>) -> Tensor<4> {
    let t = (z * FRAC_1_SQRT_2 + 2.0).recip() * 2.0;
    let terms = if t.dtype() == DType::F64 { LOG_ERFCX.len() } else { TERMS_F32 };
    let twice = t.clone() * 4.0 - 2.0; // 2 (2 t - 1)
    let zero = t.zeros_like();
    let fold = |(b1, b2): (Tensor<4>, Tensor<4>), c: &f64| (twice.clone() * b1.clone() - b2 + *c, b1);
    let (b1, b2) = LOG_ERFCX[1..terms].iter().rev().fold((zero.clone(), zero), fold);
    (t * 0.5).log() + twice * b1 * 0.5 - b2 + LOG_ERFCX[0]
}
