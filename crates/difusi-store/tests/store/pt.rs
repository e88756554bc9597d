//! PyTorch files: real ones, malformed ones, refusals.

use difusi_store::{Dtype, HostData, HostTensor, PtValue, StoreError, TensorMap, pt, read_safetensors};
use proptest::prelude::*;

use crate::{data, file, maps};

const KINDS: [&str; 3] = ["zip.pt", "zip_protocol4.pt", "legacy.pt"];

fn writable() -> Vec<Dtype> {
    Dtype::ALL.into_iter().filter(|d| !matches!(d, Dtype::U64 | Dtype::U32 | Dtype::U16)).collect()
}

/// Views, element types, GPU storages, optimiser and EMA dictionaries: the numbers PyTorch itself reads.
#[test]
fn tensors_equal_pytorchs() {
    let expected = read_safetensors(&data("values.safetensors")).unwrap().tensors;
    for name in KINDS {
        let tensors = pt::read(&data(name)).unwrap().tensors().unwrap();
        assert_eq!(tensors.len(), expected.len(), "{name}");
        for (key, tensor) in expected.iter() {
            assert_eq!(tensors.get(key).unwrap(), tensor, "{name} {key}");
        }
    }
}

#[test]
fn plain_values_survive() {
    for name in KINDS {
        let root = pt::read(&data(name)).unwrap();
        let at = |path: &str| root.at(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(at("step"), &PtValue::Int(7));
        assert_eq!(at("large").as_i64(), Some((1 << 40) + 1));
        assert_eq!(at("negative").as_i64(), Some(-(1 << 33)));
        assert_eq!(at("ratio").as_f64(), Some(0.125));
        assert_eq!(at("flag"), &PtValue::Bool(true));
        assert_eq!(at("none"), &PtValue::None);
        assert_eq!(at("version").as_str(), Some("2.3.4"));
        assert_eq!(at("unicode").as_str(), Some("Grüße"));
        assert_eq!(at("size"), &PtValue::Tuple(vec![PtValue::Int(1), PtValue::Int(2)]));
        assert_eq!(at("device").as_str(), Some("cuda:0"));
        assert_eq!(at("dtype").as_str(), Some("torch.float16"));
        assert_eq!(at("numpy").as_f64(), Some(1.5));
        assert_eq!(at("list.1.1.3").as_i64(), Some(6));
        assert_eq!(at("bytes"), &PtValue::Bytes(vec![0, 255]));
        assert_eq!(at("empties").as_list().map(<[_]>::len), Some(3));
        // Integer keys of the optimiser, keys with dots of the average.
        assert_eq!(at("opt.state.0.step").as_f64(), Some(1.0));
        assert_eq!(at("opt.param_groups.0.betas.1").as_f64(), Some(0.999));
        assert!(at("opt.state").as_dict().unwrap().iter().all(|(k, _)| matches!(k, PtValue::Int(_))));
        assert_eq!(at("ema.ema_model.0.weight").as_tensor().unwrap().shape, [2, 3]);
        assert_eq!(at("ema.step").as_i64(), Some(5));
        let error = root.at("ema.absent").unwrap_err().to_string();
        assert!(error.contains("ema.absent") && error.contains("`model`"), "{error}");
    }
}

/// The structure alone has the same names, shapes and types.
#[test]
fn structure_without_numbers() {
    let structure = pt::read_structure(&data("zip.pt")).unwrap();
    let full = pt::read(&data("zip.pt")).unwrap();
    let all: Vec<_> = structure.flatten().into_iter().map(|(n, i)| (n, i.shape.clone(), i.dtype)).collect();
    let expected: Vec<_> = full.flatten().into_iter().map(|(n, t)| (n, t.shape.clone(), t.dtype())).collect();
    assert_eq!(all, expected);
}

#[test]
fn other_objects_are_refused_by_name() {
    for (name, object) in
        [("hostile.pt", "posix.system"), ("namespace.pt", "argparse.Namespace"), ("module.pt", "torch.nn.modules.")]
    {
        let error = pt::read(&data(name)).unwrap_err();
        assert!(matches!(error, StoreError::RefusedGlobal { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(object) && error.contains("nothing") && error.contains("state_dict"), "{error}");
    }
}

/// Every prefix of small files of both containers, and damage to any byte, is an error or a value, never a panic.
#[test]
fn truncated_and_damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let (path, small) = (dir.path().join("f"), dir.path().join("small.pt"));
    let value = PtValue::dict([("w", PtValue::Tensor(HostTensor::f32([2], vec![1.0, 2.0]).unwrap()))]);
    pt::write(&small, &value).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        pt::read(&path).is_err()
    };
    let zip = std::fs::read(&small).unwrap();
    assert!((0..zip.len()).all(|end| refused(&zip[..end])));
    let stream = std::fs::read(data("legacy.pt")).unwrap();
    assert!((0..700).chain((700..stream.len()).step_by(11)).all(|end| refused(&stream[..end])));
    for i in 0..zip.len().max(stream.len()) {
        for bytes in [&zip, &stream].into_iter().filter(|bytes| i < bytes.len()) {
            let mut broken = bytes.clone();
            broken[i] ^= [0x01, 0x80, 0xff, 0x10][i % 4];
            refused(&broken);
        }
    }
}

/// With DIFUSI_LOOK=FOLDER the written file stays there, for torch.load(weights_only=True).
#[test]
fn written_files_are_small_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("DIFUSI_LOOK").map_or(dir.path().to_path_buf(), Into::into);
    let value = pt::read(&data("zip.pt")).unwrap();
    let path = folder.join("written.pt");
    pt::write(&path, &value).unwrap();
    assert_eq!(pt::read(&path).unwrap(), value);
}

/// A legacy file around one pickle; `keys` are its storages, `data` what follows.
fn legacy(object: &[u8], keys: &[u8], data: &[u8]) -> Vec<u8> {
    let whole = std::fs::read(crate::data("namespace.pt")).unwrap();
    // Magic, protocol and system are the first three pickles; the system's begins at the third PROTO.
    let starts: Vec<usize> = (0..whole.len() - 1).filter(|i| whole[*i..].starts_with(b"\x80\x02")).collect();
    [&whole[..starts[3]], object, keys, data].concat()
}

fn read_legacy(object: &[u8]) -> Result<PtValue, StoreError> {
    let (_dir, path) = file(&legacy(object, b"\x80\x02].", b""));
    pt::read(&path)
}

#[test]
fn small_pickles() {
    let ok = |pickle: &[u8]| read_legacy(pickle).unwrap();
    assert_eq!(ok(b"\x80\x02K\x07."), PtValue::Int(7));
    assert_eq!(
        ok(b"(lp0\nI1\naI01\naF0.5\naS'x'\na."),
        PtValue::List(vec![PtValue::Int(1), PtValue::Bool(true), PtValue::Float(0.5), PtValue::str("x"),])
    );
    // A key set twice keeps its first place and its last value.
    let twice = ok(b"\x80\x02}(X\x01\0\0\0aK\x01X\x01\0\0\0bK\x02X\x01\0\0\0aK\x03u.");
    assert_eq!(twice, PtValue::dict([("a", PtValue::Int(3)), ("b", PtValue::Int(2))]));
}

/// Bombs: few bytes that stand for much, or for something endless.
#[test]
fn bombs_are_refused() {
    let fails = |pickle: &[u8], part: &str| {
        let error = read_legacy(pickle).unwrap_err().to_string();
        assert!(error.contains(part), "`{error}` lacks `{part}`");
    };
    // A list that contains itself.
    fails(b"\x80\x02]q\0h\0a.", "contains itself");
    // Lists nested 100,000 deep.
    fails(&[&b"\x80\x02"[..], &b"]".repeat(100_000), &b"a".repeat(99_999), b"."].concat(), "nested deeper");
    // Thirty lists, each ten times the last: 10^30 items.
    let mut laughs = b"\x80\x02]q\0".to_vec();
    for i in 0..30u8 {
        laughs.extend([b"]q".as_slice(), &[i + 1], b"(", &[b'h', i].repeat(10), b"e"].concat());
    }
    fails(&[laughs, b".".to_vec()].concat(), "beyond measure");
    // A string that claims 4 GiB.
    fails(b"\x80\x02X\xff\xff\xff\xffabc.", "accepted");
    fails(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "accepted");
    fails(b"\x80\x02X\x00\x00\x00\x01abc.", "truncated");
    fails(b"\x80\x02a.", "takes more");
    fails(b"\x80\x02h\x05.", "empty");
    fails(b"\x80\x02(.", "takes more");
    fails(b"\x80\x09N.", "protocol 9");
    fails(b"\x80\x02Ptext\n.", "opcode 0x50");
    fails(b"\x80\x02c__builtin__\neval\n.", "__builtin__.eval");
    fails(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system");
}

/// A pickle that unpacks to far more than its archive.
#[test]
fn packed_pickles_are_bounded() {
    use std::io::Write;
    let (_dir, path) = file(&[]);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let packed = zip::write::SimpleFileOptions::DEFAULT.compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("archive/data.pkl", packed).unwrap();
    zip.write_all(&[b"\x80\x02".as_slice(), &b"]".repeat(3 << 20), b"."].concat()).unwrap();
    zip.finish().unwrap();
    let error = pt::read(&path).unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
}

/// Views that leave their storage, in every way.
#[test]
fn tensors_stay_inside_their_storage() {
    let tensor = |numel: &str, offset: &str, size: &str, stride: &str| -> Vec<u8> {
        let storage = format!("((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cuda:3'\nI{numel}\ntQ");
        format!("ctorch._utils\n_rebuild_tensor_v2\n{storage}I{offset}\n({size}t({stride}tI00\nNtR.").into_bytes()
    };
    let four = [&4u64.to_le_bytes()[..], &[0, 0, 128, 63].repeat(4)].concat();
    let read = |pickle: &[u8], data: &[u8]| {
        let (_dir, path) = file(&legacy(pickle, b"(lS'0'\na.", data));
        pt::read(&path).map_err(|e| e.to_string())
    };
    let ones = |shape: &[usize]| {
        let count = shape.iter().product();
        Ok(PtValue::Tensor(HostTensor::f32(shape, vec![1.0; count]).unwrap()))
    };
    assert_eq!(read(&tensor("4", "1", "I3\n", "I1\n"), &four), ones(&[3]));
    assert_eq!(read(&tensor("4", "0", "I3\nI2\n", "I0\nI3\n"), &four), ones(&[3, 2]));
    assert_eq!(read(&tensor("4", "4", "I0\nI9\n", "I9\nI1\n"), &four), ones(&[0, 9]));
    for (numel, offset, size, stride, part) in [
        ("4", "2", "I3\n", "I1\n", "beyond"),
        ("4", "0", "I2\nI2\n", "I3\nI1\n", "beyond"),
        ("4", "0", "I-1\n", "I1\n", "-1"),
        ("4", "0", "I2\n", "", "strides"),
        ("4", "0", "I4611686018427387904\nI4611686018427387904\n", "I0\nI0\n", "beyond"),
        ("4", "0", "I99999999999\n", "I0\n", "bytes"),
        ("4", "9223372036854775807", "I2\n", "I9223372036854775807\n", "beyond"),
        ("9", "0", "I3\n", "I1\n", "expected 9"),
        ("4611686018427387904", "0", "I3\n", "I1\n", "expected 4611686018427387904"),
    ] {
        let error = read(&tensor(numel, offset, size, stride), &four).unwrap_err();
        assert!(error.contains(part), "`{error}` lacks `{part}`");
    }
    let error = read(&tensor("4", "0", "I3\n", "I1\n"), &four[..20]).unwrap_err();
    assert!(error.contains("truncated"), "{error}");
}

#[test]
fn other_containers_are_named() {
    for (bytes, part) in [
        (&b""[..], "neither"),
        (b"hello", "neither"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "data.pkl"),
        (b"PK", "zip"),
        (&[&[0u8; 257][..], b"ustar"].concat(), "tar"),
    ] {
        let (_dir, path) = file(bytes);
        let error = pt::read(&path).unwrap_err().to_string();
        assert!(error.to_lowercase().contains(part), "`{error}` lacks `{part}`");
    }
    let big = std::fs::read(data("legacy.pt")).unwrap();
    let at = big.windows(13).position(|w| w == b"little_endian").unwrap();
    let flag = (at..big.len()).find(|i| big[*i] == 0x88).unwrap();
    let broken = [&big[..flag], &[0x89], &big[flag + 1..]].concat();
    let (_dir, path) = file(&broken);
    assert!(pt::read(&path).unwrap_err().to_string().contains("big-endian"));
}

fn values() -> impl Strategy<Value = PtValue> {
    let leaf = prop_oneof![
        Just(PtValue::None),
        any::<bool>().prop_map(PtValue::Bool),
        any::<i64>().prop_map(PtValue::Int),
        (-1e300..1e300f64).prop_map(PtValue::Float),
        ".{0,9}".prop_map(PtValue::Str),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(PtValue::Bytes),
        maps(writable()).prop_map(PtValue::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![".{1,6}".prop_map(PtValue::Str), any::<i64>().prop_map(PtValue::Int)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(PtValue::List),
            prop::collection::vec(inner.clone(), 0..5).prop_map(PtValue::Tuple),
            prop::collection::vec((key, inner), 0..4).prop_map(unique),
        ]
    })
}

fn unique(pairs: Vec<(PtValue, PtValue)>) -> PtValue {
    let mut out: Vec<(PtValue, PtValue)> = Vec::new();
    for (key, value) in pairs {
        if out.iter().all(|(k, _)| *k != key) {
            out.push((key, value));
        }
    }
    PtValue::Dict(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// read(write(x)) = x, and equal values are equal files.
    #[test]
    fn round_trip(value in values()) {
        let dir = tempfile::tempdir().unwrap();
        let (path, again) = (dir.path().join("f.pt"), dir.path().join("g.pt"));
        pt::write(&path, &value).unwrap();
        pt::write(&again, &value).unwrap();
        prop_assert_eq!(&pt::read(&path).unwrap(), &value);
        prop_assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
    }

    /// Random opcodes are an error or a value, never a panic.
    #[test]
    fn random_pickles(pickle in prop::collection::vec(prop::sample::select(
        b"(.0NKIJ]}})tasuehqrRQb\x85\x86\x87\x88\x93\x94\x8c\x01\x02a".to_vec()), 0..60)) {
        let _ = read_legacy(&pickle);
    }
}

#[test]
fn what_pytorch_lacks_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.pt");
    let map: TensorMap =
        [("w".to_string(), HostTensor::new([1], HostData::U16(vec![1])).unwrap())].into_iter().collect();
    let error = pt::write(&path, &map.into()).unwrap_err().to_string();
    assert!(error.contains("`w`") && error.contains("uint16") && !path.exists(), "{error}");
}
