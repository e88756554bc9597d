//! What `inspect` says of every kind of file.

use std::io::Write;

use difusi_core::ImageSize;
use difusi_store::{Container, Dtype, Picture, detect, inspect, write_npy, write_npz, write_png, write_safetensors};

use crate::{data, file, make, shared};

/// Each kind is told by its content, whatever its name, and listed.
#[test]
fn every_kind_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.bin");
    let tensor = make(Dtype::F32, &[2, 3], 0);
    let map = [("w".to_string(), tensor.clone())].into_iter().collect();
    let check = |kind, names: &[&str], text: &[(&str, &str)]| {
        let listing = inspect(&path).unwrap();
        assert_eq!((detect(&path).unwrap(), listing.container), (kind, kind));
        assert!(listing.tensors.iter().map(|t| t.name.as_str()).eq(names.iter().copied()), "{kind}: {listing:?}");
        let text: Vec<_> = text.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(listing.metadata, text);
        listing
    };
    write_safetensors(&path, &map, &[("kind".into(), "unet".into())].into()).unwrap();
    let listing = check(Container::Safetensors, &["w"], &[("kind", "unet")]);
    assert_eq!((listing.tensors[0].shape.as_slice(), listing.tensors[0].dtype), (&[2, 3][..], Dtype::F32));
    write_npy(&path, &tensor).unwrap();
    check(Container::Npy, &["file"], &[]);
    write_npz(&path, &map).unwrap();
    check(Container::Npz, &["w"], &[]);
    let picture = Picture::filled(ImageSize { height: 3, width: 4 }, 3, [1, 2, 3]);
    write_png(&path, &picture, &[("seed", "7")]).unwrap();
    assert_eq!(check(Container::Png, &["picture"], &[("seed", "7")]).tensors[0].shape, [3, 4, 3]);
    let idx = [&[0, 0, 8, 3][..], &[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4], &[0; 24]].concat();
    std::fs::write(&path, &idx).unwrap();
    assert_eq!(check(Container::Idx, &["idx"], &[]).tensors[0].shape, [2, 3, 4]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&idx).unwrap();
    std::fs::write(&path, gz.finish().unwrap()).unwrap();
    assert_eq!(check(Container::IdxGz, &["idx"], &[]).tensors[0].shape, [2, 3, 4]);
    for (kind, bytes) in [
        (Container::Jpeg, &b"\xff\xd8\xff\xe0"[..]),
        (Container::Gif, b"GIF89a"),
        (Container::Webp, b"RIFF\0\0\0\0WEBPVP8 "),
    ] {
        std::fs::write(&path, bytes).unwrap();
        check(kind, &[], &[]);
    }
    write_npy(&path, &tensor).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let e = inspect(&path).unwrap_err().to_string();
    assert!(e.contains("file.bin") && e.contains("[2, 3]") && e.contains("23 bytes"), "{e}");
    for bytes in [&b""[..], b"hello", b"PK\x03\x04", b"\x1f\x8b\x08", &[0; 600]] {
        std::fs::write(&path, bytes).unwrap();
        check(Container::Unknown, &[], &[]);
    }
}

#[test]
fn pytorch_files_list_values_too() {
    for (name, kind) in [("zip.pt", Container::PytorchZip), ("legacy.pt", Container::PytorchLegacy)] {
        let listing = inspect(&data(name)).unwrap();
        assert_eq!(listing.container, kind);
        assert!(listing.tensors.iter().any(|t| t.name == "opt.state.0.exp_avg" && t.shape == [2, 3]));
        assert!(listing.metadata.contains(&("version".into(), "2.3.4".into())));
        assert!(listing.metadata.contains(&("opt.param_groups.0.lr".into(), "0.001".into())));
    }
    assert_eq!(detect(&data("hostile.pt")).unwrap(), Container::PytorchZip);
    assert!(inspect(&data("hostile.pt")).is_err());
    let (_dir, path) = file(&std::fs::read(data("legacy.pt")).unwrap()[..300]);
    assert!(inspect(&path).is_err());
}

#[test]
fn mnist_files() {
    if let Some(path) = shared("data/mnist/t10k-images-idx3-ubyte.gz") {
        let listing = inspect(&path).unwrap();
        assert_eq!((listing.container, &listing.tensors[0].shape[..]), (Container::IdxGz, &[10_000, 28, 28][..]));
    }
}
