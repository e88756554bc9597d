//! Solvers on data in the plane whose score is exact: where they go, and where the probability-flow ODE itself goes.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{Cond, Noise};
use difusi_process::mixture::Mixture;
use difusi_process::trial::flow;
use difusi_process::{Level, NoiseSource, Plan, Process, Sampler, Solver, Variance};

use super::forward::linear;
use super::process;
use crate::Error;

/// Data in the plane on DDPM's schedule, and points that it became at some level.
pub(super) struct Plane {
    pub(super) mixture: Mixture,
    process: Process,
    /// Where every run starts, `[B, 1, 1, 2]` in f64.
    start: Tensor<4>,
    /// Largest and smallest `sigma / alpha` of every run.
    ends: [f64; 2],
}

/// Positions after each interval, point by point: `[step][point]`.
pub(super) type Paths = Vec<Vec<[f64; 2]>>;

impl Plane {
    /// `count` points, and runs between these `sigma / alpha`.
    pub(super) fn new(count: usize, ends: [f64; 2]) -> Result<Self, Error> {
        let (process, mixture) = (process(&linear(), 1000)?, Mixture::planar());
        let points = mixture.draw(process.level_at_ratio(ends[0]), Noise::new(7), (0, count));
        Ok(Self { mixture, process, start: tensor(points), ends })
    }

    /// The ends of `steps` intervals, even in the logarithm of `sigma / alpha`.
    pub(super) fn even(&self, steps: usize) -> Vec<Level> {
        let [high, low] = self.ends;
        let at = |i: usize| high * (low / high).powf(i as f64 / steps as f64);
        (0..=steps).map(|i| self.process.level_at_ratio(at(i))).collect()
    }

    /// Where a solver goes over these levels, and how often it asked.
    pub(super) fn solve(&self, solver: Solver, levels: &[Level]) -> Result<(Paths, usize), Error> {
        let plan = Plan::on(&self.process, levels, solver, Variance::FixedSmall {})?;
        let sampler = Sampler::new(&self.mixture, &plan, self.start.clone(), NoiseSource::counter(3, 0), Cond::None);
        let mut paths = vec![points(self.start.clone())];
        for (i, step) in sampler.enumerate() {
            let step = step?;
            // Evaluations inside an interval leave x at a trial place.
            if plan.stages().get(i + 1).is_none_or(|next| next.part == 0) {
                paths.push(points(step.x));
            }
        }
        Ok((paths, plan.len()))
    }

    /// The exact paths over these levels, by `fine` small steps in each interval.
    pub(super) fn exact(&self, levels: &[Level], fine: usize) -> Result<Paths, Error> {
        let mut x = self.start.clone();
        let mut paths = vec![points(x.clone())];
        for pair in levels.windows(2) {
            x = flow(&self.mixture, x, (pair[0], pair[1]), fine)?;
            paths.push(points(x.clone()));
        }
        Ok(paths)
    }
}

/// A value of a config, as JSON writes it.
pub(super) fn choice<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json)
        .map_err(|e| Error::value("a choice of the figures", format!("{json} ({e})"), "a config's"))
}

/// `[B, 1, 1, 2]` in f64.
pub(super) fn tensor(points: Vec<f64>) -> Tensor<4> {
    let shape = [points.len() / 2, 1, 1, 2];
    Tensor::from_data(TensorData::new(points, shape), (&Device::flex(), DType::F64))
}

fn points(x: Tensor<4>) -> Vec<[f64; 2]> {
    let values: Vec<f64> = x.into_data().iter::<f64>().collect();
    values.as_chunks::<2>().0.to_vec()
}
