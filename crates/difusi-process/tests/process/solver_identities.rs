//! What solvers have in common, to rounding; and the ends of the process: pure noise, the data, one step, two.

use burn::tensor::Tensor;
use difusi_core::{Cond, Noise};
use difusi_process::{
    Choice, Denoise, Denoised, DpmAlgorithm, DpmKind, EpsSource, Grid, InverseTime, IpndmStart, Level, NoiseSource,
    Plan, Process, ProcessError, Solver, UnipcKind, Variance, mixture::Mixture, sample, trial::Trial,
};

use crate::{
    common::{check_close, tensor64, values64},
    solver_order::{even, kind, multistep, process, singlestep, unipc},
};

fn start() -> Vec<f64> {
    Mixture::planar().draw(process().level_at_ratio(10.0), Noise::new(2), (0, 8))
}

fn run_over(process: &Process, levels: &[Level], solver: Solver, start: Vec<f64>) -> Vec<f64> {
    let plan = Plan::on(process, levels, solver, Variance::default()).unwrap();
    let x = tensor64(start, 2);
    values64(sample(&Mixture::planar(), &plan, x, NoiseSource::counter(3, 0), Cond::None).unwrap())
}

/// 12 steps and the data.
fn run(solver: Solver) -> Vec<f64> {
    let mut levels = even(&process(), (10.0, 0.05), 11);
    levels.push(Level::DATA);
    run_over(&process(), &levels, solver, start())
}

fn same(a: Solver, b: Solver) {
    for (x, y) in run(a).iter().zip(run(b)) {
        assert!((x - y).abs() < 1e-10, "{a:?} gives {x}, {b:?} gives {y}");
    }
}

/// All that go from noise to data by way of x_0 or eps; those that follow the score have tests of their own.
fn downwards() -> Vec<Solver> {
    let others = ["langevin", "reverse_sde", "predictor_corrector", "ddim_inverse"];
    Solver::KINDS.iter().filter(|name| !others.contains(*name)).map(|name| kind(name)).collect()
}

#[test]
fn first_orders_are_ddim() {
    let ddim = kind("ddim");
    same(ddim, kind("euler"));
    same(ddim, Solver::Ddim { eta: 0.0, eps: EpsSource::Network });
    for algorithm in [DpmAlgorithm::DpmSolver, DpmAlgorithm::DpmSolverPp] {
        same(ddim, multistep(algorithm, 1, DpmKind::Midpoint));
        same(ddim, singlestep(algorithm, 1, DpmKind::Midpoint));
    }
    for predict_x0 in [true, false] {
        same(ddim, unipc(1, UnipcKind::Bh2, (predict_x0, false)));
    }
    same(ddim, Solver::Deis { order: 1, lower_order_final: true });
    same(ddim, Solver::Lms { order: 1 });
    same(ddim, Solver::Ipndm { order: 1, start: IpndmStart::Estimate });
}

#[test]
fn without_noise_the_ancestral_are_deterministic() {
    same(kind("euler"), Solver::EulerAncestral { eta: 0.0, s_noise: 1.0 });
    same(kind("dpm2"), Solver::Dpm2Ancestral { eta: 0.0, s_noise: 1.0 });
    same(Solver::ddim(1.0), kind("ancestral"));
    // sigma_down of eta = 1 is DDPM's posterior.
    same(kind("euler_ancestral"), kind("ancestral"));
    same(kind("euler_ancestral"), multistep(DpmAlgorithm::SdeDpmSolverPp, 1, DpmKind::Midpoint));
}

/// The single-step solver on a grid with the middles of another is DPM++ SDE without noise on that other.
#[test]
fn dpm_sde_without_noise_is_2s() {
    let process = process();
    let (coarse, fine) = (even(&process, (10.0, 0.05), 6), even(&process, (10.0, 0.05), 12));
    let sde = run_over(&process, &coarse, Solver::DpmSde { eta: 0.0, s_noise: 1.0, r: 0.5 }, start());
    let single = run_over(&process, &fine, singlestep(DpmAlgorithm::DpmSolverPp, 2, DpmKind::Midpoint), start());
    sde.iter().zip(single).for_each(|(a, b)| check_close(*a, b, 1e-10));
}

#[test]
fn predictors_are_dpm_solvers() {
    same(unipc(2, UnipcKind::Bh2, (true, false)), multistep(DpmAlgorithm::DpmSolverPp, 2, DpmKind::Midpoint));
    // A single difference, in the second step, is weighed differently; exactly as often in both.
    let deis = Solver::Deis { order: 2, lower_order_final: false };
    same(deis, multistep(DpmAlgorithm::DpmSolver, 2, DpmKind::Heun));
}

/// x / alpha depends on sigma / alpha alone: the same levels on a straight line, on a circle and without shrinking.
#[test]
fn processes_are_one_ode() {
    let flow = Process::Flow { shift: 1.0, timesteps: 1000 };
    let edm = Process::Edm { sigma_min: 0.01, sigma_max: 80.0, timesteps: 1000 };
    let deterministic =
        ["euler", "heun", "dpm2", "dpm_multistep", "dpm_singlestep", "unipc", "deis", "pndm", "lms", "ipndm"];
    for name in deterministic {
        let on = |process: &Process| {
            let levels = even(process, (10.0, 0.05), 14);
            let (first, last) = (levels[0].alpha, levels[14].alpha);
            let vp = process_alpha();
            let scaled = start().into_iter().map(|v| v / vp * first).collect();
            run_over(process, &levels, kind(name), scaled).into_iter().map(|v| v / last).collect::<Vec<_>>()
        };
        let expected = on(&process());
        for other in [&flow, &edm] {
            on(other).iter().zip(&expected).for_each(|(a, b)| check_close(*a, *b, 1e-9));
        }
    }
}

fn process_alpha() -> f64 {
    process().level_at_ratio(10.0).alpha
}

/// Pure noise at the start, the data at the end; one step, two, and few more: no solver divides by nothing, and one step is x_0.
#[test]
fn ends_of_the_process() {
    let flow = Process::Flow { shift: 1.0, timesteps: 1000 };
    for solver in downwards() {
        for steps in 1..=9 {
            let levels = Grid::Trailing {}.levels(&flow, steps).unwrap();
            assert_eq!(levels[0].alpha, 0.0);
            let x = run_over(&flow, &levels, solver, start());
            assert!(x.iter().all(|v| v.abs() < 3.0), "{solver:?} {steps} {x:?}");
        }
        let at = process().level_at_ratio(3.0);
        let x = run_over(&process(), &[at, Level::DATA], solver, start());
        let said = Mixture::planar().denoise(tensor64(start(), 2), at, &Cond::None).unwrap();
        values64(said.x0).iter().zip(x).for_each(|(a, b)| check_close(*a, b, 1e-4));
    }
}

/// Ends above the data, wherever they are.
#[test]
fn plans_may_end_in_noise() {
    for solver in downwards() {
        for steps in 1..=6 {
            let x = run_over(&process(), &even(&process(), (10.0, 0.5), steps), solver, start());
            assert!(x.iter().all(|v| v.abs() < 20.0), "{solver:?} {steps} {x:?}");
        }
    }
}

/// Says what it was asked.
struct Asked(std::cell::RefCell<Vec<f64>>);

impl Denoise for Asked {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        self.0.borrow_mut().push(level.t);
        Ok(Denoised::new(x_t.clone() * 0.1, x_t))
    }
}

/// Stages are the timesteps that diffusers lists: one evaluation each.
#[test]
fn evaluations() {
    let times = |solver, steps| {
        let levels: Vec<Level> = Grid::Trailing {}.levels(&process(), steps).unwrap();
        let plan = Plan::on(&process(), &levels, solver, Variance::default()).unwrap();
        let asked = Asked(Vec::new().into());
        sample(&asked, &plan, tensor64(start(), 2), NoiseSource::counter(0, 0), Cond::None).unwrap();
        asked.0.into_inner()
    };
    assert_eq!(times(kind("heun"), 4), [999.0, 749.0, 749.0, 499.0, 499.0, 249.0, 249.0]);
    assert_eq!(times(kind("pndm"), 4), [999.0, 749.0, 749.0, 499.0, 249.0]);
    assert_eq!(times(kind("pndm"), 1), [999.0]);
    let warm = times(kind_with("kind = \"pndm\"\nwarmup = \"runge_kutta\""), 5);
    let expected = [999., 899., 899., 799., 799., 699., 699., 599., 599., 499., 499., 399., 399., 199.];
    assert_eq!(warm, expected);
    assert_eq!(times(kind("dpm_singlestep"), 5), [999.0, 799.0, 599.0, 399.0, 199.0]);
    let dpm2 = times(kind("dpm2"), 3);
    assert_eq!(dpm2.len(), 5);
    assert!(dpm2.windows(2).all(|w| w[0] > w[1]), "{dpm2:?}");
}

fn kind_with(text: &str) -> Solver {
    toml::from_str(text).unwrap()
}

/// Upwards the network is told the destination's time, or its own.
#[test]
fn inversion_rises() {
    let mut levels = Grid::Trailing {}.levels(&process(), 4).unwrap();
    levels.reverse();
    let times = |at| {
        let plan = Plan::new(&levels, Solver::DdimInverse { at }, Variance::default()).unwrap();
        let asked = Asked(Vec::new().into());
        sample(&asked, &plan, tensor64(start(), 2), NoiseSource::given(vec![]), Cond::None).unwrap();
        asked.0.into_inner()
    };
    assert_eq!(times(InverseTime::Destination), [249.0, 499.0, 749.0, 999.0]);
    assert_eq!(times(InverseTime::Origin), [-1.0, 249.0, 499.0, 749.0]);
    let error = Plan::new(&levels, kind("ddim"), Variance::default()).unwrap_err().to_string();
    assert!(error.contains("expected noise that falls"), "{error}");
    let error = Plan::new(&levels[1..3], kind("dpm2"), Variance::default());
    assert!(error.is_err());
}

/// A solver that stops between levels says that it needs the process.
#[test]
fn between_levels_needs_the_process() {
    let levels = even(&process(), (10.0, 0.05), 3);
    let error = Plan::new(&levels, kind("dpm2"), Variance::default()).unwrap_err().to_string();
    assert!(error.contains("Plan::on"), "{error}");
}

#[test]
fn parameters_are_checked() {
    let wrong = |text: &str, key: &str| {
        let found: Vec<String> = kind_with(text).check().into_iter().map(|e| e.key).collect();
        assert_eq!(found, [key], "{text}");
    };
    wrong("kind = \"dpm_multistep\"\norder = 4", "solver.order");
    wrong("kind = \"lms\"\norder = 5", "solver.order");
    wrong("kind = \"unipc\"\norder = 0", "solver.order");
    wrong("kind = \"euler\"\nchurn.s_churn = -1.0", "solver.churn.s_churn");
    wrong("kind = \"heun\"\nchurn = { s_min = 2.0, s_max = 1.0 }", "solver.churn.s_max");
    wrong("kind = \"euler_ancestral\"\neta = -0.1", "solver.eta");
    wrong("kind = \"dpm_sde\"\nr = 1.0", "solver.r");
    wrong("kind = \"lcm\"\ntimestep_scaling = 0.0", "solver.timestep_scaling");
    assert_eq!(kind("dpmpp_2m"), kind("dpm_multistep"));
    assert_eq!(kind("flow_match_euler"), kind("euler"));
    let listed = kind_with("kind = \"unipc\"\ndisable_corrector = [0, 3]");
    let text = toml::to_string(&listed).unwrap();
    assert!(text.contains("disable_corrector = [0, 3]"), "{text}");
    assert_eq!(kind_with(&text), listed);
    assert!(toml::from_str::<Solver>("kind = \"unipc\"\ndisable_corrector = [128]").is_err());
    for name in Solver::KINDS {
        let solver = kind(name);
        assert_eq!(kind_with(&toml::to_string(&solver).unwrap()), solver);
        assert!(solver.check().is_empty());
    }
}

/// One step of a consistency model with the exact denoiser is its x_0.
#[test]
fn lcm() {
    let at = process().level(999.0);
    let said = Mixture::planar().denoise(tensor64(start(), 2), at, &Cond::None).unwrap();
    let x0 = values64(said.x0);
    for (sigma_data, tolerance) in [(0.5, 1e-7), (0.0, 1e-15)] {
        let x = run_over(&process(), &[at, Level::DATA], Solver::Lcm { timestep_scaling: 10.0, sigma_data }, start());
        x.iter().zip(&x0).for_each(|(a, b)| check_close(*a, *b, tolerance));
    }
}

/// At 10 steps DPM-Solver++(2M) and UniPC are at least four times nearer than DDIM, and the table of all solvers is in order.
#[test]
fn ten_steps() {
    let trial = Trial::planar().unwrap();
    let grid = Trial::grid();
    let error = |name: &str, steps| trial.run(kind(name), &grid, steps).unwrap();
    let ddim = error("ddim", 10).error;
    for name in ["dpm_multistep", "unipc"] {
        let found = error(name, 10).error;
        assert!(4.0 * found < ddim, "{name} {found}, ddim {ddim}");
    }
    for name in ["euler", "heun", "dpm2", "dpm_singlestep", "unipc", "deis", "pndm", "lms", "ipndm"] {
        let [few, many] = [5, 40].map(|steps| error(name, steps));
        assert!(few.error > 4.0 * many.error, "{name} {few:?} {many:?}");
        assert!(many.error < 0.03, "{name} {many:?}");
    }
    assert_eq!((error("heun", 10).evaluations, error("unipc", 10).evaluations), (19, 10));
}

/// From wherever a grid starts, the answer is the same.
#[test]
fn trials_move_their_start() {
    let trial = Trial::planar().unwrap();
    let [near, far] = [Some(5.0), Some(300.0)].map(|sigma_max| Grid::Exponential { sigma_min: Some(0.01), sigma_max });
    for grid in [near, far] {
        let found = trial.run(kind("heun"), &grid, 150).unwrap();
        assert!(found.error < 1e-3, "{found:?}");
    }
    let pure = Trial::new(Mixture::planar(), Process::Flow { shift: 1.0, timesteps: 1000 }, 8, Noise::new(1)).unwrap();
    let found = pure.run(kind("euler"), &Grid::Trailing {}, 500).unwrap();
    assert!(found.error < 0.01, "{found:?}");
}
