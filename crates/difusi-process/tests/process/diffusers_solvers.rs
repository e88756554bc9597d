//! Options of solvers that exist because diffusers has them: what they are worth, against exact answers.

use difusi_core::{Cond, Noise};
use difusi_process::{
    IpndmStart, Level, NoiseSource, Plan, PndmMean, PndmWarmup, Process, Rounding, Schedule, Solver, Variance,
    mixture::Mixture, sample, trial::flow,
};

use crate::common::{check_close, tensor64, values64};

fn linear() -> Process {
    Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false }.process(1000).unwrap()
}

/// log2 of how much a doubling of the steps divides the error by, from sigma / alpha = 9 down to 1/9 in `steps` of `level`.
fn order(process: &Process, solver: Solver, level: impl Fn(f64) -> Level) -> f64 {
    let error = |steps: usize| {
        let levels: Vec<Level> = (0..=steps).map(|i| level(i as f64 / steps as f64)).collect();
        let (first, last) = (levels[0], levels[steps]);
        let start = Mixture::planar().draw(first, Noise::new(1), (0, 32));
        let answer = values64(flow(&Mixture::planar(), tensor64(start.clone(), 2), (first, last), 800).unwrap());
        let plan = Plan::on(process, &levels, solver, Variance::default()).unwrap();
        let given = NoiseSource::given(vec![]);
        let found = values64(sample(&Mixture::planar(), &plan, tensor64(start, 2), given, Cond::None).unwrap());
        found.iter().zip(&answer).map(|(f, a)| (f - a).powi(2)).sum::<f64>().sqrt()
    };
    (error(80) / error(160)).log2()
}

/// In the straight line's own time and in that of sigma / alpha Heun's method is of second order, but not the same.
#[test]
fn flow_matching_heun_is_another_heun() {
    let process = Process::Flow { shift: 1.0, timesteps: 1000 };
    let level = |u: f64| Level::new((0.9 - 0.8 * u) * 1000.0, 0.1 + 0.8 * u, 0.9 - 0.8 * u);
    let churn = difusi_process::Churn::default();
    for solver in [Solver::Heun { churn }, Solver::FlowMatchHeun { churn }] {
        check_close(order(&process, solver, level), 2.0, 0.3);
    }
    let levels = [0.0, 0.5, 1.0].map(level);
    let end = |solver| {
        let plan = Plan::on(&process, &levels, solver, Variance::default()).unwrap();
        values64(
            sample(&Mixture::planar(), &plan, tensor64(vec![0.3, -0.8], 2), NoiseSource::given(vec![]), Cond::None)
                .unwrap(),
        )
    };
    let (ratio, line) = (end(Solver::Heun { churn }), end(Solver::FlowMatchHeun { churn }));
    assert!((ratio[0] - line[0]).abs() > 1e-4, "{ratio:?} {line:?}");
}

/// Off the straight line it is Heun's method in sigma / alpha; on it pure noise is asked about twice as every other level.
#[test]
fn flow_matching_heun_elsewhere() {
    let churn = difusi_process::Churn::default();
    let process = linear();
    let levels: Vec<Level> = [900.0, 500.0, 100.0].iter().map(|t| process.level(*t)).chain([Level::DATA]).collect();
    let end = |solver| {
        let plan = Plan::on(&process, &levels, solver, Variance::default()).unwrap();
        values64(
            sample(&Mixture::planar(), &plan, tensor64(vec![0.3, -0.8], 2), NoiseSource::given(vec![]), Cond::None)
                .unwrap(),
        )
    };
    assert_eq!(end(Solver::Heun { churn }), end(Solver::FlowMatchHeun { churn }));
    let line = Process::Flow { shift: 1.0, timesteps: 10 };
    let levels = [9.0, 4.0].map(|u| line.level(u)).into_iter().chain([Level::DATA]).collect::<Vec<_>>();
    assert_eq!(levels[0].alpha, 0.0);
    let evaluations = |solver| Plan::on(&line, &levels, solver, Variance::default()).unwrap().len();
    assert_eq!((evaluations(Solver::Heun { churn }), evaluations(Solver::FlowMatchHeun { churn })), (2, 3));
}

/// eps is the slope of the ODE in sigma / alpha, so its means keep PNDM's second order; the velocity turns with the level, and its
/// means lose one.
#[test]
fn means_of_velocities_lose_an_order() {
    let process = linear();
    let level = |u: f64| process.level_at_ratio(9.0 * (1.0f64 / 81.0).powf(u));
    for (mean, expected) in [(PndmMean::Eps, 2.0), (PndmMean::Velocity, 1.0)] {
        let found = order(&process, Solver::Pndm { warmup: PndmWarmup::Plms, mean }, level);
        check_close(found, expected, 0.35);
    }
}

/// Away from pure noise both starts of iPNDM are one; at pure noise diffusers' knows nothing of x_0.
#[test]
fn ipndm_starts() {
    let process = Process::Flow { shift: 1.0, timesteps: 10 };
    let end = |start, first: f64| {
        let levels: Vec<Level> = [first, 6.0, 3.0].iter().map(|u| process.level(*u)).chain([Level::DATA]).collect();
        let plan = Plan::on(&process, &levels[..2], Solver::Ipndm { order: 4, start }, Variance::default()).unwrap();
        let given = NoiseSource::given(vec![]);
        values64(sample(&Mixture::planar(), &plan, tensor64(vec![0.3, -0.8], 2), given, Cond::None).unwrap())
    };
    assert_eq!(end(IpndmStart::Estimate, 8.0), end(IpndmStart::Noise, 8.0));
    let scaled = end(IpndmStart::Noise, 9.0);
    check_close(scaled[0], 0.7 * 0.3, 1e-12);
    check_close(scaled[1], 0.7 * -0.8, 1e-12);
    assert!((end(IpndmStart::Estimate, 9.0)[0] - scaled[0]).abs() > 1e-3);
}

/// DDPM's f32 arithmetic differs from the exact one in the last digits of f32, and not at all in what it draws.
#[test]
fn rounding_is_rounding() {
    let process = linear();
    let levels: Vec<Level> = [500.0, 499.0, 480.0].iter().map(|t| process.level(*t)).chain([Level::DATA]).collect();
    let end = |rounding| {
        let plan = Plan::new(&levels, Solver::Ancestral {}, Variance::FixedLarge {}).unwrap().rounded(rounding);
        assert_eq!(plan.rounding(), rounding);
        let given = NoiseSource::given(vec![tensor64(vec![0.4, 0.1], 2), tensor64(vec![-1.0, 0.6], 2)]);
        values64(sample(&Mixture::planar(), &plan, tensor64(vec![0.3, -0.8], 2), given, Cond::None).unwrap())
    };
    let (exact, rounded) = (end(Rounding::Exact), end(Rounding::F32));
    assert_ne!(exact, rounded);
    exact.iter().zip(&rounded).for_each(|(a, b)| check_close(*a, *b, 1e-5));
}
