//! The diffusion objective: what it learns itself, and processes without steps on points of the plane.

use std::error::Error;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Batch, Cond, Dataset, Draw, Example, Inputs, Network, Noise, Stream};
use difusi_process::{
    Diffusion, DiffusionConfig, NetworkDenoiser, NoiseSource, Plan, Prediction, Schedule, Solver, Threshold,
    TimeDistribution, sample,
};
use difusi_train::{DiffusionObjective, MicroBatch, Objective, Phase, StepContext, TrainConfig, Trainer};

use crate::common::{Mlp, all_bits, device, images, quick, run};

fn adapted() -> Diffusion {
    let times = TimeDistribution::LossSecondMoment { history: 2, uniform_prob: 0.05 };
    DiffusionConfig { timesteps: 4, times, ..DiffusionConfig::default() }.build().unwrap()
}

fn trainer(config: TrainConfig) -> Trainer<DiffusionObjective<Mlp>> {
    Trainer::new(config, DiffusionObjective::new(adapted()), Mlp::new(1), images(23), &device()).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig { steps: 60, micro_batch: MicroBatch::Images(4), validation: 0.2, ..quick() }
}

/// Times that follow the losses: a resumed run gives the same bits, at any number of threads.
#[test]
fn histories_resume() {
    let both = |threads: usize| {
        let work = || {
            let dir = tempfile::tempdir().unwrap();
            let mut whole = trainer(config());
            let losses = run(&mut whole, 60);
            let mut first = trainer(config());
            let mut parts = run(&mut first, 30);
            first.save_state(&dir.path().join("s")).unwrap();
            let mut second = trainer(config());
            second.resume(&dir.path().join("s")).unwrap();
            assert_eq!(second.objective().state(), first.objective().state());
            parts.extend(run(&mut second, 30));
            assert!(losses == parts, "a resumed run differs");
            assert!(all_bits(&whole) == all_bits(&second));
            let (a, b) = (whole.objective().state(), second.objective().state());
            assert_eq!(a, b);
            assert!(a["times.counts"].iter().all(|count| *count >= 2.0), "every step has its losses by now");
            (losses, all_bits(&whole))
        };
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    };
    assert!(both(1) == both(2), "two threads differ from one");
}

/// How batches are cut changes no time that is drawn, and losses only by rounding: the history learns once per step.
#[test]
fn histories_do_not_see_how_batches_are_cut() {
    let with = |n| {
        let mut t = trainer(TrainConfig { micro_batch: MicroBatch::Images(n), ..config() });
        run(&mut t, 40);
        t.objective().state()
    };
    let (whole, parts) = (with(6), with(1));
    assert_eq!(whole["times.counts"], parts["times.counts"]);
    for (a, b) in whole["times.losses"].iter().zip(&parts["times.losses"]) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} {b}");
    }
}

/// A step that is given up leaves nothing; validation neither.
#[test]
fn only_finished_steps_are_learned_from() {
    let mut objective = DiffusionObjective::<Mlp>::new(adapted());
    let before = objective.state();
    let noise = Noise::new(0);
    let ask = |objective: &mut DiffusionObjective<Mlp>, phase| {
        let x = Tensor::from_data(TensorData::new(vec![0.1f32; 8], [2, 2, 2, 1]), &device());
        let context = StepContext { noise, first_image: 0, step: 0, images_per_step: 2, phase };
        objective.loss(&Mlp::new(1), Batch { x, cond: Cond::None }, &context).unwrap()
    };
    objective.begin_step();
    ask(&mut objective, Phase::Training);
    ask(&mut objective, Phase::Validation);
    objective.begin_step();
    objective.end_step(&[1.0, 2.0]);
    assert_eq!(objective.state(), before);
    ask(&mut objective, Phase::Training);
    objective.end_step(&[1.0, 2.0]);
    assert_eq!(objective.state()["times.counts"].iter().sum::<f32>(), 2.0);
}

/// A checkpoint of other times is refused.
#[test]
fn other_states_are_refused() {
    let mut objective = DiffusionObjective::<Mlp>::new(adapted());
    let mut state = objective.state();
    state.get_mut("times.counts").unwrap().pop();
    let text = objective.restore(state).unwrap_err().to_string() + &format!("{:?}", objective.state().keys());
    assert!(text.contains("times"), "{text}");
    assert!(objective.restore(Default::default()).is_err());
    let mut plain = DiffusionObjective::<Mlp>::new(DiffusionConfig::default().build().unwrap());
    assert!(plain.restore(Default::default()).is_ok());
    assert!(plain.restore(objective.state()).is_err());
}

/// Two spots of the plane, at (1, 0.5) and (-1, -0.5), of deviation 0.1.
struct Spots;

impl Dataset for Spots {
    fn count(&self) -> u64 {
        u64::MAX
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, 2]
    }

    fn classes(&self) -> Option<u32> {
        None
    }

    fn get(&self, index: u64, _: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        let mut s = Noise::new(7).stream(Draw::Synthetic, index, 0);
        let sign = if index.is_multiple_of(2) { 1.0 } else { -1.0 };
        Ok(Example { pixels: [1.0, 0.5].map(|v| sign * v + 0.1 * s.normal()).to_vec(), label: None })
    }
}

/// Two hidden layers over a point and its time.
#[derive(Module, Debug)]
struct Points {
    layers: Vec<Param<Tensor<2>>>,
    biases: Vec<Param<Tensor<1>>>,
    /// What the time is divided by.
    scale: f64,
}

impl Points {
    fn new(scale: f64) -> Self {
        let device = Device::flex();
        let sizes = [[5, 48], [48, 48], [48, 2]];
        let matrix = |(i, [r, c]): (usize, [usize; 2])| {
            let i = i as u64;
            let values = Noise::new(3).normal(Draw::Weights, i..i + 1, 0, r * c);
            let x = Tensor::<2>::from_data(TensorData::new(values, [r, c]), &device);
            Param::from_tensor(x * (r as f64).powf(-0.5))
        };
        let biases = sizes.map(|[_, c]| Param::from_tensor(Tensor::zeros([c], &device))).to_vec();
        Self { layers: sizes.into_iter().enumerate().map(matrix).collect(), biases, scale }
    }
}

impl Network for Points {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let b = inputs.x.dims()[0];
        let t = inputs.t.reshape([b, 1]) / self.scale;
        let features = vec![inputs.x.reshape([b, 2]), t.clone(), (t.clone() * 3.0).sin(), (t * 3.0).cos()];
        let mut x = Tensor::cat(features, 1); // [B, 5]
        for (i, (w, bias)) in self.layers.iter().zip(&self.biases).enumerate() {
            x = x.matmul(w.val()) + bias.val().unsqueeze();
            x = if i + 1 < self.layers.len() { silu(x) } else { x };
        }
        x.reshape([b, 1, 1, 2])
    }
}

/// Trains on the spots and returns 400 samples.
fn spots(diffusion: &Diffusion, scale: f64) -> Vec<[f32; 2]> {
    let config =
        TrainConfig { steps: 700, batch_size: 128, learning_rate: 4e-3, ema: vec![0.98], ..TrainConfig::default() };
    let objective = DiffusionObjective::new(diffusion.clone());
    let mut trainer = Trainer::new(config, objective, Points::new(scale), Arc::new(Spots), &Device::flex()).unwrap();
    assert!(trainer.by_ref().all(|step| step.is_ok()));
    let network = trainer.ema(0).unwrap();
    let top = diffusion.process.timesteps() as f64 - 1.0;
    let levels: Vec<_> = (0..=20)
        .rev()
        .map(|i| diffusion.process.level(top * f64::from(i) / 20.0 - f64::from(u8::from(i == 0))))
        .collect();
    let plan = Plan::new(&levels, Solver::default(), diffusion.variance).unwrap();
    let source = NoiseSource::counter(0, 0);
    let mut start = NoiseSource::counter(0, 0).initial([400, 1, 1, 2], &Device::flex()).unwrap();
    start = start * diffusion.process.prior_std(levels[0]);
    let denoiser = NetworkDenoiser::new(&network, diffusion, Threshold::None {});
    let x = sample(&denoiser, &plan, start, source, Cond::None).unwrap();
    let values: Vec<f32> = x.into_data().iter::<f32>().collect();
    values.chunks(2).map(|p| [p[0], p[1]]).collect()
}

fn check_spots(points: &[[f32; 2]]) {
    let near = |p: &[f32; 2], sign: f32| (p[0] - sign).hypot(p[1] - 0.5 * sign) < 0.4;
    let [up, down] = [1.0, -1.0].map(|sign| points.iter().filter(|p| near(p, sign)).count());
    assert!(up + down >= 360 && up > 120 && down > 120, "{up} and {down} of 400 are near the spots");
}

/// EDM: its preconditioning, its log-normal times, `simple` weighting.
#[test]
fn edm_learns_two_spots() {
    let config = DiffusionConfig {
        timesteps: 1000,
        schedule: Schedule::Edm { sigma_min: 0.02, sigma_max: 20.0 },
        prediction: Prediction::Edm { sigma_data: 0.8 },
        times: TimeDistribution::LogNormal { mean: -0.6, std: 1.2 },
        ..DiffusionConfig::default()
    };
    check_spots(&spots(&config.build().unwrap(), 1.0));
}

/// Rectified flow with logit-normal times.
#[test]
fn flow_learns_two_spots() {
    let config = DiffusionConfig {
        timesteps: 1000,
        schedule: Schedule::Flow { shift: 1.0 },
        prediction: Prediction::Flow {},
        times: TimeDistribution::LogitNormal { mean: 0.0, std: 1.0 },
        ..DiffusionConfig::default()
    };
    check_spots(&spots(&config.build().unwrap(), 1000.0));
}
