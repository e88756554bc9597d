//! Numbers of PyTorch and denoising-diffusion-pytorch 2.3.4, made by xtask/golden/process_golden.py.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Cond, Inputs, Network};
use difusi_process::{
    Diffusion, Grid, Level, NetworkDenoiser, NoiseSource, Plan, Sampler, Solver, Tables, Threshold, TorchRng,
    TrainingInputs, mix, peer::GaussianDiffusion, sample,
};

use crate::common::{Golden, channels_first, check_all_close, values};

/// The script's network.
pub(crate) struct Fake {
    pub(crate) self_condition: bool,
}

impl Network for Fake {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let (b, device) = (inputs.x.dims()[0], inputs.x.device());
        let by_channel = Tensor::<4>::from_data(TensorData::new(vec![1.0f32, 0.5, -0.7], [1, 1, 1, 3]), &device);
        let by_time = (inputs.t * -0.0005 + 1.0).reshape([b, 1, 1, 1]);
        let y = (inputs.x * 0.8 + 0.1).tanh() * by_channel * by_time;
        inputs.x_self_cond.map_or(y.clone(), |c| y + c * 0.25)
    }

    fn self_condition(&self) -> bool {
        self.self_condition
    }
}

const CASES: [(&str, &str, bool); 3] =
    [("pred_noise", "linear", false), ("pred_x0", "cosine", false), ("pred_v", "sigmoid", true)];

fn arguments(objective: &str, schedule: &str, more: &str) -> GaussianDiffusion {
    let text = format!(r#"{{"timesteps": 50, "objective": "{objective}", "beta_schedule": "{schedule}"{more}}}"#);
    serde_json::from_str(&text).unwrap()
}

fn build(arguments: &GaussianDiffusion) -> Diffusion {
    arguments.diffusion().value.build().unwrap()
}

/// torch.randn of several sizes, of consecutive calls (whose scalar pairs carry over), and of an image batch.
#[test]
fn torch_rng_draws_pytorchs_normals() {
    let golden = Golden::open("torch_rng.safetensors");
    for n in [1, 5, 16, 17, 100, 1000] {
        let found = TorchRng::manual_seed(n as u64).randn(n);
        check_all_close(&format!("size {n}"), &found, &golden.get(&format!("size.{n}")).1, 1e-6);
    }
    let mut rng = TorchRng::manual_seed(42);
    let found: Vec<f32> = [5, 17, 3, 100, 1, 16, 700].into_iter().flat_map(|n| rng.randn(n)).collect();
    check_all_close("consecutive", &found, &golden.get("consecutive").1, 1e-6);
    check_all_close("wide seed", &TorchRng::manual_seed((1 << 40) + 3).randn(20), &golden.get("wide_seed").1, 1e-6);
    let image = NoiseSource::torch(3).initial([2, 4, 5, 3], &Device::flex()).unwrap();
    check_all_close("image", &channels_first(image), &golden.get("image").1, 1e-6);
}

type Column = fn(&Tables) -> &[f64];

/// Buffers of GaussianDiffusion. Its sigmoid schedule takes its ends in f32, which moves the last steps by about 1e-4 of themselves.
#[test]
fn tables_are_the_peers() {
    let golden = Golden::open("peer.safetensors");
    let to_f32 = |column: &[f64]| column.iter().map(|v| *v as f32).collect::<Vec<_>>();
    for schedule in ["linear", "cosine", "sigmoid"] {
        let tables = build(&arguments("pred_v", schedule, "")).process.tables().unwrap().clone();
        let columns: [(&str, Column, f32); 6] = [
            ("betas", |t| &t.betas, 5e-6),
            ("alphas_cumprod", |t| &t.alpha_bars, 1e-7),
            ("posterior_variance", |t| &t.posterior_variance, 5e-6),
            ("posterior_log_variance_clipped", |t| &t.posterior_log_variance, 1e-5),
            ("posterior_mean_coef1", |t| &t.posterior_mean_x0, 5e-6),
            ("posterior_mean_coef2", |t| &t.posterior_mean_xt, 5e-6),
        ];
        for (name, column, tolerance) in columns {
            let expected = golden.get(&format!("tables.{schedule}.{name}")).1;
            check_all_close(&format!("{schedule} {name}"), &to_f32(column(&tables)), &expected, tolerance);
        }
        let mut long = arguments("pred_v", schedule, "");
        long.timesteps = 1000;
        let expected = golden.get(&format!("tables1000.{schedule}.alphas_cumprod")).1;
        check_all_close(schedule, &to_f32(&build(&long).process.tables().unwrap().alpha_bars), &expected, 1e-7);
    }
}

/// `sample` of the peer after `torch.manual_seed(seed)`: start and the picture after every step.
fn trajectory(arguments: &GaussianDiffusion, self_condition: bool, seed: u64) -> Vec<Vec<f32>> {
    let d = build(arguments);
    let plan = d.plan(&arguments.sample()).unwrap();
    let mut source = NoiseSource::torch(seed);
    let start = source.initial([2, 4, 5, 3], &Device::flex()).unwrap();
    let net = Fake { self_condition };
    let denoiser = NetworkDenoiser::new(&net, &d, Threshold::Static {});
    let sampler = Sampler::new(&denoiser, &plan, start.clone(), source, Cond::None);
    let steps = sampler.map(|s| channels_first(s.unwrap().x));
    std::iter::once(channels_first(start)).chain(steps).collect()
}

/// The golden file has [B, steps, C, H, W].
fn check_trajectory(golden: &Golden, name: &str, found: &[Vec<f32>]) {
    let (shape, expected) = golden.get(name);
    assert_eq!(shape[1], found.len(), "{name}");
    let size: usize = shape[2..].iter().product();
    for (i, x) in found.iter().enumerate() {
        for b in 0..shape[0] {
            let at = (b * shape[1] + i) * size;
            let (found, expected) = (&x[b * size..(b + 1) * size], &expected[at..at + size]);
            check_all_close(&format!("{name}, picture {i}"), found, expected, 2e-5);
        }
    }
}

/// p_sample_loop with the peer's seed gives the peer's pictures, all the way.
#[test]
fn ancestral_is_the_peers() {
    let golden = Golden::open("peer.safetensors");
    for (objective, schedule, self_condition) in CASES {
        let all = trajectory(&arguments(objective, schedule, ""), self_condition, 7);
        let shown: Vec<_> = [0, 1, 10, 25, 49, 50].map(|i| all[i].clone()).to_vec();
        check_trajectory(&golden, &format!("ancestral.{objective}"), &shown);
    }
}

/// ddim_sample on 7 of 50 steps, deterministic and not.
#[test]
fn ddim_is_the_peers() {
    let golden = Golden::open("peer.safetensors");
    for (objective, schedule, self_condition) in CASES {
        for eta in ["0.0", "0.7"] {
            let more = format!(r#", "sampling_timesteps": 7, "ddim_sampling_eta": {eta}"#);
            let found = trajectory(&arguments(objective, schedule, &more), self_condition, 8);
            check_trajectory(&golden, &format!("ddim.{objective}.{eta}"), &found);
        }
    }
}

/// `interpolate`: the peer draws two noises and, having noised to t, asks the network from t - 1 on.
#[test]
fn interpolation_is_the_peers() {
    let golden = Golden::open("peer.safetensors");
    let d = build(&arguments("pred_v", "sigmoid", ""));
    let (x1, x2) = (golden.images("interpolate.x1"), golden.images("interpolate.x2"));
    let mut source = NoiseSource::torch(9);
    let mut noise = || source.initial([2, 4, 5, 3], &Device::flex()).unwrap();
    let (eps1, eps2) = (noise(), noise());
    let start = mix(d.level(20).unwrap(), [x1, eps1], [x2, eps2], 0.3).unwrap();
    let levels: Vec<Level> = (-1..20).rev().map(|t| d.process.level(f64::from(t))).collect();
    let plan = Plan::new(&levels, Solver::Ancestral {}, d.variance).unwrap();
    let net = Fake { self_condition: true };
    let denoiser = NetworkDenoiser::new(&net, &d, Threshold::Static {});
    let found = sample(&denoiser, &plan, start, source, Cond::None).unwrap();
    check_all_close("interpolate", &channels_first(found), &golden.get("interpolate.out").1, 2e-5);
}

/// p_losses per image, with and without min-SNR, with and without a first guess.
#[test]
fn losses_are_the_peers() {
    let golden = Golden::open("peer.safetensors");
    let t: Vec<usize> = golden.get("loss.t").1.into_iter().map(|t| t as usize).collect();
    for (objective, schedule, self_condition) in CASES {
        for (weight, flag) in [("snr", "false"), ("min_snr", "true")] {
            let more = format!(r#", "min_snr_loss_weight": {flag}, "min_snr_gamma": 4"#);
            let d = build(&arguments(objective, schedule, &more));
            let levels: Vec<Level> = t.iter().map(|&t| d.level(t).unwrap()).collect();
            for (name, guess) in [("plain", false), ("guess", true)] {
                if guess && !self_condition {
                    continue;
                }
                let (x0, eps) = (golden.images("loss.x"), golden.images("loss.noise"));
                let inputs = TrainingInputs {
                    x0,
                    importance: vec![1.0; levels.len()],
                    levels: levels.clone(),
                    eps,
                    cond: Cond::None,
                    self_condition: guess,
                    dropout: None,
                };
                let found = values(d.training_loss(&Fake { self_condition }, inputs).unwrap());
                let expected = golden.get(&format!("loss.{objective}.{weight}.{name}")).1;
                for (found, expected) in found.iter().zip(&expected) {
                    let relative = (found - expected).abs() / expected.abs().max(1e-6);
                    assert!(relative < 2e-4, "{objective} {weight} {name}: {found} is not {expected}");
                }
            }
        }
    }
}

/// Its DDIM spacing, also where f32 rounding decides a cut.
#[test]
fn even_grid_is_the_peers() {
    let golden = Golden::open("peer.safetensors");
    let names: Vec<String> = golden.names().into_iter().filter(|n| n.starts_with("even.")).collect();
    assert_eq!(names.len(), 8);
    for name in names {
        let numbers: Vec<usize> = name.split('.').skip(1).map(|n| n.parse().unwrap()).collect();
        let found = Grid::Even {}.steps(numbers[0], numbers[1]).unwrap();
        let found: Vec<f32> = found.into_iter().map(|t| t as f32).collect();
        assert_eq!(found, golden.get(&name).1, "{name}");
    }
}
