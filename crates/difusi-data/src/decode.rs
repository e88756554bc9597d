//! One image file to pixels: PNG, JPEG and WebP by their content; grey, palette, RGB, alpha, 8 and 16 bits; EXIF
//! orientation; alpha composited on a colour. Decompression bombs are refused. Deliberately absent: colour profiles
//! (values are taken as sRGB), animation (first frame), other formats.

use std::io::Cursor;
use std::path::Path;

use difusi_core::ImageSize;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::{Channels, Skipped, resize};

/// Largest file read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest height or width decoded.
pub const MAX_SIDE: u32 = 32_768;
/// Most memory one decoded image may take, in bytes.
pub const MAX_DECODED_BYTES: u64 = 512 << 20;

/// How pixels are brought to one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Grey or RGB.
    pub channels: Channels,
    /// What shines through transparent pixels, `[r, g, b]`.
    pub background: [u8; 3],
}

/// A decoded file.
pub struct Decoded {
    /// Upright pixels.
    pub image: DynamicImage,
    /// How the file stores them: `L`, `LA`, `P`, `RGB`, `RGBA`, with `16` behind for 16 bits, `CMYK`.
    pub mode: &'static str,
}

/// Reads a file.
///
/// # Errors
/// Names the file and the reason: unreadable, another format, truncated, corrupt, too large.
pub fn decode(path: &Path) -> Result<Decoded, Skipped> {
    let skipped = |reason: String| Skipped { path: path.to_path_buf(), reason };
    let io = |e: std::io::Error| skipped(format!("cannot be read: {e}"));
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > MAX_FILE_BYTES {
        return Err(skipped(format!("file has {length} bytes; expected at most {MAX_FILE_BYTES}")));
    }
    decode_bytes(&std::fs::read(path).map_err(io)?).map_err(skipped)
}

/// Decodes the content of a file; the error is the reason.
pub(crate) fn decode_bytes(bytes: &[u8]) -> Result<Decoded, String> {
    let format = match image::guess_format(bytes) {
        Ok(f @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => f,
        Ok(other) => return Err(format!("content is {other:?}; expected PNG, JPEG or WebP")),
        Err(_) if bytes.is_empty() => return Err("file is empty".into()),
        Err(_) => return Err("content is no PNG, JPEG or WebP".into()),
    };
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err("JPEG is truncated: it has no end marker".into());
    }
    let text = |e: image::ImageError| e.to_string();
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(text)?;
    let (w, h) = decoder.dimensions();
    if w > MAX_SIDE || h > MAX_SIDE || decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(format!("image is {w}x{h}; expected sides up to {MAX_SIDE} and {MAX_DECODED_BYTES} bytes decoded"));
    }
    let mode = mode(format, bytes, &decoder);
    let orientation = decoder.orientation().map_err(text)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(text)?;
    image.apply_orientation(orientation);
    Ok(Decoded { image: common(image), mode })
}

/// How the file stores its pixels. PNG says it in the header chunk: depth at byte 24, colour type at 25.
fn mode(format: ImageFormat, bytes: &[u8], decoder: &impl ImageDecoder) -> &'static str {
    use image::ColorType as T;
    match (format, bytes.get(24), bytes.get(25)) {
        (ImageFormat::Png, _, Some(3)) => "P",
        (ImageFormat::Png, Some(16), Some(0)) => "L16",
        (ImageFormat::Png, _, Some(0)) => "L",
        (ImageFormat::Png, Some(16), Some(4)) => "LA16",
        (ImageFormat::Png, _, Some(4)) => "LA",
        (ImageFormat::Png, Some(16), Some(2)) => "RGB16",
        (ImageFormat::Png, Some(16), Some(6)) => "RGBA16",
        _ => match decoder.color_type() {
            _ if decoder.original_color_type() == image::ExtendedColorType::Cmyk8 => "CMYK",
            T::L8 | T::L16 => "L",
            T::La8 | T::La16 => "LA",
            T::Rgba8 | T::Rgba16 | T::Rgba32F => "RGBA",
            _ => "RGB",
        },
    }
}

/// Whether a JPEG's markers lead to its end marker (ITU T.81 annex B). The decoder fills what a cut file lacks with grey
/// and says nothing, so the file itself is asked. Thumbnails inside segments are stepped over.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == 0xFF)) else { return false };
        at += step;
        while bytes.get(at) == Some(&0xFF) {
            at += 1;
        }
        match bytes.get(at) {
            None => return false,
            Some(0xD9) => return true,
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 1,
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(length) => at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
}

/// Rare pixel types become 16-bit RGBA, so that [`row`] knows every type it meets.
fn common(image: DynamicImage) -> DynamicImage {
    use DynamicImage as D;
    match image {
        D::ImageLuma8(_) | D::ImageLumaA8(_) | D::ImageRgb8(_) | D::ImageRgba8(_) => image,
        D::ImageLuma16(_) | D::ImageLumaA16(_) | D::ImageRgb16(_) | D::ImageRgba16(_) => image,
        other => D::ImageRgba16(other.to_rgba16()),
    }
}

/// Writes row `y` as `[W * C]` numbers in 0..255, composited.
fn row(image: &DynamicImage, y: usize, form: Form, out: &mut [f32]) {
    use DynamicImage as D;
    let w = image.width() as usize;
    let wide = |v: u16| f32::from(v) / 257.0;
    match image {
        D::ImageLuma8(b) => fill(&b.as_raw()[y * w..][..w], form, out, |[v]| grey(v.into(), 255.0)),
        D::ImageLumaA8(b) => fill(&b.as_raw()[y * w * 2..][..w * 2], form, out, |[v, a]| grey(v.into(), a.into())),
        D::ImageRgb8(b) => {
            fill(&b.as_raw()[y * w * 3..][..w * 3], form, out, |[r, g, b]| [r.into(), g.into(), b.into(), 255.0]);
        }
        D::ImageRgba8(b) => fill(&b.as_raw()[y * w * 4..][..w * 4], form, out, |p: [u8; 4]| p.map(f32::from)),
        D::ImageLuma16(b) => fill(&b.as_raw()[y * w..][..w], form, out, |[v]| grey(wide(v), 255.0)),
        D::ImageLumaA16(b) => fill(&b.as_raw()[y * w * 2..][..w * 2], form, out, |[v, a]| grey(wide(v), wide(a))),
        D::ImageRgb16(b) => {
            fill(&b.as_raw()[y * w * 3..][..w * 3], form, out, |[r, g, b]| [wide(r), wide(g), wide(b), 255.0]);
        }
        D::ImageRgba16(b) => fill(&b.as_raw()[y * w * 4..][..w * 4], form, out, |p| p.map(wide)),
        _ => out.fill(0.0), // `common` leaves no other type
    }
}

fn grey(v: f32, a: f32) -> [f32; 4] {
    [v, v, v, a]
}

/// `N` samples per pixel through `rgba` (0..255 each), over the background, to one or three channels.
fn fill<T: Copy, const N: usize>(samples: &[T], form: Form, out: &mut [f32], rgba: impl Fn([T; N]) -> [f32; 4]) {
    let background = form.background.map(f32::from);
    for (pixel, target) in samples.as_chunks::<N>().0.iter().zip(out.chunks_exact_mut(form.channels.count())) {
        let [r, g, b, a] = rgba(*pixel);
        let mut c = [r, g, b];
        if a < 255.0 {
            let a = a / 255.0;
            c = std::array::from_fn(|i| c[i] * a + background[i] * (1.0 - a));
        }
        match target {
            [v] => *v = if c[0] == c[1] && c[1] == c[2] { c[0] } else { 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] },
            _ => target.copy_from_slice(&c),
        }
    }
}

/// `[H, W, C]` numbers in 0..255 of an image fitted to `size` (its own where `None`), and the shape.
pub(crate) fn fitted(image: &DynamicImage, size: Option<ImageSize>, form: Form) -> (Vec<f32>, [usize; 3]) {
    let [h, w, c] = [image.height() as usize, image.width() as usize, form.channels.count()];
    let size = size.unwrap_or(ImageSize { height: h, width: w });
    (resize::fit([h, w, c], size, |y, out| row(image, y, form, out)), [size.height, size.width, c])
}

/// A file as bytes `[H, W, C]` of `size`.
///
/// # Errors
/// As [`decode`].
pub fn read_bytes(path: &Path, size: ImageSize, form: Form) -> Result<Vec<u8>, Skipped> {
    Ok(resize::to_bytes(&fitted(&decode(path)?.image, Some(size), form).0))
}
