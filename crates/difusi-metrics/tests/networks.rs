//! Feature networks from files, and resizing against the packages that define it (xtask/golden/resize_golden.py).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use difusi_data::Search;
use difusi_metrics::{FeatureExtractor, FeatureOptions, FeatureSource, ImageBatch, MetricsError, Resize};
use difusi_nn::features::{FeatureKind, InceptionTap};
use difusi_store::{HostData, HostTensor, TensorMap, read_safetensors, write_safetensors};

fn golden() -> TensorMap {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resize.safetensors");
    read_safetensors(&path).unwrap().tensors
}

/// All three ways, up, down, both, from one pixel and along a long line, within a millionth of the range. (Measured: clean is the
/// same to the bit.)
#[test]
fn resizes_as_the_packages() {
    let golden = golden();
    for case in ["up", "down", "mixed", "same", "one", "long", "inception"] {
        let x = golden.get(&format!("{case}/x")).unwrap();
        let HostData::U8(bytes) = &x.data else { panic!("{case} is no picture") };
        for resize in Resize::ALL {
            let exact = golden.get(&format!("{case}/{resize}")).unwrap();
            let ours = resize.apply(bytes, [x.shape[0], x.shape[1], 3], [exact.shape[0], exact.shape[1]]).unwrap();
            let (exact, mut worst) = (exact.to_f32(), 0.0f32);
            assert_eq!(ours.len(), exact.len());
            ours.iter().zip(&exact).for_each(|(a, b)| worst = worst.max((a - b).abs()));
            println!("{case:10} {resize:10} {worst:.1e}");
            assert!(worst < 255e-6, "{case}, {resize}: {worst}");
        }
    }
}

/// A ramp stays one: where each way puts an output pixel is where it reads the ramp. (Keys' cubic is exact for ramps where it
/// interpolates; widened, its sampled weights are so to a hundredth of a step.)
#[test]
fn ramps() {
    for (n, out) in [(40, 25), (40, 90)] {
        let ramp: Vec<u8> = (0..n).map(|i| (6 * i) as u8).collect();
        let scale = n as f64 / out as f64;
        for resize in Resize::ALL {
            let near = if resize == Resize::Clean && out < n { 0.06 } else { 1e-3 };
            for (shape, to) in [([1, n, 1], [1, out]), ([n, 1, 1], [out, 1])] {
                let values = resize.apply(&ramp, shape, to).unwrap();
                for (i, &value) in values.iter().enumerate().skip(8).take(out - 16) {
                    let at = match resize {
                        Resize::LegacyTensorflow => i as f64 * scale,
                        _ => (i as f64 + 0.5) * scale - 0.5,
                    };
                    assert!((f64::from(value) - 6.0 * at).abs() < near, "{resize}: {value} at {at}");
                }
            }
        }
    }
}

#[test]
fn resize_names_and_sizes() {
    for resize in Resize::ALL {
        assert_eq!(resize.name().parse::<Resize>().unwrap(), resize);
        assert_eq!(
            resize.apply(&[77; 15], [3, 5, 1], [8, 2]).unwrap().iter().map(|v| v.round()).sum::<f32>(),
            77.0 * 16.0
        );
        assert!(resize.apply(&[0; 14], [3, 5, 1], [8, 2]).is_err());
        assert!(resize.apply(&[], [0, 5, 1], [8, 2]).is_err());
        assert!(resize.apply(&[0; 15], [3, 5, 1], [8, 0]).is_err());
    }
    let e = "bicubic".parse::<Resize>().unwrap_err().to_string();
    assert!(e.contains("bicubic") && e.contains("tensorflow, pytorch, clean"), "{e}");
}

#[test]
fn sources_are_written_as_they_are_read() {
    let some = |kind, file: &str, tap| {
        let file = (!file.is_empty()).then(|| PathBuf::from(file));
        FeatureSource { kind, file, tap }
    };
    let (inception, cnn) = (Some(FeatureKind::Inception), Some(FeatureKind::MnistCnn));
    for (text, expected) in [
        ("inception", some(inception, "", None)),
        ("inception@192", some(inception, "", Some(InceptionTap::SecondPool))),
        ("inception:a/b.pth", some(inception, "a/b.pth", None)),
        ("inception:a@b.pth@64", some(inception, "a@b.pth", Some(InceptionTap::FirstPool))),
        ("mnist-cnn:w.pt", some(cnn, "w.pt", None)),
        ("resnet20:w.th", some(Some(FeatureKind::Resnet20), "w.th", None)),
        ("inceptions/w.pth@2048", some(None, "inceptions/w.pth", Some(InceptionTap::Final))),
        ("runs/classifier", some(None, "runs/classifier", None)),
    ] {
        let source: FeatureSource = text.parse().unwrap();
        assert_eq!((&source, source.to_string()), (&expected, text.to_owned()));
    }
    for (text, part) in [
        ("inception@100", "@64, @192, @768 or @2048"),
        ("mnist-cnn", "no file"),
        ("resnet20:", "mnist-cnn:FILE"),
        ("mnist-cnn:w.pt@64", "no `@` after"),
        ("", "no file"),
    ] {
        let e = text.parse::<FeatureSource>().unwrap_err().to_string();
        assert!(e.contains(part), "{text}: {e}");
    }
}

fn options(folder: &Path) -> FeatureOptions {
    let search = Search { cache: Some(folder.join("cache")), ..Default::default() };
    FeatureOptions { device: Device::flex(), resize: Resize::Pytorch, search }
}

fn open(text: &str, folder: &Path) -> Result<Box<dyn FeatureExtractor>, MetricsError> {
    text.parse::<FeatureSource>().unwrap().open(&options(folder))
}

/// Zeros under the names of `kind`, after `prefix`, changed.
fn file(folder: &Path, kind: FeatureKind, prefix: &str, change: impl FnOnce(&mut TensorMap)) -> String {
    let zeros = |shape: &[usize]| HostTensor::f32(shape, vec![0.0; shape.iter().product()]).unwrap();
    let mut map: TensorMap =
        kind.parameters().into_iter().map(|p| (format!("{prefix}{}", p.name), zeros(&p.shape))).collect();
    change(&mut map);
    let path = folder.join("w.safetensors");
    write_safetensors(&path, &map, &Default::default()).unwrap();
    path.display().to_string()
}

/// Recognised by its tensors, whatever stands before their names.
#[test]
fn files_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let grey = ImageBatch::new([9, 9, 1], vec![100; 2 * 81]).unwrap();
    for (kind, dim) in [(FeatureKind::MnistCnn, 32), (FeatureKind::Resnet20, 64)] {
        for prefix in ["", "module.", "state_dict.module."] {
            let path = file(dir.path(), kind, prefix, |_| {});
            for text in [path.clone(), format!("{}:{path}", kind.name())] {
                let extractor = open(&text, dir.path()).unwrap();
                assert_eq!((extractor.name(), extractor.dim(), extractor.classes()), (kind.name(), dim, Some(10)));
                let seen = extractor.extract(&grey).unwrap();
                // Weights of nothing but zeros see nothing and know nothing.
                assert_eq!((seen.features, seen.spatial), (vec![0.0; 2 * dim], None));
                assert!(seen.probabilities.unwrap().iter().all(|p| (p - 0.1).abs() < 1e-6));
            }
        }
    }
}

/// Errors name the file, the tensors, and what to do.
#[test]
fn wrong_files() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |text: &str, parts: &[&str]| {
        let e = open(text, dir.path()).err().unwrap().to_string();
        assert!(parts.iter().all(|part| e.contains(part)), "{text}: {e}");
    };
    fails("inception", &["`difusi data fetch inception`", "6726825d.pth", "inception:FILE"]);
    let path = file(dir.path(), FeatureKind::MnistCnn, "", |map| {
        map.take("conv2.bias").unwrap();
        map.insert("fc1.weight", HostTensor::f32([2], vec![0.0; 2]).unwrap());
    });
    fails(&path, &["w.safetensors", "1 missing: conv2.bias", "`fc1.weight` has shape [2]; expected [32, 11616]"]);
    fails(&format!("resnet20:{path}"), &["w.safetensors", "not those of this network", "resnet20:FILE"]);
    fails(&format!("{path}@64"), &["@64", "no `@` after mnist-cnn"]);
    let mark = "Mixed_7c.branch3x3dbl_3b.conv.weight";
    let path = file(dir.path(), FeatureKind::MnistCnn, "", |map| {
        *map = std::mem::take(map).under("conv3.");
        map.insert(mark, HostTensor::f32([1], vec![0.0]).unwrap());
    });
    fails(
        &path,
        &["`inception`", "missing: Conv2d_1a_3x3.conv.weight", mark, "torchvision's", "difusi data fetch inception"],
    );
    let path = file(dir.path(), FeatureKind::MnistCnn, "other", |_| {});
    fails(&path, &["no feature network is in it", "mnist-cnn:FILE"]);
    std::fs::write(dir.path().join("x.txt"), "text").unwrap();
    fails(&dir.path().join("x.txt").display().to_string(), &["x.txt", "expected safetensors or a PyTorch file"]);
    fails(&dir.path().display().to_string(), &["no feature network"]);
}

/// What is no known network is somebody else's to open.
#[test]
fn others_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), FeatureKind::MnistCnn, "other", |_| {});
    for place in [path, dir.path().display().to_string()] {
        let source: FeatureSource = place.parse().unwrap();
        let e = source
            .open_with(&options(dir.path()), &|path, _| Err(MetricsError::features("mine", path.display())))
            .err()
            .unwrap();
        assert_eq!(e.to_string(), format!("features `mine`: {place}"));
    }
}

/// A file of the shared folder, or `None` with a printed reason.
fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("DIFUSI_SHARED").map_or(beside, PathBuf::from).join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("DIFUSI_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{} is absent", path.display());
    println!("skipped: {} is absent", path.display());
    None
}

/// The bytes that the golden file's input was made of, and the extractor's answers to them beside PyTorch's.
fn as_pytorch(weights: &Path, golden: &Path, features: &str, scale: [[f64; 3]; 2]) {
    let golden = read_safetensors(golden).unwrap().tensors;
    let input = golden.get("input").unwrap();
    let [count, channels, height, width] = input.shape[..] else { panic!("no images") };
    let (values, pixels) = (input.to_f64(), height * width);
    let byte = |i: usize| {
        let (image, pixel, channel) = (i / channels / pixels, i / channels % pixels, i % channels);
        let v = values[(image * channels + channel) * pixels + pixel];
        ((v * scale[1][channel] + scale[0][channel]) * 255.0).round() as u8
    };
    let bytes = (0..count * pixels * channels).map(byte).collect();
    let images = ImageBatch::new([height, width, channels], bytes).unwrap();
    let source: FeatureSource = weights.display().to_string().parse().unwrap();
    let seen = source.open(&options(Path::new("nowhere"))).unwrap().extract(&images).unwrap();
    let exact = golden.get(features).unwrap().to_f64();
    let size = exact.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let gap = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs();
    let worst = seen.features.iter().zip(&exact).map(gap).fold(0.0, f64::max) / size;
    let logits = golden.get("logits").unwrap().to_f64();
    let softmax = logits.chunks_exact(10).flat_map(|row| {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(move |x| x.exp() / sum)
    });
    let softmax: Vec<f64> = softmax.collect();
    let unsure = seen.probabilities.unwrap().iter().zip(&softmax).map(gap).fold(0.0, f64::max);
    println!("{}: features {worst:.1e}, probabilities {unsure:.1e}", weights.display());
    assert!(seen.features.len() == exact.len() && worst < 1e-5 && unsure < 1e-5, "{worst} {unsure}");
    for (image, label) in golden.get("labels").unwrap().to_i64("labels").unwrap().into_iter().enumerate() {
        let row = &softmax[10 * image..10 * image + 10];
        let best = (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        assert_eq!(best, usize::try_from(label).ok(), "image {image}");
    }
}

/// The golden file was made with mnist.pt; mnist.safetensors beside it holds another training run's weights.
#[test]
fn real_mnist_cnn() {
    let Some(weights) = shared("weights/burn-mnist-cnn/mnist.pt") else { return };
    let Some(golden) = shared("golden/burn_mnist_cnn.safetensors") else { return };
    as_pytorch(&weights, &golden, "feat32", [[0.1307; 3], [0.3081; 3]]);
    let other = weights.with_extension("safetensors").display().to_string();
    assert_eq!(open(&other, Path::new("nowhere")).unwrap().name(), "mnist-cnn");
}

#[test]
fn real_resnet20() {
    let Some(weights) = shared("weights/cifar-resnet/resnet20-12fca82f.th") else { return };
    let Some(golden) = shared("golden/cifar_resnet20.safetensors") else { return };
    as_pytorch(&weights, &golden, "feat64", [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]);
}
