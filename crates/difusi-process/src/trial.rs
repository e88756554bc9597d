//! How far a solver ends from the exact answer: a Gaussian mixture, whose probability-flow ODE is solved to rounding by other means.
//!
//! The reference is Runge and Kutta's classical method in lambda = ln(alpha / sigma) with many small steps. Deliberately absent:
//! judging samples by eye or by FID.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{Cond, Noise};

use crate::{
    Denoise, Grid, Level, NoiseSource, Plan, Process, ProcessError, Solver, Variance, mixture::Mixture,
    process::RATIO_MAX, sample,
};

/// sigma / alpha from where the reference goes onto the data in one straight step, whose error is its square.
const RATIO_MIN: f64 = 1e-4;

/// Steps of the reference; 1500 leave an error of 1e-10 or so.
const STEPS: usize = 1500;

/// A mixture's samples at the noisy end of a process, in f64, and where the ODE takes each of them.
#[derive(Clone, Debug)]
pub struct Trial {
    mixture: Mixture,
    process: Process,
    from: Level,
    /// Samples of x at the noisy end, `[count, 1, 1, dims]`.
    pub start: Tensor<4>,
    /// What each becomes, `[count, 1, 1, dims]`.
    pub answer: Tensor<4>,
}

/// What one run of a [`Trial`] came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Root mean square of the distance to the answer, per coordinate.
    pub error: f64,
    /// Network evaluations.
    pub evaluations: usize,
}

impl Trial {
    /// `count` samples drawn by `noise`, at `T - 1` or, where that holds less signal, at `sigma / alpha = 4096`.
    ///
    /// # Errors
    /// None for a mixture that was checked.
    pub fn new(mixture: Mixture, process: Process, count: usize, noise: Noise) -> Result<Self, ProcessError> {
        let last = process.level(process.timesteps() as f64 - 1.0);
        let from = if last.ratio() > RATIO_MAX { process.level_at_ratio(RATIO_MAX) } else { last };
        let shape = [count, 1, 1, mixture.dims()];
        let start = TensorData::new(mixture.draw(from, noise, (0, count)), shape);
        let start = Tensor::from_data(start, (&Device::flex(), DType::F64));
        let answer = flow(&mixture, start.clone(), (from, Level::DATA), STEPS)?;
        Ok(Self { mixture, process, from, start, answer })
    }

    /// The planar mixture on DDPM's linear schedule, 1000 steps: 64 samples.
    ///
    /// # Errors
    /// None.
    pub fn planar() -> Result<Self, ProcessError> {
        let schedule = crate::Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false };
        Self::new(Mixture::planar(), schedule.process(1000)?, 64, Noise::new(7))
    }

    /// The grid on which solvers are compared: even in log sigma from 20 to a third of the planar mixture's smallest deviation, then the
    /// data. On grids over time the last step, which is of first order whatever the solver, is long and hides the others.
    pub fn grid() -> Grid {
        Grid::Exponential { sigma_min: Some(0.05), sigma_max: Some(20.0) }
    }

    /// A run of `steps` steps to the data, noise from seed 0. Where the grid starts elsewhere, the samples are moved there first,
    /// along the ODE.
    ///
    /// # Errors
    /// Bad parameters, a grid that the process has no use for.
    pub fn run(&self, solver: Solver, grid: &Grid, steps: usize) -> Result<Outcome, ProcessError> {
        let plan = Plan::on(&self.process, &grid.levels(&self.process, steps)?, solver, Variance::FixedSmall {})?;
        let x = sample(&self.mixture, &plan, self.start_at(&plan)?, NoiseSource::counter(0, 0), Cond::None)?;
        let error = (x - self.answer.clone()).square().mean().sqrt().try_into_scalar::<f64>()?;
        Ok(Outcome { error, evaluations: plan.len() })
    }

    /// x where a plan begins, `[count, 1, 1, dims]`.
    fn start_at(&self, plan: &Plan) -> Result<Tensor<4>, ProcessError> {
        let (stage, start) = (plan.stages()[0], self.start.clone());
        let first = stage.lift.map_or(stage.at, |lift| lift.from);
        match first.ratio() / self.from.ratio() {
            same if (same - 1.0).abs() < 1e-12 => Ok(start),
            f64::INFINITY => Ok(start / self.from.sigma),
            _ => flow(&self.mixture, start, (self.from, first), STEPS / 4),
        }
    }
}

/// The probability-flow ODE solved for the exact `denoiser`: `x` `[B, H, W, C]` from one level to a cleaner one, which may be the
/// data, in `steps` steps of Runge and Kutta's method.
///
/// # Errors
/// Those of the denoiser.
pub fn flow(
    denoiser: &dyn Denoise,
    x: Tensor<4>,
    (from, to): (Level, Level),
    steps: usize,
) -> Result<Tensor<4>, ProcessError> {
    // In y = x / alpha and rho = sigma / alpha: dy / d lambda = -rho eps.
    let eps = |y: &Tensor<4>, lambda: f64| {
        let level = Level::new(from.t, 1.0, (-lambda).exp());
        denoiser.denoise(y.clone(), level, &Cond::None).map(|said| said.eps)
    };
    let slope = |y: &Tensor<4>, lambda: f64| Ok::<_, ProcessError>(eps(y, lambda)? * -(-lambda).exp());
    let (first, last) = (-from.ratio().ln(), -to.ratio().max(RATIO_MIN).ln());
    let h = (last - first) / steps as f64;
    let mut y = x / from.alpha;
    for i in 0..steps {
        let lambda = first + i as f64 * h;
        let k1 = slope(&y, lambda)?;
        let k2 = slope(&(y.clone() + k1.clone() * (0.5 * h)), lambda + 0.5 * h)?;
        let k3 = slope(&(y.clone() + k2.clone() * (0.5 * h)), lambda + 0.5 * h)?;
        let k4 = slope(&(y.clone() + k3.clone() * h), lambda + h)?;
        y = y + (k1 + (k2 + k3) * 2.0 + k4) * (h / 6.0);
    }
    let rest = (-last).exp() - to.ratio();
    let y = if rest > 0.0 { y.clone() - eps(&y, last)? * rest } else { y };
    Ok(y * to.alpha)
}
