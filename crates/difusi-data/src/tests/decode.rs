//! Every pixel type, orientation, compositing, and files that are broken.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use super::{Png, flat, write};
use crate::decode::{Form, decode_bytes, fitted};
use crate::{Channels, DataError, load_image, resize};

const PINK: Form = Form { channels: Channels::Rgb, background: [255, 0, 100] };
const GREY: Form = Form { channels: Channels::Grey, background: [255, 0, 100] };

/// Mode and bytes at the file's own size.
fn read(file: &[u8], form: Form) -> (&'static str, Vec<u8>) {
    let d = decode_bytes(file).unwrap();
    (d.mode, resize::to_bytes(&fitted(&d.image, None, form).0))
}

fn png(size: [u32; 2], depth: u8, colour: u8, rows: &[u8]) -> Vec<u8> {
    Png { size, depth, colour, palette: None, transparent: None, rows }.bytes()
}

/// 8 and 16 bits of every colour type; alpha over the background.
#[test]
fn png_types() {
    let size = [1, 2];
    assert_eq!(read(&png(size, 8, 0, &[10, 200]), PINK), ("L", vec![10, 10, 10, 200, 200, 200]));
    assert_eq!(read(&png(size, 1, 0, &[0b0100_0000]), GREY), ("L", vec![0, 255]));
    assert_eq!(read(&png(size, 16, 0, &[10, 10, 1, 1]), GREY), ("L16", vec![10, 1]));
    assert_eq!(read(&png(size, 8, 2, &[1, 2, 3, 4, 5, 6]), PINK), ("RGB", vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(read(&png([1, 1], 16, 2, &[1, 1, 2, 2, 3, 3]), PINK), ("RGB16", vec![1, 2, 3]));
    assert_eq!(read(&png(size, 8, 4, &[10, 255, 10, 0]), PINK), ("LA", vec![10, 10, 10, 255, 0, 100]));
    assert_eq!(read(&png(size, 8, 6, &[1, 2, 3, 255, 9, 9, 9, 0]), PINK), ("RGBA", vec![1, 2, 3, 255, 0, 100]));
    assert_eq!(read(&png([1, 1], 8, 6, &[100, 100, 100, 51]), PINK), ("RGBA", vec![224, 20, 100]));
    assert_eq!(read(&png([1, 1], 16, 6, &[1, 1, 2, 2, 3, 3, 0, 0]), PINK), ("RGBA16", vec![255, 0, 100]));
    assert_eq!(read(&png([1, 1], 16, 4, &[7, 7, 255, 255]), GREY), ("LA16", vec![7]));
}

/// A palette, with and without transparent entries; two pixels share a byte at depth 4.
#[test]
fn palettes() {
    let palette = [10, 20, 30, 40, 50, 60];
    let with =
        |transparent| Png { size: [1, 2], depth: 4, colour: 3, palette: Some(&palette), transparent, rows: &[0x01] };
    assert_eq!(read(&with(None).bytes(), PINK), ("P", vec![10, 20, 30, 40, 50, 60]));
    assert_eq!(read(&with(Some(&[255, 0])).bytes(), PINK), ("P", vec![10, 20, 30, 255, 0, 100]));
}

/// Rec. 601 luma; equal channels stay exact.
#[test]
fn grey_from_colour() {
    assert_eq!(read(&png([1, 3], 8, 2, &[255, 0, 0, 0, 255, 0, 0, 0, 255]), GREY).1, [76, 150, 29]);
    for v in 0..=255 {
        assert_eq!(read(&png([1, 1], 8, 2, &[v; 3]), GREY).1, [v]);
    }
}

/// A picture with a red left half as JPEG.
fn jpeg() -> Vec<u8> {
    let image = RgbImage::from_fn(16, 8, |x, _| image::Rgb(if x < 8 { [250, 0, 0] } else { [0, 0, 0] }));
    encoded(image, ImageFormat::Jpeg)
}

fn encoded(image: RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// Orientation 6 in EXIF: the left of the stored picture is the top of the shown one.
#[test]
fn exif_orientation() {
    let tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let body = [b"Exif\0\0", &tiff[..]].concat();
    let app1 = [&[0xFF, 0xE1], &((body.len() + 2) as u16).to_be_bytes()[..], &body].concat();
    let plain = jpeg();
    let turned = [&plain[..2], &app1, &plain[2..]].concat();
    let d = decode_bytes(&turned).unwrap();
    assert_eq!((d.mode, d.image.width(), d.image.height()), ("RGB", 8, 16));
    let (values, _) = fitted(&d.image, None, PINK);
    assert!(values[0] > 230.0 && values[15 * 8 * 3] < 20.0);
}

#[test]
fn webp() {
    let image = RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8 * 50, y as u8 * 50, 7]));
    let (mode, bytes) = read(&encoded(image.clone(), ImageFormat::WebP), PINK);
    assert_eq!((mode, bytes), ("RGB", image.into_raw()));
}

fn reason(bytes: &[u8]) -> String {
    decode_bytes(bytes).err().expect("broken")
}

/// A file cut anywhere is broken, in every format.
#[test]
fn cut_files_are_broken() {
    let noise =
        RgbImage::from_fn(40, 40, |x, y| image::Rgb([(x * 37 + y * y * 11) as u8, (x * y) as u8, (x ^ y) as u8]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let whole = encoded(noise.clone(), format);
        assert!(decode_bytes(&whole).is_ok());
        for part in [0.05, 0.3, 0.5, 0.9, 0.97] {
            let cut = &whole[..(whole.len() as f64 * part) as usize];
            assert!(decode_bytes(cut).is_err(), "{format:?} cut to {part}");
        }
    }
    let whole = jpeg();
    assert_eq!(reason(&whole[..whole.len() - 2]), "JPEG is truncated: it has no end marker");
}

#[test]
fn other_content_is_broken() {
    assert_eq!(reason(&[]), "file is empty");
    assert_eq!(reason(b"hello"), "content is no PNG, JPEG or WebP");
    assert_eq!(reason(b"GIF89a....."), "content is Gif; expected PNG, JPEG or WebP");
    let mut damaged = flat([9, 9], [1, 2, 3]);
    let middle = damaged.len() / 2 + 10;
    damaged[middle] ^= 0x55;
    assert!(decode_bytes(&damaged).is_err());
}

/// A small file that claims to be huge is refused before memory is taken.
#[test]
fn bombs_are_refused() {
    for size in [[30_000, 30_000], [100_000, 2], [2, 100_000]] {
        let claim = Png { size, depth: 8, colour: 6, palette: None, transparent: None, rows: &[0; 200_000] };
        assert!(decode_bytes(&claim.bytes()).is_err(), "{size:?}");
    }
}

/// A wide picture is cropped at its centre before it is resized.
#[test]
fn load_crops_and_resizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    let rows: Vec<u8> = (0..8 * 24).map(|i| if (8..16).contains(&(i % 24)) { 200 } else { 0 }).collect();
    write(&path, &png([8, 24], 8, 0, &rows));
    let own = load_image(&path, None, Channels::Grey, [0; 3]).unwrap();
    assert_eq!((own.shape, own.pixels[8]), ([8, 24, 1], 200.0 / 127.5 - 1.0));
    let small = load_image(&path, Some([4, 4].into()), Channels::Rgb, [0; 3]).unwrap();
    assert_eq!(small.shape, [4, 4, 3]);
    let centre = small.pixels[(2 * 4 + 2) * 3];
    assert!((centre - 200.0 / 127.5 + 1.0).abs() < 0.15, "{centre}");
    let e = load_image(&dir.path().join("no.png"), None, Channels::Rgb, [0; 3]).unwrap_err();
    assert!(matches!(e, DataError::Broken(_)) && e.to_string().contains("no.png"), "{e}");
}
