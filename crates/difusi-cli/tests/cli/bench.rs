//! bench: figures that fit each other, without data; wrong input is answered as elsewhere.

use crate::harness::{Place, TINY};

fn args<'a>(config: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let sets = TINY.iter().flat_map(|set| ["--set", set]);
    ["bench", config, "--steps", "7"].into_iter().chain(sets).chain(more.iter().copied()).collect()
}

/// `mnist` without MNIST. The shares of the ops and the rest make the step.
#[test]
fn figures_fit_each_other() {
    let place = Place::new();
    let found = place.json(&args("mnist", &["--threads", "1", "--set", "train.ema=[0.9]"]));
    let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key}: {found}"));
    for key in ["train_step_ms", "forward_ms", "gflops", "ceiling_gflops", "steps_per_s", "images_per_s", "run_step_ms"]
    {
        assert!(number(key) > 0.0, "{key}: {found}");
    }
    assert_eq!((found["precision"].as_str(), found["threads"].as_u64()), (Some("f32"), Some(1)));
    let more = ["--set", "train.precision=bf16", "--set", "sample.precision=f32"];
    let halves = place.json(&args("mnist", &more));
    assert_eq!((halves["precision"].as_str(), halves["forward_precision"].as_str()), (Some("bf16"), Some("f32")));
    assert_eq!((found["size"].to_string(), found["forward_batch"].as_u64()), ("[8,8]".into(), Some(4)));
    assert_eq!(found["train_step_all_ms"].as_array().unwrap().len(), 7);
    assert!(number("train_step_min_ms") <= number("train_step_ms"));
    assert!(number("train_step_ms") <= number("train_step_max_ms"));
    assert!((number("share") - number("gflops") / number("ceiling_gflops")).abs() < 1e-9);
    if cfg!(target_os = "linux") {
        assert!(number("peak_mib") >= number("train_peak_mib") && number("train_peak_mib") > 1.0);
    }
    let ops = found["ops"].as_array().unwrap();
    let ms = ops.iter().map(|op| op["ms"].as_f64().unwrap()).sum::<f64>() + number("everything_else_ms");
    assert!(ops.len() > 10 && ms >= number("profiled_step_ms") * 0.999, "{ms} {found}");
    // What the convolutions of a forward pass count themselves is nearly all that the config is said to cost.
    let conv = |op: &&serde_json::Value| op["op"] == "conv2d";
    let counted: f64 = ops.iter().filter(conv).filter_map(|op| op["gflop"].as_f64()).sum();
    let said = number("train_gflop") / 3.0;
    assert!(counted > 0.5 * said && counted < 1.01 * said, "{counted} of {said}");
}

#[test]
fn people_get_a_table() {
    let place = Place::new();
    std::fs::write(place.path("my.toml"), difusi::presets::get("digits").unwrap()).unwrap();
    let said = place.ok(&args("my.toml", &[]));
    for part in
        ["my: ", "training step:", "% of the ceiling", "peak memory:", "GFLOP/s", "conv2d dw", "everything else"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn wrong_input_is_named() {
    let place = Place::new();
    for (args, part) in [
        (&["bench", "mnits"][..], "mnist-ddpm"),
        (&["bench", "mnist", "--set", "train.stepz=1"], "did you mean `steps`"),
        (&["bench", "mnist", "--set", "model.dim=0"], "`model.dim` is 0"),
        (&["bench", "mnist", "--set", "data.path=elsewhere"], "--set data.size="),
        (&["bench", "mnist", "--set", "data.size=[30,28]"], "divisible by 4"),
        (&["bench", "mnist", "--steps", "3"], "7..=10000"),
    ] {
        let said = place.fails(2, args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
    assert!(place.fails(1, &["bench", "absent.toml"]).contains("absent.toml"));
}
