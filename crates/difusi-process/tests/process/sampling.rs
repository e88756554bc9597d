//! The sampling loop and the network denoiser.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor};
use difusi_core::{Cond, Inputs, Network};
use difusi_process::{
    Denoise, Denoised, Diffusion, DiffusionConfig, Grid, Jump, Level, NetworkDenoiser, NoiseSource, Prediction,
    ProcessError, SampleConfig, Sampler, Schedule, Solver, Threshold, Variance, sample,
};

use crate::common::{check_all_close, check_close, filled, moments, values, wavy};

fn diffusion(timesteps: usize, prediction: Prediction) -> Diffusion {
    let schedule = Schedule::Cosine { s: 0.008 };
    DiffusionConfig { timesteps, schedule, prediction, ..DiffusionConfig::default() }.build().unwrap()
}

/// E[x_0 | x_t] for data N(mu, s^2).
struct Gaussian {
    mu: f64,
    s: f64,
}

impl Denoise for Gaussian {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        let (alpha, sigma, v) = (level.alpha, level.sigma, self.s * self.s);
        let gain = alpha * v / (alpha * alpha * v + sigma * sigma);
        let x0 = (x_t.clone() - (alpha * self.mu) as f32) * gain as f32 + self.mu as f32;
        Ok(Denoised::from_x0(x0, x_t, level))
    }
}

/// Pictures drawn from N(0.2, 0.5^2) have that mean and deviation, ancestral and DDIM.
#[test]
fn samples_have_the_datas_moments() {
    let mut d = diffusion(1000, Prediction::Epsilon {});
    let solvers = [(Solver::Ancestral {}, 300), (Solver::ddim(0.0), 100), (Solver::ddim(0.5), 200)];
    for (solver, steps) in solvers {
        for variance in [Variance::FixedSmall {}, Variance::FixedLarge {}] {
            d.variance = variance;
            let plan = d.plan(&SampleConfig { solver, steps, ..SampleConfig::default() }).unwrap();
            let mut source = NoiseSource::counter(5, 0);
            let start = source.initial([4, 32, 32, 3], &Device::flex()).unwrap();
            let x = sample(&Gaussian { mu: 0.2, s: 0.5 }, &plan, start, source, Cond::None).unwrap();
            let (mean, var) = moments(&values(x));
            check_close(mean, 0.2, 0.03);
            check_close(var.sqrt(), 0.5, 0.03);
        }
    }
}

/// `t`, and what the network was conditioned on.
type Seen = (Vec<f32>, Option<Vec<f32>>);

/// Elementwise, with memory of what it was given.
struct Recorder {
    self_condition: bool,
    channels: usize,
    seen: RefCell<Vec<Seen>>,
}

impl Recorder {
    fn new(self_condition: bool, channels: usize) -> Self {
        Self { self_condition, channels, seen: RefCell::default() }
    }
}

impl Network for Recorder {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        self.seen.borrow_mut().push((values(inputs.t), inputs.x_self_cond.clone().map(values)));
        let y = inputs.x.clone().tanh();
        let y = inputs.x_self_cond.map_or(y.clone(), |c| y + c * 0.25);
        let [_, _, _, c] = y.dims();
        if self.channels == c { y } else { Tensor::cat(vec![y.clone(), y * 100.0], 3) }
    }

    fn self_condition(&self) -> bool {
        self.self_condition
    }
}

fn run(net: &Recorder, solver: Solver, first: u64, count: usize) -> Vec<f32> {
    let d = diffusion(20, Prediction::Velocity {});
    let plan = d.plan(&SampleConfig { solver, steps: 8, ..SampleConfig::default() }).unwrap();
    let mut source = NoiseSource::counter(1, first);
    let start = source.initial([count, 3, 4, 2], &Device::flex()).unwrap();
    let denoiser = NetworkDenoiser::new(net, &d, Threshold::Static {});
    values(sample(&denoiser, &plan, start, source, Cond::None).unwrap())
}

/// Splitting a batch changes no bit of the noise, and with an elementwise network no bit of the pictures.
#[test]
fn splitting_a_batch_changes_nothing() {
    for solver in [Solver::Ancestral {}, Solver::ddim(0.0), Solver::ddim(0.8)] {
        let whole = run(&Recorder::new(true, 2), solver, 0, 5);
        let parts = [(0, 1), (1, 3), (4, 1)].map(|(first, count)| run(&Recorder::new(true, 2), solver, first, count));
        assert_eq!(whole, parts.concat());
    }
}

/// The network sees 0-based steps and the thresholded x_0 of the step before; a new run starts without one.
#[test]
fn self_conditioning_feeds_back() {
    let d = diffusion(20, Prediction::X0 {});
    let plan = d.plan(&SampleConfig { steps: 3, ..SampleConfig::default() }).unwrap();
    let net = Recorder::new(true, 1);
    let denoiser = NetworkDenoiser::new(&net, &d, Threshold::Static {});
    let mut fed = Vec::new();
    for _ in 0..2 {
        let sampler =
            Sampler::new(&denoiser, &plan, wavy([1, 2, 2, 1], 0.0) * 9.0, NoiseSource::counter(0, 0), Cond::None);
        fed.extend(sampler.map(|s| values(s.unwrap().x0)));
    }
    let seen = net.seen.borrow();
    assert_eq!(seen.iter().map(|s| s.0[0]).collect::<Vec<_>>(), [19.0, 12.0, 6.0, 19.0, 12.0, 6.0]);
    assert!(seen[0].1.is_none() && seen[3].1.is_none());
    for i in [1, 2, 4, 5] {
        assert_eq!(seen[i].1.as_ref().unwrap(), &fed[i - 1]);
        assert!(fed[i].iter().all(|v| v.abs() <= 1.0));
    }
    drop(seen);
    let plain = Recorder::new(false, 1);
    let denoiser = NetworkDenoiser::new(&plain, &d, Threshold::Static {});
    sample(&denoiser, &plan, wavy([1, 2, 2, 1], 0.0), NoiseSource::counter(0, 0), Cond::None).unwrap();
    assert!(plain.seen.borrow().iter().all(|s| s.1.is_none()));
}

/// Of 2 C channels the first C count; other shapes are errors that end the run.
#[test]
fn output_channels() {
    let with = run(&Recorder::new(false, 4), Solver::ddim(0.0), 0, 1);
    assert_eq!(with, run(&Recorder::new(false, 2), Solver::ddim(0.0), 0, 1));

    struct Narrow;
    impl Network for Narrow {
        fn forward(&self, inputs: Inputs) -> Tensor<4> {
            inputs.x.narrow(3, 0, 1)
        }
    }
    let d = diffusion(20, Prediction::Epsilon {});
    let plan = d.plan(&SampleConfig { steps: 3, ..SampleConfig::default() }).unwrap();
    let denoiser = NetworkDenoiser::new(&Narrow, &d, Threshold::None {});
    let start = wavy([1, 2, 2, 3], 0.0);
    let mut sampler = Sampler::new(&denoiser, &plan, start, NoiseSource::counter(0, 0), Cond::None);
    let error = sampler.next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "the network's output has shape [1, 2, 2, 1]; expected [1, 2, 2, 3] or [1, 2, 2, 6]");
    assert!(sampler.next().is_none());
}

/// The iterator is a filmstrip: indices, steps, and a last picture that is the last estimate.
#[test]
fn sampler_yields_every_step() {
    let d = diffusion(50, Prediction::Epsilon {});
    let config =
        SampleConfig { solver: Solver::Ancestral {}, steps: 5, grid: Grid::Linspace {}, ..SampleConfig::default() };
    let plan = d.plan(&config).unwrap();
    let denoiser = Gaussian { mu: 0.0, s: 0.1 };
    let sampler = Sampler::new(&denoiser, &plan, wavy([1, 4, 4, 1], 0.0), NoiseSource::counter(0, 0), Cond::None);
    assert_eq!(values(sampler.x()), values(wavy([1, 4, 4, 1], 0.0)));
    let steps: Vec<_> = sampler.map(Result::unwrap).collect();
    assert_eq!(
        steps.iter().map(|s| (s.index, s.t)).collect::<Vec<_>>(),
        [(0, 49.0), (1, 37.0), (2, 24.0), (3, 12.0), (4, 0.0)]
    );
    let last = steps.last().unwrap();
    check_all_close("sample", &values(last.x.clone()), &values(last.x0.clone()), 1e-6);
}

/// Given noise is used as it is, in order; too little is an error.
#[test]
fn given_noise() {
    let d = diffusion(10, Prediction::Epsilon {});
    let config = SampleConfig { solver: Solver::Ancestral {}, steps: 2, ..SampleConfig::default() };
    let plan = d.plan(&config).unwrap();
    let shape = [1, 2, 2, 1];
    let mut source = NoiseSource::given(vec![wavy(shape, 0.0), filled(2.0, shape)]);
    let start = source.initial(shape, &Device::flex()).unwrap();
    assert_eq!(values(start.clone()), values(wavy(shape, 0.0)));
    let denoiser = Gaussian { mu: 0.0, s: 0.1 };
    let mut sampler = Sampler::new(&denoiser, &plan, start.clone(), source, Cond::None);
    let first = sampler.next().unwrap().unwrap();
    let jump = Jump { from: plan.stages()[0].at, to: plan.stages()[0].to };
    let ((x0, x_t), noise) = (jump.posterior_mean(), jump.posterior_variance().sqrt());
    let expected = first.x0 * x0 + start.clone() * x_t + 2.0 * noise;
    check_all_close("x", &values(first.x), &values(expected), 1e-6);
    assert!(sampler.next().unwrap().is_ok(), "the last step needs no noise");
    let error = sample(&denoiser, &plan, start, NoiseSource::given(vec![]), Cond::None).unwrap_err();
    assert!(error.to_string().starts_with("the given noise ran out after 0 tensors"));
}

/// A plan from a middle step starts there and ends at the data.
#[test]
fn plans_start_in_the_middle() {
    let d = diffusion(100, Prediction::Epsilon {});
    let config = SampleConfig { steps: 10, ..SampleConfig::default() };
    let times = |t| d.plan_from(&config, t).unwrap().stages().iter().map(|s| s.at.t).collect::<Vec<_>>();
    assert_eq!(times(25), [25.0, 19.0, 9.0]);
    assert_eq!(times(19), [19.0, 9.0]);
    assert_eq!(times(0), [0.0]);
    assert!(d.plan_from(&config, 100).is_err());
}
