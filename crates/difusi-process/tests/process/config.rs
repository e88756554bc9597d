//! Reading and checking configs.

use difusi_process::{
    Choice, DiffusionConfig, Grid, Loss, Norms, Prediction, Predictor, SampleConfig, Schedule, Solver, StepSize,
    Threshold, TimeDistribution, Variance, Weighting, peer::GaussianDiffusion,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Every variant survives a round trip and rejects a key that it does not have (serde ignores those on bare unit variants).
fn check_strict<T: Choice + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[T]) {
    for value in values {
        let mut table = serde_json::to_value(value).unwrap();
        assert_eq!(table["kind"], Value::from(value.kind()));
        assert_eq!(serde_json::from_value::<T>(table.clone()).unwrap(), *value);
        table["oops"] = json!(1);
        let error = serde_json::from_value::<T>(table).unwrap_err().to_string();
        assert!(error.contains("oops"), "{} accepted a typo: {error}", value.kind());
    }
    assert_eq!(values.iter().map(Choice::kind).collect::<Vec<_>>(), T::KINDS, "all variants are tested");
}

#[test]
fn every_variant_rejects_a_typo() {
    let lists = [Schedule::CustomBetas { betas: vec![0.1] }, Schedule::CustomAlphaBars { alpha_bars: vec![0.1] }];
    check_strict(&Schedule::examples().into_iter().chain(lists).chain(Schedule::others()).collect::<Vec<_>>());
    check_strict(&TimeDistribution::examples());
    check_strict(&[Loss::L1 {}, Loss::L2 {}, Loss::Huber { delta: 1.0 }, Loss::Hybrid { lambda: 0.1 }, Loss::Vlb {}]);
    check_strict(&[
        Weighting::Simple {},
        Weighting::Snr {},
        Weighting::MinSnr { gamma: 5.0 },
        Weighting::Vlb {},
        Weighting::P2 { k: 1.0, gamma: 0.5 },
        Weighting::PosteriorMean {},
    ]);
    check_strict(&[Variance::FixedSmall {}, Variance::FixedLarge {}, Variance::LearnedRange {}]);
    let dynamic = |max| Threshold::Dynamic { quantile: 0.9, max };
    check_strict(&[Threshold::None {}, Threshold::Static {}, Threshold::Clip { range: 2.0 }, dynamic(Some(1.5))]);
    check_strict(&Solver::KINDS.iter().map(|kind| by_name(kind)).collect::<Vec<Solver>>());
    check_strict(&[Predictor::EulerMaruyama {}, Predictor::ReverseDiffusion {}, Predictor::Ancestral {}]);
    let snr = StepSize::Snr { snr: 0.1, norms: Norms::Batch };
    check_strict(&[StepSize::Fixed { epsilon: 0.1 }, StepSize::Annealed { ratio: 0.1 }, snr]);
    let grid = |kind: &&str| match *kind {
        "custom" => Grid::Custom { steps: vec![3, 1] },
        "times" => Grid::Times { times: vec![2.5, 1.0] },
        "sigmas" => Grid::Sigmas { sigmas: vec![2.0, 0.5] },
        kind => by_name(kind),
    };
    check_strict(&Grid::KINDS.iter().map(grid).collect::<Vec<_>>());
}

/// A kind with its documented defaults.
fn by_name<T: DeserializeOwned>(kind: &str) -> T {
    toml::from_str(&format!("kind = {kind:?}")).unwrap()
}

/// A name stands for a table with the documented defaults.
#[test]
fn names_and_tables_mean_the_same() {
    let read = |text: &str| toml::from_str::<DiffusionConfig>(text).unwrap();
    assert_eq!(read(""), DiffusionConfig::default());
    for example in Schedule::examples().into_iter().chain(Schedule::others()) {
        assert_eq!(read(&format!("schedule = \"{}\"", example.kind())).schedule, example);
        assert_eq!(read(&format!("schedule = {{ kind = \"{}\" }}", example.kind())).schedule, example);
    }
    let given = read("loss = \"huber\"\nweighting = { kind = \"min_snr\", gamma = 3 }\nvariance = \"fixed_large\"");
    assert_eq!((given.loss, given.weighting), (Loss::Huber { delta: 1.0 }, Weighting::MinSnr { gamma: 3.0 }));
    assert_eq!(given.variance, Variance::FixedLarge {});
    let sample: SampleConfig =
        toml::from_str("solver = \"ancestral\"\ngrid = { kind = \"even\" }\nthreshold = \"none\"").unwrap();
    assert_eq!(
        (sample.solver, sample.grid, sample.threshold),
        (Solver::Ancestral {}, Grid::Even {}, Threshold::None {})
    );
}

/// Written configs read back, and plain choices are written plainly.
#[test]
fn configs_survive_toml() {
    let text = toml::to_string(&DiffusionConfig::default()).unwrap();
    assert!(text.contains("loss = \"l2\"") && text.contains("prediction = \"velocity\""), "{text}");
    assert_eq!(toml::from_str::<DiffusionConfig>(&text).unwrap(), DiffusionConfig::default());
    let sample = SampleConfig { grid: Grid::Custom { steps: vec![9, 4] }, ..SampleConfig::default() };
    assert_eq!(toml::from_str::<SampleConfig>(&toml::to_string(&sample).unwrap()).unwrap(), sample);
}

/// Unknown keys, kinds and types say what is accepted.
#[test]
fn unknown_things_are_errors() {
    let error = |text: &str| toml::from_str::<DiffusionConfig>(text).unwrap_err().to_string();
    assert!(error("timestep = 5").contains("`timesteps`"));
    assert!(error("schedule = \"cosin\"").contains("`cosine`"), "{}", error("schedule = \"cosin\""));
    assert!(error("schedule = { kind = \"cosine\", S = 1 }").contains("`s`"));
    assert!(error("schedule = 3").contains("\"linear\""), "{}", error("schedule = 3"));
    assert!(error("prediction = \"noise\"").contains("`epsilon`"));
    assert!(toml::from_str::<SampleConfig>("eta = 1").is_err());
}

/// Everything wrong is said at once, with full keys.
#[test]
fn checks_collect_everything() {
    let text = "timesteps = 100\nschedule = { kind = \"linear\", beta_end = 1.2 }\nloss = { kind = \"huber\", delta = 0 }\n\
                weighting = { kind = \"min_snr\", gamma = -1 }";
    let config: DiffusionConfig = toml::from_str(text).unwrap();
    let keys: Vec<String> = config.check().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["diffusion.schedule.beta_end", "diffusion.loss.delta", "diffusion.weighting.gamma"]);
    assert_eq!(config.build().unwrap_err().to_string().lines().count(), 3);
    let sample = SampleConfig { solver: Solver::ddim(-1.0), steps: 101, count: 0, ..SampleConfig::default() };
    let keys: Vec<String> = sample.check(100).into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["sample.solver.eta", "sample.steps", "sample.count"]);
    assert!(DiffusionConfig::default().check().is_empty() && SampleConfig::default().check(1000).is_empty());
}

fn peer(text: &str) -> GaussianDiffusion {
    serde_json::from_str(text).unwrap()
}

/// The peer's arguments and defaults, strictly.
#[test]
fn peer_arguments_translate() {
    let defaults = peer(r#"{"image_size": 32}"#);
    let (ours, sample) = (defaults.diffusion(), defaults.sample());
    assert_eq!(ours.value.schedule, Schedule::Sigmoid { start: -3.0, end: 3.0, tau: 1.0 });
    assert_eq!((ours.value.prediction, ours.value.weighting), (Prediction::Velocity {}, Weighting::Snr {}));
    assert!(ours.notes.is_empty());
    assert_eq!((sample.solver, sample.steps), (Solver::Ancestral {}, 1000));
    assert_eq!(defaults.image_size.unwrap().sides(), [32, 32]);

    let given = peer(
        r#"{"image_size": [28, 32], "timesteps": 200, "sampling_timesteps": 50, "objective": "pred_noise",
            "beta_schedule": "cosine", "schedule_fn_kwargs": {"s": 0.01}, "ddim_sampling_eta": 0.5,
            "min_snr_loss_weight": true, "min_snr_gamma": 3, "immiscible": true}"#,
    );
    assert!(given.check().is_empty());
    let ours = given.diffusion();
    assert_eq!(ours.notes.len(), 1);
    assert_eq!(ours.value.schedule, Schedule::Cosine { s: 0.01 });
    assert_eq!(ours.value.weighting, Weighting::MinSnr { gamma: 3.0 });
    assert_eq!((given.sample().solver, given.sample().steps), (Solver::ddim(0.5), 50));
    assert_eq!(given.image_size.unwrap().sides(), [28, 32]);

    assert!(serde_json::from_str::<GaussianDiffusion>(r#"{"loss_type": "l1"}"#).is_err());
    assert!(serde_json::from_str::<GaussianDiffusion>(r#"{"objective": "pred_noize"}"#).is_err());
    let wrong = peer(
        r#"{"timesteps": 10, "sampling_timesteps": 20, "beta_schedule": "linear", "schedule_fn_kwargs": {"s": 1}}"#,
    );
    let keys: Vec<String> = wrong.check().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["sampling_timesteps", "schedule_fn_kwargs.s", "schedule_fn_kwargs.rescale"]);
}

/// There and back is the same process; what the peer lacks is an error or a note.
#[test]
fn peer_arguments_round_trip() {
    for objective in ["pred_noise", "pred_x0", "pred_v"] {
        for schedule in ["linear", "cosine", "sigmoid"] {
            for more in [r#""min_snr_loss_weight": true"#, r#""sampling_timesteps": 100, "ddim_sampling_eta": 0.3"#] {
                let text = format!(
                    r#"{{"timesteps": 400, "objective": "{objective}", "beta_schedule": "{schedule}", {more}}}"#
                );
                let given = peer(&text);
                let (ours, sample) = (given.diffusion().value, given.sample());
                let back = GaussianDiffusion::from_ours(&ours, &sample).unwrap();
                assert!(back.notes.is_empty(), "{:?}", back.notes);
                assert_eq!((back.value.diffusion().value, back.value.sample()), (ours, sample));
                assert_eq!(peer(&serde_json::to_string(&back.value).unwrap()), back.value);
            }
        }
    }
    let ours = DiffusionConfig { loss: Loss::L1 {}, ..DiffusionConfig::default() };
    assert_eq!(GaussianDiffusion::from_ours(&ours, &SampleConfig::default()).unwrap().notes.len(), 2);
    let geometric = Schedule::Geometric { beta_start: 1e-4, beta_end: 0.02 };
    let ours =
        DiffusionConfig { schedule: geometric, prediction: Prediction::PosteriorMean {}, ..DiffusionConfig::default() };
    assert_eq!(GaussianDiffusion::from_ours(&ours, &SampleConfig::default()).unwrap_err().len(), 2);
}
