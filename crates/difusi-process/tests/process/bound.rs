//! The terms of the bound against what is known exactly: sums of buckets, integrals, divergences.

use std::f64::consts::TAU;

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_process::bound::{
    Chain, Decoder, LogVariance, Reverse, Strata, bits_per_dim, bound_terms, normal_kl, prior_terms,
};
use difusi_process::{Jump, Level, ProcessError, Schedule, Variance, q_posterior};

use crate::common::{check_close, linear, wavy};

/// The 256 levels.
pub(crate) fn bytes() -> impl Iterator<Item = f64> {
    (0..256).map(|v| f64::from(v) / 127.5 - 1.0)
}

pub(crate) fn tensor(values: Vec<f64>, shape: [usize; 4], dtype: DType) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), dtype))
}

pub(crate) fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// All T levels of a schedule, noisiest first.
pub(crate) fn levels(schedule: Schedule, timesteps: usize) -> Vec<Level> {
    let tables = schedule.tables(timesteps).unwrap();
    (0..timesteps).rev().map(|t| tables.level(t).unwrap()).collect()
}

/// The 256 probabilities add up to 1 whatever the mean and width: the ends are open, nothing is counted twice.
#[test]
fn buckets_add_up_to_one() {
    for mean in [-1.0, -0.3, 0.0, 0.999, 1.4] {
        for deviation in [1e-3f64, 0.01, 0.3, 2.0, 100.0] {
            let log_variance = 2.0 * deviation.ln();
            let sum: f64 = bytes().map(|x| Decoder::Discretised.log_prob(x, mean, log_variance).exp()).sum();
            check_close(sum, 1.0, 1e-11);
        }
    }
}

/// So no decoder, whatever it predicts, spends less than 8 bits on uniform bytes on average.
#[test]
fn uniform_bytes_cost_eight_bits_at_least() {
    for (mean, deviation) in [(0.0, 0.58f64), (0.0, 1.0), (0.5, 0.2)] {
        let nats = bytes().map(|x| -Decoder::Discretised.log_prob(x, mean, 2.0 * deviation.ln())).sum::<f64>() / 256.0;
        assert!(bits_per_dim(nats, 1) > 8.0);
    }
    check_close(bits_per_dim(256f64.ln(), 1), 8.0, 1e-14);
}

/// Buckets of known shape: by numerical integration of the density from edge to edge, the inner ones from x - 1/255.
#[test]
fn buckets_are_integrals() {
    let (mean, deviation): (f64, f64) = (0.1, 0.05);
    let density = |x: f64| (-0.5 * ((x - mean) / deviation).powi(2)).exp() / (deviation * TAU.sqrt());
    for byte in [0, 100, 140, 150, 255] {
        let x = f64::from(byte) / 127.5 - 1.0;
        let low = if byte == 0 { x - 2.0 } else { x - 1.0 / 255.0 };
        let high = if byte == 255 { x + 2.0 } else { x + 1.0 / 255.0 };
        let found = Decoder::Discretised.log_prob(x, mean, 2.0 * deviation.ln()).exp();
        check_close(found, simpson(low, high, density), 1e-9);
    }
}

fn simpson(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let n = 4000;
    let h = (high - low) / f64::from(n);
    let weight = |i| if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
    (0..=n).map(|i| weight(i) * f(low + f64::from(i) * h)).sum::<f64>() * h / 3.0
}

/// KL(q || q) = 0; never negative; the closed form is the integral of q ln(q / p).
#[test]
fn divergences() {
    let log_density = |x: f64, mean: f64, v: f64| -0.5 * ((x - mean).powi(2) / v + (TAU * v).ln());
    for (difference, v, w) in [(0.0, 1.0, 1.0), (0.3, 0.2, 0.5), (-2.0, 1.5, 0.4), (0.01, 1e-4, 1.1e-4)] {
        let (v, w): (f64, f64) = (v, w);
        let closed = normal_kl(difference, v.ln(), w.ln());
        let reach = 12.0 * v.sqrt();
        let integral = simpson(-reach, reach, |x| {
            let q = log_density(x, 0.0, v);
            q.exp() * (q - log_density(x, difference, w))
        });
        check_close(closed, integral, 1e-8);
        assert!(closed >= 0.0);
    }
    for v in [1e-20f64, 1.0, 7.0] {
        assert_eq!(normal_kl(0.0, v.ln(), v.ln()), 0.0);
    }
}

/// Every image at its own jump, L_0 among them: what the formulas say number by number, the means taken from q_posterior.
#[test]
fn terms_are_sums_of_numbers() {
    let (tables, shape) = (linear(50), [4, 2, 3, 1]);
    let t = [0, 49, 1, 20];
    let jumps: Vec<Jump> = t
        .iter()
        .map(|&t| Jump {
            from: tables.level(t).unwrap(),
            to: t.checked_sub(1).map_or(Level::DATA, |s| tables.level(s).unwrap()),
        })
        .collect();
    let bytes: Vec<f64> = (0..24).map(|i| f64::from((i * 37) % 256) / 127.5 - 1.0).collect();
    for dtype in [DType::F32, DType::F64] {
        let x0 = tensor(bytes.clone(), shape, dtype);
        let estimate = x0.clone() + wavy(shape, 0.3).cast(dtype) * 0.02;
        let log_variance = wavy(shape, 1.0).cast(dtype) * 0.5 - 6.0;
        let x_t = wavy(shape, 2.0).cast(dtype);
        let truth = q_posterior(&tables, x0.clone(), x_t.clone(), &t).unwrap();
        let ours = q_posterior(&tables, estimate.clone(), x_t, &t).unwrap();
        let (means, our_means, ours_lv) = (host(truth.mean), host(ours.mean), host(log_variance.clone()));
        let reverse = Reverse { x0: estimate.clone(), log_variance: LogVariance::PerNumber(log_variance) };
        let found = host(bound_terms(x0.clone(), reverse, &jumps, Decoder::Discretised).unwrap());
        let fixed: Vec<f64> = vec![-5.0, -4.0, -6.0, -5.5];
        let reverse = Reverse { x0: estimate.clone(), log_variance: LogVariance::PerImage(fixed.clone()) };
        let found_fixed = host(bound_terms(x0, reverse, &jumps, Decoder::Discretised).unwrap());
        let estimate = host(estimate);
        for b in 0..4 {
            let cost = |i: usize, ours: f64| match t[b] {
                0 => -Decoder::Discretised.log_prob(bytes[i], estimate[i], ours),
                _ => normal_kl(our_means[i] - means[i], truth.log_variance[b], ours),
            };
            let tolerance = if dtype == DType::F64 { 1e-9 } else { 1e-4 };
            let expected: f64 = (6 * b..6 * b + 6).map(|i| cost(i, ours_lv[i])).sum();
            check_close(found[b], expected, tolerance * (1.0 + expected));
            let expected: f64 = (6 * b..6 * b + 6).map(|i| cost(i, fixed[b])).sum();
            check_close(found_fixed[b], expected, tolerance * (1.0 + expected));
        }
    }
}

#[test]
fn wrong_shapes_are_named() {
    let (x0, level) = (wavy([2, 1, 1, 1], 0.0), Level::new(3.0, 0.8, 0.6));
    let jump = Jump { from: level, to: Level::DATA };
    let reverse = |count| Reverse { x0: x0.clone(), log_variance: LogVariance::PerImage(vec![0.0; count]) };
    let says = |result: Result<Tensor<1>, ProcessError>, part: &str| {
        let e = result.err().unwrap().to_string();
        assert!(e.contains(part), "{e}");
    };
    says(bound_terms(x0.clone(), reverse(2), &[jump], Decoder::Discretised), "list of jumps");
    says(bound_terms(x0.clone(), reverse(1), &[jump; 2], Decoder::Discretised), "log-variances");
    let other = Reverse { x0: wavy([2, 1, 1, 2], 0.0), ..reverse(2) };
    says(bound_terms(x0.clone(), other, &[jump; 2], Decoder::Discretised), "estimate of x_0");
    assert!(Chain::new(&[], Variance::default()).is_err());
    let e = Chain::new(&[level, level], Variance::default()).unwrap_err().to_string();
    assert!(e.contains("noise that falls"), "{e}");
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 10), Variance::LearnedRange {}).unwrap();
    assert!(chain.log_variance(&[0, 1], None).unwrap_err().to_string().contains("learned"));
    assert!(Strata::spread(&chain, 1).unwrap_err().to_string().contains("times_per_image"));
}

/// Gradients of a batch with every kind of term are finite where predictions are as wrong as they can be, and point to x_0.
#[test]
fn gradients_are_finite_and_point_home() {
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 1000), Variance::LearnedRange {}).unwrap();
    let (positions, shape) = ([0, 1, 500, 999], [4, 2, 2, 1]);
    let jumps: Vec<Jump> = positions.iter().map(|&p| chain.jumps()[p]).collect();
    let x0 = tensor((0..16).map(|i| f64::from(i % 4 * 85) / 127.5 - 1.0).collect(), shape, DType::F32);
    let estimate = (x0.clone() + wavy(shape, 0.5) * 2.0).autodiff().require_grad();
    let fraction = (wavy(shape, 0.1) * 3.0).autodiff().require_grad();
    let log_variance = chain.log_variance(&positions, Some(fraction.clone())).unwrap();
    let reverse = Reverse { x0: estimate.clone(), log_variance };
    let terms = bound_terms(x0.clone().autodiff(), reverse, &jumps, Decoder::Discretised).unwrap();
    let gradients = terms.sum().backward();
    let by_estimate = host(estimate.grad(&gradients).unwrap());
    assert!(host(fraction.grad(&gradients).unwrap()).iter().all(|g| g.is_finite()));
    let error = host(wavy(shape, 0.5));
    for (gradient, error) in by_estimate.iter().zip(error) {
        assert!(gradient.is_finite() && gradient * error >= 0.0, "{gradient} at an error of {error}");
    }
}

/// A learned variance at its ends is the fixed one, and L_hybrid's stopped gradient reaches the variance only.
#[test]
fn learned_variance_ends_at_the_fixed_ones() {
    let steps = levels(Schedule::Cosine { s: 0.008 }, 100);
    let learned = Chain::new(&steps, Variance::LearnedRange {}).unwrap();
    let x0 = wavy([3, 2, 2, 1], 0.0);
    let positions = [1, 40, 99];
    let jumps: Vec<Jump> = positions.iter().map(|&p| learned.jumps()[p]).collect();
    for (fraction, fixed) in [(0.0, Variance::FixedSmall {}), (1.0, Variance::FixedLarge {})] {
        let fixed = Chain::new(&steps, fixed).unwrap();
        let terms = |log_variance| {
            let reverse = Reverse { x0: x0.clone() * 0.9, log_variance };
            host(bound_terms(x0.clone(), reverse, &jumps, Decoder::Discretised).unwrap())
        };
        let at_end = x0.zeros_like() + fraction;
        let found = terms(learned.log_variance(&positions, Some(at_end)).unwrap());
        let expected = terms(fixed.log_variance(&positions, None).unwrap());
        for (a, b) in found.iter().zip(&expected) {
            check_close(*a, *b, 1e-3 * b.abs() + 1e-5);
        }
    }
    let estimate = (x0.clone() * 0.9).autodiff().require_grad();
    let fraction = x0.zeros_like().autodiff().require_grad();
    let log_variance = learned.log_variance(&positions, Some(fraction.clone() + 0.5)).unwrap();
    let reverse = Reverse { x0: estimate.clone().detach(), log_variance };
    let gradients = bound_terms(x0.autodiff(), reverse, &jumps, Decoder::Discretised).unwrap().sum().backward();
    assert!(estimate.grad(&gradients).is_none() && fraction.grad(&gradients).is_some());
}

/// L_T is the divergence from the prior, and 0 where nothing is left of the data.
#[test]
fn prior_is_a_divergence() {
    let x0 = wavy([2, 2, 2, 1], 0.4);
    let (last, all) = (Level::new(9.0, 0.3, 0.9), host(x0.clone()));
    let found = host(prior_terms(x0.clone(), last, 1.5));
    for b in 0..2 {
        let ln = |x: f64| 2.0 * x.ln();
        let expected: f64 = all[4 * b..4 * b + 4].iter().map(|x| normal_kl(0.3 * x, ln(0.9), ln(1.5))).sum();
        check_close(found[b], expected, 1e-5);
    }
    assert_eq!(host(prior_terms(x0, Level::new(9.0, 0.0, 1.0), 1.0)), [0.0, 0.0]);
}
