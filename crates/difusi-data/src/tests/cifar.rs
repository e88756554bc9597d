//! CIFAR-10's records.

use super::{image, only, write};
use crate::cifar::RECORD;
use crate::{Cifar10Config, DataConfig, OpenOptions, Split, guess, info};

/// A record: red plane `r`, green plane 1, blue plane counts up.
fn record(label: u8, r: u8) -> Vec<u8> {
    let mut out = vec![label];
    out.extend([r; 1024]);
    out.extend([1; 1024]);
    out.extend((0..1024).map(|i| (i % 256) as u8));
    assert_eq!(out.len(), RECORD);
    out
}

fn config(split: Split) -> DataConfig {
    DataConfig::Cifar10(Cifar10Config { split, flip: false, ..Cifar10Config::default() })
}

/// Planes become pixels, batches follow each other; the unpacked folder is found inside.
#[test]
fn reads() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("cifar-10-batches-bin");
    for b in 1..=5u8 {
        write(&inner.join(format!("data_batch_{b}.bin")), &[record(b, b * 10), record(0, 99)].concat());
    }
    write(&inner.join("test_batch.bin"), &record(9, 5));
    let set = config(Split::Train).open(&only(dir.path())).unwrap();
    assert_eq!((set.count(), set.shape(), set.classes()), (10, [32, 32, 3], Some(10)));
    let (bytes, label) = image(set.as_ref(), 4);
    assert_eq!((label, &bytes[..6]), (Some(3), &[30, 1, 0, 30, 1, 1][..]));
    assert_eq!(config(Split::Test).open(&only(&inner)).unwrap().count(), 1);
    let guessed = guess(dir.path(), &only(dir.path()).search).unwrap();
    assert_eq!(guessed.open(&OpenOptions::default()).unwrap().count(), 10);
    let i = info(dir.path(), &OpenOptions::default()).unwrap();
    assert_eq!((i.kind, i.classes[0].count, i.classes[9].name.as_deref()), ("cifar10", 5, Some("truck")));
}

#[test]
fn wrong_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test_batch.bin");
    let error = || config(Split::Test).open(&only(dir.path())).err().unwrap().to_string();
    assert!(error().contains("difusi data fetch cifar10"), "{}", error());
    write(&path, &[record(1, 1), record(10, 1)].concat());
    assert!(error().ends_with("test_batch.bin: label of entry 1 is 10; expected 0..9"), "{}", error());
    write(&path, &record(1, 1)[1..]);
    assert!(error().contains("test_batch.bin: size in bytes is 3072; expected a multiple of 3073"), "{}", error());
    write(&dir.path().join("data_batch_1.bin"), &record(1, 1));
    let e = config(Split::Train).open(&only(dir.path())).err().unwrap().to_string();
    assert!(e.contains("data_batch_2.bin"), "{e}");
}
