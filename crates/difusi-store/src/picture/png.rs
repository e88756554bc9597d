//! PNG with text metadata: what a picture was made by travels inside it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use difusi_core::ImageSize;
use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};

use super::Picture;
use crate::error::Fault;
use crate::{StoreError, atomic};

const FORMAT: &str = "PNG";

/// Writes a picture atomically with text entries (`("seed", "0")`): `tEXt` where Latin-1 suffices, else `iTXt`. An error
/// where a key is not 1 to 79 Latin-1 characters.
pub fn write_png(path: &Path, picture: &Picture, text: &[(&str, &str)]) -> Result<(), StoreError> {
    for (key, _) in text {
        if !(1..=79).contains(&key.chars().count()) || !is_latin1(key) {
            let (what, got) = ("PNG text key".into(), format!("`{key}`"));
            return Err(StoreError::Value { what, got, accepted: "1 to 79 Latin-1 characters" });
        }
    }
    atomic::write(path, |out| Ok(encode(out, picture, text)?))
}

/// A picture as the bytes of a PNG file.
pub(crate) fn png_bytes(picture: &Picture) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    encode(&mut out, picture, &[])?;
    Ok(out)
}

fn is_latin1(text: &str) -> bool {
    text.chars().all(|c| c != '\0' && u32::from(c) < 256)
}

fn encode(out: &mut impl Write, picture: &Picture, text: &[(&str, &str)]) -> Result<(), png::EncodingError> {
    let mut encoder = Encoder::new(BufWriter::new(out), picture.width() as u32, picture.height() as u32);
    encoder.set_color(if picture.channels() == 3 { ColorType::Rgb } else { ColorType::Grayscale });
    encoder.set_depth(BitDepth::Eight);
    for (key, value) in text {
        if is_latin1(value) {
            encoder.add_text_chunk(key.to_string(), value.to_string())?;
        } else {
            encoder.add_itxt_chunk(key.to_string(), value.replace('\0', " "))?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.pixels())?;
    writer.finish()
}

fn fault(error: png::DecodingError) -> Fault {
    match error {
        png::DecodingError::IoError(source) => Fault::Io(source),
        other => Fault::Bad(other.to_string()),
    }
}

/// Reads a picture as 8-bit grey or RGB; transparency is dropped.
pub fn read_png(path: &Path) -> Result<Picture, StoreError> {
    decode(path).map_err(Fault::at(path, FORMAT))
}

fn decode(path: &Path) -> Result<Picture, Fault> {
    let mut decoder = Decoder::new(BufReader::new(File::open(path)?));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(fault)?;
    let size = reader.output_buffer_size().ok_or_else(|| Fault::Bad("it is too large".into()))?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(fault)?;
    bytes.truncate(info.buffer_size());
    let size = ImageSize { height: info.height as usize, width: info.width as usize };
    let samples = info.color_type.samples();
    let channels = if samples < 3 { 1 } else { 3 };
    if samples != channels {
        bytes = bytes.chunks_exact(samples).flat_map(|p| p[..channels].to_vec()).collect();
    }
    Picture::new(size, channels, bytes).map_err(|e| Fault::Bad(e.to_string()))
}

/// The text entries of a PNG, in order of their kinds: tEXt, zTXt, iTXt.
pub fn read_png_text(path: &Path) -> Result<Vec<(String, String)>, StoreError> {
    png_text(path).map(|(_, text)| text).map_err(Fault::at(path, FORMAT))
}

/// `[H, W, C]` and text entries.
pub(crate) type SizeAndText = ([usize; 3], Vec<(String, String)>);

pub(crate) fn png_text(path: &Path) -> Result<SizeAndText, Fault> {
    let mut reader = Decoder::new(BufReader::new(File::open(path)?)).read_info().map_err(fault)?;
    // Text may also follow the pixels.
    reader.finish().map_err(fault)?;
    let info = reader.info();
    let mut all: Vec<(String, String)> =
        info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone())).collect();
    for chunk in &info.compressed_latin1_text {
        all.push((chunk.keyword.clone(), chunk.get_text().map_err(fault)?));
    }
    for chunk in &info.utf8_text {
        all.push((chunk.keyword.clone(), chunk.get_text().map_err(fault)?));
    }
    Ok(([info.height as usize, info.width as usize, info.color_type.samples()], all))
}
