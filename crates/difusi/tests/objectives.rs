//! Objectives from the config to the model file: learned variance, learned schedules, processes without steps.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use difusi::process::Schedule;
use difusi::{Device, OpenModel, Run, RunConfig, RunOptions, RunStart, Sampler, SamplerOptions, Weights};

/// Twelve pixels square, seconds to train.
fn config(model: &str, diffusion: &str) -> String {
    format!(
        "[data]\nkind = \"digits\"\nsize = [12, 12]\n[model]\nkind = \"unet\"\ndim = 8\ndim_mults = [1, 2]\nattn_heads = 1\n\
         attn_dim_head = 8\n{model}\n[diffusion]\ntimesteps = 20\n{diffusion}\n[train]\nsteps = 6\nbatch_size = 4\n\
         micro_batch = 3\nlearning_rate = 1e-2\nema = [0.9]\nsave_every = 3\nsample_every = 0\n[sample]\nsteps = 4\ncount = 2\n"
    )
}

fn parse(text: &str) -> RunConfig {
    RunConfig::parse(text).unwrap()
}

/// Trains until `stop`.
fn train(config: &RunConfig, out: &Path, start: RunStart, stop: u64) {
    let options = RunOptions { start, ..RunOptions::new(config.clone(), out) };
    let mut run = Run::open(options, &Device::flex()).unwrap();
    while run.steps_done() < stop {
        let report = run.step(&mut |_| {}).unwrap().unwrap();
        assert!(report.loss.is_finite() && report.skipped.is_none(), "{report:?}");
    }
    run.save().unwrap();
}

fn draws(out: &Path) -> Vec<difusi::store::Picture> {
    let model = OpenModel::new(out).open(&Device::flex()).unwrap();
    Sampler::new(&model, SamplerOptions::of(&model), &Device::flex()).unwrap().all().unwrap()
}

/// Runs of six steps, once in one go and once in two, leave the same bytes.
fn check_resumes(config: &RunConfig) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    train(config, &whole, RunStart::New, 6);
    train(config, &parts, RunStart::New, 3);
    train(config, &parts, RunStart::Resume, 6);
    let bytes = |run: &Path| std::fs::read(run.join("model.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&parts), "a resumed run differs");
    assert_eq!(draws(&whole).len(), 2);
    dir
}

/// A learned schedule is trained with the network, resumed to the bit, and opened as the list of alpha-bars that it has come to.
#[test]
fn learned_schedules_become_tables() {
    let text = "schedule = { kind = \"learned\", gamma_min = -9.0, gamma_max = 5.0 }\nprediction = \"epsilon\"\n\
                weighting = \"vlb\"\ntimes = \"stratified\"";
    let dir = check_resumes(&parse(&config("self_condition = true\nfourier = [7]", text)));
    for weights in [Weights::Ema, Weights::Raw] {
        let open = OpenModel { weights, ..OpenModel::new(dir.path().join("whole")) };
        let model = open.open(&Device::flex()).unwrap();
        let diffusion = &model.diffusion().unwrap().task.diffusion;
        let Schedule::CustomAlphaBars { alpha_bars } = &diffusion.schedule else { panic!("{:?}", diffusion.schedule) };
        let gamma = |a: f64| ((1.0 - a) / a).ln();
        let ends = [gamma(alpha_bars[0]), gamma(alpha_bars[19])];
        assert_eq!(alpha_bars.len(), 20);
        assert!(ends[0] != -9.0 && (ends[0] + 9.0).abs() < 0.2 && (ends[1] - 5.0).abs() < 0.2, "{ends:?}");
        assert!(diffusion.build().is_ok());
    }
}

/// L_hybrid with self-conditioning and times by the losses: the variance's channels are there without being asked for.
#[test]
fn learned_variance_trains_and_draws() {
    let text = "loss = \"hybrid\"\nvariance = \"learned_range\"\nprediction = \"epsilon\"\n\
                times = { kind = \"loss_second_moment\", history = 1, uniform_prob = 0.1 }\noffset_noise = 0.1";
    let config = parse(&config("self_condition = true", text));
    let difusi::ModelConfig::Unet(unet) = config.task.model() else { panic!("{config:?}") };
    assert!(unet.learned_variance && unet.output_channels() == 2);
    let ancestral = |mut config: RunConfig| {
        let difusi::Task::Diffusion(task) = &mut config.task else { panic!("{config:?}") };
        task.sample.solver = difusi::process::Solver::Ancestral {};
        config
    };
    check_resumes(&ancestral(config));
}

/// EDM and rectified flow go all the way.
#[test]
fn continuous_processes_train_and_draw() {
    let edm = "schedule = \"edm\"\nprediction = \"edm\"\ntimes = \"log_normal\"";
    let flow = "schedule = \"flow\"\nprediction = \"flow\"\ntimes = \"logit_normal\"";
    let learned = "time = { kind = \"learned\" }";
    for (model, diffusion) in [(learned, edm), ("", flow), ("", "schedule = \"ve\"\nprediction = \"edm\"")] {
        check_resumes(&parse(&config(model, diffusion)));
    }
}

/// Pairs that do not go together are refused with the key to change, and so is a peer's file that cannot hold the model.
#[test]
fn nonsense_is_refused_by_name() {
    let refused = |model: &str, diffusion: &str, key: &str| {
        let text = RunConfig::parse(&config(model, diffusion)).unwrap_err().to_string();
        assert!(text.contains(key), "{text}");
    };
    let learned = "loss = \"hybrid\"\nvariance = \"learned_range\"";
    refused("learned_variance = false", learned, "model.learned_variance");
    refused("", "variance = \"learned_range\"", "diffusion.loss");
    refused("", "schedule = \"learned\"", "diffusion.prediction");
    refused("", "schedule = { kind = \"edm\", sigma_mim = 1 }", "sigma_mim");
    refused("", "times = { kind = \"log_normal\" }", "diffusion.times");
    refused("fourier = [99]", "", "model.fourier");
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&parse(&config("fourier = [7, 8]", "")), &run, RunStart::New, 1);
    let model = OpenModel::new(&run).open(&Device::flex()).unwrap();
    let text = model.save_pt(&dir.path().join("model.pt")).unwrap_err().to_string();
    assert!(text.contains("model.fourier"), "{text}");
}
