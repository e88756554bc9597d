//! Stochastic solvers draw from the mixture: mean, covariance and shares of its parts, within sampling error.

use difusi_core::{Cond, Noise};
use difusi_process::{
    Churn, DpmAlgorithm, DpmKind, Level, NoiseSource, Plan, Solver, Variance, mixture::Mixture, sample,
};

use crate::{
    common::{check_close, tensor64, values64},
    solver_order::{even, kind, multistep, process, singlestep},
};

const COUNT: usize = 4000;

fn check(solver: Solver, steps: usize, end: Option<Level>) {
    let (mixture, process) = (Mixture::planar(), process());
    let mut levels = even(&process, (15.0, 0.02), steps);
    levels.extend(end);
    let plan = Plan::on(&process, &levels, solver, Variance::default()).unwrap();
    let start = tensor64(mixture.draw(levels[0], Noise::new(11), (0, COUNT)), 2);
    let x = sample(&mixture, &plan, start, NoiseSource::counter(12, 0), Cond::None).unwrap();
    let at = levels[levels.len() - 1];
    let shares = values64(mixture.shares(&x, at).unwrap().mean_dim(0));
    let x: Vec<f64> = values64(x).into_iter().map(|v| v / at.alpha).collect();
    let average = |f: &dyn Fn(&[f64]) -> f64| x.chunks(2).map(f).sum::<f64>() / COUNT as f64;
    let (mean, covariance) = (mixture.mean(), mixture.covariance());
    for i in 0..2 {
        let found = average(&|v| v[i]);
        assert!((found - mean[i]).abs() < 0.05, "{solver:?}: mean {found}, not {}", mean[i]);
        for j in 0..2 {
            let found = average(&|v| (v[i] - mean[i]) * (v[j] - mean[j]));
            let exact = covariance[i][j];
            assert!((found - exact).abs() < 0.05, "{solver:?}: covariance {found}, not {exact}");
        }
    }
    for (share, part) in shares.iter().zip(mixture.components()) {
        check_close(*share, part.weight, 0.03);
    }
}

#[test]
fn ancestral_family() {
    for name in ["ancestral", "euler_ancestral", "dpm2_ancestral", "dpm_sde"] {
        check(kind(name), 100, Some(Level::DATA));
    }
    check(Solver::ddim(1.0), 100, Some(Level::DATA));
    check(Solver::ddim(0.5), 100, Some(Level::DATA));
    check(Solver::EulerAncestral { eta: 0.6, s_noise: 1.0 }, 100, Some(Level::DATA));
}

#[test]
fn churn() {
    let churn = Churn { s_churn: 20.0, s_min: 0.05, s_max: 10.0, s_noise: 1.0 };
    check(Solver::Heun { churn }, 60, Some(Level::DATA));
    check(Solver::Dpm2 { churn }, 60, Some(Level::DATA));
    check(Solver::Euler { churn }, 200, Some(Level::DATA));
}

#[test]
fn dpm_sde_forms() {
    for order in 1..=3 {
        check(multistep(DpmAlgorithm::SdeDpmSolverPp, order, DpmKind::Heun), 100, Some(Level::DATA));
        check(multistep(DpmAlgorithm::SdeDpmSolver, order, DpmKind::Heun), 200, None);
    }
    check(multistep(DpmAlgorithm::SdeDpmSolverPp, 2, DpmKind::Midpoint), 100, Some(Level::DATA));
    for kind in [DpmKind::Midpoint, DpmKind::Heun] {
        check(singlestep(DpmAlgorithm::SdeDpmSolverPp, 2, kind), 150, Some(Level::DATA));
        check(singlestep(DpmAlgorithm::SdeDpmSolverPp, 3, kind), 150, Some(Level::DATA));
    }
}
