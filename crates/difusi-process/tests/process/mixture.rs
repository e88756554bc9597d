//! The mixture is exact: score, denoiser, density and samples agree with each other.

use difusi_core::{Cond, Noise};
use difusi_process::{
    Denoise, Level,
    mixture::{Component, Mixture},
};

use crate::common::{check_close, tensor64, values64};

const AT: Level = Level::new(0.0, 0.8, 0.6);

fn points() -> Vec<f64> {
    vec![0.3, -0.2, -1.1, 0.4, 2.0, 1.5, 0.0, 0.0]
}

/// The score is the gradient of the log-density, by central differences; Tweedie's formula gives x_0.
#[test]
fn score_and_denoiser_follow_from_the_density() {
    let (mixture, x, h) = (Mixture::planar(), points(), 1e-5);
    for level in [AT, Level::new(0.0, 1.0, 3.0), Level::new(0.0, 0.3, 0.7), Level::new(0.0, 0.0, 1.0)] {
        let score = values64(mixture.score(&tensor64(x.clone(), 2), level).unwrap());
        let said = mixture.denoise(tensor64(x.clone(), 2), level, &Cond::None).unwrap();
        let (x0, eps) = (values64(said.x0), values64(said.eps));
        for i in 0..x.len() {
            let density = |by: f64| {
                let mut moved = x.clone();
                moved[i] += by;
                values64(mixture.log_density(&tensor64(moved, 2), level).unwrap())[i / 2]
            };
            check_close(score[i], (density(h) - density(-h)) / (2.0 * h), 1e-8);
            check_close(level.alpha * x0[i] + level.sigma * eps[i], x[i], 1e-13);
            check_close(eps[i], -level.sigma * score[i], 1e-13);
        }
    }
}

/// The density sums to one over the plane, and shares to one over the components.
#[test]
fn density_is_a_density() {
    let (mixture, side, h) = (Mixture::planar(), 201, 0.06);
    let at = |i: usize| (i as f64 - 100.0) * h;
    let grid: Vec<f64> = (0..side * side).flat_map(|i| [at(i / side), at(i % side)]).collect();
    let grid = tensor64(grid, 2);
    let density = values64(mixture.log_density(&grid, AT).unwrap().exp());
    check_close(density.iter().sum::<f64>() * h * h, 1.0, 1e-9);
    let shares = values64(mixture.shares(&grid, AT).unwrap());
    shares.chunks(3).for_each(|s| check_close(s.iter().sum(), 1.0, 1e-12));
}

/// Samples have the mixture's mean, covariance and shares, within five standard errors or so.
#[test]
fn draws_have_its_moments() {
    let (mixture, count) = (Mixture::planar(), 20_000);
    let x = mixture.draw(Level::DATA, Noise::new(3), (0, count));
    let (mean, cov) = (mixture.mean(), mixture.covariance());
    let average = |f: &dyn Fn(&[f64]) -> f64| x.chunks(2).map(f).sum::<f64>() / count as f64;
    for i in 0..2 {
        check_close(average(&|v| v[i]), mean[i], 0.03);
        for j in 0..2 {
            check_close(average(&|v| (v[i] - mean[i]) * (v[j] - mean[j])), cov[i][j], 0.04);
        }
    }
    let shares = values64(mixture.shares(&tensor64(x.clone(), 2), Level::DATA).unwrap().mean_dim(0));
    for (share, c) in shares.iter().zip(mixture.components()) {
        check_close(*share, c.weight, 0.02);
    }
    assert_eq!(x[20..], mixture.draw(Level::DATA, Noise::new(3), (10, count - 10)));
}

#[test]
fn mixtures_are_checked() {
    let good = Component { weight: 2.0, mean: vec![0.0], deviations: vec![1.0], angle: 0.0 };
    let mixture = Mixture::new(vec![good.clone(), good.clone()]).unwrap();
    assert_eq!((mixture.components()[1].weight, mixture.dims()), (0.5, 1));
    let bad = Component { weight: 0.0, mean: vec![0.0, 1.0], deviations: vec![-1.0], angle: 1.0 };
    let error = Mixture::new(vec![good, bad]).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 4, "{error}");
    assert!(Mixture::new(vec![]).is_err());
    let error = Mixture::planar().score(&tensor64(vec![0.0; 3], 3), AT).unwrap_err().to_string();
    assert!(error.starts_with("a sample of the mixture has shape [1, 1, 1, 3]"), "{error}");
}
