//! RePaintScheduler of diffusers 0.42.1, step for step: runs made by xtask/golden/diffusers_golden.py.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::Cond;
use difusi_process::{
    Denoise, Denoised, EpsSource, Grid, Jump, Level, NoiseSource, ProcessError, Sampler, Schedule, Solver, Variance,
    edit::{Keep, Known, Resampling},
};

use crate::common::{Golden, check_close, golden_noise, tensor64, values64};

const SMALL: Variance = Variance::FixedSmall {};

/// The network of xtask/golden/diffusers_golden.py, which predicts eps.
struct GoldenModel {
    clip: bool,
}

impl Denoise for GoldenModel {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        let channels = tensor64(vec![0.0, 0.25, 0.5], 3);
        let eps = (x_t.clone() * 0.8 + channels + 0.1).sin() * (0.9 * (0.75 + 0.25 * (0.003 * level.t).cos()));
        let x0 = (x_t - eps.clone() * level.sigma) / level.alpha;
        Ok(Denoised::new(if self.clip { x0.clamp(-1.0, 1.0) } else { x0 }, eps))
    }
}

/// A run of RePaintScheduler: how diffusers noises, in the terms of one lift per jump.
struct Repainted {
    /// What the known part is noised with, evaluation by evaluation.
    known: Vec<Tensor<4>>,
    /// What the lifts and the steps take.
    solver: Vec<Tensor<4>>,
    /// Which of the golden states follow evaluations.
    evaluated: Vec<usize>,
}

/// diffusers noises the known part of x_s with the noise of the step to x_s, and goes up in single steps. `levels` rise.
fn repainted(order: &[usize], levels: &[Level], eta: f64, picture: &Tensor<4>) -> Repainted {
    let (mut known, mut solver, mut evaluated) = (Vec::new(), Vec::new(), Vec::new());
    let top = levels[order[0]];
    // Nothing is put back before the first step.
    let mut next_known = (golden_noise(-1, 0) - picture.clone() * top.alpha) / top.sigma;
    let mut raised: Option<(Level, Tensor<4>)> = None; // from where, and the noise gathered since
    let mut last = order[0] + 1;
    for (i, &t) in order.iter().enumerate() {
        let fresh = golden_noise(i as i32, 0);
        if t > last {
            // diffusers names the step by its lower end, and x stands one below it
            let below = |t: usize| if t == 0 { Level::DATA } else { levels[t - 1] };
            let jump = Jump { from: levels[last], to: below(last) };
            let (from, gathered) = raised.take().unwrap_or_else(|| (jump.to, fresh.zeros_like()));
            raised = Some((from, gathered * jump.scale() + fresh * jump.beta().sqrt()));
        } else {
            if let Some((from, gathered)) = raised.take() {
                let jump = Jump { from: levels[t], to: from };
                next_known = (next_known * (jump.scale() * from.sigma) + gathered.clone()) / levels[t].sigma;
                solver.push(gathered / jump.beta().sqrt());
            }
            known.push(next_known);
            if eta > 0.0 && t > 0 {
                solver.push(fresh.clone());
            }
            next_known = fresh;
            evaluated.push(i);
        }
        last = t;
    }
    Repainted { known, solver, evaluated }
}

/// RePaintScheduler step for step, where it strides over no step that it noises.
#[test]
fn resampling_is_diffusers() {
    let golden = Golden::open("schedulers.safetensors");
    let linear = Schedule::Linear { beta_start: 1e-4, beta_end: 0.3, rescale: false };
    let cosine = Schedule::Cosine { s: 0.008 };
    for (name, schedule, (timesteps, steps), (jump_length, jump_n_sample), eta) in [
        ("repaint-strided", cosine, (1000, 10), (10, 1), 0.0),
        ("repaint", linear.clone(), (20, 20), (4, 2), 0.0),
        ("repaint-eta", linear, (20, 20), (5, 3), 0.6),
    ] {
        let (process, clip) = (schedule.process(timesteps).unwrap(), timesteps == 20);
        let levels = Grid::Leading {}.levels(&process, steps).unwrap();
        let rising: Vec<Level> = levels.iter().rev().skip(1).copied().collect();
        let numbers: Vec<f64> = (0..12).map(f64::from).collect();
        let picture = from_bchw(numbers.iter().map(|i| 0.8 * (1.3 * i + 0.4).cos()).collect());
        let mask = from_bchw(numbers.iter().map(|i| f64::from((2.1 * i).cos() > 0.0)).collect());
        let resampling = Resampling { jump_length, jump_n_sample };
        let given = repainted(&resampling.order(steps), &rising, eta, &picture);
        let plan = resampling.plan(&levels, Solver::Ddim { eta, eps: EpsSource::Network }, SMALL).unwrap();
        let mut keep = Keep::new(Known::mask(mask.clone()), picture, NoiseSource::given(given.known));
        let model = GoldenModel { clip };
        let source = NoiseSource::given(given.solver);
        let sampler = Sampler::new(&model, &plan, golden_noise(-1, 0), source, Cond::None).constrained(&mut keep);
        let states = golden.get(&format!("{name}/x")).1;
        let mask = values64(mask.permute([0, 3, 1, 2]));
        for (step, i) in sampler.zip(given.evaluated) {
            let found = values64(step.unwrap().x.permute([0, 3, 1, 2]));
            let expected = &states[12 * i..][..12];
            let largest = expected.iter().fold(0.0, |a: f64, b| a.max(f64::from(b.abs())));
            for n in (0..12).filter(|n| mask[*n] == 0.0) {
                check_close(found[n], f64::from(expected[n]), 1e-5 * largest);
            }
        }
    }
}

/// `[2, 3, 2, 1]` in the order of files.
fn from_bchw(numbers: Vec<f64>) -> Tensor<4> {
    let x = Tensor::<4>::from_data(TensorData::new(numbers, [2, 3, 2, 1]), (&Device::flex(), DType::F64));
    x.permute([0, 2, 3, 1])
}
