//! Real files of real projects, against what PyTorch says is in them (weights/TENSORS.md).

use std::collections::HashMap;
use std::path::Path;

use difusi_store::{TensorMap, pt, read_safetensors};

use crate::shared;

/// Name, shape, element type, largest magnitude where the table has it.
type Row = (String, String, String, Option<f64>);

/// The table of one file.
fn table(file: &str) -> Option<Vec<Row>> {
    let text = std::fs::read_to_string(shared("data/weights/TENSORS.md")?).unwrap();
    let section = text.split("\n## ").find(|s| s.lines().next() == Some(file)).unwrap_or_else(|| panic!("{file}"));
    let row = |line: &str| -> Option<Row> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, shape, dtype, ref rest @ ..] = cells[..] else { return None };
        Some((name.into(), shape.into(), dtype.into(), rest.get(1).and_then(|v| v.parse().ok())))
    };
    Some(section.lines().filter_map(row).filter(|r| r.1.starts_with('[')).collect())
}

fn compare(file: &str, tensors: &TensorMap) {
    let Some(rows) = table(file) else { return };
    assert_eq!(tensors.len(), rows.len(), "{file}");
    for (name, shape, dtype, largest) in rows {
        let tensor = tensors.get(&name).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(format!("{:?}", tensor.shape), shape, "{file} {name}");
        let names = [tensor.dtype().torch_name(), tensor.dtype().safetensors_name()];
        assert!(names.contains(&dtype.as_str()), "{file} {name}: {dtype}");
        let Some(largest) = largest else { continue };
        let found = tensor.to_f64().into_iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!((found - largest).abs() <= 2e-5 * largest.max(1e-6), "{file} {name}: {found}, expected {largest}");
    }
}

#[test]
fn pytorch_files() {
    for file in [
        "burn-mnist-cnn/mnist.pt",
        "cifar-resnet/resnet20-12fca82f.th",
        "ddpm-yichizz/ddpm_mnist_starter.pth",
        "ddpm-yichizz/ddpm_mnist_augmentation.pth",
        "ddpm-yichizz/ddm_mnist.pth",
    ] {
        if let Some(path) = shared(&format!("data/weights/{file}")) {
            compare(file, &pt::read(&path).unwrap().tensors().unwrap());
        }
    }
}

/// Whatever else lies there: every `.pt`, `.pth` and `.th` is read, its tables agree.
#[test]
fn every_pytorch_file() {
    let Some(root) = shared("data/weights") else { return };
    let mut seen = HashMap::new();
    visit(&root, &mut |path| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if ["pt", "pth", "th"].contains(&ending) {
            let tensors = pt::read(path).unwrap().tensors().unwrap();
            compare(&name, &tensors);
            *seen.entry(ending.to_string()).or_insert(0) += 1;
        } else if ending == "safetensors" {
            compare(&name, &read_safetensors(path).unwrap().tensors);
        }
    });
    assert!(seen["pth"] >= 6, "{seen:?}");
}

fn visit(folder: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { visit(&path, each) } else { each(&path) }
    }
}

/// One network in both containers: the same names, shapes and types. The numbers differ in the files themselves (PyTorch
/// says so too): the safetensors file was trained for twice as many batches, 7504 instead of 3752.
#[test]
fn both_containers_agree() {
    let (Some(a), Some(b)) =
        (shared("data/weights/burn-mnist-cnn/mnist.pt"), shared("data/weights/burn-mnist-cnn/mnist.safetensors"))
    else {
        return;
    };
    let sorted = |map: TensorMap| {
        let mut infos = map.infos();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    };
    let pickled = pt::read(&a).unwrap();
    assert_eq!(pickled.at("norm1.num_batches_tracked").unwrap().as_i64(), Some(3752));
    assert_eq!(sorted(pickled.tensors().unwrap()), sorted(read_safetensors(&b).unwrap().tensors));
}
