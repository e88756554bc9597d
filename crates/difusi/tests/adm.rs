//! The U-Net of Ho et al. and ADM in runs, and in the files of diffusers and guided-diffusion. The golden files are made by
//! xtask/golden/adm_golden.py.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use difusi::nn::unet::adm::Resample;
use difusi::store::pt::{self, PtValue};
use difusi::store::{HostTensor, TensorMap, read_safetensors, write_safetensors};
use difusi::{
    Asked, Device, DiffusionNetworkConfig, Model, OpenModel, PredictIo, Run, RunConfig, RunOptions, RunStart, Sampler,
    SamplerOptions, SchedulerRun, Start, describe, predict, presets, read_scheduler,
};
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// SplitMix64 started at the FNV-1a hash of the name, in [-1, 1).
fn uniform(name: &str, index: usize) -> f64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let z = hash.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// `formula` of the script.
fn formula(name: &str, shape: &[usize]) -> HostTensor {
    let inner = (shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let value = |u: f64| match name {
        n if n.ends_with(".bias") => 0.2 * u,
        _ if shape.len() == 1 => 1.0 + 0.4 * u,
        "class_embedding.weight" | "label_emb.weight" => 1.5 * u,
        _ => 1.5 * u / inner,
    };
    let values = (0..shape.iter().product()).map(|i| value(uniform(name, i)) as f32).collect();
    HostTensor::f32(shape.to_vec(), values).unwrap()
}

fn open(path: &Path) -> Model {
    OpenModel::new(path).open(&Device::flex()).unwrap()
}

fn fails(path: &Path) -> String {
    OpenModel::new(path).open(&Device::flex()).unwrap_err().to_string()
}

/// The pipeline of the golden file in `folder`, its weights from the formula.
fn pipeline(folder: &Path, rename: impl Fn(String) -> String) -> TensorMap {
    let file = read_safetensors(&golden("tests/golden/adm_pipeline.safetensors")).unwrap();
    for name in ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"] {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), &file.metadata[name]).unwrap();
    }
    let args: Value = serde_json::from_str(&file.metadata["unet/config.json"]).unwrap();
    let mut args = args.as_object().unwrap().clone();
    args.retain(|key, _| !key.starts_with('_'));
    let args: difusi::nn::unet::adm::diffusers::UnetArgs = serde_json::from_value(Value::Object(args)).unwrap();
    let mut weights = TensorMap::new();
    for p in args.config().unwrap().parameters().unwrap() {
        weights.insert(rename(p.name.clone()), formula(&p.name, &p.shape));
    }
    let path = folder.join("unet/diffusion_pytorch_model.safetensors");
    write_safetensors(&path, &weights, &BTreeMap::default()).unwrap();
    file.tensors
}

/// Largest difference between the bytes drawn and the peer's `[N, C, H, W]` in [0, 1], in bytes.
fn difference(model: &Model, folder: &Path, wanted: &HostTensor) -> f64 {
    let mut options =
        SamplerOptions { count: wanted.shape[0], seed: 5, start: Start::Torch, ..SamplerOptions::of(model) };
    let difusi::Drawing::Diffusion(sample) = &mut options.config else { panic!("not a diffusion model") };
    sample.steps = 10;
    options.scheduler = Some(SchedulerRun { config: read_scheduler(folder).unwrap().config, eta: 0.0 });
    let ours = Sampler::new(model, options, &Device::flex()).unwrap().all().unwrap();
    let [_, c, h, w] = wanted.shape[..] else { panic!("{:?}", wanted.shape) };
    let mut worst = 0.0_f64;
    let wanted = wanted.to_f64();
    for (i, picture) in ours.iter().enumerate() {
        for (j, byte) in picture.pixels().iter().enumerate() {
            let (pixel, channel) = (j / c, j % c);
            worst = worst.max((f64::from(*byte) - 255.0 * wanted[(i * c + channel) * h * w + pixel]).abs());
        }
    }
    worst
}

/// The pictures that diffusers' DDPMPipeline draws, whatever names its attention has.
#[test]
fn the_pipelines_pictures() {
    let older = |name: String| name.replace("to_out.0", "proj_attn").replace("to_q", "query").replace("to_k", "key");
    for rename in [&(|name| name) as &dyn Fn(String) -> String, &older] {
        let dir = tempfile::tempdir().unwrap();
        let wanted = pipeline(dir.path(), rename);
        let model = open(dir.path());
        assert_eq!(
            (model.card.shape, model.card.origin.as_deref(), model.notes.len()),
            ([8, 12, 3], Some("diffusers"), 0)
        );
        let gap = difference(&model, dir.path(), wanted.get("samples").unwrap());
        println!("largest difference of a byte: {gap:.2}");
        assert!(gap <= 0.51, "{gap}"); // half a byte is rounding
        // The network alone, and the file, find their config and the scheduler.
        for path in ["unet", "unet/diffusion_pytorch_model.safetensors"] {
            assert_eq!(open(&dir.path().join(path)).card, model.card, "{path}");
        }
        let said = describe(dir.path()).unwrap();
        assert!(
            said.kind.contains("folder of diffusers") && said.config.unwrap().contains("kind = \"adm\""),
            "{}",
            said.kind
        );
        assert!(said.facts.contains(&("scheduler".into(), "DDPMScheduler".into())));
    }
}

/// What is written for diffusers is read back as the same model, with our card and without.
#[test]
fn a_folder_for_diffusers() {
    let dir = tempfile::tempdir().unwrap();
    pipeline(&dir.path().join("theirs"), |name| name);
    let model = open(&dir.path().join("theirs"));
    let ours = dir.path().join("ours");
    assert_eq!(model.save_diffusers(&ours).unwrap(), Vec::<String>::new());
    let again = open(&ours);
    assert_eq!((&again.card, &again.hash), (&model.card, &model.hash));
    for name in ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"] {
        let [a, b] = ["theirs", "ours"].map(|folder| {
            let text = std::fs::read_to_string(dir.path().join(folder).join(name)).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()
        });
        assert_eq!(a, b, "{name}");
    }
    let weights = ours.join("unet/diffusion_pytorch_model.safetensors");
    let tensors = read_safetensors(&weights).unwrap().tensors;
    write_safetensors(&weights, &tensors, &BTreeMap::default()).unwrap();
    let bare = open(&ours);
    assert_eq!((&bare.card, &bare.hash), (&model.card, &model.hash));
    assert!(model.save_pt(&dir.path().join("m.pt")).unwrap_err().to_string().contains("model.kind"));
}

#[test]
fn wrong_folders_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    pipeline(dir.path(), |name| name);
    let config = dir.path().join("unet/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let with = |key: &str, value: Value| {
        let mut args: Value = serde_json::from_str(&text).unwrap();
        args[key] = value;
        std::fs::write(&config, args.to_string()).unwrap();
        fails(dir.path())
    };
    for (key, value, part) in [
        ("_class_name", json!("UNet2DConditionModel"), "UNet2DModel"),
        ("time_embedding_type", json!("fourier"), "positional"),
        ("sample_size", Value::Null, "sample_size"),
        ("layers_per_block", json!(2), "missing"),
        ("flux", json!(1), "flux"),
    ] {
        let said = with(key, value);
        assert!(said.contains(part), "{key}: {said}");
    }
    std::fs::remove_file(dir.path().join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    assert!(fails(dir.path()).contains("diffusion_pytorch_model.bin"));
}

/// A checkpoint of guided-diffusion says what its own program says.
#[test]
fn guided_checkpoints() {
    let file = read_safetensors(&golden("../difusi-nn/tests/golden/adm_guided.safetensors")).unwrap();
    let cases: Value = serde_json::from_str(&file.metadata["cases"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = (dir.path().join("ema_0.9999_000300.pt"), dir.path().join("args.json"));
    for case in ["legacy", "imagenet"] {
        let said = &cases[case];
        let tensors = said["tensors"].as_object().unwrap().iter().map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            (name.clone(), PtValue::Tensor(formula(name, &shape)))
        });
        pt::write(&path, &PtValue::dict(tensors)).unwrap();
        assert!(fails(&path).contains("num_head_channels"));
        let args = json!({ "unet": said["args"], "diffusion": { "learn_sigma": said["learn_sigma"], "noise_schedule": "cosine" } });
        std::fs::write(&config, args.to_string()).unwrap();
        let model = OpenModel { config: Some(config.clone()), ..OpenModel::new(&path) }.open(&Device::flex()).unwrap();
        let card = &model.card;
        assert_eq!((card.shape, card.step, card.weights.as_str()), ([16, 16, 3], 300, "ema:0.9999"));
        let tensor = |name: &str| file.tensors.get(&format!("{case}/{name}")).unwrap().clone();
        let told = said["args"]["class_cond"] == true;
        let labels = if told { tensor("labels").to_f32().iter().map(|l| *l as u32).collect() } else { vec![] };
        let io = PredictIo { x: tensor("x"), t: tensor("t").to_f32(), x_self_cond: None, labels };
        let ours = predict(&model, &io, &Device::flex()).unwrap().to_f32();
        let gap = ours.iter().zip(tensor("y").to_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{case}: max |y - y'| = {gap:.1e}");
        assert!(gap < 2e-5, "{case}: {gap}");
        if told {
            let none = PredictIo { labels: vec![], ..io };
            assert!(predict(&model, &none, &Device::flex()).unwrap_err().to_string().contains("labels"));
            drawn_by_label(&model);
        }
        assert!(describe(&path).unwrap().kind.contains("guided-diffusion"));
    }
    std::fs::write(&config, r#"{ "unet": { "num_heads": 0 }, "diffusion": { "timestep_respacing": "x" } }"#).unwrap();
    let error =
        OpenModel { config: Some(config), ..OpenModel::new(&path) }.open(&Device::flex()).unwrap_err().to_string();
    assert!(error.contains("num_heads") && error.contains("timestep_respacing"), "{error}");
}

/// A classifier of guided-diffusion opens as one of noisy images and is refused, by name, for pictures of another size.
#[test]
fn guided_classifiers() {
    let file = read_safetensors(&golden("../difusi-nn/tests/golden/adm_classifier.safetensors")).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(&file.metadata["tensors"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = (dir.path().join("model000007.pt"), dir.path().join("args.json"));
    let tensors = shapes.iter().map(|(name, shape)| (name.clone(), PtValue::Tensor(formula(name, shape))));
    pt::write(&path, &PtValue::dict(tensors)).unwrap();
    assert!(fails(&path).contains("classifier_width"));
    assert!(describe(&path).unwrap().kind.contains("classifier of guided-diffusion"));
    let args: Value = serde_json::from_str(&file.metadata["args"]).unwrap();
    std::fs::write(&config, json!({ "classifier": args, "diffusion": {} }).to_string()).unwrap();
    let classifier = OpenModel { config: Some(config.clone()), ..OpenModel::new(&path) }.open(&Device::flex()).unwrap();
    assert_eq!((classifier.card.shape, classifier.card.step), ([64, 64, 3], 7));
    let own = dir.path().join("own.safetensors");
    classifier.save(&own).unwrap();
    assert_eq!(open(&own).card, classifier.card);
    pipeline(&dir.path().join("theirs"), |name| name);
    let model = open(&dir.path().join("theirs"));
    let refused = difusi::Guide::new(&classifier, &model, 1.0, &Device::flex()).unwrap_err().to_string();
    assert!(refused.contains("the shape of the classifier's pictures") && refused.contains("[8, 12, 3]"), "{refused}");
    std::fs::write(&config, r#"{ "classifier": { "image_size": 65, "classifier_pool": "spatial" } }"#).unwrap();
    let error =
        OpenModel { config: Some(config), ..OpenModel::new(&path) }.open(&Device::flex()).unwrap_err().to_string();
    assert!(error.contains("image_size") && error.contains("classifier_pool"), "{error}");
}

/// A network that has no class for none draws its classes, and nothing else.
fn drawn_by_label(model: &Model) {
    let draw = |asked| {
        let mut options = SamplerOptions { count: 2, asked, ..SamplerOptions::of(model) };
        let difusi::Drawing::Diffusion(sample) = &mut options.config else { panic!("not a diffusion model") };
        (sample.grid, sample.steps) = (difusi::process::Grid::Leading {}, 2);
        Sampler::new(model, options, &Device::flex())?.all()
    };
    let [a, b] = [1, 2].map(|label| draw(Asked::Labels(vec![label])).unwrap());
    assert_ne!(a, b);
    assert_eq!(draw(Asked::Usual).unwrap()[1], a[1]);
    let told = draw(Asked::Nothing).unwrap_err().to_string();
    assert!(told.contains("the label") && told.contains("a class"), "{told}");
    let edit = difusi::Edit::Redraw { image: "x.png".into(), strength: 0.5 };
    let options = difusi::EditOptions::of(model, edit).unwrap();
    assert!(difusi::Editor::new(model, options, &Device::flex()).unwrap_err().to_string().contains("null_class"));
}

fn config(keys: &[&str], steps: u64) -> RunConfig {
    let text = "[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"adm\"\ndim = 8\ndim_mults = [1, 2]\nres_blocks = 1\n\
                groups = 4\nattention = [false, true]\ndropout = 0.1";
    let train = ["batch_size=6", "learning_rate=1e-3", "ema=[0.9]", "micro_batch=4", "sample_every=0", "seed=3"];
    let set = train.map(|key| format!("train.{key}")).into_iter().chain(keys.iter().map(ToString::to_string));
    let more = ["diffusion.timesteps=20", "sample.steps=2", "sample.count=2"].map(str::to_owned);
    let set: Vec<String> = set.chain(more).chain([format!("train.steps={steps}")]).collect();
    RunConfig::parse_with(text, &set).unwrap()
}

fn train(config: &RunConfig, out: &Path, start: RunStart) {
    let mut run = Run::open(RunOptions { start, ..RunOptions::new(config.clone(), out) }, &Device::flex()).unwrap();
    while let Some(report) = run.step(&mut |_| {}).unwrap() {
        assert!(report.loss.is_finite(), "{report:?}");
    }
    run.finish(&mut |_, _| {}).unwrap();
}

/// Runs resume to the bit at any number of threads, and their models draw and become folders of diffusers.
#[test]
fn runs() {
    let threads = |n: usize, work: &(dyn Fn() + Sync)| {
        rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work);
    };
    for keys in [
        &[
            "model.resample=blocks",
            "model.modulation=scale_shift",
            "diffusion.variance=learned_range",
            "diffusion.loss=hybrid",
            "diffusion.prediction=epsilon",
        ][..],
        &["model.classes=10", "diffusion.cond=label", "model.resample=conv_same"],
        &["model.classes=10", "diffusion.cond=label", "model.null_class=false", "diffusion.cond_dropout=0"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let [whole, halves] = ["whole", "halves"].map(|name| dir.path().join(name));
        threads(1, &|| train(&config(keys, 6), &whole, RunStart::New));
        threads(3, &|| {
            train(&config(keys, 3), &halves, RunStart::New);
            train(&config(keys, 6), &halves, RunStart::Resume);
        });
        let [a, b] = [&whole, &halves].map(|run| open(run));
        assert_eq!((&a.hash, &a.card), (&b.hash, &b.card));
        Sampler::new(&a, SamplerOptions::of(&a), &Device::flex()).unwrap().all().unwrap();
        a.save_diffusers(&dir.path().join("folder")).unwrap();
        assert_eq!(open(&dir.path().join("folder")).hash, a.hash);
        assert!(describe(&whole).unwrap().config.unwrap().contains("kind = \"adm\""));
    }
    let refused = RunConfig::parse_with(
        &config(&[], 1).to_toml().unwrap(),
        &["model.classes=10".into(), "diffusion.cond=label".into(), "model.null_class=false".into()],
    );
    assert!(refused.unwrap_err().to_string().contains("model.null_class"));
}

/// The preset is Ho et al.'s network, all 35.7 million parameters of it.
#[test]
fn the_cifar10_preset() {
    let config = RunConfig::parse(presets::get("cifar10").unwrap()).unwrap();
    let task = config.task.diffusion().unwrap();
    let DiffusionNetworkConfig::Adm(adm) = &task.network else { panic!("{:?}", task.network) };
    assert_eq!(adm.resample, Resample::ConvSame);
    assert_eq!(task.network.cost(difusi::core::ImageSize::square(32)).unwrap().parameters, 35_746_307);
    assert_eq!((config.train.batch_size, config.train.warmup_steps, config.train.clip), (128, 5000, 1.0));
    let names: Value = {
        let text = std::fs::read_to_string(golden("../difusi-nn/tests/golden/adm_names.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let theirs =
        serde_json::from_value::<difusi::nn::unet::adm::diffusers::UnetArgs>(names["cifar10"]["args"].clone()).unwrap();
    let theirs = theirs.config().unwrap();
    assert_eq!(difusi::nn::AdmConfig { dropout: 0.1, ..theirs }, *adm);
}
