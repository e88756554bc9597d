//! The idx container: both spellings, gzip, single files, and every way to be wrong.

use std::path::Path;

use super::{gz, image, only, write};
use crate::{DataConfig, DataError, IdxConfig, OpenOptions, Opened, Split, guess, info};

fn images(n: u32, h: u32, w: u32) -> Vec<u8> {
    let mut out = vec![0, 0, 8, 3];
    [n, h, w].iter().for_each(|d| out.extend(d.to_be_bytes()));
    out.extend((0..n * h * w).map(|i| (i * 7 % 256) as u8));
    out
}

fn labels(values: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1], &(values.len() as u32).to_be_bytes()[..], values].concat()
}

fn open(data: &Path) -> Result<Opened, DataError> {
    DataConfig::Idx(IdxConfig::default()).open_with_report(&only(data))
}

fn error(data: &Path) -> String {
    open(data).err().expect("an error").to_string()
}

/// Every spelling, plain and gzipped, is the same data.
#[test]
fn spellings() {
    for (image_name, label_name) in [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte.gz"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let pack = |name: &str, bytes: Vec<u8>| if name.ends_with("gz") { gz(&bytes) } else { bytes };
        write(&dir.path().join(image_name), &pack(image_name, images(3, 4, 5)));
        write(&dir.path().join(label_name), &pack(label_name, labels(&[9, 0, 4])));
        let opened = open(dir.path()).unwrap();
        let set = &opened.dataset;
        assert_eq!((set.count(), set.shape(), set.classes()), (3, [4, 5, 1], Some(10)));
        let (bytes, label) = image(set.as_ref(), 1);
        assert_eq!((bytes, label), ((20..40).map(|i| (i * 7 % 256) as u8).collect(), Some(0)));
        assert_eq!(opened.report.class_names.len(), 10);
        // the file itself, and a guess
        let path = dir.path().join(image_name);
        let config = guess(&path, &only(dir.path()).search).unwrap();
        let alone = config.open(&OpenOptions::default()).unwrap();
        assert_eq!(image(alone.as_ref(), 2), image(set.as_ref(), 2));
        // below a data root, under the set's name
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("mnist");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::copy(&path, below.join(image_name)).unwrap();
        assert_eq!(open(root.path()).unwrap().dataset.classes(), None);
    }
}

#[test]
fn resized_on_request() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("train-images-idx3-ubyte"), &images(3, 4, 5));
    let config = IdxConfig { size: Some([8, 6].into()), ..IdxConfig::default() };
    let set = DataConfig::Idx(config).open(&only(dir.path())).unwrap();
    assert_eq!((set.count(), set.shape(), image(set.as_ref(), 0).0.len()), (3, [8, 6, 1], 48));
}

/// Errors name the file, what was found and what was expected.
#[test]
fn wrong_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train-images-idx3-ubyte");
    let good = images(3, 4, 5);
    let cases: [(Vec<u8>, &str); 8] = [
        (labels(&[1, 2]), "magic number is 0x00000801 (idx labels); expected 0x00000803 (idx images)"),
        (b"PK\x03\x04....".to_vec(), "magic number is 0x504b0304; expected 0x00000803 (idx images)"),
        (gz(&gz(&good)), "(gzip inside gzip)"),
        (good[..7].to_vec(), "header is cut"),
        (good[..good.len() - 1].to_vec(), "number of bytes is 59; expected 60 (3 x 4 x 5 after the header)"),
        ([&good[..], &[0]].concat(), "number of bytes is more; expected 60 (3 x 4 x 5 after the header)"),
        (images(0, 4, 5), "shape is [0, 4, 5]; expected sizes of 1 or more"),
        ([&[0u8, 0, 8, 3][..], &[0xFF; 12]].concat(), "expected sizes of 1 or more"),
    ];
    for (bytes, message) in cases {
        write(&path, &bytes);
        let e = error(dir.path());
        assert!(e.contains(message) && e.contains("train-images-idx3-ubyte"), "{e}\n{message}");
    }
    let packed = gz(&good);
    write(&path, &packed[..packed.len() - 12]);
    assert!(error(dir.path()).contains("cut or corrupt after"), "{}", error(dir.path()));
}

#[test]
fn wrong_labels() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("train-images-idx3-ubyte"), &images(3, 4, 5));
    let path = dir.path().join("train-labels-idx1-ubyte");
    write(&path, &labels(&[1, 2]));
    let e = error(dir.path());
    assert!(e.contains("has 2 labels, but") && e.contains("has 3 images"), "{e}");
    write(&path, &labels(&[1, 10, 2]));
    assert!(error(dir.path()).ends_with("train-labels-idx1-ubyte: label of entry 1 is 10; expected 0..9"));
    let more = IdxConfig { classes: 11, ..IdxConfig::default() };
    assert_eq!(DataConfig::Idx(more).open(&only(dir.path())).unwrap().classes(), Some(11));
}

#[test]
fn nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let e = error(dir.path());
    assert!(e.contains("difusi data fetch mnist") && e.contains(&dir.path().display().to_string()), "{e}");
    let test = DataConfig::Idx(IdxConfig { split: Split::Test, ..IdxConfig::default() });
    write(&dir.path().join("train-images-idx3-ubyte"), &images(1, 4, 5));
    let e = test.open(&only(dir.path())).err().unwrap().to_string();
    assert!(e.contains("t10k-images-idx3-ubyte"), "{e}");
}

#[test]
fn information() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("train-images-idx3-ubyte"), &images(3, 4, 5));
    write(&dir.path().join("train-labels-idx1-ubyte"), &labels(&[1, 1, 2]));
    write(&dir.path().join("t10k-images-idx3-ubyte"), &images(2, 4, 5));
    let i = info(dir.path(), &OpenOptions::default()).unwrap();
    assert_eq!((i.kind, i.count, i.height, i.width), ("idx", Some(3), [4, 4], [5, 5]));
    assert_eq!(i.splits.into_iter().collect::<Vec<_>>(), [("test", 2), ("train", 3)]);
    assert_eq!(i.classes.iter().map(|c| c.count).collect::<Vec<_>>(), [0, 2, 1]);
    let drawn = info(Path::new("digits"), &OpenOptions::default()).unwrap();
    assert_eq!((drawn.count, drawn.classes.len(), drawn.classes[3].count), (None, 10, 100));
    assert!(serde_json::to_string(&drawn).unwrap().contains("\"kind\":\"digits\""));
}
