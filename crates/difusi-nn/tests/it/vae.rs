//! The VAE: likelihoods against their definitions, the posterior against its own.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{ImageSize, Noise};
use difusi_nn::VaeConfig;
use difusi_nn::baselines::likelihood::Likelihood;
use difusi_nn::baselines::standard_normal_log_prob;
use difusi_nn::baselines::vae::Posterior;

use crate::baselines::{SIZE, bytes, check_close, normal, numbers};

const ALL: [Likelihood; 4] = [Likelihood::Bce, Likelihood::Mse, Likelihood::Mae, Likelihood::DiscretisedLogistic];

fn config(likelihood: Likelihood) -> VaeConfig {
    VaeConfig { latent: 3, dim: 4, dim_mults: vec![1, 2], channels: 2, likelihood }
}

fn single(values: &[f64], shape: [usize; 4]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&Device::flex(), DType::F64))
}

/// A pixel's probabilities of all bytes sum to one, whatever the decoder says, and none is 0 in f32.
#[test]
fn discretised_probabilities_sum_to_one() {
    let all: Vec<f64> = (0..=255u8).map(|v| f64::from(v) / 127.5 - 1.0).collect();
    for (middle, scale) in [(0.0, 0.0), (0.3, -9.0), (-1.0, 5.0), (1.7, -2.0), (-40.0, 1.0), (0.001, -100.0)] {
        let outputs: Vec<f64> = (0..256).flat_map(|_| [middle, scale]).collect();
        let kind = Likelihood::DiscretisedLogistic;
        let (outputs, x) = (single(&outputs, [256, 1, 1, 2]), single(&all, [256, 1, 1, 1]));
        let mass: f64 = numbers(kind.log_prob(outputs.clone(), x.clone())).iter().map(|l| l.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-6, "{middle} {scale}: {mass}");
        let single = numbers(kind.log_prob(outputs.cast(DType::F32), x.cast(DType::F32)));
        assert!(single.iter().all(|l| l.is_finite() && *l <= 1e-5), "{middle} {scale}: {single:?}");
    }
}

/// Each likelihood is the one it names: by its formula in f64.
#[test]
fn likelihoods_are_their_formulas() {
    let (v, x) = (0.7f64, 0.2f64);
    let (p, y) = (1.0 / (1.0 + (-v).exp()), (x + 1.0) / 2.0);
    for (kind, expected) in [
        (Likelihood::Bce, y * p.ln() + (1.0 - y) * (1.0 - p).ln()),
        (Likelihood::Mse, -(v - x).powi(2) / 2.0),
        (Likelihood::Mae, -(v - x).abs()),
    ] {
        check_close(&numbers(kind.log_prob(single(&[v], [1; 4]), single(&[x], [1; 4]))), &[expected], 1e-9);
    }
    // (2 pi)^(-1/2) is what the squared error leaves out.
    let z = Tensor::from_data(TensorData::new(vec![v - x], [1, 1]), (&Device::flex(), DType::F64));
    let normal = numbers(standard_normal_log_prob(z))[0] + 0.5 * std::f64::consts::TAU.ln();
    check_close(&numbers(Likelihood::Mse.log_prob(single(&[v], [1; 4]), single(&[x], [1; 4]))), &[normal], 1e-9);
}

/// KL(q || p) is the mean of log q - log p under q, is 0 where q is the prior, and finite where a variance would go to 0.
#[test]
fn the_posterior_is_a_normal() {
    let prior = Posterior {
        mean: Tensor::zeros([1, 2], &Device::flex()),
        log_variance: Tensor::zeros([1, 2], &Device::flex()),
    };
    check_close(&numbers(prior.kl()), &[0.0, 0.0], 1e-9);
    let count = 40_000;
    let wide =
        |v: [f32; 2]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, 2]), &Device::flex()).repeat_dim(0, count);
    let q = Posterior { mean: wide([0.5, -1.0]), log_variance: wide([-1.0, 0.7]) };
    let eps = normal(9, [count, 2]);
    let z = q.sample(eps.clone());
    let ratio = numbers(q.log_prob(eps) - standard_normal_log_prob(z));
    let mean = ratio.iter().sum::<f64>() / count as f64;
    let kl: f64 = numbers(q.kl())[..2].iter().sum();
    assert!((mean - kl).abs() < 0.02, "{mean} and {kl}");
}

#[test]
fn shapes_and_limits() {
    for kind in ALL {
        let vae = config(kind).init(SIZE, Noise::new(0), &Device::flex()).unwrap();
        let x = bytes(1, [3, 8, 8, 2]);
        let q = vae.encode(x.clone() * 1e4);
        assert!(numbers(q.log_variance.clone()).iter().all(|v| v.abs() <= 12.0));
        assert!(numbers(q.kl()).iter().all(|v| v.is_finite() && *v >= 0.0));
        let z = vae.encode(x.clone()).sample(normal(3, [3, 3]));
        let log = numbers(vae.log_likelihood(z.clone(), x));
        assert!(log.len() == 3 && log.iter().all(|l| *l < 0.0), "{log:?}");
        let picture = vae.decode(z);
        assert_eq!(picture.dims(), [3, 8, 8, 2]);
        assert!(numbers(picture).iter().all(|v| v.abs() <= 1.0));
    }
}

#[test]
fn what_cannot_be_is_named() {
    let bad = VaeConfig { latent: 0, dim: 0, dim_mults: vec![], ..config(Likelihood::default()) };
    let text: Vec<String> = bad.check().iter().map(ToString::to_string).collect();
    assert!(text.len() == 3 && text.iter().any(|t| t.contains("`latent` is 0")), "{text:?}");
    let size = ImageSize { height: 7, width: 8 };
    let said = config(Likelihood::default()).init(size, Noise::new(0), &Device::flex()).unwrap_err().to_string();
    assert!(said.contains("7x8") && said.contains("divisible by 2"), "{said}");
}
