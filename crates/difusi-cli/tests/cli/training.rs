//! `difusi train`: what a run leaves, fine-tuning, dry run, existing folders.

use difusi::store::{Metrics, read_png, read_png_text};

use crate::harness::{Place, bytes};

#[test]
fn a_run_leaves_everything_it_promises() {
    let place = Place::new();
    let said = place.train(
        "runs/a",
        20,
        &[
            "--set",
            "train.save_every=10",
            "--set",
            "train.sample_every=10",
            "--set",
            "train.validation=0.01",
            "--set",
            "train.validation_images=8",
            "--set",
            "train.validation_every=10",
        ],
    );
    let run = place.path("runs/a");
    for file in
        ["config.toml", "model.safetensors", "metrics.csv", "loss.svg", "samples.png", "samples/step-000010.png"]
    {
        assert!(run.join(file).exists(), "{file} is missing");
    }
    assert!(said.contains("difusi sample runs/a"), "{said}");
    let picture = read_png(&run.join("samples.png")).unwrap();
    assert_eq!((picture.height(), picture.width()), (2 * 8 + 3 * 2, 2 * 8 + 3 * 2));
    let text = read_png_text(&run.join("samples.png")).unwrap();
    assert!(text.iter().any(|(k, v)| k == "command" && v.contains("difusi train digits")), "{text:?}");
    assert!(text.iter().any(|(k, v)| k == "model" && v.len() >= 8), "{text:?}");
    let metrics = Metrics::read(&run.join("metrics.csv")).unwrap();
    assert_eq!(metrics.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [5, 10, 15, 20]);
    assert_eq!(metrics.points("validation_loss").len(), 2);
    assert!(metrics.points("loss").iter().all(|p| p[1].is_finite() && p[1] > 0.0));
    let config = String::from_utf8(bytes(&run.join("config.toml"))).unwrap();
    difusi::RunConfig::parse(&config).unwrap();
    let next = place.json(&["sample", "runs/a", "-o", "b.png"]);
    assert_eq!(next["count"], 4);
}

#[test]
fn the_last_checkpoints_are_kept() {
    let place = Place::new();
    place.train("r", 20, &["--set", "train.save_every=4", "--set", "train.keep=2"]);
    let mut names: Vec<String> = std::fs::read_dir(place.path("r/state"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["step-000016", "step-000020"]);
}

#[test]
fn an_existing_run_is_not_touched_unless_told() {
    let place = Place::new();
    place.train("r", 2, &[]);
    let before = bytes(&place.path("r/model.safetensors"));
    let args = crate::harness::train_args("r", 3, &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = place.fails(1, &args);
    assert!(said.contains("--resume") && said.contains("--overwrite"), "{said}");
    assert_eq!(bytes(&place.path("r/model.safetensors")), before);
    place.ok(&[&args[..], &["--overwrite"]].concat());
    assert_ne!(bytes(&place.path("r/model.safetensors")), before);
}

#[test]
fn fine_tuning_starts_from_the_given_weights() {
    let place = Place::new();
    place.train("base", 4, &[]);
    let frozen = ["--set", "train.learning_rate=1e-30", "--set", "train.seed=9"];
    place.train("tuned", 1, &[&frozen[..], &["--from", "base"]].concat());
    let tensors =
        |run: &str| difusi::store::read_safetensors(&place.path(run).join("model.safetensors")).unwrap().tensors;
    assert_eq!(tensors("base"), tensors("tuned"));
    let wrong = crate::harness::train_args("other", 1, &["--set", "model.dim=16", "--from", "base"]);
    let said = place.fails(1, &wrong.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("init_conv.weight") && !place.path("other").exists(), "{said}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let args = crate::harness::train_args("r", 5, &["--dry-run"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = place.ok(&args);
    for part in ["[data]", "dim_mults", "parameters:", "activation memory:", "downs.0.0", "final_conv"] {
        assert!(said.contains(part), "{part} not in {said}");
    }
    let json = place.json(&args);
    assert!(json["parameters"].as_u64().unwrap() > 1000 && json["layers"].as_array().unwrap().len() > 10);
    assert!(!place.path("r").exists());
}

/// The same weights at any number of threads.
#[test]
fn threads_change_nothing() {
    let place = Place::new();
    for threads in ["1", "3"] {
        let more = ["--set", "train.micro_batch=3", "--set", "model.dropout=0.1", "--set", "model.self_condition=true"];
        place.train(threads, 6, &[&more[..], &["--threads", threads]].concat());
    }
    assert_eq!(bytes(&place.path("1/model.safetensors")), bytes(&place.path("3/model.safetensors")));
}
