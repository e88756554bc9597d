//! Small helpers.

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_process::{Schedule, Tables};
use safetensors::{Dtype, SafeTensors};

pub(crate) fn tensor(values: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// `[B, 1, 1, C]` in f64.
pub(crate) fn tensor64(values: Vec<f64>, channels: usize) -> Tensor<4> {
    let shape = [values.len() / channels, 1, 1, channels];
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

pub(crate) fn values64<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.try_into_vec_as().unwrap()
}

pub(crate) fn filled(value: f32, shape: [usize; 4]) -> Tensor<4> {
    tensor(vec![value; shape.iter().product()], shape)
}

/// Different in every element, in [-1, 1].
pub(crate) fn wavy(shape: [usize; 4], phase: f32) -> Tensor<4> {
    tensor((0..shape.iter().product()).map(|i: usize| (0.7 * i as f32 + phase).sin()).collect(), shape)
}

pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.try_into_vec_as().unwrap()
}

pub(crate) fn check_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} within {tolerance}");
}

pub(crate) fn check_all_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: largest difference {worst}, allowed {tolerance}");
    assert!(found.iter().all(|v| v.is_finite()), "{what}: not finite");
}

pub(crate) fn linear(timesteps: usize) -> Tables {
    let schedule = Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: timesteps > 20 };
    schedule.tables(timesteps).unwrap()
}

/// Mean and variance.
pub(crate) fn moments(v: &[f32]) -> (f64, f64) {
    let n = v.len() as f64;
    let mean = v.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    (mean, v.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n)
}

/// A file made by xtask/golden/process_golden.py.
pub(crate) struct Golden(Vec<u8>);

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        Self(std::fs::read(path).unwrap())
    }

    /// Shape and numbers.
    pub(crate) fn get(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).expect(name);
        let words = view.data().chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]);
        let values = match view.dtype() {
            Dtype::F32 => words.map(f32::from_le_bytes).collect(),
            Dtype::I32 => words.map(|w| i32::from_le_bytes(w) as f32).collect(),
            other => panic!("{name} is {other:?}"),
        };
        (view.shape().to_vec(), values)
    }

    /// What the file's metadata says under `key`.
    pub(crate) fn metadata(&self, key: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.0).unwrap();
        header.metadata().as_ref().unwrap()[key].clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.names().into_iter().map(ToString::to_string).collect()
    }

    /// An image batch, `[B, C, H, W]` in the file, `[B, H, W, C]` here.
    pub(crate) fn images(&self, name: &str) -> Tensor<4> {
        let (shape, values) = self.get(name);
        tensor(values, shape.try_into().unwrap()).permute([0, 2, 3, 1])
    }
}

/// `[B, H, W, C]` as the peers order it.
pub(crate) fn channels_first(x: Tensor<4>) -> Vec<f32> {
    values(x.permute([0, 3, 1, 2]))
}

/// The noise of xtask/golden/diffusers_golden.py, `[B, H, W, C]`.
pub(crate) fn golden_noise(step: i32, draw: usize) -> Tensor<4> {
    let number =
        |i: usize| (1.4 * (0.7 * (i * i) as f64 + 1.9 * f64::from(step + 1) + 2.3 * draw as f64 + 0.3).sin()) as f32;
    let noise = tensor((0..12).map(number).collect(), [2, 3, 2, 1]);
    noise.permute([0, 2, 3, 1]).cast(DType::F64)
}
