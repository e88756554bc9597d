//! A checkpoint that denoising-diffusion-pytorch's own Trainer could have written: read, and drawn from as the package does.
//! The golden files are made by xtask/golden/peer_trainer.py.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use difusi::store::{HostTensor, read_safetensors};
use difusi::{Device, Model, OpenModel, Sampler, SamplerOptions, Start, Weights};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn open(weights: Weights) -> Model {
    let config = Some(golden("peer_trainer.json"));
    OpenModel { path: golden("peer_trainer.pt"), config, weights }.open(&Device::flex()).unwrap()
}

/// Largest difference between our bytes and the peer's `[N, C, H, W]` in [0, 1], in bytes.
fn difference(model: &Model, start: Start, wanted: &HostTensor) -> f64 {
    let [count, _, height, width] = wanted.shape[..] else { panic!("{:?}", wanted.shape) };
    let options = SamplerOptions { count, seed: 5, start, ..SamplerOptions::of(model) };
    let ours = Sampler::new(model, options, &Device::flex()).unwrap().all().unwrap();
    assert_eq!((ours.len(), ours[0].height(), ours[0].width()), (count, height, width));
    let ours = ours.iter().flat_map(|p| p.pixels().to_vec());
    let wanted = wanted.to_f64();
    ours.zip(wanted).map(|(a, b)| (f64::from(a) - 255.0 * b).abs()).fold(0.0, f64::max)
}

/// The same pictures from the same noise, and from the same seed of torch.
#[test]
fn the_peers_pictures() {
    let file = read_safetensors(&golden("peer_trainer.safetensors")).unwrap().tensors;
    let model = open(Weights::Ema);
    assert_eq!((model.card.step, model.card.shape), (4, [8, 12, 1]));
    let given = Start::Given(file.get("noise").unwrap().clone());
    // Half a byte is rounding.
    assert!(difference(&model, given.clone(), file.get("samples").unwrap()) <= 0.51);
    assert!(difference(&model, Start::Torch, file.get("seeded").unwrap()) <= 0.51);
    assert!(difference(&open(Weights::Raw), given, file.get("samples").unwrap()) > 1.0);
}

#[test]
fn other_arguments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.json");
    let open = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let open = OpenModel { config: Some(path.clone()), ..OpenModel::new(golden("peer_trainer.pt")) };
        open.open(&Device::flex()).unwrap_err().to_string()
    };
    let error = open(r#"{"unet": {"dim": 8, "dim_mults": [1, 2], "channels": 1}, "diffusion": {"image_size": 8}}"#);
    assert!(error.contains("`dim`") && error.contains("another network"), "{error}");
    let error = open(
        r#"{"unet": {"dim": 4, "flash": true, "chanels": 1}, "diffusion": {"image_size": 8, "objective": "pred_y"}}"#,
    );
    assert!(error.contains("unet.flash") && error.contains("chanels") && error.contains("pred_y"), "{error}");
    let error = open(r#"{"unet": {"dim": 4, "dim_mults": [1, 2], "channels": 1}}"#);
    assert!(error.contains("image_size"), "{error}");
}

/// Without arguments the error says which file to write, with what the tensors tell.
#[test]
fn missing_arguments_are_explained() {
    let error = OpenModel::new(golden("peer_trainer.pt")).open(&Device::flex()).unwrap_err().to_string();
    for part in ["--config", "\"dim\": 4", "attn_dim_head", "image_size", "dropout"] {
        assert!(error.contains(part), "{part} not in {error}");
    }
}
