//! NumPy files: round trips, orders, malformed headers.

use difusi_core::ImageSize;
use difusi_store::{
    Dtype, HostData, HostTensor, Picture, StoreError, npz_infos, read_npy, read_npz, read_npz_named, read_npz_rows,
    read_tensor_file, write_npy, write_npz, write_npz_pictures, write_safetensors,
};
use proptest::prelude::*;

use crate::{file, make, maps};

fn types() -> Vec<Dtype> {
    Dtype::ALL.into_iter().filter(|d| *d != Dtype::BF16).collect()
}

/// A version 1 file with this dictionary.
fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\0", &(dict.len() as u16).to_le_bytes()[..], dict.as_bytes(), data].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn round_trips(map in maps(types())) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for (_, tensor) in map.iter() {
            write_npy(&path, tensor).unwrap();
            prop_assert_eq!(&read_npy(&path).unwrap(), tensor);
            prop_assert_eq!(std::fs::read(&path).unwrap().windows(1).position(|w| w == b"\n").unwrap() % 64, 63);
        }
        write_npz(&path, &map).unwrap();
        prop_assert_eq!(read_npz(&path).unwrap(), map);
    }

    #[test]
    fn noise_is_refused(dict in "[{}'a-z_:<>0-9(), FT]{0,80}", data in prop::collection::vec(any::<u8>(), 0..9)) {
        let (_dir, path) = file(&npy(&dict, &data));
        let _ = read_npy(&path);
    }
}

/// Column order is turned: numpy.asfortranarray([[0, 1, 2], [3, 4, 5]]) lies as 0 3 1 4 2 5.
#[test]
fn fortran_order() {
    let bytes = npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", &[0, 3, 1, 4, 2, 5]);
    let (_dir, path) = file(&bytes);
    let tensor = read_npy(&path).unwrap();
    assert_eq!(tensor, HostTensor::new([2, 3], HostData::U8(vec![0, 1, 2, 3, 4, 5])).unwrap());
    let empty = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (4294967296, 4294967296, 4294967296, 0), }", &[]);
    let (_dir, path) = file(&empty);
    assert_eq!(read_npy(&path).unwrap().data.len(), 0);
}

/// The header numpy itself writes.
#[test]
fn header_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.npy");
    write_npy(&path, &make(Dtype::F32, &[3], 0)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    assert_eq!(&bytes[..10], b"\x93NUMPY\x01\0\x76\0");
    assert_eq!(std::str::from_utf8(&bytes[10..128]).unwrap().trim_end(), text);
    assert_eq!(bytes.len(), 128 + 12);
}

#[test]
fn malformed_arrays() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    let cases: [(Vec<u8>, &str); 10] = [
        (b"\x93NUM".to_vec(), "truncated"),
        (b"hello world".to_vec(), "NUMPY"),
        (b"\x93NUMPY\x09\0\0\0".to_vec(), "version 9"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff".to_vec(), "at most"),
        (npy(good, &[0; 7]), "needs 8 bytes"),
        (npy(good, &[0; 9]), "needs 8 bytes"),
        (npy(&good.replace("<f4", ">f4"), &[0; 8]), "little-endian"),
        (npy(&good.replace("'<f4'", "[('a', '<f4')]"), &[0; 8]), "descr"),
        (npy(&good.replace("(2,)", "(99999999999, 99999999999)"), &[0; 8]), "larger"),
        (npy(&good.replace("False", "Maybe"), &[0; 8]), "fortran_order"),
    ];
    for (bytes, part) in cases {
        let (_dir, path) = file(&bytes);
        let error = read_npy(&path).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("file"), "`{error}` lacks `{part}`");
    }
    let (_dir, path) = file(b"PK");
    assert!(read_npz(&path).is_err());
}

/// Each array is within what the file may hold, all together are not.
#[test]
fn packed_arrays_are_bounded_together() {
    use std::io::Write;
    let (_dir, path) = file(&[]);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let array = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000,), }", &[0; 4_000_000]);
    let packed = zip::write::SimpleFileOptions::DEFAULT.compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("a.npy", packed).unwrap();
    zip.write_all(&array).unwrap();
    zip.shallow_copy_file("a.npy", "b.npy").unwrap();
    zip.finish().unwrap();
    let error = read_npz(&path).unwrap_err().to_string();
    assert!(error.contains("array `b`") && error.contains("larger than the file"), "{error}");
}

#[test]
fn pictures_as_arr_0() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.npz");
    let size = ImageSize { height: 2, width: 3 };
    let all: Vec<Picture> =
        (0..4u8).map(|i| Picture::new(size, 3, (0..18).map(|v| v + i).collect()).unwrap()).collect();
    write_npz_pictures(&path, &all).unwrap();
    let tensor = read_npz(&path).unwrap().take("arr_0").unwrap();
    assert_eq!((tensor.shape, tensor.data.dtype()), (vec![4, 2, 3, 3], Dtype::U8));
    let odd = Picture::filled(ImageSize::square(2), 3, [0; 3]);
    assert!(write_npz_pictures(&path, &[all[0].clone(), odd]).is_err());
    assert!(write_npz_pictures(&path, &[]).is_err());
}

/// `--init-noise` takes all three.
#[test]
fn tensor_files() {
    let dir = tempfile::tempdir().unwrap();
    let x = make(Dtype::F32, &[1, 1, 2, 2], 3);
    let map = [("x".to_string(), x.clone())].into_iter().collect();
    let at = |name: &str| dir.path().join(name);
    write_npy(&at("a.npy"), &x).unwrap();
    write_npz(&at("a.npz"), &map).unwrap();
    write_safetensors(&at("a.safetensors"), &map, &Default::default()).unwrap();
    for name in ["a.npy", "a.npz", "a.safetensors"] {
        assert_eq!(read_tensor_file(&at(name), "x").unwrap(), x, "{name}");
    }
    let error = read_tensor_file(&at("a.safetensors"), "noise").unwrap_err().to_string();
    assert!(error.contains("`noise`") && error.contains("`x`"), "{error}");
    assert!(read_tensor_file(&at("absent"), "x").is_err());
}

/// Parts of an archive: by name, listed, and row by row in pieces of any size, until told to stop.
#[test]
fn parts_of_an_archive() {
    let (_dir, path) = file(b"");
    let rows = HostTensor::new([7, 2, 3], HostData::U8((0..42).collect())).unwrap();
    let map = [("arr_0".to_string(), rows), ("mu".to_string(), make(Dtype::F64, &[4], 1))].into_iter().collect();
    write_npz(&path, &map).unwrap();
    let (some, names) = read_npz_named(&path, &|name| name == "mu").unwrap();
    assert_eq!((some.len(), names), (1, vec!["arr_0".to_string(), "mu".to_string()]));
    assert_eq!(npz_infos(&path).unwrap(), map.infos());
    for step in [1, 3, 7, 100] {
        let (mut bytes, mut pieces) = (Vec::new(), 0);
        read_npz_rows::<StoreError>(&path, "arr_0", step, &mut |piece| {
            assert_eq!(piece.shape[1..], [2, 3]);
            let HostData::U8(v) = piece.data else { panic!("{:?}", piece.data) };
            bytes.extend(v);
            pieces += 1;
            Ok(true)
        })
        .unwrap();
        assert_eq!((bytes, pieces), ((0..42).collect::<Vec<u8>>(), 7usize.div_ceil(step)));
    }
    let mut seen = 0;
    let stop = &mut |piece: HostTensor| {
        seen += piece.shape[0];
        Ok::<bool, StoreError>(false)
    };
    read_npz_rows(&path, "arr_0", 2, stop).unwrap();
    assert_eq!(seen, 2);
    let none = &mut |_| Ok::<bool, StoreError>(true);
    let absent = read_npz_rows(&path, "x", 2, none).unwrap_err().to_string();
    assert!(absent.contains("`arr_0`") && absent.contains("x in"), "{absent}");
}
