//! scheduler_config.json of diffusers 0.42.1: read, written, and refused with reasons.

use difusi_process::diffusers::{Algorithm, PredictionType, SchedulerClass, SchedulerConfig, SolverType};
use serde_json::Value;

use crate::common::Golden;

/// As Stable Diffusion 1.4 ships it: keys of other classes and all.
const SD14: &str = r#"{
  "_class_name": "PNDMScheduler",
  "_diffusers_version": "0.7.0.dev0",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "num_train_timesteps": 1000,
  "set_alpha_to_one": false,
  "skip_prk_steps": true,
  "steps_offset": 1,
  "trained_betas": null,
  "clip_sample": false
}"#;

fn error(text: &str) -> String {
    SchedulerConfig::from_json(text).unwrap_err().to_string()
}

/// What diffusers wrote for every golden case comes back letter for letter (but for Python's `1e-05`, here `0.00001`).
#[test]
fn every_saved_config_round_trips() {
    let cases: Value = serde_json::from_str(&Golden::open("schedulers.safetensors").metadata("cases")).unwrap();
    for (name, case) in cases.as_object().unwrap() {
        let text = case["config"].as_str().unwrap();
        let loaded = SchedulerConfig::from_json(text).unwrap();
        assert_eq!(loaded.notes, [""; 0], "{name}");
        assert_eq!(loaded.config.to_json(), text.replace("1e-05", "0.00001"), "{name}");
    }
}

/// The defaults of every class are those that diffusers has: a file with the class alone says as much.
#[test]
fn defaults_are_diffusers() {
    let cases: Value = serde_json::from_str(&Golden::open("schedulers.safetensors").metadata("cases")).unwrap();
    let saved: Vec<SchedulerConfig> = cases
        .as_object()
        .unwrap()
        .values()
        .map(|c| SchedulerConfig::from_json(c["config"].as_str().unwrap()).unwrap().config)
        .collect();
    let with_default_case = SchedulerClass::ALL.into_iter().filter(|class| {
        let default = SchedulerConfig::new(*class);
        saved.iter().any(|s| s.class() == *class && s.settings() == default.settings())
    });
    let found: Vec<&str> = with_default_case.map(SchedulerClass::name).collect();
    for name in ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler", "IPNDMScheduler"]
    {
        assert!(found.contains(&name), "{name} is not among {found:?}");
    }
}

#[test]
fn foreign_keys_are_kept() {
    let loaded = SchedulerConfig::from_json(SD14).unwrap();
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    assert_eq!(loaded.config.class(), SchedulerClass::Pndm);
    let written: Value = serde_json::from_str(&loaded.config.to_json()).unwrap();
    assert_eq!(written["clip_sample"], false);
    assert_eq!(written["prediction_type"], "epsilon");
    // Another class takes over what it knows, and its own defaults otherwise.
    let ddim = loaded.config.with_class(SchedulerClass::Ddim).unwrap().config;
    assert!(!ddim.settings().clip_sample && !ddim.settings().set_alpha_to_one);
    assert_eq!(ddim.settings().steps_offset, 1);
    let dpm = loaded.config.with_class(SchedulerClass::DpmSolverMultistep).unwrap().config;
    assert_eq!((dpm.settings().beta_end, dpm.settings().solver_order), (0.012, 2));
    assert!(dpm.to_json().contains("\"lambda_min_clipped\": -Infinity"));
}

#[test]
fn unknown_keys_are_named_and_kept() {
    let text =
        r#"{"_class_name": "FlaxDDIMScheduler", "beta_endd": 0.012, "note": "a \"-Infinity\" b", "use_karras": [NaN]}"#;
    let loaded = SchedulerConfig::from_json(text).unwrap();
    assert_eq!(loaded.config.class(), SchedulerClass::Ddim);
    assert_eq!(
        loaded.notes,
        [
            "`_class_name` is FlaxDDIMScheduler; read as DDIMScheduler",
            "ignored, since no scheduler has it: `beta_endd`, `note`, `use_karras`"
        ]
    );
    let written: Value = serde_json::from_str(&loaded.config.to_json()).unwrap();
    assert_eq!(written["beta_endd"], 0.012);
    assert_eq!(written["note"], "a \"-Infinity\" b");
}

/// Words of other solvers become a class's own, as in diffusers.
#[test]
fn words_of_other_classes_are_replaced() {
    let text = r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "deis", "solver_type": "bh2"}"#;
    let loaded = SchedulerConfig::from_json(text).unwrap();
    let settings = loaded.config.settings();
    assert_eq!((settings.algorithm_type, settings.solver_type), (Algorithm::DpmSolverPp, SolverType::Midpoint));
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
    let loaded =
        SchedulerConfig::from_json(r#"{"_class_name": "UniPCMultistepScheduler", "solver_type": "heun"}"#).unwrap();
    assert_eq!(loaded.config.settings().solver_type, SolverType::Bh2);
}

#[test]
fn errors_name_key_value_and_what_is_accepted() {
    let found = error(r#"{"_class_name": "DPMSolverSDEScheduler"}"#);
    assert!(found.starts_with("`_class_name` is DPMSolverSDEScheduler; expected one of DDPMScheduler, "), "{found}");
    assert!(found.contains("EDMEulerScheduler") && found.contains("ScoreSdeVeScheduler"), "{found}");
    assert!(error("{}").contains("`_class_name` is missing"), "{}", error("{}"));
    assert!(error("[1]").contains("a JSON object"), "{}", error("[1]"));
    assert!(error("{").contains("expected JSON"), "{}", error("{"));
    let found =
        error(r#"{"_class_name": "DDIMScheduler", "beta_schedule": "cosine", "steps_offset": 0.5, "clip_sample": 1}"#);
    for part in [
        "`beta_schedule` is \"cosine\"; expected \"linear\", \"scaled_linear\", \"squaredcos_cap_v2\"",
        "`steps_offset` is 0.5; expected a whole number, at least 0",
        "`clip_sample` is 1; expected true or false",
    ] {
        assert!(found.contains(part), "{found}");
    }
    for (class, key, value, part) in [
        ("PNDMScheduler", "prediction_type", "\"sample\"", "\"epsilon\" or \"v_prediction\""),
        ("DDIMScheduler", "beta_schedule", "\"laplace\"", "\"scaled_linear\""),
        ("DDIMScheduler", "beta_end", "1.5", "a number in (0, 1), at least `beta_start`"),
        ("DDPMScheduler", "trained_betas", "[0.1]", "1000 numbers"),
        ("DDPMScheduler", "variance_type", "\"fixed_large_log\"", "root of a negative number"),
        ("DPMSolverMultistepScheduler", "solver_order", "4", "1, 2 or 3"),
        ("DPMSolverMultistepScheduler", "algorithm_type", "\"dpmsolver\"", "\"sigma_min\" with"),
        ("UniPCMultistepScheduler", "solver_p", "{}", "null"),
        ("EDMEulerScheduler", "sigma_min", "90.0", "above `sigma_min`"),
    ] {
        let found = error(&format!("{{\"_class_name\": \"{class}\", \"{key}\": {value}}}"));
        assert!(found.contains(part), "{class} {key}: {found}");
    }
}

#[test]
fn one_key_can_be_changed() {
    let config = SchedulerConfig::new(SchedulerClass::EulerDiscrete).with("prediction_type", "v_prediction").unwrap();
    assert_eq!(config.settings().prediction_type, PredictionType::VPrediction);
    let found = config.with("solver_order", 2).unwrap_err().to_string();
    assert!(found.contains("a key of EulerDiscreteScheduler"), "{found}");
}
