//! The error of every deterministic solver falls with its order, on a mixture whose ODE is solved by other means.

use std::sync::LazyLock;

use burn::tensor::Tensor;
use difusi_core::{Cond, Noise};
use difusi_process::{
    Curvature, DpmAlgorithm, DpmKind, IpndmStart, Level, NoiseSource, Plan, PndmMean, PndmWarmup, Process, Schedule,
    Solver, StepSet, UnipcKind, Variance, mixture::Mixture, sample, trial::flow,
};

use crate::common::{tensor64, values64};

pub(crate) fn process() -> Process {
    Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false }.process(1000).unwrap()
}

/// Even in log(sigma / alpha) between these ends.
pub(crate) fn even(process: &Process, (high, low): (f64, f64), steps: usize) -> Vec<Level> {
    let at = |i: usize| high * (low / high).powf(i as f64 / steps as f64);
    (0..=steps).map(|i| process.level_at_ratio(at(i))).collect()
}

const ENDS: (f64, f64) = (10.0, 0.05);

struct Problem {
    start: Vec<f64>,
    answer: Vec<f64>,
}

static PROBLEM: LazyLock<Problem> = LazyLock::new(|| {
    let ends = even(&process(), ENDS, 1);
    let start = Mixture::planar().draw(ends[0], Noise::new(1), (0, 24));
    let answer = flow(&Mixture::planar(), tensor64(start.clone(), 2), (ends[0], ends[1]), 1500).unwrap();
    Problem { start, answer: values64(answer) }
});

fn run(solver: Solver, levels: &[Level]) -> Tensor<4> {
    let plan = Plan::on(&process(), levels, solver, Variance::default()).unwrap();
    let start = tensor64(PROBLEM.start.clone(), 2);
    sample(&Mixture::planar(), &plan, start, NoiseSource::given(vec![]), Cond::None).unwrap()
}

fn error(solver: Solver, levels: &[Level]) -> f64 {
    let found = values64(run(solver, levels));
    let squares = found.iter().zip(&PROBLEM.answer).map(|(f, a)| (f - a).powi(2));
    (squares.sum::<f64>() / found.len() as f64).sqrt()
}

/// log2 of how much a doubling of the steps divides the error by.
fn slope(solver: Solver, steps: usize, levels: impl Fn(usize) -> Vec<Level>) -> f64 {
    let [coarse, fine] = [steps, 2 * steps].map(|n| error(solver, &levels(n)));
    (coarse / fine).log2()
}

fn check(solver: Solver, order: f64, steps: usize) {
    let found = slope(solver, steps, |n| even(&process(), ENDS, n));
    assert!((found - order).abs() < 0.35, "{solver:?} has order {found:.2}, not {order}");
}

/// The same grid with its first interval cut into steps that grow from h^2 or so to h: a multi-step solver of high order starts with
/// one of first order, whose error would hide its own.
fn check_started(solver: Solver, order: f64, steps: usize) {
    let found = slope(solver, steps, |n| {
        let process = process();
        let mut levels = even(&process, ENDS, n);
        let (high, low) = (levels[0].ratio(), levels[1].ratio());
        let halvings = n.ilog2() as i32 + 2;
        let cuts = (1..=halvings).rev().map(|k| high * (low / high).powf(0.5f64.powi(k)));
        levels.splice(1..1, cuts.map(|ratio| process.level_at_ratio(ratio)));
        levels
    });
    assert!((found - order).abs() < 0.35, "{solver:?} has order {found:.2}, not {order}");
}

/// Started as it is, a multi-step solver of third or fourth order ends between two and that; with UniPC's corrector a step more.
fn check_unstarted(solver: Solver, least: f64, steps: usize) {
    let found = slope(solver, steps, |n| even(&process(), ENDS, n));
    assert!(found > least - 0.2, "{solver:?} has order {found:.2}, below {least}");
}

pub(crate) fn multistep(algorithm: DpmAlgorithm, order: usize, solver_type: DpmKind) -> Solver {
    let curvature = Curvature::Exact;
    Solver::DpmMultistep { algorithm, order, solver_type, curvature, lower_order_final: false, euler_at_final: false }
}

pub(crate) fn singlestep(algorithm: DpmAlgorithm, order: usize, solver_type: DpmKind) -> Solver {
    Solver::DpmSinglestep { algorithm, order, solver_type, curvature: Curvature::Exact, lower_order_final: false }
}

pub(crate) fn unipc(order: usize, solver_type: UnipcKind, (predict_x0, corrector): (bool, bool)) -> Solver {
    let disable_corrector = StepSet::default();
    Solver::Unipc { order, solver_type, predict_x0, lower_order_final: false, corrector, disable_corrector }
}

pub(crate) fn kind(text: &str) -> Solver {
    toml::from_str(&format!("kind = {text:?}")).unwrap()
}

#[test]
fn one_step_methods() {
    for name in ["ddim", "euler"] {
        check(kind(name), 1.0, 100);
    }
    for name in ["heun", "dpm2"] {
        check(kind(name), 2.0, 60);
    }
    check(Solver::DpmSde { eta: 0.0, s_noise: 1.0, r: 0.5 }, 2.0, 60);
    check(Solver::DpmSde { eta: 0.0, s_noise: 1.0, r: 0.3 }, 2.0, 60);
}

#[test]
fn dpm_solver() {
    for algorithm in [DpmAlgorithm::DpmSolver, DpmAlgorithm::DpmSolverPp] {
        check(multistep(algorithm, 1, DpmKind::Midpoint), 1.0, 100);
        for kind in [DpmKind::Midpoint, DpmKind::Heun] {
            check(multistep(algorithm, 2, kind), 2.0, 100);
            check(singlestep(algorithm, 2, kind), 2.0, 120);
            check(singlestep(algorithm, 3, kind), 3.0, 120);
        }
        check_started(multistep(algorithm, 3, DpmKind::Midpoint), 3.0, 120);
        check_unstarted(multistep(algorithm, 3, DpmKind::Midpoint), 2.0, 120);
    }
}

/// The published third order is of second.
#[test]
fn published_curvature() {
    let published = |algorithm| Solver::DpmMultistep {
        algorithm,
        order: 3,
        solver_type: DpmKind::Midpoint,
        curvature: Curvature::Published,
        lower_order_final: false,
        euler_at_final: false,
    };
    for algorithm in [DpmAlgorithm::DpmSolver, DpmAlgorithm::DpmSolverPp] {
        check(published(algorithm), 2.0, 200);
    }
}

#[test]
fn unipc_and_deis() {
    for order in 1..=3 {
        let (nominal, steps) = (order as f64, if order == 3 { 160 } else { 100 });
        check_started(Solver::Deis { order, lower_order_final: false }, nominal, 120);
        let forms = [(UnipcKind::Bh2, true), (UnipcKind::Bh1, true), (UnipcKind::Bh2, false)];
        for (solver_type, predict_x0) in forms {
            check_started(unipc(order, solver_type, (predict_x0, false)), nominal, steps);
            check_started(unipc(order, solver_type, (predict_x0, true)), nominal + 1.0, steps);
        }
        check_unstarted(unipc(order, UnipcKind::Bh2, (true, true)), (nominal + 1.0).min(3.0), 100);
    }
}

#[test]
fn linear_multistep() {
    for order in 1..=4 {
        check_started(Solver::Lms { order }, order as f64, 160);
        check_unstarted(Solver::Lms { order }, (order as f64).min(2.0), 160);
        check(Solver::Ipndm { order, start: IpndmStart::Estimate }, (order as f64).min(2.0), 160);
    }
    check(Solver::Pndm { warmup: PndmWarmup::Plms, mean: PndmMean::Eps }, 2.0, 160);
    check(Solver::Pndm { warmup: PndmWarmup::RungeKutta, mean: PndmMean::Eps }, 2.0, 160);
}

/// Noise and back: both errors are of first order, and so is what is left of them.
#[test]
fn inversion_returns() {
    let process = process();
    let left = |steps| {
        let down = even(&process, ENDS, steps);
        let up: Vec<Level> = down.iter().rev().copied().collect();
        let go = |levels: &[Level], solver, x| {
            let plan = Plan::new(levels, solver, Variance::default()).unwrap();
            sample(&Mixture::planar(), &plan, x, NoiseSource::given(vec![]), Cond::None).unwrap()
        };
        let data = tensor64(PROBLEM.answer.clone(), 2);
        let noise = go(&up, kind("ddim_inverse"), data);
        let back = values64(go(&down, kind("ddim"), noise));
        back.iter().zip(&PROBLEM.answer).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let [coarse, fine] = [100, 200].map(left);
    assert!((0.7..1.6).contains(&(coarse / fine).log2()), "{coarse} {fine}");
    assert!(fine < 0.1, "{fine}");
}
