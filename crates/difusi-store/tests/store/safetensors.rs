//! safetensors: round trips, the reference crate, one test per malformed header.

use std::collections::BTreeMap;

use difusi_store::{Dtype, HostData, HostTensor, TensorMap, read_header, read_safetensors, write_safetensors};
use proptest::prelude::*;

use crate::{data, file, make, maps};

fn text(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// read(write(x)) = x, names in order, and the header alone says the same.
    #[test]
    fn round_trip(map in maps(Dtype::ALL.to_vec()), key in ".{0,9}", value in ".{0,20}") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.safetensors");
        let metadata = text(&[(&key, &value)]);
        write_safetensors(&path, &map, &metadata).unwrap();
        let back = read_safetensors(&path).unwrap();
        prop_assert_eq!(&back.tensors, &map);
        prop_assert!(back.tensors.names().eq(map.names()));
        prop_assert_eq!(&back.metadata, &metadata);
        let header = read_header(&path).unwrap();
        prop_assert_eq!(header.tensors, map.infos());
        let other = dir.path().join("again");
        write_safetensors(&other, &map, &metadata).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
    }

    /// Arbitrary bytes are an error, never a panic.
    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), head in "[\\[{\":,a-zA-Z0-9_]{0,60}") {
        let (_dir, path) = file(&bytes);
        let _ = read_safetensors(&path);
        let (_dir, path) = file(&[&(head.len() as u64).to_le_bytes(), head.as_bytes(), &bytes].concat());
        let _ = read_safetensors(&path);
    }
}

/// The reference implementation reads our files and we read its.
#[test]
fn agrees_with_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let map: TensorMap =
        [("b.w".into(), make(Dtype::F32, &[2, 3], 1)), ("a".into(), make(Dtype::U8, &[5], 2))].into_iter().collect();
    write_safetensors(&path, &map, &text(&[("k", "v")])).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = theirs.tensor("b.w").unwrap();
    let values: Vec<f32> = view.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!((view.shape(), values), (&[2, 3][..], map.get("b.w").unwrap().to_f32()));
    let again = ::safetensors::serialize(theirs.tensors(), None).unwrap();
    std::fs::write(&path, again).unwrap();
    let back = read_safetensors(&path).unwrap().tensors;
    assert_eq!(back.len(), 2);
    for name in ["a", "b.w"] {
        assert_eq!(back.get(name).unwrap(), map.get(name).unwrap());
    }
}

fn error_of(header: &str, data: usize) -> String {
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
    let (_dir, path) = file(&bytes);
    let error = read_safetensors(&path).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
    assert_eq!(error, read_header(&path).unwrap_err().to_string());
    error
}

/// One malformed file each; the message names the tensor and what is wrong.
#[test]
fn malformed_headers() {
    let one = |entry: &str, data| error_of(&format!("{{\"w\":{entry}}}"), data);
    let cases = [
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, 4), "truncated"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, 12), "4 bytes follow"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, 4), "`w`"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#, 8), "`w`"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#, 12), "overlap or gap"),
        (one(r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#, 8), "`shape`"),
        (one(r#"{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,8]}"#, 8), "`w`"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}"#, 8), "`w`"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0]}"#, 8), "two numbers"),
        (one(r#"{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}"#, 2), "accepted are F64"),
        (one(r#"{"shape":[2],"data_offsets":[0,8]}"#, 8), "`dtype`"),
        (one("7", 0), "`dtype`"),
        (
            error_of(
                r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                3,
            ),
            "`b`",
        ),
        (
            error_of(
                r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
                0,
            ),
            "occurs twice",
        ),
        (error_of(r#"{"__metadata__":{"a":1}}"#, 0), "expected a string"),
        (error_of(r#"{"__metadata__":[]}"#, 0), "not an object"),
        (error_of("{\"w\":", 0), "header"),
        (error_of("[]", 0), "`{`"),
    ];
    for (error, part) in cases {
        assert!(error.contains(part), "`{error}` lacks `{part}`");
    }
}

#[test]
fn malformed_lengths() {
    for (bytes, part) in [
        (&b""[..], "truncated"),
        (&b"\x08\0\0\0"[..], "truncated"),
        (&u64::MAX.to_le_bytes()[..], "at most"),
        (&100_000_000u64.to_le_bytes()[..], "truncated"),
        (&[&4u64.to_le_bytes()[..], b"{\xff}}"].concat(), "UTF-8"),
    ] {
        let (_dir, path) = file(bytes);
        let error = read_safetensors(&path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(read_safetensors(&data("absent")).unwrap_err().to_string().contains("absent"));
}

/// Every prefix of a good file is an error.
#[test]
fn truncation() {
    let bytes = std::fs::read(data("values.safetensors")).unwrap();
    for end in (0..bytes.len()).step_by(7) {
        let (_dir, path) = file(&bytes[..end]);
        assert!(read_safetensors(&path).is_err());
    }
}

/// What cannot be written leaves no file.
#[test]
fn bad_tensors_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let broken = HostTensor { shape: vec![3], data: HostData::U8(vec![1]) };
    for (name, tensor) in [("w", broken), ("__metadata__", HostTensor::scalar_i64(1))] {
        let map = [(name.to_string(), tensor)].into_iter().collect();
        let error = write_safetensors(&path, &map, &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
