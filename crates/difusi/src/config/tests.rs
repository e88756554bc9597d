//! Configs: presets, strictness, overrides.

use super::*;
use crate::presets;
use difusi_core::Precision;

fn errors(text: &str, overrides: &[&str]) -> Vec<String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    match RunConfig::parse_with(text, &overrides) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(e) => e.0.iter().map(ToString::to_string).collect(),
    }
}

fn digits() -> &'static str {
    presets::get("digits").unwrap()
}

/// Every preset is accepted, and what is written out reads back as the same config.
#[test]
fn presets_survive_a_round_trip() {
    for name in presets::names() {
        let config = RunConfig::parse(presets::get(name).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(RunConfig::parse(&config.to_toml().unwrap()).unwrap(), config, "{name}");
    }
}

/// The literal recipes are what they say.
#[test]
fn literal_recipes() {
    let ddpm = RunConfig::parse(presets::get("mnist-ddpm").unwrap()).unwrap();
    let process = &ddpm.task.diffusion().unwrap().diffusion;
    let tables = process.schedule.tables(process.timesteps).unwrap();
    assert_eq!((tables.betas[0], tables.betas[999], tables.timesteps()), (1e-4, 0.02, 1000));
    assert_eq!((ddpm.train.steps, ddpm.train.batch_size), (10_000, 60));
    let folder = RunConfig::parse(presets::get("folder-128").unwrap()).unwrap();
    let ModelConfig::Unet(unet) = folder.task.model() else { panic!("{folder:?}") };
    assert_eq!((unet.dim, unet.dim_mults.as_slice(), unet.channels), (64, [1, 2, 4, 8].as_slice(), 3));
    assert_eq!((folder.train.steps, folder.train.accumulation, folder.train.batch_size), (700_000, 2, 32));
    assert_eq!((folder.train.learning_rate, folder.train.ema.as_slice()), (2e-5, [0.995].as_slice()));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let sets = [
        "train.stepz=1",
        "train.batch_size=\"many\"",
        "model.dim=-3",
        "diffusion.schedule={kind=\"cosine\", t=1}",
        "bogus.x=1",
        "train.optimizer={kind=\"sgd\"}",
        "train.steps=-5",
        "data.size=[8]",
        "sample.count=0",
    ];
    let found = errors(digits(), &sets);
    let keys = ["train.stepz", "train.batch_size", "model.dim", "diffusion.schedule.t", "bogus"];
    let more = ["train.optimizer.kind", "train.steps", "data.size", "sample.count"];
    for key in keys.iter().chain(&more) {
        assert!(found.iter().any(|e| e.contains(&format!("`{key}`"))), "{key} in {found:#?}");
    }
    assert_eq!(found.len(), sets.len(), "{found:#?}");
    assert!(found.iter().any(|e| e.contains("did you mean `steps`")), "{found:#?}");
    let section = errors(digits(), &sets[4..5]);
    assert!(section[0].contains("`bogus` is not a known key") && section[0].contains("diffusion"), "{section:?}");
}

#[test]
fn bad_values_name_key_value_and_range() {
    let found =
        errors(digits(), &["train.steps=0", "diffusion.schedule={kind=\"linear\", beta_end=1.5}", "sample.steps=2000"]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().any(|e| e.contains("`train.steps` is 0; expected a whole number, 1 or more")), "{found:#?}");
    assert!(found.iter().any(|e| e.contains("diffusion.schedule.beta_end") && e.contains("1.5")), "{found:#?}");
    assert!(found.iter().any(|e| e.contains("sample.steps") && e.contains("2000")), "{found:#?}");
}

#[test]
fn overrides_set_nested_keys_and_switch_kinds() {
    let set = |o: &[&str]| {
        let all: Vec<String> = o.iter().map(ToString::to_string).collect();
        RunConfig::parse_with(digits(), &all).unwrap()
    };
    assert_eq!(set(&["train.steps=7"]).train.steps, 7);
    let linear = set(&["diffusion.schedule.kind=linear", "diffusion.schedule.beta_end=0.01"]);
    assert!(matches!(
        linear.task.diffusion().unwrap().diffusion.schedule,
        difusi_process::Schedule::Linear { beta_end: 0.01, .. }
    ));
    assert_eq!(set(&["model.dim_mults=[1, 2]"]).task.channels(), 1);
    let half = set(&["train.precision=bf16", "sample.precision=f32"]);
    assert_eq!(
        (half.train.precision, half.task.diffusion().unwrap().sample.precision),
        (Precision::Bf16, Some(Precision::F32))
    );
    for key in ["train.precision", "sample.precision"] {
        let found = errors(digits(), &[&format!("{key}=f16")]);
        assert!(found[0].contains(key) && found[0].contains("`f32` or `bf16`"), "{found:?}");
    }
    assert!(errors(digits(), &["train.steps"])[0].contains("no `=`"));
    assert!(errors(digits(), &["=3"])[0].contains("section.name"));
    assert!(errors(digits(), &["train.steps.deep=3"])[0].contains("train.steps.deep"));
}

#[test]
fn channels_follow_the_data() {
    let rgb = RunConfig::parse(presets::get("folder").unwrap()).unwrap();
    assert_eq!(rgb.task.channels(), 3);
    assert!(errors(digits(), &["model.channels=3"])[0].contains("model.channels"));
    assert!(errors("[data]\nkind = \"digits\"", &[])[0].contains("model.kind"));
    assert!(errors(digits(), &["data.kind=photos"])[0].contains("digits, idx, cifar10, folder"));
    // A wrong [data] is one mistake, not also one of the channels it would have had.
    let found = errors(presets::get("folder").unwrap(), &["data.kind=photos", "train=3"]);
    assert!(found.len() == 2 && found[1].contains("`train` is 3; expected a table"), "{found:?}");
    assert!(errors("nonsense = ", &[])[0].contains("not valid TOML"));
}

#[test]
fn sample_overrides_are_checked() {
    let base = SampleConfig::default();
    let ok =
        override_sample(&base, &["solver.kind=ddim".into(), "solver.eta=0.5".into(), "steps=10".into()], 1000).unwrap();
    assert_eq!((ok.steps, ok.solver), (10, difusi_process::Solver::ddim(0.5)));
    let bad = override_sample(&base, &["solver.kind=magic".into()], 1000).unwrap_err().to_string();
    assert!(bad.contains("magic") && bad.contains("ancestral"), "{bad}");
    let set = [
        "solver.kind=dpm_multistep",
        "solver.algorithm=sde-dpmsolver++",
        "solver.order=3",
        "grid=\"karras\"",
        "end=sigma_min",
    ];
    let ok = override_sample(&base, &set.map(String::from), 1000).unwrap();
    let text = toml::to_string(&ok).unwrap();
    assert!(text.contains("sde-dpmsolver++") && text.contains("order = 3") && text.contains("sigma_min"), "{text}");
    let churn = ["solver.kind=heun".to_owned(), "solver.churn.s_churn=40".into()];
    assert!(override_sample(&base, &churn, 1000).is_ok());
    assert!(override_sample(&base, &["steps=1001".into()], 1000).unwrap_err().to_string().contains("1001"));
}

const KINDS: [&str; 4] = ["vae", "gan", "flow", "classifier"];

fn of_kind(kind: &str, more: &[&str]) -> Vec<String> {
    let text = format!("[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"{kind}\"");
    let classes = if kind == "classifier" { &["model.classes=10"][..] } else { &[] };
    let set: Vec<String> = classes.iter().chain(more).map(ToString::to_string).collect();
    match RunConfig::parse_with(&text, &set) {
        Ok(config) => {
            let text = config.to_toml().unwrap();
            assert_eq!(RunConfig::parse(&text).unwrap(), config, "{text}");
            Vec::new()
        }
        Err(e) => e.0.iter().map(ToString::to_string).collect(),
    }
}

/// Each kind has the sections of its own, written and read back; another's is named, and so are typos and bad values.
#[test]
fn kinds_have_sections_of_their_own() {
    for kind in KINDS {
        assert_eq!(of_kind(kind, &[]), Vec::<String>::new(), "{kind}");
        let said = of_kind(kind, &["diffusion.timesteps=10"]);
        let why = match kind {
            "classifier" => "model.noisy = true",
            _ => "`diffusion` is a section of model.kind = \"unet\"",
        };
        assert!(said[0].contains(why), "{said:?}");
        let said = of_kind(kind, &["model.dimm=3", "model.dim=0", "train.steps=0"]);
        assert!(said.iter().any(|e| e.contains("model.dimm") && e.contains("did you mean `dim`")), "{said:?}");
        assert!(said.iter().any(|e| e.contains("`train.steps` is 0")), "{said:?}");
        assert!(of_kind(kind, &["model.channels=3"])[0].contains("model.channels"));
    }
    let vae = ["vae.kl_weight=-1", "vae.free_bits=1e9", "sample.temperature=-1", "model.latent=0", "sample.steps=50"];
    let said = of_kind("vae", &vae);
    assert!(said.len() == 4 && said[0].contains("sample.steps"), "{said:?}"); // [sample] was not read, the rest was
    let said = of_kind("vae", &vae[..4]);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(of_kind("vae", &["model.likelihood=cauchy"])[0].contains("discretised_logistic"));
    assert_eq!(of_kind("vae", &["model.likelihood=mae", "vae.kl_warmup=100"]), Vec::<String>::new());
    assert!(of_kind("gan", &["gan.loss=wasserstein"])[0].contains("non_saturating"));
    assert_eq!(of_kind("gan", &["gan.loss=hinge", "sample.truncation=2.0"]), Vec::<String>::new());
    assert!(of_kind("gan", &["vae.kl_weight=1.0"])[0].contains("model.kind = \"vae\""));
    assert!(of_kind("classifier", &["sample.count=3"])[0].contains("`sample`"));
    assert_eq!(of_kind("classifier", &["model.noisy=true", "diffusion.timesteps=10"]), Vec::<String>::new());
    assert!(of_kind("classifier", &["model.noisy=true", "diffusion.timesteps=0"])[0].contains("diffusion.timesteps"));
    assert!(of_kind("classifier", &["model.res_blocks=2"])[0].contains("noisy"));
    assert!(errors(digits(), &["vae.kl_weight=1.0"])[0].contains("`vae` is a section of model.kind = \"vae\""));
}
