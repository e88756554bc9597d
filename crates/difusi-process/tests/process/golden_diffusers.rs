//! Numbers of diffusers 0.42.1, made by xtask/golden/process_golden.py.

use burn::tensor::Device;
use difusi_core::Cond;
use difusi_process::{
    Choice, Diffusion, DiffusionConfig, Grid, NetworkDenoiser, NoiseSource, Prediction, SampleConfig, Sampler,
    Schedule, Solver, Threshold, Variance,
};

use crate::{
    common::{Golden, channels_first, check_all_close},
    golden_peer::Fake,
};

/// betas, which diffusers computes in f32.
#[test]
fn betas_are_diffusers() {
    let golden = Golden::open("diffusers.safetensors");
    for (theirs, ours) in [
        ("linear", "linear"),
        ("scaled_linear", "scaled_linear"),
        ("squaredcos_cap_v2", "cosine"),
        ("sigmoid", "beta_sigmoid"),
    ] {
        let schedule = Schedule::examples().into_iter().find(|s| s.kind() == ours).unwrap();
        let betas: Vec<f32> = schedule.tables(1000).unwrap().betas.iter().map(|b| *b as f32).collect();
        check_all_close(theirs, &betas, &golden.get(&format!("betas.{theirs}")).1, 2e-7);
    }
}

/// set_timesteps of every spacing.
#[test]
fn grids_are_diffusers() {
    let golden = Golden::open("diffusers.safetensors");
    for grid in [Grid::Leading {}, Grid::Linspace {}, Grid::Trailing {}] {
        for steps in [2, 3, 7, 16, 48, 50, 333, 999, 1000] {
            let name = format!("grid.{}.{steps}", grid.kind());
            let found: Vec<f32> = grid.steps(1000, steps).unwrap().into_iter().map(|t| t as f32).collect();
            assert_eq!(found, golden.get(&name).1, "{name}");
        }
    }
}

fn check_run(name: &str, prediction: Prediction, variance: Variance, solver: Solver) {
    let golden = Golden::open("diffusers.safetensors");
    let schedule = Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false };
    let config = DiffusionConfig { schedule, prediction, variance, ..DiffusionConfig::default() };
    let d: Diffusion = config.build().unwrap();
    let config = SampleConfig { solver, grid: Grid::Leading {}, steps: 10, ..SampleConfig::default() };
    let plan = d.plan(&config).unwrap();
    let mut source = NoiseSource::torch(11);
    let start = source.initial([2, 4, 5, 3], &Device::flex()).unwrap();
    let net = Fake { self_condition: false };
    let denoiser = NetworkDenoiser::new(&net, &d, Threshold::Static {});
    let found: Vec<f32> =
        Sampler::new(&denoiser, &plan, start, source, Cond::None).flat_map(|s| channels_first(s.unwrap().x)).collect();
    check_all_close(name, &found, &golden.get(name).1, 1e-4);
}

/// DDIMScheduler with eta = 0.5 and use_clipped_model_output, for each prediction type.
#[test]
fn ddim_is_diffusers() {
    let predictions =
        [("epsilon", Prediction::Epsilon {}), ("sample", Prediction::X0 {}), ("v_prediction", Prediction::Velocity {})];
    for (name, prediction) in predictions {
        check_run(&format!("ddim.{name}"), prediction, Variance::FixedSmall {}, Solver::ddim(0.5));
    }
}

/// DDPMScheduler on 10 of 1000 steps, with both variances.
#[test]
fn ancestral_is_diffusers() {
    for (name, variance) in [("fixed_small", Variance::FixedSmall {}), ("fixed_large", Variance::FixedLarge {})] {
        check_run(&format!("ancestral.{name}"), Prediction::Epsilon {}, variance, Solver::Ancestral {});
    }
}
