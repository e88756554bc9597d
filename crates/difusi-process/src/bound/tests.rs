//! The normal distribution's tails: against 40 digits, tensors against the host, gradients against differences.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::normal::{log_cdf, log_cdf_tensor, log_interval, log_interval_tensor, variance_gap, variance_gap_tensor};

fn tensor(values: &[f64], dtype: DType) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]), (&Device::flex(), dtype))
}

fn values(x: Tensor<4>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn close(found: f64, expected: f64, relative: f64, what: &str) {
    assert!((found - expected).abs() <= relative * (1.0 + expected.abs()), "{what}: {found} is not {expected}");
}

/// (z, ln Phi(z)), by mpmath with 40 digits.
const CDF: [(f64, f64); 8] = [
    (0.0, -std::f64::consts::LN_2),
    (-1.0, -1.841_021_645_009_263_5),
    (-10.0, -53.231_285_150_512_47),
    (-40.0, -804.608_442_013_753_8),
    (-1000.0, -500_007.826_694_812_2),
    (3.0, -0.001_350_809_964_748_193_8),
    (8.0, -6.220_960_574_271_786e-16),
    (0.1, -0.616_505_010_115_026_3),
];

/// (centre, half, logarithm of the probability), by mpmath with 40 digits.
const INTERVAL: [(f64, f64, f64); 11] = [
    (0.0, 0.004, -5.747_254_937_170_796),
    (0.5, 0.004, -5.872_254_270_505_641),
    (0.0, 1.0, -0.381_715_146_302_126_07),
    (0.3, 0.5, -1.001_292_372_857_573_4),
    (1.0, 0.9, -0.840_590_663_886_693_6),
    (1.0, 1.1, -0.650_157_776_478_385_8),
    (7.0, 0.01, -29.330_161_682_752_87),
    (-30.0, 0.3, -445.356_216_069_909_4),
    (200.0, 0.78, -19_850.517_573_469_48),
    (0.001, 0.0001, -9.436_132_226_287_575),
    (0.0, 39.0, 0.0),
];

#[test]
fn logarithms_of_the_distribution_function() {
    let z: Vec<f64> = CDF.iter().map(|c| c.0).collect();
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 4e-7)] {
        let found = values(log_cdf_tensor(tensor(&z, dtype)));
        for (found, (z, expected)) in found.into_iter().zip(CDF) {
            close(log_cdf(z), expected, 1e-14, &format!("{z}"));
            close(found, expected, tolerance, &format!("{z} {dtype:?}"));
        }
    }
}

#[test]
fn logarithms_of_intervals() {
    let (centre, half): (Vec<f64>, Vec<f64>) = INTERVAL.iter().map(|c| (c.0, c.1)).unzip();
    for (dtype, rounding) in [(DType::F64, 1e-16), (DType::F32, 1e-7)] {
        let found = values(log_interval_tensor(tensor(&centre, dtype), tensor(&half, dtype)));
        for (found, (centre, half, expected)) in found.into_iter().zip(INTERVAL) {
            close(log_interval(centre, half), expected, 1e-11, &format!("{centre} {half}"));
            // The probability of a bucket narrower than the rounding of its ends is lost by that much.
            let tolerance = 1e-12 + rounding * (10.0 + 2.0 / half);
            close(found, expected, tolerance, &format!("{centre} {half} {dtype:?}"));
        }
    }
}

/// f32 tensors follow the host over everything a decoder meets, from a bucket of 1e-3 to one of 1e7 standard deviations.
#[test]
fn tensors_follow_the_host_everywhere() {
    for half in [1e-3, 0.01, 0.04, 0.3, 1.0, 5.0, 100.0, 1e7] {
        let centre: Vec<f64> =
            (0..400).map(|i| half * (f64::from(i) * 0.01 - 2.0) + (f64::from(i) - 200.0) * 0.05).collect();
        let found = values(log_interval_tensor(tensor(&centre, DType::F32), tensor(&[half; 400], DType::F32)));
        for (found, centre) in found.into_iter().zip(centre) {
            let expected = log_interval(f64::from(centre as f32), f64::from(half as f32));
            assert!(found.is_finite());
            // Rounding of the inputs alone moves it by this much.
            let tolerance = 2e-4 + 3e-6 * expected.abs() + 1e-7 * half;
            assert!(
                (found - expected).abs() <= tolerance * (1.0 + 1e-3 * half),
                "{centre} {half}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn gaps_are_not_negative_and_smooth() {
    let d: Vec<f64> = (-80..=80).map(|i| f64::from(i) * 0.01).chain([-5.0, 5.0, 20.0, 1e-4, -1e-6, 1e-9]).collect();
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-7)] {
        for (found, d) in values(variance_gap_tensor(tensor(&d, dtype))).into_iter().zip(&d) {
            let exact = if d.abs() > 0.04 {
                d + (-d).exp_m1()
            } else {
                d * d / 2.0 - d.powi(3) / 6.0 + d.powi(4) / 24.0 - d.powi(5) / 120.0
            };
            close(variance_gap(*d), exact, 1e-10, "host");
            assert!(found >= 0.0 && variance_gap(*d) >= 0.0);
            close(found, exact, tolerance, &format!("{d} {dtype:?}"));
        }
    }
}

/// Central differences in f64, in the tails too; f32 stays finite where the probability is 1e-10000.
#[test]
fn gradients() {
    let cases: Vec<(f64, f64)> = [0.0, 0.3, -0.9, 2.0, -8.0, 60.0, -150.0]
        .into_iter()
        .flat_map(|c| [0.01, 0.5, 1.3, 30.0].map(|h| (c, h)))
        .collect();
    let (centre, half): (Vec<f64>, Vec<f64>) = cases.iter().copied().unzip();
    for (dtype, tolerance) in [(DType::F64, 1e-5), (DType::F32, 2e-3)] {
        let [c, h] = [&centre, &half].map(|v| tensor(v, dtype).autodiff().require_grad());
        let gradients = log_interval_tensor(c.clone(), h.clone()).sum().backward();
        let [dc, dh] = [c, h].map(|x| values(x.grad(&gradients).unwrap()));
        for (i, (c, h)) in cases.iter().enumerate() {
            let e = 1e-5;
            let by_c = (log_interval(c + e, *h) - log_interval(c - e, *h)) / (2.0 * e);
            let by_h = (log_interval(*c, h + e) - log_interval(*c, h - e)) / (2.0 * e);
            if *c != 0.0 {
                close(dc[i], by_c, tolerance, &format!("centre {c} {h} {dtype:?}"));
            }
            close(dh[i], by_h, tolerance, &format!("half {c} {h} {dtype:?}"));
        }
    }
    let [c, h] = [1e5, 0.5].map(|v| tensor(&[v], DType::F32).autodiff().require_grad());
    let gradients = log_interval_tensor(c.clone(), h.clone()).sum().backward();
    assert!([c, h].map(|x| values(x.grad(&gradients).unwrap())[0]).iter().all(|g| g.is_finite()));
}
