//! Objectives beyond the squared error: identities of the papers.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Batch, Cond, Draw, Inputs, Network, Noise};
use difusi_process::{
    Diffusion, DiffusionConfig, Grid, Jump, Level, Loss, NetworkDenoiser, NoiseSource, Plan, Position, Prediction,
    Process, Schedule, Solver, Tables, Threshold, TrainingInputs, Variance, Weighting, sample,
};

use crate::common::{Golden, check_all_close, check_close, linear, tensor, values, wavy};

/// `w x` and, where asked for, a variance `v` everywhere.
struct Two {
    w: Tensor<4>,
    v: Option<Tensor<4>>,
}

impl Two {
    fn new(w: f32, v: Option<f32>, device: &Device) -> Self {
        let number = |n: f32| {
            let x = Tensor::from_data(TensorData::new(vec![n], [1, 1, 1, 1]), device);
            if device.is_autodiff() { x.require_grad() } else { x }
        };
        Self { w: number(w), v: v.map(number) }
    }
}

impl Network for Two {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let mean = inputs.x.clone() * self.w.clone();
        match &self.v {
            Some(v) => Tensor::cat(vec![mean, inputs.x.zeros_like() + v.clone()], 3),
            None => mean,
        }
    }
}

fn config(loss: Loss, variance: Variance) -> DiffusionConfig {
    let schedule = Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: true };
    let prediction = Prediction::Epsilon {};
    DiffusionConfig { timesteps: 100, schedule, prediction, loss, variance, ..DiffusionConfig::default() }
}

fn inputs(d: &Diffusion, t: &[usize], device: &Device) -> TrainingInputs {
    let shape = [t.len(), 4, 4, 2];
    let bytes = |x: Tensor<4>| ((x + 1.0) * 127.5).round() / 127.5 - 1.0;
    let (x0, eps) = (bytes(wavy(shape, 0.3)).to_device(device), wavy(shape, 1.0).to_device(device));
    let levels: Vec<Level> = t.iter().map(|&t| d.level(t).unwrap()).collect();
    let importance = vec![1.0; t.len()];
    TrainingInputs { x0, levels, importance, eps, cond: Cond::None, self_condition: false, dropout: None }
}

fn losses(config: &DiffusionConfig, net: &dyn Network, t: &[usize]) -> Vec<f32> {
    let d = config.build().unwrap();
    values(d.training_loss(net, inputs(&d, t, &Device::flex())).unwrap())
}

/// With the posterior's own variance the bound is its mean's error alone: `loss = "vlb"` is `weighting = "vlb"` in bits.
#[test]
fn the_vlb_loss_is_the_vlb_weighting() {
    let net = Two::new(0.4, None, &Device::flex());
    let t = [1, 5, 50, 99];
    let bound = losses(&config(Loss::Vlb {}, Variance::FixedSmall {}), &net, &t);
    let weighted = DiffusionConfig { weighting: Weighting::Vlb {}, ..config(Loss::L2 {}, Variance::FixedSmall {}) };
    for (bound, weighted) in bound.iter().zip(losses(&weighted, &net, &t)) {
        check_close(f64::from(bound * 2f32.ln() / weighted), 1.0, 1e-4);
    }
    let first = losses(&config(Loss::Vlb {}, Variance::FixedSmall {}), &net, &[0])[0];
    assert!(first.is_finite() && first > 0.0, "{first}");
}

/// L_hybrid: the mean's gradient is that of L_simple, to the bit; the variance's is lambda times that of L_vlb.
#[test]
fn hybrid_stops_the_gradient_of_the_mean() {
    let device = Device::flex().autodiff();
    let gradients = |loss: Loss, v: Option<f32>, variance| {
        let d = config(loss, variance).build().unwrap();
        let net = Two::new(0.4, v, &device);
        let g = d.training_loss(&net, inputs(&d, &[0, 2, 60], &device)).unwrap().sum().backward();
        [Some(&net.w), net.v.as_ref()].map(|p| p.and_then(|p| p.grad(&g)).map(|g| f64::from(values(g)[0])))
    };
    let [simple, _] = gradients(Loss::L2 {}, None, Variance::FixedSmall {});
    let [w, v] = gradients(Loss::Hybrid { lambda: 0.01 }, Some(0.2), Variance::LearnedRange {});
    let [_, bound] = gradients(Loss::Vlb {}, Some(0.2), Variance::LearnedRange {});
    check_close(w.unwrap(), simple.unwrap(), 1e-7);
    check_close(v.unwrap() / bound.unwrap(), 0.01, 1e-6);
    assert!(bound.unwrap().abs() > 1e-3);
}

/// The bound is least where the variance is the posterior's plus the mean's squared error: the gradient vanishes there.
#[test]
fn the_best_variance_has_no_gradient() {
    let device = Device::flex().autodiff();
    let d = config(Loss::Vlb {}, Variance::LearnedRange {}).build().unwrap();
    let (level, before) = (d.level(2).unwrap(), d.level(1).unwrap());
    let jump = Jump { from: level, to: before };
    // An error of x_0 that puts the best variance in the middle of the range, on a logarithmic scale.
    let (low, high) = (jump.posterior_variance(), jump.beta());
    let error = ((low * high).sqrt() - low).sqrt() / jump.posterior_mean().0;
    struct Off(Two, Tensor<4>);
    impl Network for Off {
        fn forward(&self, inputs: Inputs) -> Tensor<4> {
            let v = self.0.v.clone().unwrap();
            Tensor::cat(vec![self.1.clone(), inputs.x.zeros_like() + v], 3)
        }
    }
    let gradient = |v: f32| {
        let given = inputs(&d, &[2], &device);
        let said = given.eps.clone() - error * level.alpha / level.sigma;
        let net = Off(Two::new(0.0, Some(v), &device), said);
        let g = d.training_loss(&net, given).unwrap().sum().backward();
        f64::from(values(net.0.v.as_ref().unwrap().grad(&g).unwrap())[0])
    };
    let scale = gradient(0.5).abs();
    assert!(gradient(-0.5) < 0.0 && gradient(0.5) > 0.0 && scale > 1e-3);
    assert!(gradient(0.0).abs() < 1e-3 * scale, "{} of {scale}", gradient(0.0));
}

/// Strided sampling with a learned variance is ordinary sampling of the process whose betas are merged.
#[test]
fn strided_sampling_is_the_merged_process() {
    let d = config(Loss::Hybrid { lambda: 0.001 }, Variance::LearnedRange {}).build().unwrap();
    let steps = [99, 80, 45, 20, 7, 0];
    let tables = linear(100);
    let merged: Vec<f64> = steps.iter().rev().map(|&t| tables.alpha_bars[t]).collect();
    let respaced = Schedule::CustomAlphaBars { alpha_bars: merged };
    let short = DiffusionConfig { timesteps: 6, schedule: respaced, ..config(d.loss, d.variance) }.build().unwrap();
    let net = Two::new(0.3, Some(0.4), &Device::flex());
    let run = |d: &Diffusion, grid: Grid| {
        let levels = grid.levels(&d.process, 6).unwrap();
        let plan = Plan::new(&levels, Solver::Ancestral {}, d.variance).unwrap();
        let denoiser = NetworkDenoiser::new(&net, d, Threshold::Static {});
        values(sample(&denoiser, &plan, wavy([2, 3, 3, 1], 0.0), NoiseSource::counter(1, 0), Cond::None).unwrap())
    };
    let all = Grid::Custom { steps: vec![5, 4, 3, 2, 1, 0] };
    let found = run(&d, Grid::Custom { steps: steps.to_vec() });
    check_all_close("respaced", &found, &run(&short, all), 1e-5);
    let Process::Discrete(rebuilt) = &short.process else { panic!("discrete") };
    for (i, pair) in steps.windows(2).enumerate() {
        let jump = Jump { from: d.level(pair[0]).unwrap(), to: d.level(pair[1]).unwrap() };
        check_close(jump.beta() / rebuilt.betas[5 - i], 1.0, 1e-9);
        check_close(jump.posterior_variance() / rebuilt.posterior_variance[5 - i], 1.0, 1e-9);
    }
}

/// P2 with gamma 0 is `snr`, and on eps it is `1 / (k + SNR)^gamma`; the posterior mean's weight is `1 / (2 sigma^2)` on its error.
#[test]
fn weights_of_the_papers() {
    let with = |weighting, prediction, variance| {
        DiffusionConfig { weighting, prediction, ..config(Loss::L2 {}, variance) }.build().unwrap()
    };
    let (eps, mean) = (Prediction::Epsilon {}, Prediction::PosteriorMean {});
    let small = Variance::FixedSmall {};
    let p2 = |k, gamma| Weighting::P2 { k, gamma };
    for t in [1, 30, 99] {
        let level = with(p2(1.0, 0.0), eps, small).level(t).unwrap();
        check_close(with(p2(1.0, 0.0), eps, small).weight(level), 1.0, 1e-9);
        check_close(with(p2(2.0, 0.5), eps, small).weight(level), (2.0 + level.snr()).powf(-0.5), 1e-9);
        for variance in [small, Variance::FixedLarge {}] {
            let d = with(Weighting::PosteriorMean {}, mean, variance);
            let jump = Jump { from: level, to: d.level(t - 1).unwrap() };
            check_close(d.weight(level) * 2.0 * variance.of(jump), 1.0, 1e-9);
        }
        let (bound, ours) = (with(Weighting::Vlb {}, eps, small), with(Weighting::PosteriorMean {}, eps, small));
        check_close(bound.weight(level) / ours.weight(level), 100.0, 1e-6);
    }
    assert!(
        with(Weighting::PosteriorMean {}, eps, small)
            .weight(Level { alpha_prev: 1.0, ..with(p2(1.0, 0.0), eps, small).level(0).unwrap() })
            .is_finite()
    );
}

/// On N(0, s^2) the best linear network gives the posterior's mean, for every prediction on every kind of process; EDM's is 0.
#[test]
fn gaussian_data_is_a_fixed_point() {
    let s2: f64 = 0.36;
    let vp = Process::Discrete(linear(100));
    let edm = Process::Edm { sigma_min: 0.01, sigma_max: 50.0, timesteps: 40 };
    for process in [vp, edm, Process::Flow { shift: 2.0, timesteps: 40 }] {
        for prediction in Prediction::ALL {
            if prediction == (Prediction::PosteriorMean {}) && !process.is_discrete() {
                continue;
            }
            for u in [1.0, 17.0, 38.0] {
                let level = process.level(u);
                let (a, b) = prediction.target_factors(level);
                let variance = level.alpha.powi(2) * s2 + level.sigma.powi(2);
                let best = (a * level.alpha * s2 + b * level.sigma) / variance; // regression of the target on x_t
                let (of_output, of_x) = prediction.x0_factors(level);
                check_close(of_output * best + of_x, level.alpha * s2 / variance, 1e-9);
            }
        }
        let own = Prediction::Edm { sigma_data: 0.6 };
        let (a, b) = own.target_factors(process.level(9.0));
        check_close(a * process.level(9.0).alpha * s2 + b * process.level(9.0).sigma, 0.0, 1e-12);
    }
}

/// EDM's `simple` loss is lambda(sigma) |D - x_0|^2 with lambda c_out^2 = 1; the network sees ln(sigma) / 4.
#[test]
fn edm_is_the_peers() {
    let golden = Golden::open("objectives.safetensors");
    let schedule = Schedule::Edm { sigma_min: 0.002, sigma_max: 80.0 };
    let prediction = Prediction::Edm { sigma_data: 0.6 };
    let d = DiffusionConfig { schedule, prediction, ..DiffusionConfig::default() }.build().unwrap();
    let levels: Vec<Level> =
        golden.get("edm.sigma").1.iter().map(|s| d.process.level_at_ratio(f64::from(*s))).collect();
    let (x0, eps) = (golden.images("edm.x"), golden.images("edm.noise"));
    let inputs = TrainingInputs {
        x0,
        importance: vec![1.0; levels.len()],
        levels,
        eps,
        cond: Cond::None,
        self_condition: false,
        dropout: None,
    };
    let found = values(d.training_loss(&Formula { variance: false, scale: 1.0 }, inputs).unwrap());
    for (found, expected) in found.iter().zip(golden.get("edm.loss").1) {
        check_close(f64::from(found / expected), 1.0, 5e-4);
    }
}

/// `tanh(x / 2 + time / 10)`, and a variance `cos(x + time)`: the network of xtask/golden/objectives_golden.py.
struct Formula {
    variance: bool,
    scale: f64,
}

impl Network for Formula {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let batch = inputs.x.dims()[0];
        let time = (inputs.t * self.scale).reshape([batch, 1, 1, 1]);
        let out = (inputs.x.clone() / 2.0 + time.clone() / 10.0).tanh();
        if self.variance { Tensor::cat(vec![out, (inputs.x + time).cos()], 3) } else { out }
    }
}

/// LearnedGaussianDiffusion's loss after the first step (its decoder approximates the normal distribution).
#[test]
fn hybrid_is_the_peers() {
    let golden = Golden::open("objectives.safetensors");
    let t: Vec<usize> = golden.get("learned.t").1.into_iter().map(|t| t as usize).collect();
    let linear = Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: true };
    for (name, schedule) in [("linear", linear), ("cosine", Schedule::Cosine { s: 0.008 })] {
        // Their bound's term counts once, ours T times.
        let d = DiffusionConfig { schedule, ..config(Loss::Hybrid { lambda: 0.01 }, Variance::LearnedRange {}) };
        let d = d.build().unwrap();
        let levels: Vec<Level> = t.iter().map(|&t| d.level(t).unwrap()).collect();
        let inputs = TrainingInputs {
            x0: golden.images("learned.x"),
            importance: vec![1.0; levels.len()],
            levels,
            eps: golden.images("learned.noise"),
            cond: Cond::None,
            self_condition: false,
            dropout: None,
        };
        let found = values(d.training_loss(&Formula { variance: true, scale: 0.01 }, inputs).unwrap());
        for (found, expected) in found.iter().zip(golden.get(&format!("learned.{name}")).1) {
            check_close(f64::from(found / expected), 1.0, 5e-4);
        }
    }
}

/// alpha-bar ends at 0 and starts where it did; diffusers' numbers; sampling from there is finite.
#[test]
fn zero_terminal_snr_is_diffusers() {
    let golden = Golden::open("objectives.safetensors");
    let schedules = [
        ("linear", Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false }),
        ("scaled_linear", Schedule::ScaledLinear { beta_start: 0.00085, beta_end: 0.012 }),
        ("cosine", Schedule::default()),
    ];
    for (name, schedule) in schedules {
        let before = schedule.tables(1000).unwrap();
        let bent: Tables = before.zero_terminal_snr();
        check_close(bent.alpha_bars[0], before.alpha_bars[0], 1e-12);
        assert_eq!((bent.alpha_bars[999], bent.snr[999], bent.betas[999]), (0.0, 0.0, 1.0));
        assert!(bent.snr.windows(2).all(|w| w[0] > w[1]) && bent.warnings().is_empty());
        let found: Vec<f32> = bent.alpha_bars.iter().map(|a| *a as f32).collect();
        check_all_close(name, &found, &golden.get(&format!("zero_terminal.{name}")).1, 1e-6);
    }
    let d = DiffusionConfig { timesteps: 50, zero_terminal_snr: true, ..DiffusionConfig::default() }.build().unwrap();
    let net = Two::new(0.3, None, &Device::flex());
    for solver in [Solver::Ancestral {}, Solver::default()] {
        let levels = Grid::Trailing {}.levels(&d.process, 10).unwrap();
        let plan = Plan::new(&levels, solver, d.variance).unwrap();
        let denoiser = NetworkDenoiser::new(&net, &d, Threshold::None {});
        let x = sample(&denoiser, &plan, wavy([2, 3, 3, 1], 0.0), NoiseSource::counter(1, 0), Cond::None).unwrap();
        assert!(values(x).iter().all(|v| v.is_finite()), "{solver:?}");
    }
    let x = d.training_loss(&net, inputs(&d, &[0, 49], &Device::flex())).unwrap();
    assert!(values(x).iter().all(|v| v.is_finite()));
}

/// `laplace` and `exponential` are diffusers'.
#[test]
fn curves_are_diffusers() {
    let golden = Golden::open("objectives.safetensors");
    for schedule in [Schedule::Laplace {}, Schedule::Exponential { rate: 12.0 }] {
        let name = difusi_process::Choice::kind(&schedule);
        let found: Vec<f32> = schedule.tables(1000).unwrap().betas.iter().map(|b| *b as f32).collect();
        check_all_close(name, &found, &golden.get(&format!("betas.{name}")).1, 1e-6);
    }
}

/// Offset noise is one number per image and channel, of the deviation asked for, on top of the same noise; cuts change nothing.
#[test]
fn offset_noise_is_the_same_everywhere() {
    let with = |offset_noise| DiffusionConfig { offset_noise, ..DiffusionConfig::default() }.build().unwrap();
    let draw = |d: &Diffusion, first: usize, count: usize| {
        let x = tensor(vec![0.0; count * 12 * 3], [count, 3, 4, 3]);
        let at = Position { step: 0, images_seen: first as u64, images_per_step: 400 };
        d.draw(Batch { x, cond: Cond::None }, Noise::new(2), at).eps
    };
    let (plain, offset) = (with(0.0), with(0.1));
    let difference = values(draw(&offset, 0, 400) - draw(&plain, 0, 400));
    for image in difference.chunks(36) {
        for (i, v) in image.iter().enumerate() {
            check_close(f64::from(*v), f64::from(image[i % 3]), 1e-6);
        }
    }
    let (mean, variance) = crate::common::moments(&difference);
    check_close(mean, 0.0, 0.01);
    check_close(variance, 0.01, 0.002);
    let parts = Tensor::cat(vec![draw(&offset, 0, 150), draw(&offset, 150, 250)], 0);
    assert_eq!(values(parts), values(draw(&offset, 0, 400)));
    let validation = |d: &Diffusion| {
        let x = tensor(vec![0.0; 36], [1, 3, 4, 3]);
        values(d.draw_validation(Batch { x, cond: Cond::None }, Noise::new(2), 7).eps)
    };
    assert_ne!(validation(&plain), validation(&offset));
    let _ = Draw::Validation;
}

/// Values that do not go together are refused by the key to change.
#[test]
fn nonsense_pairs_are_named() {
    let read = |text: &str| toml::from_str::<DiffusionConfig>(text).unwrap();
    let built = |text: &str, key: &str| {
        let found = read(text).check();
        assert!(found.iter().any(|e| e.key == key), "{text}: {found:?}");
        assert!(read(text).build().is_err());
    };
    built("prediction = \"epsilon\"\nzero_terminal_snr = true", "diffusion.prediction");
    built("schedule = \"flow\"\nzero_terminal_snr = true", "diffusion.zero_terminal_snr");
    built("schedule = \"learned\"\nzero_terminal_snr = true", "diffusion.zero_terminal_snr");
    built("schedule = \"edm\"\nloss = \"vlb\"", "diffusion.loss");
    built("schedule = \"flow\"\nprediction = \"posterior_mean\"", "diffusion.prediction");
    built("schedule = \"flow\"\nvariance = \"learned_range\"", "diffusion.variance");
    built("schedule = \"flow\"\nweighting = \"posterior_mean\"", "diffusion.weighting");
    built("schedule = \"flow\"\ntimes = \"loss_second_moment\"", "diffusion.times");
    built("times = \"log_normal\"", "diffusion.times");
    built("schedule = \"edm\"\ntimes = \"logit_normal\"", "diffusion.times");
    built("offset_noise = -1", "diffusion.offset_noise");
    let trained = |text: &str, key: &str| {
        assert_eq!(read(text).check(), [], "{text}");
        let found = read(text).check_training();
        assert!(found.iter().any(|e| e.key == key), "{text}: {found:?}");
    };
    trained("variance = \"learned_range\"", "diffusion.loss");
    trained("loss = \"hybrid\"", "diffusion.variance");
    trained("loss = \"vlb\"\nweighting = \"snr\"", "diffusion.weighting");
    trained("weighting = \"vlb\"\ntimes = \"logit_normal\"", "diffusion.times");
    trained("schedule = \"learned\"", "diffusion.prediction");
    trained("schedule = \"learned\"\nprediction = \"epsilon\"", "diffusion.weighting");
    let good = [
        "",
        "loss = \"hybrid\"\nvariance = \"learned_range\"",
        "loss = \"vlb\"\ntimes = \"loss_second_moment\"",
        "schedule = \"learned\"\nprediction = \"epsilon\"\nweighting = \"vlb\"\ntimes = \"stratified\"",
        "schedule = \"edm\"\nprediction = \"edm\"\ntimes = \"log_normal\"",
        "schedule = \"flow\"\nprediction = \"flow\"\ntimes = \"logit_normal\"",
    ];
    for text in good {
        assert_eq!((read(text).check(), read(text).check_training()), (vec![], vec![]), "{text}");
    }
}
