//! SHA-256 of models and files.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{StoreError, TensorMap};

/// SHA-256 of names, element types, shapes and bytes of all tensors, 64 hexadecimal digits. It does not depend on the
/// order of the map, nor on the container the tensors came from.
pub fn tensors(map: &TensorMap) -> String {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by_key(|(name, _)| *name);
    let mut hasher = HashWriter(Sha256::new());
    for (name, tensor) in all {
        // Lengths go first, so that no two maps run into the same bytes.
        hasher.0.update((name.len() as u64).to_le_bytes());
        hasher.0.update(name);
        hasher.0.update([tensor.dtype() as u8, tensor.shape.len() as u8]);
        for extent in &tensor.shape {
            hasher.0.update((*extent as u64).to_le_bytes());
        }
        // Writing to a hasher cannot fail.
        let _ = tensor.data.write_le(&mut hasher);
    }
    hex(&hasher.0.finalize())
}

/// The first 12 digits of [`tensors`]: what pictures carry.
pub fn short(map: &TensorMap) -> String {
    let mut text = tensors(map);
    text.truncate(12);
    text
}

/// SHA-256 of a file, 64 hexadecimal digits.
pub fn file(path: &Path) -> Result<String, StoreError> {
    let hash = || -> io::Result<String> {
        let mut hasher = HashWriter(Sha256::new());
        io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hex(&hasher.0.finalize()))
    };
    hash().map_err(StoreError::io("read", path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostTensor;

    /// The order does not matter; every name, shape and number does.
    #[test]
    fn everything_counts() {
        let map = |pairs: &[(&str, &[usize], f32)]| -> TensorMap {
            let make = |s: &[usize], v| HostTensor::f32(s, vec![v; s.iter().product()]).unwrap();
            pairs.iter().map(|(n, s, v)| (n.to_string(), make(s, *v))).collect()
        };
        let base = tensors(&map(&[("a", &[2], 1.0), ("b", &[1], 2.0)]));
        assert_eq!(base, tensors(&map(&[("b", &[1], 2.0), ("a", &[2], 1.0)])));
        for other in [
            map(&[("a", &[2], 1.0)]),
            map(&[("a", &[2, 1], 1.0), ("b", &[1], 2.0)]),
            map(&[("a", &[2], 1.5), ("b", &[1], 2.0)]),
            map(&[("a", &[2], 1.0), ("c", &[1], 2.0)]),
        ] {
            assert_ne!(base, tensors(&other));
        }
    }

    /// FIPS 180-4's example.
    #[test]
    fn known_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(file(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
