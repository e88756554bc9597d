//! VAE, GAN, flow and classifier by the same run, folder and model files as diffusion.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use difusi::store::{Metrics, Picture, read_safetensors};
use difusi::{
    Device, Drawing, Latents, Model, OpenModel, Run, RunConfig, RunEvent, RunOptions, RunStart, Sampler,
    SamplerOptions, Start, Weights, families::LatentSample,
};

/// Kind, keys of the smallest network, parts of the loss.
const KINDS: [(&str, &[&str], &[&str]); 5] = [
    ("vae", &["model.dim=8", "model.latent=4", "vae.kl_warmup=10", "vae.free_bits=0.1"], &["reconstruction", "kl"]),
    ("vae", &["model.dim=8", "model.latent=4", "model.likelihood=discretised_logistic"], &["reconstruction", "kl"]),
    ("gan", &["model.dim=8", "model.discriminator_dim=8", "model.latent=4"], &["discriminator", "generator"]),
    ("flow", &["model.dim=8", "model.checkerboard_dim=8", "model.steps=2", "model.levels=1"], &[]),
    ("classifier", &["model.dim=8", "model.classes=10"], &["accuracy"]),
];

fn config(kind: &str, keys: &[&str], steps: u64) -> RunConfig {
    let dims = if kind == "flow" { "" } else { "dim_mults = [1, 2]" };
    let text = format!("[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"{kind}\"\n{dims}");
    let train = ["batch_size=6", "learning_rate=1e-2", "ema=[0.9]", "validation=0.01", "validation_images=7"];
    let more = ["validation_every=10", "log_every=5", "save_every=10", "sample_every=0", "micro_batch=4", "seed=3"];
    let train = train.iter().chain(&more).map(|key| format!("train.{key}"));
    // The case's own keys come last, so that they win.
    let keys = train.chain(keys.iter().map(ToString::to_string));
    let count = (kind != "classifier").then(|| "sample.count=4".to_owned());
    let set: Vec<String> = keys.chain(count).chain([format!("train.steps={steps}")]).collect();
    RunConfig::parse_with(&text, &set).unwrap()
}

fn train(config: &RunConfig, out: &Path, start: RunStart) -> Vec<RunEvent> {
    let options = RunOptions { start, ..RunOptions::new(config.clone(), out) };
    let mut run = Run::open(options, &Device::flex()).unwrap();
    let mut events = Vec::new();
    while let Some(report) = run.step(&mut |e| events.push(e)).unwrap() {
        assert!(report.loss.is_finite() && report.skipped.is_none(), "{report:?}");
    }
    run.finish(&mut |_, _| {}).unwrap();
    events
}

fn threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)
}

fn open(out: &Path) -> Model {
    OpenModel::new(out).open(&Device::flex()).unwrap()
}

fn draw(model: &Model, options: SamplerOptions) -> Vec<Picture> {
    Sampler::new(model, options, &Device::flex()).unwrap().all().unwrap()
}

/// Twenty steps are ten, a stop, and ten, to the bit, at any number of threads; rows of metrics too.
#[test]
fn resuming_changes_no_bit() {
    for (kind, keys, parts) in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let [whole, halves] = ["whole", "halves"].map(|name| dir.path().join(name));
        let events = threads(1, || train(&config(kind, keys, 20), &whole, RunStart::New));
        threads(3, || {
            train(&config(kind, keys, 10), &halves, RunStart::New);
            train(&config(kind, keys, 20), &halves, RunStart::Resume)
        });
        for file in ["weights", "ema-0.9", "optimizer"] {
            let tensors = |run: &Path| read_safetensors(&run.join(format!("state/step-000020/{file}.safetensors")));
            assert_eq!(tensors(&whole).unwrap().tensors, tensors(&halves).unwrap().tensors, "{kind}: {file}");
        }
        assert_eq!(open(&whole).hash, open(&halves).hash, "{kind}");
        let [a, b] = [&whole, &halves].map(|run| Metrics::read(&run.join("metrics.csv")).unwrap());
        assert_eq!(a.points("loss"), b.points("loss"), "{kind}");
        for part in parts {
            assert_eq!((a.points(part).len(), a.points(&format!("validation_{part}")).len()), (4, 2), "{kind}: {part}");
            assert_eq!(a.points(part), b.points(part), "{kind}: {part}");
        }
        let seen = events.iter().find_map(|e| match e {
            RunEvent::Validated { parts, .. } => Some(parts.iter().map(|p| p.0).collect::<Vec<_>>()),
            _ => None,
        });
        assert!(parts.iter().all(|p| seen.as_ref().unwrap().contains(p)), "{kind}: {seen:?}");
        assert_eq!(whole.join("samples.png").exists(), kind != "classifier", "{kind}");
        assert!(whole.join("loss.svg").exists());
    }
}

/// Thirty steps make the loss fall; a model file works alone, and a model goes on from another's weights.
#[test]
fn losses_fall_and_files_work_alone() {
    for (kind, keys, _) in KINDS.into_iter().filter(|k| k.0 != "gan") {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        train(&config(kind, keys, 30), &run, RunStart::New);
        let loss = Metrics::read(&run.join("metrics.csv")).unwrap().points("loss");
        assert!(loss.last().unwrap()[1] < 0.95 * loss[0][1], "{kind}: {loss:?}");
        let alone = dir.path().join("alone.safetensors");
        std::fs::copy(run.join("model.safetensors"), &alone).unwrap();
        assert_eq!(open(&alone).hash, open(&run).hash, "{kind}");
        let raw = OpenModel { weights: Weights::Raw, ..OpenModel::new(&run) }.open(&Device::flex()).unwrap();
        assert_ne!(raw.hash, open(&run).hash, "{kind}");
        let frozen = [keys, &["train.learning_rate=1e-30", "train.seed=9"]].concat();
        let from = Some(difusi::FineTune { model: OpenModel::new(&run) });
        let options = RunOptions { from, ..RunOptions::new(config(kind, &frozen, 1), dir.path().join("tuned")) };
        let mut tuned = Run::open(options, &Device::flex()).unwrap();
        while tuned.step(&mut |_| {}).unwrap().is_some() {}
        tuned.finish(&mut |_, _| {}).unwrap();
        for (name, tensor) in read_safetensors(&dir.path().join("tuned/model.safetensors")).unwrap().tensors {
            let old = read_safetensors(&alone).unwrap().tensors.take(&name).unwrap().into_f32();
            assert!(tensor.into_f32().iter().zip(old).all(|(a, b)| (a - b).abs() < 1e-12), "{kind}: {name}");
        }
    }
}

/// Pictures depend on the seed and the number alone; blends begin and end at their seeds; a picture's latent gives the picture back.
#[test]
fn latents_become_pictures() {
    for (kind, keys, _) in KINDS.into_iter().filter(|k| k.0 != "classifier") {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        train(&config(kind, keys, 30), &run, RunStart::New);
        let model = open(&run);
        let of = |seed, batch, count| SamplerOptions { seed, batch, count, ..SamplerOptions::of(&model) };
        let all = draw(&model, of(7, None, 5));
        let near = |a: &Picture, b: &Picture| a.pixels().iter().zip(b.pixels()).all(|(x, y)| x.abs_diff(*y) <= 1);
        assert!(all.iter().zip(draw(&model, of(7, Some(2), 5))).all(|(a, b)| near(a, &b)), "{kind}");
        assert_ne!(all, draw(&model, of(8, None, 5)), "{kind}");
        let blend = SamplerOptions { start: Start::Between(7, 9), ..of(0, None, 3) };
        let blend = draw(&model, blend);
        assert!(near(&blend[0], &all[0]) && near(&blend[2], &draw(&model, of(9, None, 1))[0]), "{kind}");
        let cold = LatentSample { temperature: 0.0, ..LatentSample::default() };
        let cold = draw(&model, SamplerOptions { config: Drawing::Latent(cold), ..of(7, None, 2) });
        assert_eq!(cold[0], cold[1], "{kind}: at temperature 0 there is one picture");

        let latents = Latents::new(&model, &Device::flex()).unwrap();
        let z = latents.draw(&LatentSample::default(), 7, 0..2);
        let pictures = latents.decode(z);
        match kind {
            "gan" => assert!(latents.encode(pictures).unwrap_err().to_string().contains("no latents of pictures")),
            "flow" => {
                let again = latents.decode(latents.encode(pictures.clone()).unwrap());
                let apart: Vec<f32> = (again - pictures).abs().into_data().iter::<f32>().collect();
                assert!(apart.iter().all(|v| *v < 2.0 / 127.5), "{apart:?}");
            }
            _ => assert_eq!(latents.encode(pictures).unwrap().dims(), [2, latents.dim()]),
        }
    }
}

/// What a kind has not is refused by its name.
#[test]
fn what_a_kind_lacks_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, keys, _) in [KINDS[0], KINDS[4]] {
        let run = dir.path().join(kind);
        train(&config(kind, keys, 2), &run, RunStart::New);
        let model = open(&run);
        let said = model.diffusion().unwrap_err().to_string();
        assert!(said.contains(&format!("model.kind = \"{kind}\"")) && said.contains("a diffusion model"), "{said}");
        assert!(model.save_pt(&dir.path().join("m.pt")).is_err());
        let options = SamplerOptions { start: Start::Torch, ..SamplerOptions::of(&model) };
        assert!(Sampler::new(&model, options, &Device::flex()).is_err(), "{kind}");
    }
    let said = Sampler::new(
        &open(&dir.path().join("classifier")),
        SamplerOptions::of(&open(&dir.path().join("vae"))),
        &Device::flex(),
    );
    assert!(said.unwrap_err().to_string().contains("a model that draws pictures"));
    let classes = config("classifier", &["model.dim=8", "model.classes=7"], 2);
    let said = Run::open(RunOptions::new(classes, dir.path().join("x")), &Device::flex()).err().unwrap().to_string();
    assert!(said.contains("`model.classes` is 7; expected 10"), "{said}");
    let half = config("vae", &["train.precision=bf16"], 2);
    let said = Run::open(RunOptions::new(half, dir.path().join("y")), &Device::flex()).err().unwrap().to_string();
    assert!(said.contains("train.precision") && !dir.path().join("y").exists(), "{said}");
    // Another kind's weights, and going on with another loss.
    let from = Some(difusi::FineTune { model: OpenModel::new(dir.path().join("vae")) });
    let options = RunOptions { from, ..RunOptions::new(config("flow", KINDS[3].1, 2), dir.path().join("z")) };
    let said = Run::open(options, &Device::flex()).err().unwrap().to_string();
    assert!(said.contains("decoder.stem.weight") && said.contains("unknown"), "{said}");
    let options = RunOptions {
        start: RunStart::Resume,
        ..RunOptions::new(config("vae", &[KINDS[0].1, &["vae.kl_weight=2.0"]].concat(), 4), dir.path().join("vae"))
    };
    let said = Run::open(options, &Device::flex()).err().unwrap().to_string();
    assert!(said.contains("vae.kl_weight"), "{said}");
}
