//! Interruptions: kill -9, Ctrl-C, and going on as if nothing had happened.

use std::path::Path;
use std::process::Command;

use crate::harness::{Place, bytes, train_args};

/// Everything that decides the future of a run, and its model.
fn assert_same_run(a: &Path, b: &Path, step: &str) {
    for file in ["weights.safetensors", "ema-0.99.safetensors", "optimizer.safetensors"] {
        let name = Path::new("state").join(step).join(file);
        assert!(bytes(&a.join(&name)) == bytes(&b.join(&name)), "{} differs", name.display());
    }
    assert!(bytes(&a.join("model.safetensors")) == bytes(&b.join("model.safetensors")), "the models differ");
    let steps = |run: &Path| {
        difusi::store::Metrics::read(&run.join("metrics.csv")).unwrap().rows.iter().map(|r| r.0).collect::<Vec<_>>()
    };
    assert_eq!(steps(a), steps(b));
}

/// One go, and the same with kill -9 somewhere after the first checkpoint: bit-equal weights, averages and moments.
#[test]
fn kill_and_resume_is_bit_exact() {
    let place = Place::new();
    let more = [
        "train.save_every=10",
        "train.ema=[0.99, 0.9]",
        "train.keep=100",
        "train.validation=0.01",
        "train.validation_images=8",
        "train.validation_every=15",
        "train.micro_batch=3",
        "train.accumulation=2",
        "model.dropout=0.1",
        "model.self_condition=true",
    ];
    let more: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
    place.train("whole", 60, &more);
    let mut running = place.start(&train_args("cut", 60, &more));
    running.wait_for(&place.path("cut/state/step-000010"));
    drop(running); // SIGKILL
    let args = train_args("cut", 60, &[&more[..], &["--resume"]].concat());
    place.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_same_run(&place.path("whole"), &place.path("cut"), "step-000060");
}

/// Ctrl-C finishes the step, saves, and says how to go on; the run ends where it would have ended.
#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_resumes() {
    let place = Place::new();
    let more = ["--set", "train.save_every=10", "--set", "train.ema=[0.99, 0.9]", "--set", "train.keep=100"];
    let mut running = place.start(&train_args("cut", 100_000, &more));
    running.wait_for(&place.path("cut/state/step-000010"));
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = running.0.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut running.0.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("--resume") && said.contains("saved"), "{said}");
    let stopped = difusi::store::RunPaths::open(place.path("cut")).unwrap().states().unwrap()[0].step;
    let end = stopped + 7;
    let args = train_args("cut", end, &[&more[..], &["--resume"]].concat());
    place.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    // The learning rate of the whole run depends on its length; resuming with another length changes only what follows.
    assert!(place.path("cut/state").join(format!("step-{end:06}")).exists());
}

#[test]
fn resuming_another_config_is_refused() {
    let place = Place::new();
    place.train("r", 4, &[]);
    let args = train_args("r", 8, &["--set", "train.batch_size=8", "--resume"]);
    let said = place.fails(1, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("batch_size"), "{said}");
    let other = train_args("r", 8, &["--set", "diffusion.loss=l1", "--set", "data.seed=3", "--resume"]);
    let said = place.fails(2, &other.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("diffusion.loss") && said.contains("data.seed"), "{said}");
    let said = place.fails(1, &["train", "digits", "--out", "nowhere", "--resume"]);
    assert!(said.contains("nowhere"), "{said}");
}

/// With --resume a preset goes on with the run's own config: no --set has to be typed again.
#[test]
fn resume_needs_no_overrides() {
    let place = Place::new();
    place.train("r", 4, &[]);
    place.ok(&["train", "digits", "--out", "r", "--resume", "--set", "train.steps=6"]);
    assert!(place.path("r/state/step-000006").exists());
}

/// A run folder names itself; where there is no run, that is said with the way out.
#[test]
fn resume_by_folder() {
    let place = Place::new();
    place.train("here/r", 4, &[]);
    place.ok(&["train", "here/r", "--resume", "--set", "train.steps=6"]);
    assert!(place.path("here/r/state/step-000006").exists() && !place.path("runs").exists());
    let said = place.fails(1, &["train", "digits", "--resume"]);
    assert!(said.contains("no run to resume") && said.contains("runs/digits"), "{said}");
}

/// After Ctrl-C the line to type works as it stands, with a config file and overrides too.
#[test]
#[cfg(unix)]
fn the_line_that_goes_on_works() {
    let place = Place::new();
    place.train("r", 2, &[]);
    std::fs::copy(place.path("r/config.toml"), place.path("my.toml")).unwrap();
    let args = ["train", "my.toml", "--out", "s", "--set", "train.steps=100000", "--set", "train.seed=7"];
    let more = ["--set", "train.save_every=10"];
    let mut running = place.start(&[&args[..], &more].concat().iter().map(ToString::to_string).collect::<Vec<_>>());
    running.wait_for(&place.path("s/state/step-000010"));
    assert!(Command::new("kill").args(["-INT", &running.0.id().to_string()]).status().unwrap().success());
    running.0.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut running.0.stderr.take().unwrap(), &mut said).unwrap();
    let line = said.lines().find_map(|l| l.strip_prefix("go on:  difusi ")).unwrap();
    let typed: Vec<String> = line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
    let mut again = place.start(&typed);
    let stopped = difusi::store::RunPaths::open(place.path("s")).unwrap().states().unwrap()[0].step;
    again.wait_for(&place.path("s/state").join(format!("step-{:06}", (stopped / 10 + 1) * 10)));
}
