//! The GAN: spectral norms against singular values, gradients that go where they should.

use burn::module::Module;
use burn::tensor::Device;
use difusi_core::Noise;
use difusi_nn::{GanConfig, params};

use crate::baselines::{SIZE, Shake, check_close, normal, numbers};

fn config() -> GanConfig {
    GanConfig { latent: 5, dim: 4, discriminator_dim: 6, dim_mults: vec![1, 2, 2], channels: 1, spectral_norm: true }
}

/// The largest singular value of `[rows, columns]` by many rounds of power iteration in f64.
fn largest(matrix: &[f64], columns: usize) -> f64 {
    let rows = matrix.len() / columns;
    let mut v: Vec<f64> = (0..columns).map(|i| 1.0 + (i as f64).sin()).collect();
    let mut size = 0.0;
    for _ in 0..2000 {
        let u: Vec<f64> = matrix.chunks(columns).map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect();
        v = (0..columns).map(|j| (0..rows).map(|i| matrix[i * columns + j] * u[i]).sum()).collect();
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        size = norm.sqrt();
        v.iter_mut().for_each(|x| *x /= norm);
    }
    size
}

/// Every layer's largest singular value is near 1 and not much above: power iteration comes from below.
#[test]
fn spectral_norms_are_one() {
    let gan = config().init(SIZE, Noise::new(4), &Device::flex()).unwrap().map(&mut Shake::new(0.05, false));
    for weight in gan.judge().weights() {
        let shape = weight.dims();
        let found = largest(&numbers(weight), shape[1..].iter().product());
        assert!((0.999..1.02).contains(&found), "{shape:?}: {found}");
    }
}

/// Without it the weights are the parameters.
#[test]
fn plain_weights_are_plain() {
    let gan = GanConfig { spectral_norm: false, ..config() }.init(SIZE, Noise::new(4), &Device::flex()).unwrap();
    let weights = params::export(&gan);
    let stored = weights.iter().find(|w| w.name == "discriminator.convs.1.weight").unwrap();
    let stored: Vec<f64> = stored.values.iter().map(|v| f64::from(*v)).collect();
    check_close(&numbers(gan.judge().weights().remove(1)), &stored, 0.0);
    assert_eq!(params::frozen_parameters(&gan).len(), 4);
}

/// A frozen judge gives the same scores; what is learned from it reaches the generator alone, and the other one the
/// discriminator alone where the picture takes no gradient.
#[test]
fn gradients_go_where_they_should() {
    let device = Device::flex().autodiff();
    let gan = config().init(SIZE, Noise::new(4), &device).unwrap();
    let picture = gan.generate(normal(1, [2, 5]).to_device(&device));
    assert_eq!(picture.dims(), [2, 8, 8, 1]);
    let judge = gan.judge();
    check_close(&numbers(judge.score(picture.clone())), &numbers(judge.frozen().score(picture.clone())), 0.0);
    let reached = |loss: burn::tensor::Tensor<1>| {
        let mut gradients = loss.sum().backward();
        let mut names = Reached { path: Vec::new(), names: Vec::new(), gradients: &mut gradients };
        gan.visit(&mut names);
        names.names
    };
    let of_generator = reached(judge.frozen().score(picture.clone()));
    assert!(!of_generator.is_empty() && of_generator.iter().all(|n| n.starts_with("generator")), "{of_generator:?}");
    let of_judge = reached(judge.score(picture.detach()));
    assert_eq!(of_judge.len(), 8, "{of_judge:?}");
    assert!(of_judge.iter().all(|n| n.starts_with("discriminator")), "{of_judge:?}");
}

/// Names of the parameters that have a gradient.
struct Reached<'a> {
    path: Vec<String>,
    names: Vec<String>,
    gradients: &'a mut burn::tensor::Gradients,
}

impl burn::module::ModuleVisitor for Reached<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<burn::tensor::Tensor<D>>) {
        if param.val().grad_remove(self.gradients).is_some() {
            self.names.push(self.path.join("."));
        }
    }
}

#[test]
fn what_cannot_be_is_named() {
    let bad = GanConfig { discriminator_dim: 0, latent: 70_000, ..config() };
    let text: Vec<String> = bad.check().iter().map(ToString::to_string).collect();
    assert!(
        text.len() == 2 && text[0].contains("`latent` is 70000") && text[1].contains("`discriminator_dim`"),
        "{text:?}"
    );
}
