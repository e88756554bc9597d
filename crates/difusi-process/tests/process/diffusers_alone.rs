//! RePaint and ScoreSdeVe, which do more than ask a network: against the runs of xtask/golden/diffusers_golden.py.

use burn::tensor::{DType, Tensor, TensorData};
use difusi_core::{Cond, Inputs, Network};
use difusi_process::{
    Lift, NetworkDenoiser, NoiseSource, Sampler,
    diffusers::{Request, SchedulerConfig},
    edit::Resampling,
};
use serde_json::Value;

use crate::{
    common::{Golden, channels_first, golden_noise, values64},
    diffusers_steps::{Formula, SHAPE, SIZE, noise},
};

fn case(golden: &Golden, name: &str) -> (SchedulerConfig, Value) {
    let cases: Value = serde_json::from_str(&golden.metadata("cases")).unwrap();
    let text = cases[name]["config"].as_str().unwrap();
    (SchedulerConfig::from_json(text).unwrap().config, cases[name]["run"].clone())
}

/// Largest difference in units of the largest expected value, over those where `counts`.
fn off(found: &[f32], expected: &[f32], counts: impl Fn(usize) -> bool) -> f32 {
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let each = found.iter().zip(expected).enumerate().filter(|(i, _)| counts(*i));
    each.map(|(_, (a, b))| (a - b).abs() / largest).fold(0.0, f32::max)
}

/// Where the golden script's mask is 0. The network is a formula of one number, so the known part cannot show in the rest.
fn unknown(i: usize) -> bool {
    (2.1 * i as f64).cos() <= 0.0
}

fn check_repaint(name: &str) {
    let golden = Golden::open("schedulers.safetensors");
    let (config, run) = case(&golden, name);
    let number = |key: &str| run[key].as_u64().unwrap() as usize;
    let resampling = Resampling { jump_length: number("jump_length"), jump_n_sample: number("jump_n_sample") };
    let recipe = config.recipe(&Request { resampling, ..Request::steps(number("steps")) }).unwrap();
    let (times, states) = (golden.get(&format!("{name}/timesteps")).1, golden.get(&format!("{name}/x")).1);
    let down: Vec<usize> = (0..times.len()).filter(|i| *i == 0 || times[*i] < times[*i - 1]).collect();
    let told: Vec<f32> = recipe.plan.stages().iter().map(|stage| stage.at.t as f32).collect();
    assert_eq!(told, down.iter().map(|i| times[*i]).collect::<Vec<_>>(), "{name}");

    // The way up is one jump here: the noise that makes it end where diffusers' several steps end.
    let state = |i: usize| &states[i * SIZE..][..SIZE];
    let eta = config.settings().eta;
    let mut given = Vec::new();
    for (stage, i) in recipe.plan.stages().iter().zip(&down) {
        if let Some(Lift { from, .. }) = stage.lift {
            let before = down.iter().rev().find(|d| *d < i).unwrap();
            let scale = stage.at.alpha / from.alpha;
            let spread = (stage.at.sigma.powi(2) - (scale * from.sigma).powi(2)).sqrt();
            let z = state(*i - 1)
                .iter()
                .zip(state(*before))
                .map(|(up, x)| ((f64::from(*up) - scale * f64::from(*x)) / spread) as f32);
            given.push(
                Tensor::from_data(TensorData::new(z.collect::<Vec<_>>(), SHAPE), &Default::default())
                    .permute([0, 2, 3, 1]),
            );
        }
        if eta > 0.0 && stage.at.t > 0.0 {
            given.push(noise(*i as i32));
        }
    }
    let net = Formula { learned: false };
    let denoiser = NetworkDenoiser::new(&net, &recipe.diffusion, recipe.threshold);
    let sampler = Sampler::new(&denoiser, &recipe.plan, noise(-1), NoiseSource::given(given), Cond::None);
    for (step, i) in sampler.zip(&down) {
        let found = channels_first(step.unwrap().x);
        let off = off(&found, state(*i), unknown);
        assert!(off <= 1e-5, "{name}: {off:.1e} after entry {i}");
    }
}

/// Down, up and down again, with and without noise; strides without a way up.
#[test]
fn repaint_is_diffusers() {
    for name in ["repaint", "repaint-eta", "repaint-strided"] {
        check_repaint(name);
    }
}

/// The golden script's score.
struct Score;

impl Network for Score {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let (shape, number, device) = (inputs.x.dims(), inputs.x.dtype(), inputs.x.device());
        let variance = values64(inputs.t)[0].powi(2) + 0.25;
        let score = |x: f64| f64::from((-(x + 0.3 * x.sin()) / variance) as f32);
        let scores: Vec<f64> = values64(inputs.x).into_iter().map(score).collect();
        Tensor::from_data(TensorData::new(scores, shape), (&device, number))
    }
}

/// x after every step of diffusers, computed in `number`.
fn corrected(config: &SchedulerConfig, steps: usize, number: DType) -> Vec<Vec<f32>> {
    let corrections = config.settings().correct_steps;
    let recipe = config.recipe(&Request::steps(steps)).unwrap();
    assert_eq!(recipe.plan.len(), steps * (corrections + 1));
    let given = (0..steps).flat_map(|i| (0..=corrections).map(move |draw| golden_noise(i as i32, draw)));
    let denoiser = NetworkDenoiser::new(&Score, &recipe.diffusion, recipe.threshold);
    let start = golden_noise(-1, 0).cast(number) * recipe.start;
    let sampler = Sampler::new(&denoiser, &recipe.plan, start, NoiseSource::given(given.collect()), Cond::None);
    let after: Vec<Vec<f32>> = sampler.map(|step| channels_first(step.unwrap().x)).collect();
    (1..=steps).map(|i| after[i * (corrections + 1) - 1].clone()).collect()
}

/// Corrections and predictions of the VE process; the last step without its noise, as the pipeline takes it. x falls from 50 to less
/// than 1, so f32 loses more than 1e-5 of it on either side: f64 is held against f64 too.
#[test]
fn predictor_corrector_is_diffusers() {
    let golden = Golden::open("schedulers.safetensors");
    for name in ["sde-ve", "sde-ve-2"] {
        let (config, run) = case(&golden, name);
        let steps = run["steps"].as_u64().unwrap() as usize;
        for (what, number, allowed) in [("x64", DType::F64, 1e-5), ("x", DType::F32, 4e-5)] {
            let states = golden.get(&format!("{name}/{what}")).1;
            for (i, found) in corrected(&config, steps, number).iter().enumerate() {
                let off = off(found, &states[i * SIZE..][..SIZE], |_| true);
                assert!(off <= allowed, "{name}/{what}: {off:.1e} after step {i}");
            }
        }
    }
}
