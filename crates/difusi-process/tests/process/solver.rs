//! Solvers and grids against exact answers, in f64.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::Cond;
use difusi_process::{
    Choice, Denoise, Denoised, Grid, Jump, Level, NoiseSource, Plan, Process, ProcessError, Schedule, Solver, Tables,
    Variance, sample,
};

use crate::common::{check_close, linear};

const SMALL: Variance = Variance::FixedSmall {};
const LARGE: Variance = Variance::FixedLarge {};

fn plan(tables: &Tables, steps: usize, solver: Solver, variance: Variance) -> Plan {
    let levels = Grid::Trailing {}.levels(&Process::Discrete(tables.clone()), steps).unwrap();
    Plan::new(&levels, solver, variance).unwrap()
}

fn row(values: [f64; 3]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 1, 3]), (&Device::flex(), DType::F64))
}

/// Says the same of every x.
struct Says(Tensor<4>);

impl Denoise for Says {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        Ok(Denoised::from_x0(self.0.clone(), x_t, level))
    }
}

/// A step that is linear in (x_0 estimate, x_t, noise): its three factors.
#[derive(Debug)]
struct Transition {
    from: Level,
    x0: f64,
    x_t: f64,
    noise: f64,
}

/// Found by putting in unit vectors.
fn transitions(plan: &Plan) -> Vec<Transition> {
    let of = |stage: &difusi_process::Stage| {
        let alone = Plan::new(&[stage.at, stage.to], plan.solver(), plan.variance()).unwrap();
        let noise = NoiseSource::given(vec![row([0.0, 0.0, 1.0])]);
        let x = sample(&Says(row([1.0, 0.0, 0.0])), &alone, row([0.0, 1.0, 0.0]), noise, Cond::None).unwrap();
        let v = x.try_into_vec_as::<f64>().unwrap();
        Transition { from: stage.at, x0: v[0], x_t: v[1], noise: v[2] }
    };
    plan.stages().iter().map(of).collect()
}

/// Mean and variance of x after each step, for data N(mu, s^2) whose exact denoiser is linear. Starts at `start`.
fn exact_moments(plan: &Plan, (mu, s): (f64, f64), start: (f64, f64)) -> Vec<(f64, f64)> {
    let step = |(mean, var): &mut (f64, f64), by: Transition| {
        let (alpha, sigma) = (by.from.alpha, by.from.sigma);
        let gain = alpha * s * s / (alpha * alpha * s * s + sigma * sigma); // E[x0 | x] = mu + gain (x - alpha mu)
        let slope = by.x0 * gain + by.x_t;
        *mean = slope * *mean + by.x0 * mu * (1.0 - gain * alpha);
        *var = slope * slope * *var + by.noise * by.noise;
        Some((*mean, *var))
    };
    transitions(plan).into_iter().scan(start, step).collect()
}

/// For data that is one point every eta, and ancestral with fixed_small, has exactly the marginals of q on any grid.
#[test]
fn point_data_has_exact_marginals() {
    let (tables, mu) = (linear(100), 0.7);
    let solvers = [Solver::Ancestral {}, Solver::ddim(0.0), Solver::ddim(0.3), Solver::ddim(1.0)];
    for solver in solvers {
        for steps in [1, 3, 10, 100] {
            let plan = plan(&tables, steps, solver, SMALL);
            let first = plan.stages()[0].at;
            let got = exact_moments(&plan, (mu, 0.0), (first.alpha * mu, first.sigma.powi(2)));
            for (stage, (mean, var)) in plan.stages().iter().zip(got) {
                check_close(mean, stage.to.alpha * mu, 1e-12);
                check_close(var, stage.to.sigma.powi(2), 1e-12);
            }
        }
    }
}

/// For N(0, 1) data fixed_large keeps unit variance exactly; fixed_small loses some. The last jump adds no noise.
#[test]
fn fixed_large_is_exact_for_unit_data() {
    let tables = linear(100);
    for steps in [5, 20, 100] {
        let got = exact_moments(&plan(&tables, steps, Solver::Ancestral {}, LARGE), (0.0, 1.0), (0.0, 1.0));
        got[..steps - 1].iter().for_each(|(_, var)| check_close(*var, 1.0, 1e-12));
        let small = exact_moments(&plan(&tables, steps, Solver::Ancestral {}, SMALL), (0.0, 1.0), (0.0, 1.0));
        assert!(small[..steps - 1].iter().all(|(_, var)| *var < 1.0));
    }
    let jump = Jump { from: tables.level(50).unwrap(), to: tables.level(30).unwrap() };
    assert!(SMALL.of(jump) < LARGE.of(jump));
    let onto = Jump { to: Level::DATA, ..jump };
    assert_eq!((SMALL.of(onto), LARGE.of(onto)), (0.0, 0.0));
}

/// DDIM with eta = 1 is ancestral sampling with fixed_small: the same three numbers.
#[test]
fn ddim_eta_one_is_ancestral() {
    let tables = Schedule::default().tables(1000).unwrap();
    for steps in [1, 7, 50, 1000] {
        let ddim = plan(&tables, steps, Solver::ddim(1.0), LARGE);
        let ancestral = plan(&tables, steps, Solver::Ancestral {}, SMALL);
        for (a, b) in transitions(&ddim).iter().zip(transitions(&ancestral)) {
            check_close(a.x0, b.x0, 1e-10);
            check_close(a.x_t, b.x_t, 1e-10);
            check_close(a.noise, b.noise, 1e-12);
        }
    }
}

/// Ancestral sampling on all steps is eq. 7; on a sub-sequence it is eq. 7 of the merged betas.
#[test]
fn ancestral_is_the_posterior() {
    let tables = linear(100);
    for times in [(0..100).collect::<Vec<_>>(), vec![3, 10, 40, 99]] {
        let mut before = 1.0;
        let merged = times.iter().map(|&t| {
            let beta = 1.0 - tables.alpha_bars[t] / before;
            before = tables.alpha_bars[t];
            beta
        });
        let merged = Schedule::CustomBetas { betas: merged.collect() }.tables(times.len()).unwrap();
        let falling: Vec<usize> = times.into_iter().rev().collect();
        for (variance, column) in [(SMALL, &merged.posterior_variance), (LARGE, &merged.betas)] {
            let levels = tables.levels(&falling).unwrap().into_iter().chain([Level::DATA]).collect::<Vec<_>>();
            let plan = Plan::new(&levels, Solver::Ancestral {}, variance).unwrap();
            for (t, p) in transitions(&plan).iter().rev().enumerate() {
                check_close(p.x0, merged.posterior_mean_x0[t], 1e-12);
                check_close(p.x_t, merged.posterior_mean_xt[t], 1e-12);
                let expected = if t == 0 { 0.0 } else { column[t].sqrt() };
                check_close(p.noise, expected, 1e-12);
            }
        }
    }
}

/// Sampling N(mu, s^2) with the exact denoiser: errors fall with the number of steps, DDIM's about in half when it doubles.
#[test]
fn gaussian_data_is_reached() {
    let (tables, mu, s) = (Schedule::default().tables(4000).unwrap(), 0.4, 0.3);
    let error = |solver, variance, steps| {
        let (mean, var) = *exact_moments(&plan(&tables, steps, solver, variance), (mu, s), (0.0, 1.0)).last().unwrap();
        ((mean - mu).abs(), (var.sqrt() - s).abs())
    };
    let ddim = |steps| error(Solver::ddim(0.0), SMALL, steps);
    let ratio = ddim(50).1 / ddim(100).1;
    assert!((1.7..2.3).contains(&ratio), "DDIM is of first order; halving the step divided the error by {ratio}");
    assert!(ddim(1000).0 < 2e-3 && ddim(1000).1 < 2e-3, "{:?}", ddim(1000));
    for variance in [SMALL, LARGE] {
        let ancestral = |steps| error(Solver::Ancestral {}, variance, steps);
        assert!(ancestral(1000).1 < ancestral(100).1 / 4.0, "{:?} {:?}", ancestral(100), ancestral(1000));
        assert!(ancestral(4000).0 < 2e-3 && ancestral(4000).1 < 5e-3, "{:?}", ancestral(4000));
    }
}

/// Any number of steps 1..=T: strictly falling, inside the schedule; T steps are all of them.
#[test]
fn grids_cover_any_number_of_steps() {
    for grid in [Grid::Leading {}, Grid::Linspace {}, Grid::Trailing {}, Grid::Even {}] {
        for timesteps in [1, 2, 10, 33, 100] {
            for steps in 1..=timesteps {
                let times = grid.steps(timesteps, steps).unwrap();
                let what = format!("{} T={timesteps} S={steps} {times:?}", grid.kind());
                assert_eq!(times.len(), steps, "{what}");
                assert!(times[0] < timesteps && times.windows(2).all(|w| w[0] > w[1]), "{what}");
                assert!(matches!(grid, Grid::Leading {}) || times[0] == timesteps - 1, "{what}");
            }
            let all: Vec<usize> = (0..timesteps).rev().collect();
            assert_eq!(grid.steps(timesteps, timesteps).unwrap(), all, "{}", grid.kind());
        }
        let error = grid.steps(10, 11).unwrap_err().to_string();
        assert_eq!(error, "`steps` is 11; expected 1 to 10, the number of timesteps");
        assert!(grid.steps(10, 0).is_err());
    }
    let (ten, five) = (10, 5);
    assert_eq!(Grid::Leading {}.steps(ten, five).unwrap(), [8, 6, 4, 2, 0]);
    assert_eq!(Grid::Linspace {}.steps(ten, five).unwrap(), [9, 7, 4, 2, 0]);
    assert_eq!(Grid::Trailing {}.steps(ten, five).unwrap(), [9, 7, 5, 3, 1]);
    assert_eq!(Grid::Even {}.steps(ten, five).unwrap(), [9, 7, 5, 3, 1]);
}

#[test]
fn custom_grids_are_checked() {
    let custom = |steps: &[usize]| Grid::Custom { steps: steps.to_vec() };
    assert_eq!(custom(&[9, 3, 0]).steps(10, 50).unwrap(), [9, 3, 0]);
    assert!(custom(&[]).steps(10, 50).is_err());
    let keys: Vec<String> = custom(&[10, 3, 3]).check(10, 50).into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["grid.steps[0]", "grid.steps[2]"]);
    let error =
        Plan::new(&[linear(50).level(4).unwrap(), Level::DATA], Solver::ddim(1.5), SMALL).unwrap_err().to_string();
    assert_eq!(error, "`solver.eta` is 1.5; expected a number in [0, 1]");
}
