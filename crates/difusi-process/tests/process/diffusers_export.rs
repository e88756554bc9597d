//! A model's own config as a scheduler of diffusers, and back.

use difusi_process::diffusers::{Request, SchedulerClass as C, SchedulerConfig};
use difusi_process::{
    Choice, DiffusionConfig, DpmAlgorithm, Grid, Prediction, SampleConfig, Schedule, Solver, Threshold, Variance,
};

fn schedule(toml: &str) -> Schedule {
    #[derive(serde::Deserialize)]
    struct Holder {
        #[serde(with = "difusi_process::choice")]
        v: Schedule,
    }
    toml::from_str::<Holder>(&format!("v = {toml}")).unwrap().v
}

fn solver(toml: &str) -> Solver {
    #[derive(serde::Deserialize)]
    struct Holder {
        #[serde(with = "difusi_process::choice")]
        v: Solver,
    }
    toml::from_str::<Holder>(&format!("v = {toml}")).unwrap().v
}

/// Named schedules stay named, others become lists; the levels are the same either way, and survive the file.
#[test]
fn schedules_come_back() {
    let kinds = [
        ("\"linear\"", "linear", 1000),
        ("{ kind = \"linear\", rescale = true }", "linear", 300),
        ("\"scaled_linear\"", "scaled_linear", 1000),
        ("\"quadratic\"", "scaled_linear", 1000),
        ("\"cosine\"", "squaredcos_cap_v2", 1000),
        ("{ kind = \"cosine\", s = 0.02 }", "trained", 1000),
        ("\"beta_sigmoid\"", "trained", 1000),
        ("\"laplace\"", "trained", 1000),
        ("\"exponential\"", "trained", 1000),
        ("\"geometric\"", "trained", 1000),
        ("\"log_snr\"", "trained", 200),
        ("\"sigmoid\"", "trained", 500),
        ("\"edm\"", "", 1000),
        ("{ kind = \"flow\", shift = 3.0 }", "", 1000),
    ];
    for (text, name, timesteps) in kinds {
        let schedule = schedule(text);
        let prediction = match schedule.kind() {
            "edm" => Prediction::Edm { sigma_data: 0.5 },
            "flow" => Prediction::Flow {},
            _ => Prediction::Velocity {},
        };
        let own = DiffusionConfig { timesteps, schedule, prediction, ..DiffusionConfig::default() };
        let sample = SampleConfig { solver: solver("\"euler\""), ..SampleConfig::default() };
        let written = SchedulerConfig::describing(&own, &sample).unwrap().config.to_json();
        let found = SchedulerConfig::from_json(&written).unwrap();
        assert!(found.notes.is_empty(), "{text}: {:?}", found.notes);
        let list = found.config.settings().trained_betas.is_some();
        assert_eq!(list, name == "trained", "{text}");
        assert!(
            list || name.is_empty() || written.contains(&format!("\"beta_schedule\": \"{name}\"")),
            "{text}: {written}"
        );
        let back = found.config.diffusion_config().unwrap();
        let [a, b] = [&own, &back].map(|config| config.build().unwrap());
        assert_eq!((a.prediction, a.process.timesteps()), (b.prediction, b.process.timesteps()), "{text}");
        for t in 0..timesteps {
            let [a, b] = [&a, &b].map(|d| d.process.level(t as f64));
            let near = |x: f64, y: f64| (x - y).abs() < 1e-9 * (1.0 + x.abs());
            assert!(near(a.alpha, b.alpha) && near(a.sigma, b.sigma), "{text} at {t}: {a:?} {b:?}");
        }
    }
}

/// Names that only some classes know.
#[test]
fn names_of_one_class() {
    for (text, class) in [("beta_sigmoid", "ancestral"), ("laplace", "ancestral"), ("exponential", "heun")] {
        let own = DiffusionConfig { schedule: schedule(&format!("\"{text}\"")), ..DiffusionConfig::default() };
        let sample = SampleConfig { solver: solver(&format!("\"{class}\"")), ..SampleConfig::default() };
        let found = SchedulerConfig::describing(&own, &sample).unwrap().config;
        assert!(found.settings().trained_betas.is_none(), "{text}");
        assert_eq!(found.diffusion_config().unwrap().schedule, own.schedule);
    }
}

/// Each solver is the class of its name, with its options.
#[test]
fn solvers_are_classes() {
    let cases = [
        ("\"ancestral\"", C::Ddpm),
        ("{ kind = \"ddim\", eps = \"network\" }", C::Ddim),
        ("\"euler\"", C::EulerDiscrete),
        ("\"euler_ancestral\"", C::EulerAncestralDiscrete),
        ("\"heun\"", C::HeunDiscrete),
        ("\"dpm2\"", C::Kdpm2Discrete),
        ("\"dpm2_ancestral\"", C::Kdpm2AncestralDiscrete),
        (
            "{ kind = \"dpm_multistep\", algorithm = \"sde-dpmsolver++\", curvature = \"published\" }",
            C::DpmSolverMultistep,
        ),
        ("{ kind = \"dpm_singlestep\", curvature = \"published\" }", C::DpmSolverSinglestep),
        ("{ kind = \"unipc\", order = 3, solver_type = \"bh1\" }", C::UniPcMultistep),
        ("\"deis\"", C::DeisMultistep),
        ("\"pndm\"", C::Pndm),
        ("\"lms\"", C::LmsDiscrete),
        ("\"lcm\"", C::Lcm),
    ];
    let own = DiffusionConfig {
        schedule: schedule("\"linear\""),
        prediction: Prediction::Epsilon {},
        ..DiffusionConfig::default()
    };
    for (text, class) in cases {
        let solver = solver(text);
        let sample = SampleConfig { solver, threshold: Threshold::None {}, ..SampleConfig::default() };
        let found = SchedulerConfig::describing(&own, &sample).unwrap();
        assert_eq!(found.config.class(), class, "{text}");
        let recipe = found.config.recipe(&Request::steps(12)).unwrap();
        assert_eq!(recipe.plan.solver(), solver, "{text}");
        assert_eq!(recipe.threshold, Threshold::None {}, "{text}");
    }
}

#[test]
fn grids_thresholds_and_variances() {
    let own = DiffusionConfig {
        schedule: schedule("\"linear\""),
        prediction: Prediction::Epsilon {},
        variance: Variance::LearnedRange {},
        ..DiffusionConfig::default()
    };
    let dynamic = Threshold::Dynamic { quantile: 0.9, max: Some(1.5) };
    let sample = SampleConfig {
        solver: solver("\"ancestral\""),
        grid: Grid::Leading {},
        threshold: dynamic,
        ..SampleConfig::default()
    };
    let found = SchedulerConfig::describing(&own, &sample).unwrap();
    let recipe = found.config.recipe(&Request::steps(10)).unwrap();
    assert_eq!((recipe.threshold, recipe.plan.variance()), (dynamic, Variance::LearnedRange {}));
    let times: Vec<f64> = recipe.plan.stages().iter().map(|s| s.at.t).collect();
    assert_eq!(times, (0..10).rev().map(|i| f64::from(i) * 100.0).collect::<Vec<_>>());
    let multistep = Solver::DpmMultistep {
        algorithm: DpmAlgorithm::DpmSolverPp,
        order: 2,
        solver_type: Default::default(),
        curvature: Default::default(),
        lower_order_final: true,
        euler_at_final: false,
    };
    let karras = Grid::Karras { rho: 7.0, sigma_min: None, sigma_max: None };
    let sample = SampleConfig { solver: multistep, grid: karras, ..SampleConfig::default() };
    let found = SchedulerConfig::describing(&own, &sample).unwrap();
    assert!(found.config.settings().use_karras_sigmas);
    assert!(found.notes.iter().any(|note| note.contains("clip_sample")), "{:?}", found.notes);
}

#[test]
fn what_diffusers_lacks_is_said() {
    let sample = SampleConfig { solver: solver("\"reverse_sde\""), ..SampleConfig::default() };
    let own = DiffusionConfig { schedule: schedule("\"linear\""), ..DiffusionConfig::default() };
    let found = SchedulerConfig::describing(&own, &sample).unwrap();
    assert_eq!(found.config.class(), C::Ddim);
    assert!(found.notes[0].contains("reverse_sde"), "{:?}", found.notes);
    for (schedule_text, prediction, key) in [
        ("\"sub_vp\"", Prediction::Epsilon {}, "diffusion.schedule"),
        ("\"linear\"", Prediction::PosteriorMean {}, "diffusion.prediction"),
        ("\"linear\"", Prediction::Score {}, "diffusion.prediction"),
    ] {
        let own = DiffusionConfig { schedule: schedule(schedule_text), prediction, ..DiffusionConfig::default() };
        let e = SchedulerConfig::describing(&own, &SampleConfig::default()).unwrap_err().to_string();
        assert!(e.contains(key), "{e}");
    }
}
