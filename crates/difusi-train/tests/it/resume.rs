//! Resume is bit-exact, and refuses what is not the same run.

use std::path::Path;

use difusi_store::{ExistingRun, RunDir, read_safetensors};
use difusi_train::{LearningRateSchedule, MicroBatch, TrainConfig, Trainer, TrainerOptions};

use crate::common::{Bits, Denoising, Mlp, all_bits, device, images, quick, run, tensors, trainer};

/// Every feature that could carry state.
fn rich() -> TrainConfig {
    TrainConfig {
        steps: 200,
        batch_size: 6,
        accumulation: 2,
        micro_batch: MicroBatch::Images(4),
        learning_rate: 1e-2,
        learning_rate_schedule: LearningRateSchedule::Cosine { final_fraction: 0.1 },
        warmup_steps: 10,
        clip: 0.5,
        ema: vec![0.9, 0.995],
        ema_every: 3,
        validation: 0.2,
        seed: 7,
        ..TrainConfig::default()
    }
}

fn threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)
}

/// 200 steps at once, and 100, a checkpoint, a new process's trainer, 100.
fn both_ways(config: &TrainConfig, n: usize) -> [(Vec<f64>, Vec<Bits>); 2] {
    let config = config.clone();
    threads(n, move || {
        let dir = tempfile::tempdir().unwrap();
        let mut whole = trainer(config.clone());
        let losses = run(&mut whole, 200);
        let whole = (losses, all_bits(&whole));

        let mut first = trainer(config.clone());
        let mut losses = run(&mut first, 100);
        let state = dir.path().join("state/step-000100");
        first.save_state(&state).unwrap();
        run(&mut first, 3); // lost
        drop(first);
        // Other weights at first: everything must come from the checkpoint.
        let mut second = Trainer::new(config, Denoising, Mlp::new(555), images(23), &device()).unwrap();
        second.resume(&state).unwrap();
        assert_eq!((second.steps_done(), second.images_seen(), second.last_checkpoint()), (100, 1200, Some(&*state)));
        losses.extend(run(&mut second, 100));
        [whole, (losses, all_bits(&second))]
    })
}

#[test]
fn resume_and_thread_count_change_no_bit() {
    let [whole, resumed] = both_ways(&rich(), 1);
    assert!(whole == resumed, "resumed run differs");
    let [two_whole, two_resumed] = both_ways(&rich(), 2);
    assert!(whole == two_whole && whole == two_resumed, "two threads differ from one");
    assert!(whole.0.iter().all(|l| l.is_finite()));
}

#[test]
fn recomputed_activations_change_no_bit() {
    let mut plain = trainer(quick());
    let mut recomputed = trainer(TrainConfig { checkpoint_activations: true, ..quick() });
    assert_eq!(run(&mut plain, 10), run(&mut recomputed, 10));
    assert!(all_bits(&plain) == all_bits(&recomputed));
}

#[test]
fn a_state_holds_what_its_names_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = trainer(TrainConfig { ema: vec![0.9, 0.995], ..quick() });
    run(&mut t, 2);
    t.save_state(&dir.path().join("s")).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(dir.path().join("s"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected =
        ["ema-0.9.safetensors", "ema-0.995.safetensors", "optimizer.safetensors", "state.json", "weights.safetensors"];
    assert_eq!(names, expected);
    let weights = read_safetensors(&dir.path().join("s/weights.safetensors")).unwrap().tensors;
    assert_eq!(weights.names().collect::<Vec<_>>(), ["first", "bias", "second", "scale", "unused"]);
    let averaged = tensors(&dir.path().join("s/ema-0.9.safetensors"));
    let averaged: Vec<&str> = averaged.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(averaged, ["first", "bias", "second", "unused"], "a frozen tensor must not be averaged");
}

fn refused(config: TrainConfig, dir: &Path) -> String {
    trainer(config).resume(dir).unwrap_err().to_string()
}

#[test]
fn another_runs_state_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("s");
    let mut t = trainer(quick());
    run(&mut t, 2);
    t.save_state(&dir).unwrap();

    let free = TrainConfig {
        steps: 99,
        save_every: 1,
        sample_every: 2,
        eval_every: 2,
        eval_images: 10,
        eval_features: "inception".to_owned(),
        validation_every: 3,
        log_every: 4,
        keep: 5,
        ..quick()
    };
    trainer(free).resume(&dir).unwrap();

    let text = refused(TrainConfig { batch_size: 5, learning_rate: 0.5, ..quick() }, &dir);
    assert!(text.contains("`train.batch_size` was 6, now 5"), "{text}");
    assert!(text.contains("`train.learning_rate` was 0.01, now 0.5"), "{text}");
    assert!(!text.contains("train.seed"), "{text}");
    let text = refused(TrainConfig { micro_batch: MicroBatch::Images(2), ..quick() }, &dir);
    assert!(text.contains("`train.micro_batch` was 6, now 2"), "{text}");

    let mut other = Trainer::new(quick(), Denoising, Mlp::new(1), images(24), &device()).unwrap();
    assert!(other.resume(&dir).unwrap_err().to_string().contains("`images in the data set` was 23, now 24"));
    assert!(trainer(quick()).resume(&dir.join("absent")).unwrap_err().to_string().contains("state.json"));
}

#[test]
fn damaged_states_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("s");
    let mut t = trainer(quick());
    run(&mut t, 2);
    t.save_state(&dir).unwrap();
    let before = all_bits(&t);
    let weights = dir.join("weights.safetensors");
    std::fs::copy(dir.join("ema-0.995.safetensors"), &weights).unwrap();
    let text = t.resume(&dir).unwrap_err().to_string();
    assert!(text.contains("weights.safetensors: `scale` is missing"), "{text}");
    std::fs::write(&weights, b"short").unwrap();
    assert!(t.resume(&dir).unwrap_err().to_string().contains("weights.safetensors"));
    std::fs::write(dir.join("state.json"), br#"{"format": 9}"#).unwrap();
    assert!(t.resume(&dir).unwrap_err().to_string().contains("`format` is 9; expected 1"));
    assert!(before == all_bits(&t));
    assert_eq!(t.steps_done(), 2);
}

/// "auto" is decided once: the state's number holds, whatever memory says later.
#[test]
fn the_micro_batch_of_a_run_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = |limit| TrainerOptions { activation_bytes_per_image: Some(1 << 20), memory_limit: Some(limit) };
    let mut first = trainer(quick()).with_options(options(2 << 20 | 1 << 16));
    assert_eq!(first.micro_batch(), 2);
    run(&mut first, 5);
    first.save_state(&dir.path().join("s")).unwrap();
    run(&mut first, 5);
    let mut second = trainer(quick()).with_options(options(1 << 40));
    assert_eq!(second.micro_batch(), 6);
    second.resume(&dir.path().join("s")).unwrap();
    assert_eq!(second.micro_batch(), 2);
    run(&mut second, 5);
    assert!(all_bits(&first) == all_bits(&second));
}

#[test]
fn run_folders_keep_the_newest_states() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = RunDir::create(dir.path().join("run"), ExistingRun::Refuse).unwrap();
    let mut t = trainer(TrainConfig { keep: 2, ..quick() });
    for _ in 0..4 {
        t.step().unwrap();
        t.save_checkpoint(&run_dir).unwrap();
    }
    let steps: Vec<u64> = run_dir.states().unwrap().iter().map(|s| s.step).collect();
    assert_eq!(steps, [4, 3]);
    let mut again = trainer(TrainConfig { keep: 2, ..quick() });
    assert_eq!(again.resume_newest(&run_dir).unwrap(), Some(run_dir.state_at(4)));
    assert!(all_bits(&t) == all_bits(&again));
}
