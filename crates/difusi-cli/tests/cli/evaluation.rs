//! Training that evaluates its pictures: scores, the best model, resuming.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;

use difusi::store::{Metrics, RunPaths};

use crate::harness::{Place, bytes, train_args};

/// A few pictures, compared with a few images.
const EVALUATED: &[&str] =
    &["data.count=60", "train.eval_every=4", "train.eval_images=10", "train.eval_features=pixels:3"];

/// Overrides as arguments.
fn sets<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    keys.iter().flat_map(|set| ["--set", set]).collect()
}

fn args(out: &str, steps: u64, keys: &[&str], more: &[&str]) -> Vec<String> {
    train_args(out, steps, &[sets(&[EVALUATED, keys].concat()), more.to_vec()].concat())
}

/// Trains, and expects success; what was printed on stderr.
fn train(place: &Place, args: &[String]) -> String {
    let out = place.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{said}");
    said
}

fn metrics(run: &Path) -> Metrics {
    Metrics::read(&run.join("metrics.csv")).unwrap()
}

/// metrics.csv without the column that differs from run to run.
fn timeless(run: &Path) -> Metrics {
    let mut table = metrics(run);
    let at = table.columns.iter().position(|c| c == "seconds").unwrap();
    table.columns.remove(at);
    table.rows.iter_mut().for_each(|(_, row)| {
        row.remove(at);
    });
    table
}

fn lowest(metrics: &Metrics) -> [f64; 2] {
    metrics.points("fid").into_iter().reduce(|low, p| if p[1] < low[1] { p } else { low }).unwrap()
}

/// Scores are said, written and drawn; the best model is a file like any other, and `difusi eval` gives it the same score.
#[test]
fn scores_and_the_best_model() {
    let place = Place::new();
    let said = train(&place, &args("r", 10, &["train.save_every=5"], &[]));
    let run = place.path("r");
    let metrics = metrics(&run);
    let steps = |column| metrics.points(column).iter().map(|p| p[0]).collect::<Vec<_>>();
    assert_eq!((steps("fid"), steps("kid")), (vec![4.0, 8.0, 10.0], vec![4.0, 8.0, 10.0]));
    assert!(
        said.contains("step 4: evaluating 70 pictures") && said.contains("step 8: evaluating 10 pictures"),
        "{said}"
    );
    assert!(said.contains("step 4: FID ") && said.contains("best so far: r/best.safetensors"), "{said}");
    assert_eq!(said.matches("10 pictures of train.eval_images are few").count(), 1, "{said}");
    assert_eq!(bytes(&run.join("loss.svg")).windows(14).filter(|w| w == b"FID (pixels:3)").count(), 1);

    let [step, fid] = lowest(&metrics);
    let found = place.json(&["inspect", "r/best.safetensors"]);
    assert_eq!((&found["facts"]["steps"], &found["facts"]["weights"]), (&step.to_string().into(), &"ema:0.99".into()));
    assert_eq!(found["facts"]["fid"], format!("{fid:.4} (pixels:3, 10 pictures)"));
    let told = place.json(&["inspect", "r"]);
    assert!(told["facts"]["best"].as_str().unwrap().contains(&format!("step {step}, FID {fid:.4}")), "{told}");
    let eval = ["eval", "r/best.safetensors", "-n", "10", "--batch", "4", "--features", "pixels:3", "--metrics", "fid"];
    let again = place.json(&[&eval[..], &["--reference", "digits", "--reference-count", "60"]].concat());
    assert_eq!(again["fid"].as_f64(), Some(fid), "{again}");
    let drawn = |model: &str, more: &[&str], to: &str| {
        place.ok(&[&["sample", model, "-n", "3", "-o", to], more].concat());
        bytes(&place.path(to))
    };
    assert!(drawn("r/best.safetensors", &[], "a.npz") == drawn("r", &["--weights", "best"], "b.npz"));
}

/// Going on from an older state, with the best model of a later step in the folder, ends where the run in one go ended.
#[test]
fn resuming_is_exact() {
    let place = Place::new();
    let keys =
        ["train.save_every=5", "train.log_every=5", "train.keep=100", "train.ema=[0.9]", "train.learning_rate=1e-2"];
    train(&place, &args("whole", 20, &keys, &[]));
    train(&place, &args("cut", 20, &keys, &[]));
    for at in [5, 10, 15] {
        // As if it had been killed before the next state was written.
        for state in RunPaths::open(place.path("cut")).unwrap().states().unwrap().iter().filter(|s| s.step > at) {
            std::fs::remove_dir_all(&state.path).unwrap();
        }
        let said = train(&place, &args("cut", 20, &keys, &["--resume"]));
        assert!(said.contains(&format!("going on after step {at}")), "{said}");
        let [whole, cut] = ["whole", "cut"].map(|run| place.path(run));
        assert_eq!(timeless(&whole), timeless(&cut));
        for file in ["best.safetensors", "model.safetensors", "state/step-000020/optimizer.safetensors"] {
            assert!(bytes(&whole.join(file)) == bytes(&cut.join(file)), "{file} differs after {at}");
        }
    }
}

/// The same weights with evaluations and without.
#[test]
fn evaluations_change_no_weight() {
    let place = Place::new();
    let more = ["model.dropout=0.1", "model.self_condition=true", "train.validation=0.2", "train.validation_every=3"];
    train(&place, &args("with", 9, &more, &[]));
    train(&place, &args("without", 9, &[&more[..], &["train.eval_every=0"]].concat(), &[]));
    for file in
        ["model.safetensors", "state/step-000009/weights.safetensors", "state/step-000009/optimizer.safetensors"]
    {
        assert!(bytes(&place.path("with").join(file)) == bytes(&place.path("without").join(file)), "{file}");
    }
    let columns = metrics(&place.path("without")).columns;
    assert!(!columns.iter().any(|c| c == "fid" || c == "kid") && !place.path("without/best.safetensors").exists());
}

/// Evaluations may begin and end when a run is resumed; scores stay, and are never of other features than those before.
#[test]
fn evaluations_come_and_go() {
    let place = Place::new();
    train(&place, &args("r", 2, &["train.eval_every=0"], &[]));
    let said = place.fails(1, &["sample", "r", "--weights", "best"]);
    assert!(said.contains("best.safetensors") && said.contains("train.eval_every"), "{said}");
    train(&place, &args("r", 5, &[], &["--resume"]));
    let best = bytes(&place.path("r/best.safetensors"));
    train(&place, &args("r", 8, &["train.eval_every=0"], &["--resume"]));
    let found = metrics(&place.path("r"));
    assert_eq!(found.points("fid").iter().map(|p| p[0]).collect::<Vec<_>>(), [4.0, 5.0]);
    assert_eq!(found.rows.last().unwrap().0, 8);
    assert!(bytes(&place.path("r/best.safetensors")) == best);
    let other = args("r", 9, &["train.eval_features=pixels", "train.eval_images=12"], &["--resume"]);
    let said = place.fails(2, &other.iter().map(String::as_str).collect::<Vec<_>>());
    for part in ["`train.eval_features` is pixels", "pixels:3", "`train.eval_images` is 12", "--out"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Before anything is written.
#[test]
fn bad_values_are_named() {
    let place = Place::new();
    let fails = |keys: &[&str], part: &str| {
        let args = args("r", 2, keys, &[]);
        let said = place.fails(2, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains(part) && !place.path("r").exists(), "{part}: {said}");
    };
    fails(&["train.eval_images=1"], "`train.eval_images` is 1; expected a whole number, 2 or more");
    fails(&["train.eval_features=pixels:0"], "`train.eval_features` is \"pixels:0\"; expected pixels");
    fails(&["train.eval_features=mnist-cnn"], "`train.eval_features` is \"mnist-cnn\"");
    fails(&["train.eval_features=vgg"], "there is no file vgg");
    fails(&["train.eval_features=inception"], "difusi data fetch inception");
    fails(&["train.eval_evry=1"], "did you mean `eval_every`");
    std::fs::write(
        place.path("c.toml"),
        "[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"classifier\"\nclasses = 10\n[train]\neval_every = 5\n",
    )
    .unwrap();
    let said = place.fails(2, &["train", "c.toml", "--dry-run"]);
    assert!(said.contains("`train.eval_every` is 5; expected 0 with model.kind = \"classifier\""), "{said}");
}

/// Ctrl-C while pictures are drawn saves the run; resumed, it makes the evaluation first, and may be stopped there again.
#[test]
#[cfg(unix)]
fn ctrl_c_puts_an_evaluation_off() {
    let place = Place::new();
    let endless = "train.eval_images=100000000";
    for more in [&[][..], &["--resume"]] {
        let mut running = place.start(&args("cut", 6, &[endless], more));
        let mut said = BufReader::new(running.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("step 4: evaluating") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended early");
        }
        assert!(Command::new("kill").args(["-INT", &running.0.id().to_string()]).status().unwrap().success());
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(130), "{rest}");
        assert!(rest.contains("step 4: the evaluation is left") && rest.contains("go on:"), "{rest}");
        let states = RunPaths::open(place.path("cut")).unwrap().states().unwrap();
        assert_eq!(states.iter().map(|s| s.step).collect::<Vec<_>>(), [4]);
        assert!(!place.path("cut/best.safetensors").exists());
    }
    let said = train(&place, &args("cut", 6, &[], &["--resume"]));
    assert!(said.contains("step 4: FID") && said.contains("step 6: FID"), "{said}");
    train(&place, &args("whole", 6, &[], &[]));
    assert_eq!(timeless(&place.path("cut")), timeless(&place.path("whole")));
    assert!(bytes(&place.path("cut/best.safetensors")) == bytes(&place.path("whole/best.safetensors")));
}
