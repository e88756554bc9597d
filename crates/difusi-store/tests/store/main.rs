//! Tests of the containers through the public API; `data/` is made by xtask/golden/store_pt.py.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, outside test functions")]

mod inspect;
mod npy;
mod pictures;
mod plots;
mod pt;
mod safetensors;
mod shared;

use std::path::{Path, PathBuf};

use difusi_store::{Dtype, HostData, HostTensor, TensorMap};
use half::{bf16, f16};
use proptest::prelude::*;

/// A committed file.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A file in the project's shared folder, or `None` with a printed reason.
fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DIFUSI_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("DIFUSI_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{} is absent", path.display());
    println!("skipped: {} is absent", path.display());
    None
}

/// Writes bytes to a file in a new folder.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// A tensor of a type, with numbers that survive comparison (no NaN).
fn make(dtype: Dtype, shape: &[usize], seed: i32) -> HostTensor {
    let n: usize = shape.iter().product();
    let v = |i: usize| (i as i32 * 7 + seed) % 101 - 50;
    let floats = || (0..n).map(|i| f64::from(v(i)) / 4.0);
    let ints = || (0..n).map(|i| i64::from(v(i)));
    let data = match dtype {
        Dtype::F64 => HostData::F64(floats().collect()),
        Dtype::F32 => HostData::F32(floats().map(|x| x as f32).collect()),
        Dtype::F16 => HostData::F16(floats().map(f16::from_f64).collect()),
        Dtype::BF16 => HostData::BF16(floats().map(bf16::from_f64).collect()),
        Dtype::I64 => HostData::I64(ints().collect()),
        Dtype::I32 => HostData::I32(ints().map(|x| x as i32).collect()),
        Dtype::I16 => HostData::I16(ints().map(|x| x as i16).collect()),
        Dtype::I8 => HostData::I8(ints().map(|x| x as i8).collect()),
        Dtype::U64 => HostData::U64(ints().map(i64::unsigned_abs).collect()),
        Dtype::U32 => HostData::U32(ints().map(|x| x.unsigned_abs() as u32).collect()),
        Dtype::U16 => HostData::U16(ints().map(|x| x.unsigned_abs() as u16).collect()),
        Dtype::U8 => HostData::U8(ints().map(|x| x.unsigned_abs() as u8).collect()),
        Dtype::Bool => HostData::Bool(ints().map(|x| x % 2 == 0).collect()),
    };
    HostTensor::new(shape, data).unwrap()
}

/// Maps of a few tensors of any type and shape, zero extents and scalars included.
fn maps(types: Vec<Dtype>) -> impl Strategy<Value = TensorMap> {
    let shape = prop::collection::vec(0usize..5, 0..4);
    let tensor = (prop::sample::select(types), shape, 0..99i32).prop_map(|(d, s, seed)| make(d, &s, seed));
    prop::collection::vec(("[a-z.\"\\\\é ]{1,12}", tensor), 0..6).prop_map(|all| all.into_iter().collect())
}
