//! pytorch-fid's and torch-fidelity's numbers on the same features: random ones, and pooled pixels of MNIST.

use difusi_metrics::{
    Features, Gaussian, InceptionScore, Moments, SPLITS, frechet_distance, kid_of_subsets, precision_recall, split_of,
};
use difusi_store::{HostData, TensorMap, read_safetensors};

use crate::golden_file;

struct Case {
    map: TensorMap,
    dim: usize,
}

impl Case {
    fn all() -> [Self; 2] {
        ["random", "mnist"].map(|name| {
            let map = read_safetensors(&golden_file(&format!("{name}.safetensors"))).unwrap().tensors;
            let dim = map.get("drawn").unwrap().shape[1];
            Self { map, dim }
        })
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        self.map.get(name).unwrap().to_f32()
    }

    fn f64(&self, name: &str) -> Vec<f64> {
        match &self.map.get(name).unwrap().data {
            HostData::F64(v) => v.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn gaussian(&self, name: &str) -> Gaussian {
        let mut m = Moments::new(self.dim);
        m.push(&self.f32(name));
        m.finish().unwrap()
    }
}

fn close(found: f64, theirs: f64) {
    assert!((found - theirs).abs() <= 1e-6 * theirs.abs(), "{found} is not {theirs}");
}

#[test]
fn fid_of_pytorch_fid() {
    for case in Case::all() {
        let found = frechet_distance(&case.gaussian("drawn"), &case.gaussian("data")).unwrap();
        close(found, case.f64("fid")[0]);
    }
}

#[test]
fn kid_of_torch_fidelity() {
    for case in Case::all() {
        let (a, b) = (case.f32("drawn"), case.f32("data"));
        let indices = case.map.get("kid_subsets").unwrap();
        let [subsets, 2, size] = indices.shape[..] else { panic!("{:?}", indices.shape) };
        let flat: Vec<usize> = indices.to_i64("kid_subsets").unwrap().iter().map(|i| *i as usize).collect();
        let pair = |p: &[usize]| [p[..size].to_vec(), p[size..].to_vec()];
        let subsets: Vec<_> = flat.chunks_exact(2 * size).map(pair).take(subsets).collect();
        let dim = case.dim;
        let found = kid_of_subsets(Features::new(&a, dim).unwrap(), Features::new(&b, dim).unwrap(), &subsets).unwrap();
        for (found, theirs) in found.iter().zip(case.f64("kid_each")) {
            close(*found, theirs);
        }
        close(found.iter().sum::<f64>() / found.len() as f64, case.f64("kid")[0]);
    }
}

#[test]
fn precision_and_recall_of_torch_fidelity() {
    for case in Case::all() {
        let (a, b) = (case.f32("drawn"), case.f32("data"));
        let (a, b) = (Features::new(&a, case.dim).unwrap(), Features::new(&b, case.dim).unwrap());
        let found = precision_recall(a, b, 3).unwrap();
        let theirs = case.f64("precision_recall");
        close(found.precision, theirs[0]);
        close(found.recall, theirs[1]);
    }
}

#[test]
fn inception_score_of_torch_fidelity() {
    for case in Case::all() {
        let classes = case.map.get("probabilities").unwrap().shape[1];
        let mut score = InceptionScore::new(classes, SPLITS);
        // Of every ten pictures the script puts the first into the first split, and so on.
        let rows = case.f32("probabilities");
        let place = |i: usize| i / SPLITS * SPLITS + split_of(i as u64, SPLITS);
        let given = (0..rows.len() / classes).flat_map(|i| &rows[place(i) * classes..][..classes]).copied();
        // In pieces that no split begins or ends with.
        given.collect::<Vec<f32>>().chunks(7 * classes).for_each(|rows| score.push(rows));
        let (found, theirs) = (score.finish().unwrap(), case.f64("score"));
        close(found.mean, theirs[0]);
        close(found.deviation, theirs[1]);
    }
}
