//! Real data and real weights of the shared folder; skipped with a reason where it is absent.

use std::path::{Path, PathBuf};

use crate::harness::{Place, TINY};

/// The shared folder's data, or `None` with a printed reason.
fn shared(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let folder = std::env::var_os("DIFUSI_SHARED").map_or_else(|| root.join("shared"), PathBuf::from);
    let path = folder.join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("DIFUSI_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{} is required", path.display());
    eprintln!("skipped: {} is absent (set DIFUSI_SHARED)", path.display());
    None
}

fn train(preset: &str, data: &Path, sets: &[&str]) {
    let place = Place::new();
    let mut args = vec!["train", preset, "--data", data.to_str().unwrap(), "--out", "r", "--set", "train.steps=2"];
    args.extend(
        TINY.iter().chain(sets).filter(|s| preset != "mnist" || !s.starts_with("data.")).flat_map(|s| ["--set", *s]),
    );
    place.ok(&args);
    assert!(place.path("r/samples.png").exists());
}

#[test]
fn mnist_trains() {
    if let Some(data) = shared("mnist") {
        train("mnist", &data, &[]);
    }
}

/// RGBA, palette and grey PNGs mixed; photographs; both without a special case.
#[test]
fn picture_folders_train() {
    for name in ["dcss-tiles-32", "clothing-64"] {
        if let Some(data) = shared(name) {
            train("folder", &data, &["data.size=[16, 16]"]);
        }
    }
}

#[test]
fn real_checkpoints_are_inspected() {
    for (file, part) in [
        ("weights/burn-mnist-cnn/mnist.pt", "PyTorch"),
        ("weights/cifar-resnet/resnet20-12fca82f.th", "legacy"),
        ("weights/ddpm-yichizz/ddpm_mnist_starter.pth", "PyTorch"),
        ("mnist/train-images-idx3-ubyte.gz", "idx"),
    ] {
        if let Some(path) = shared(file) {
            let said = Place::new().ok(&["inspect", path.to_str().unwrap()]);
            assert!(said.contains(part), "{said}");
        }
    }
}
