//! Reading the golden files, and the weights that formula and test share (xtask/golden/unet_golden.py, `formula`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_nn::unet::ddp::peer::UnetArgs;
use difusi_nn::{ParamInfo, UnetConfig, Weight};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) fn golden(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// Tensors (as f32) and metadata of a safetensors file.
pub(crate) struct File {
    pub(crate) tensors: BTreeMap<String, Weight>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl File {
    pub(crate) fn read(file: &str) -> Self {
        let bytes = std::fs::read(golden(file)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let weight = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            let values = match view.dtype() {
                Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
                Dtype::F16 => view.data().chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]]))).collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name.to_owned(), Weight { name: name.to_owned(), shape: view.shape().to_vec(), values })
        };
        Self { tensors: tensors.iter().map(weight).collect(), metadata }
    }

    /// `[B]`.
    pub(crate) fn vector(&self, name: &str) -> Tensor<1> {
        let Weight { values, shape, .. } = &self.tensors[name];
        Tensor::from_data(TensorData::new(values.clone(), shape.clone()), &Device::flex())
    }

    /// `[B, C, H, W]` to `[B, H, W, C]`.
    pub(crate) fn image(&self, name: &str) -> Tensor<4> {
        let Weight { values, shape, .. } = &self.tensors[name];
        let image: Tensor<4> = Tensor::from_data(TensorData::new(values.clone(), shape.clone()), &Device::flex());
        image.permute([0, 2, 3, 1])
    }
}

/// IEEE half precision.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 => panic!("not finite"),
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// SplitMix64 started at the FNV-1a hash of the name, in [-1, 1).
pub(crate) fn uniform(name: &str, index: usize) -> f64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let z = hash.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

pub(crate) fn formula(parameter: &ParamInfo) -> Weight {
    let ParamInfo { name, shape } = parameter.clone();
    let inner = (shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let value = |u: f64| match name.as_str() {
        n if n.ends_with(".g") => 1.0 + 0.4 * u,
        n if n.ends_with(".bias") => 0.2 * u,
        n if n.ends_with("mem_kv") || n == "time_mlp.0.weights" => 1.5 * u,
        _ => 1.5 * u / inner,
    };
    let values = (0..parameter.count()).map(|i| value(uniform(&name, i)) as f32).collect();
    Weight { name, shape, values }
}

/// The arguments of the peer's `Unet` as a configuration.
pub(crate) fn config(args: &Value) -> UnetConfig {
    parse::<UnetArgs>(args).into()
}

pub(crate) fn parse<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// Largest absolute difference; infinite where either is not a number.
pub(crate) fn distance(a: &Tensor<4>, b: &Tensor<4>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (a.to_data(), b.to_data());
    let gap = |(a, b): (f32, f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    a.iter::<f32>().zip(b.iter::<f32>()).map(gap).fold(0.0, f32::max)
}

pub(crate) fn tiny() -> UnetConfig {
    let args = r#"{ "dim": 8, "dim_mults": [1, 2], "channels": 1, "attn_heads": 2, "attn_dim_head": 8 }"#;
    config(&serde_json::from_str(args).unwrap())
}

/// `[batch, 8, 8, 1]`, values of no particular kind.
pub(crate) fn images(batch: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..batch * 64).map(|i| uniform("x", i) as f32).collect();
    Tensor::from_data(TensorData::new(values, [batch, 8, 8, 1]), device)
}

pub(crate) fn times(batch: usize, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = (0..batch).map(|i| (i * 137 % 1000) as f32).collect();
    Tensor::from_data(TensorData::new(values, [batch]), device)
}
