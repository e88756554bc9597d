//! Likelihoods of the probability-flow ODE against exact densities: normal data, a mixture in the plane.

use std::f64::consts::TAU;

use burn::tensor::{DType, Device, Tensor, TensorData, activation::softmax};
use difusi_core::Noise;
use difusi_process::bound::{LogVariance, bits_per_dim, log_cdf, log_interval};
use difusi_process::likelihood::{Dequantisation, Divergence, Flow, LogDensity, OdeMethod, Probe};
use difusi_process::{Denoised, Level, Process, ProcessError, Schedule};

use crate::common::check_close;

const FINE: OdeMethod = OdeMethod::Rk45 { rtol: 1e-7, atol: 1e-7 };

fn tensor(values: Vec<f64>, shape: [usize; 4], dtype: DType) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), dtype))
}

fn processes() -> [Process; 3] {
    [
        Process::Discrete(Schedule::Cosine { s: 0.008 }.tables(1000).unwrap()),
        Process::Edm { sigma_min: 0.002, sigma_max: 80.0, timesteps: 1000 },
        Process::Flow { shift: 1.0, timesteps: 1000 },
    ]
}

fn flow<'a>(level: &'a dyn Fn(f64) -> Level, method: OdeMethod) -> Flow<'a> {
    let divergence = Divergence::Exact;
    let noise = Noise::new(3);
    Flow { level_at_ratio: level, clean: 0.01, noisy: 3000.0, prior_std: 1.0, method, divergence, noise }
}

/// One number per image of this format, `[B, 1, 1, 1]`.
fn each(values: impl Iterator<Item = f64>, like: &Tensor<4>) -> Tensor<4> {
    let values: Vec<f64> = values.collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count, 1, 1, 1]), (&like.device(), like.dtype()))
}

/// Data N(mean, v) in every number.
fn normal(mean: f64, v: f64) -> impl Fn(Tensor<4>, &[Level]) -> Result<Denoised, ProcessError> {
    move |x, levels| {
        let variance = |l: &Level| l.alpha.powi(2) * v + l.sigma.powi(2);
        let gain = each(levels.iter().map(|l| l.alpha * v / variance(l)), &x);
        let shift = each(levels.iter().map(|l| mean * l.sigma.powi(2) / variance(l)), &x);
        let x0 = x.clone() * gain + shift;
        let alpha = each(levels.iter().map(|l| l.alpha), &x);
        let sigma = each(levels.iter().map(|l| l.sigma), &x);
        let eps = (x - x0.clone() * alpha) / sigma;
        Ok(Denoised::new(x0, eps))
    }
}

/// ln of the density of x at the clean level.
fn log_normal(x: &[f64], mean: f64, v: f64, clean: Level) -> f64 {
    let variance = clean.alpha.powi(2) * v + clean.sigma.powi(2);
    x.iter().map(|x| -0.5 * ((x - clean.alpha * mean).powi(2) / variance + (TAU * variance).ln())).sum()
}

/// Normal data under every process and method, in f64 and f32.
#[test]
fn normal_data() {
    let values = vec![0.3, -0.2, 1.0, 0.1, 0.9, -1.4, 0.0, 0.5];
    let methods = [
        (FINE, DType::F64, 1e-4),
        (OdeMethod::Rk4 { steps: 120 }, DType::F64, 1e-4),
        (OdeMethod::Heun { steps: 1500 }, DType::F64, 1e-4),
        (OdeMethod::Rk45 { rtol: 1e-5, atol: 1e-5 }, DType::F32, 1e-3),
    ];
    for process in processes() {
        let level = |ratio| process.level_at_ratio(ratio);
        for (method, dtype, tolerance) in methods {
            let x = tensor(values.clone(), [2, 2, 2, 1], dtype);
            let found = flow(&level, method).log_density(x, 0, &normal(0.2, 0.36)).unwrap();
            for (b, found) in found.iter().enumerate() {
                let exact = log_normal(&values[4 * b..4 * b + 4], 0.2, 0.36, level(0.01));
                check_close(found.nats, exact, tolerance);
            }
        }
    }
}

const CENTRES: [[f64; 2]; 3] = [[0.7, 0.0], [-0.5, 0.6], [-0.1, -0.8]];
const WIDTH: f64 = 0.15;

/// Three equal normals in the plane, `[B, 1, 1, 2]`.
fn mixture(x: Tensor<4>, levels: &[Level]) -> Result<Denoised, ProcessError> {
    let alpha = each(levels.iter().map(|l| l.alpha), &x);
    let sigma = each(levels.iter().map(|l| l.sigma), &x);
    let variance = alpha.clone().square() * WIDTH.powi(2) + sigma.clone().square();
    let off = CENTRES.map(|c| x.clone() - alpha.clone() * tensor(c.to_vec(), [1, 1, 1, 2], x.dtype()));
    let energies = off.iter().map(|o| o.clone().square().sum_dim(3) / variance.clone() * -0.5).collect();
    let weights = softmax(Tensor::cat(energies, 3), 3);
    let gain = alpha.clone() * WIDTH.powi(2) / variance;
    let parts = off.into_iter().zip(CENTRES).enumerate().map(|(k, (off, centre))| {
        let mean = off * gain.clone() + tensor(centre.to_vec(), [1, 1, 1, 2], x.dtype());
        mean * weights.clone().narrow(3, k, 1)
    });
    let x0 = parts.reduce(|a, b| a + b).unwrap();
    let eps = (x - x0.clone() * alpha) / sigma;
    Ok(Denoised::new(x0, eps))
}

fn log_mixture(x: &[f64], clean: Level) -> f64 {
    let parts = CENTRES.map(|[a, b]| {
        let (variance, a, b) = ((clean.alpha * WIDTH).powi(2) + clean.sigma.powi(2), clean.alpha * a, clean.alpha * b);
        (-0.5 * ((x[0] - a).powi(2) + (x[1] - b).powi(2)) / variance).exp() / (TAU * variance) / 3.0
    });
    parts.iter().sum::<f64>().ln()
}

fn points() -> Vec<f64> {
    vec![0.7, 0.1, 0.0, 0.0, -0.4, 0.3, 0.2, -0.6, 1.2, 0.9, -0.5, 0.6]
}

/// A mixture in the plane, between its centres and beyond them, with the exact trace.
#[test]
fn mixture_with_the_exact_trace() {
    for process in processes() {
        let level = |ratio| process.level_at_ratio(ratio);
        let x = tensor(points(), [6, 1, 1, 2], DType::F64);
        let found = flow(&level, FINE).log_density(x, 0, &mixture).unwrap();
        for (found, x) in found.iter().zip(points().chunks(2)) {
            check_close(found.nats, log_mixture(x, level(0.01)), 1e-4);
            assert!(found.evaluations > 20);
        }
    }
}

/// Hutchinson's estimate is unbiased, with probes of either kind; of a field whose Jacobian is a multiple of the identity the
/// Rademacher probe makes no error at all.
#[test]
fn hutchinson_is_unbiased() {
    let [process, ..] = processes();
    let level = |ratio| process.level_at_ratio(ratio);
    let copies = 300;
    let x = tensor([0.2, -0.6].repeat(copies), [copies, 1, 1, 2], DType::F64);
    for probe in [Probe::Rademacher, Probe::Gaussian] {
        let divergence = Divergence::Hutchinson { probe, probes: 1 };
        let method = OdeMethod::Rk4 { steps: 80 };
        let flow = Flow { divergence, ..flow(&level, method) };
        let found = flow.log_density(x.clone(), 0, &mixture).unwrap();
        let mean = found.iter().map(|f| f.nats).sum::<f64>() / copies as f64;
        let variance = found.iter().map(|f| (f.nats - mean).powi(2)).sum::<f64>() / (copies - 1) as f64;
        let error = (variance / copies as f64).sqrt();
        let exact = log_mixture(&[0.2, -0.6], level(0.01));
        assert!((mean - exact).abs() < 4.0 * error + 1e-4, "{probe:?}: {mean} is not {exact} within {error}");
    }
    let probes = Divergence::Hutchinson { probe: Probe::Rademacher, probes: 2 };
    let flow = Flow { divergence: probes, ..flow(&level, FINE) };
    let found = flow.log_density(tensor(vec![0.5, 0.1], [1, 1, 2, 1], DType::F64), 0, &normal(0.0, 0.36)).unwrap();
    check_close(found[0].nats, log_normal(&[0.5, 0.1], 0.0, 0.36, level(0.01)), 1e-4);
}

/// Halving the step divides Heun's error by 4 and that of the classical method by 16.
#[test]
fn orders() {
    let [process, ..] = processes();
    let level = |ratio| process.level_at_ratio(ratio);
    let nats = |method| {
        let x = tensor(vec![0.1, 0.3], [1, 1, 1, 2], DType::F64);
        flow(&level, method).log_density(x, 0, &mixture).unwrap()[0].nats
    };
    let exact = nats(OdeMethod::Rk45 { rtol: 1e-11, atol: 1e-11 });
    let ratio = |method: &dyn Fn(u32) -> OdeMethod, n| (nats(method(n)) - exact) / (nats(method(2 * n)) - exact);
    let heun = ratio(&|steps| OdeMethod::Heun { steps }, 600);
    assert!((3.6..4.5).contains(&heun), "{heun}");
    let rk4 = ratio(&|steps| OdeMethod::Rk4 { steps }, 200);
    assert!((13.0..19.0).contains(&rk4), "{rk4}");
}

/// Each image takes steps of its own: alone or among others, in any order, it has the same likelihood from the same probes.
#[test]
fn neighbours_do_not_matter() {
    let [process, ..] = processes();
    let level = |ratio| process.level_at_ratio(ratio);
    let flow = Flow { divergence: Divergence::default(), ..flow(&level, OdeMethod::default()) };
    let x = tensor(points(), [6, 1, 1, 2], DType::F64);
    let whole: Vec<LogDensity> = flow.log_density(x.clone(), 7, &mixture).unwrap();
    for (b, found) in whole.iter().enumerate() {
        let alone = flow.log_density(x.clone().narrow(0, b, 1), 7 + b as u64, &mixture).unwrap();
        check_close(alone[0].nats, found.nats, 1e-9);
        assert_eq!(alone[0].evaluations, found.evaluations);
    }
    assert!(whole.iter().any(|w| w.evaluations != whole[0].evaluations), "{whole:?}");
}

#[test]
fn trouble_is_named() {
    let [process, ..] = processes();
    let level = |ratio| process.level_at_ratio(ratio);
    let x = || tensor(vec![0.1, 0.3], [1, 1, 1, 2], DType::F64);
    let says = |flow: Flow, part: &str| {
        let e = flow.log_density(x(), 0, &mixture).unwrap_err().to_string();
        assert!(e.contains(part), "{e}");
    };
    says(Flow { clean: 0.0, ..flow(&level, FINE) }, "noise range");
    says(flow(&level, OdeMethod::Rk4 { steps: 0 }), "steps");
    says(flow(&level, OdeMethod::Rk45 { rtol: 0.0, atol: 1.0 }), "tolerances");
    let broken = |x: Tensor<4>, _: &[Level]| Ok(Denoised::new(x.clone() * f64::NAN, x));
    let e = flow(&level, FINE).log_density(x(), 0, &broken).unwrap_err().to_string();
    assert!(e.contains("steps became too short"), "{e}");
}

/// Bytes of normal data: the probability of a byte is known, and both kinds of dequantisation bound it closely from below.
#[test]
fn dequantised_likelihoods_bound_the_bytes() {
    let [process, ..] = processes();
    let level = |ratio| process.level_at_ratio(ratio);
    let (mean, v): (f64, f64) = (0.1, 0.09);
    let clean_ratio = 0.003;
    let flow = Flow { clean: clean_ratio, method: OdeMethod::Rk45 { rtol: 1e-6, atol: 1e-6 }, ..flow(&level, FINE) };
    let flow = Flow { divergence: Divergence::default(), ..flow };
    let clean = level(clean_ratio);
    // Bytes as normal data have them: quantiles.
    let count = 200;
    let byte = |i: u32| {
        let wanted = (f64::from(i) + 0.5) / f64::from(count);
        let x = (0..256).map(|b| f64::from(b) / 127.5 - 1.0);
        x.into_iter().find(|x| log_cdf((x + 1.0 / 255.0 - mean) / v.sqrt()).exp() >= wanted).unwrap_or(1.0)
    };
    let bytes: Vec<f64> = (0..count).map(byte).collect();
    let exact = bytes.iter().map(|x| match x.abs() < 1.0 {
        true => log_interval((mean - x) / v.sqrt(), 1.0 / 255.0 / v.sqrt()),
        false => log_cdf(1.0 / 255.0 / v.sqrt() + (mean - x) / v.sqrt() * x),
    });
    let exact = exact.sum::<f64>() / f64::from(count);
    let denoise = normal(mean, v);
    let x0 = tensor(bytes, [count as usize, 1, 1, 1], DType::F64);
    for kind in [Dequantisation::Uniform, Dequantisation::Gaussian] {
        let drawn = kind.draw(&x0, clean, Noise::new(9), 0);
        let found = flow.log_density(drawn.x.clone(), 0, &denoise).unwrap();
        let decoder = kind.log_decoder(&x0, clean, || {
            let levels = vec![clean; count as usize];
            let width = 2.0 * clean.ratio().ln();
            Ok((denoise(drawn.x.clone(), &levels)?.x0, LogVariance::PerImage(vec![width; count as usize])))
        });
        let decoder = decoder.unwrap();
        let per_image: Vec<f64> = (0..count as usize).map(|i| found[i].nats + decoder[i] - drawn.log_q[i]).collect();
        let mean = per_image.iter().sum::<f64>() / per_image.len() as f64;
        let gap = bits_per_dim(exact - mean, 1);
        // Uniform noise loses nothing but what the density bends within a bucket; the forward process' noise spills over.
        let allowed = if kind == Dequantisation::Uniform { 0.01 } else { 0.25 };
        assert!((-0.03..allowed).contains(&gap), "{kind:?}: {gap} bits lost");
    }
}
