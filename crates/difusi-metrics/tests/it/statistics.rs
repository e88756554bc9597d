//! Files that numpy wrote in the names of each package, and ours; what is wrong in one is named.

use difusi_metrics::{Layout, Moments, Statistics};
use difusi_store::{HostData, HostTensor, TensorMap, read_npz, read_safetensors, write_npz};

use crate::golden_file;

fn of(side: &str) -> difusi_metrics::Gaussian {
    let map = read_safetensors(&golden_file("random.safetensors")).unwrap().tensors;
    let tensor = map.get(side).unwrap();
    let mut m = Moments::new(tensor.shape[1]);
    m.push(&tensor.to_f32());
    m.finish().unwrap()
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance));
}

#[test]
fn all_layouts_are_read() {
    for (name, side, tolerance) in
        [("pytorch_fid", "drawn", 1e-12), ("guided_diffusion", "drawn", 1e-6), ("denoising_diffusion", "data", 1e-12)]
    {
        let (found, expected) = (Statistics::read(&golden_file(&format!("{name}.npz"))).unwrap(), of(side));
        close(found.features.mean(), expected.mean(), tolerance);
        close(found.features.covariance(), expected.covariance(), tolerance);
        assert_eq!(found.spatial.as_ref().map(|s| s.dim()), (name == "guided_diffusion").then_some(5));
        assert_eq!((found.name, found.count), (None, None));
    }
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.npz");
    let full =
        Statistics { features: of("drawn"), spatial: Some(of("data")), name: Some("pixels".into()), count: Some(300) };
    full.write(&path, Layout::Common).unwrap();
    assert_eq!(Statistics::read(&path).unwrap(), full);
    let names: Vec<String> = read_npz(&path).unwrap().names().map(str::to_owned).collect();
    assert_eq!(names[..4], ["mu", "sigma", "mu_s", "sigma_s"]);
    full.write(&path, Layout::DenoisingDiffusion).unwrap();
    assert_eq!(Statistics::read(&path).unwrap(), Statistics { spatial: None, ..full });
    assert!(read_npz(&path).unwrap().find("m2").is_some());
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.npz");
    let array = |shape: &[usize], data: HostData| HostTensor::new(shape.to_vec(), data).unwrap();
    let f64s = |shape: &[usize], v: f64| array(shape, HostData::F64(vec![v; shape.iter().product()]));
    let fails = |arrays: Vec<(&str, HostTensor)>, parts: &[&str]| {
        let map: TensorMap = arrays.into_iter().map(|(n, t)| (n.to_string(), t)).collect();
        write_npz(&path, &map).unwrap();
        let e = Statistics::read(&path).unwrap_err().to_string();
        assert!(e.contains("wrong.npz") && parts.iter().all(|p| e.contains(p)), "{e}");
    };
    fails(vec![("arr_0", array(&[1, 2, 2, 1], HostData::U8(vec![0; 4])))], &["arr_0", "`mu` and `sigma`"]);
    fails(vec![("mu", f64s(&[3], 0.0))], &["`mu` but no `sigma`"]);
    fails(vec![("mu", f64s(&[3, 1], 0.0)), ("sigma", f64s(&[3, 3], 1.0))], &["`mu` has shape [3, 1]", "[D]"]);
    fails(vec![("mu", f64s(&[3], 0.0)), ("sigma", f64s(&[2, 2], 1.0))], &["`sigma` has shape [2, 2]", "[3, 3]"]);
    fails(vec![("mu", f64s(&[1], f64::NAN)), ("sigma", f64s(&[1, 1], 1.0))], &["NaN", "finite"]);
    let half = array(&[1], HostData::I64(vec![1]));
    fails(vec![("mu", half), ("sigma", f64s(&[1, 1], 1.0))], &["`mu` is", "f64 or f32"]);
    std::fs::write(&path, b"no zip").unwrap();
    assert!(Statistics::read(&path).unwrap_err().to_string().contains("wrong.npz"));
}
