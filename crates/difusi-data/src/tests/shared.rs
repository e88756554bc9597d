//! Real data beside the repository.

use difusi_core::Dataset;

use super::{image, only, shared_data};
use crate::{Channels, DataConfig, Folder, FolderConfig, IdxConfig, OpenOptions, Split, info, load_image};

/// 60,000 and 10,000 images; the mean and deviation everybody quotes.
#[test]
fn mnist() {
    let Some(path) = shared_data("mnist") else { return };
    let i = info(&path, &OpenOptions::default()).unwrap();
    assert_eq!((i.splits["train"], i.splits["test"]), (60_000, 10_000));
    assert!((i.mean[0] - 0.1307).abs() < 1e-4 && (i.std[0] - 0.3081).abs() < 1e-4, "{:?} {:?}", i.mean, i.std);
    assert_eq!(i.classes.iter().map(|c| c.count).collect::<Vec<_>>()[..3], [5923, 6742, 5958]);
    // the parent folder is a data root
    let config = IdxConfig { split: Split::Test, size: Some([32, 32].into()), ..IdxConfig::default() };
    let set = DataConfig::Idx(config).open(&only(path.parent().unwrap())).unwrap();
    assert_eq!((set.count(), set.shape(), image(set.as_ref(), 0).1), (10_000, [32, 32, 1], Some(7)));
}

fn folder(name: &str, size: [usize; 2]) -> Option<Folder> {
    let config = FolderConfig { size: size.into(), background: [0, 0, 0], ..FolderConfig::default() };
    Some(Folder::open(&config, &only(&shared_data(name)?)).unwrap())
}

/// Palette, RGBA, RGB, grey and grey with alpha become 32x32 RGB.
#[test]
fn tiles() {
    let Some(f) = folder("dcss-tiles-32", [32, 32]) else { return };
    assert_eq!((f.count(), f.shape(), f.report().skipped.len(), f.report().lazy), (4249, [32, 32, 3], 0, 0));
    assert_eq!((f.report().captions, f.classes()), (4249, None));
    assert!((0..f.count()).step_by(500).all(|i| image(&f, i).0.len() == 3072));
    let i = info(&shared_data("dcss-tiles-32").unwrap(), &OpenOptions::default()).unwrap();
    assert!(["P", "RGBA", "RGB", "L", "LA"].iter().all(|m| i.modes.contains_key(*m)), "{:?}", i.modes);
    assert_eq!((i.height, i.width), ([32, 32], [32, 32]));
}

#[test]
fn clothing() {
    let Some(f) = folder("clothing-64", [64, 64]) else { return };
    assert_eq!((f.count(), f.report().skipped.len(), f.report().captions), (3781, 0, 3781));
    assert_eq!(f.caption(0), Some("a photo of a dress"));
}

/// Photographs of about 400x533 cropped and resized to a size that is not square.
#[test]
fn originals() {
    let Some(f) = folder("clothing-64/originals", [48, 32]) else { return };
    assert_eq!((f.count(), f.shape()), (80, [48, 32, 3]));
}

/// What is transparent shows the background, black or white.
#[test]
fn emoji() {
    let Some(f) = folder("noto-emoji-128", [32, 32]) else { return };
    assert_eq!((f.count(), f.report().skipped.len()), (1648, 0));
    let corners = (0..1648).step_by(50).filter(|i| image(&f, *i).0[..3] == [0, 0, 0]).count();
    assert!(corners > 25, "{corners}");
    let white = load_image(f.path(0).unwrap(), None, Channels::Rgb, [255; 3]).unwrap();
    assert_eq!((white.shape, white.pixels[0]), ([128, 128, 3], 1.0));
}
