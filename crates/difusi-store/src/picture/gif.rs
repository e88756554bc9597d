//! Animated GIF. Up to 256 colours per frame are kept exactly (all greys); more are quantised.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use gif::{Encoder, Frame};

use super::Picture;
use crate::{StoreError, atomic};

/// How often an animation plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// For ever.
    Forever,
    /// Once.
    Once,
}

/// Writes frames of one size atomically; `delay_ms` is rounded to hundredths of a second, at least one.
pub fn write_gif(path: &Path, frames: &[Picture], delay_ms: u32, repeat: Repeat) -> Result<(), StoreError> {
    let Some(first) = frames.first() else {
        return Err(StoreError::Value { what: "number of frames".into(), got: "0".into(), accepted: "at least one" });
    };
    frames.iter().try_for_each(|frame| first.check_same(frame))?;
    let (Ok(width), Ok(height)) = (u16::try_from(first.width()), u16::try_from(first.height())) else {
        let (what, got) = ("size of a GIF".into(), first.size().to_string());
        return Err(StoreError::Value { what, got, accepted: "at most 65535 on each side" });
    };
    let delay = ((delay_ms + 5) / 10).clamp(1, u32::from(u16::MAX)) as u16;
    atomic::write(path, |out| {
        let mut encoder = Encoder::new(out, width, height, &[]).map_err(io_error)?;
        if repeat == Repeat::Forever {
            encoder.set_repeat(gif::Repeat::Infinite).map_err(io_error)?;
        }
        for picture in frames {
            let frame = Frame { delay, ..frame(picture, width, height) };
            encoder.write_frame(&frame).map_err(io_error)?;
        }
        Ok(())
    })
}

fn io_error(error: gif::EncodingError) -> io::Error {
    match error {
        gif::EncodingError::Io(source) => source,
        other => io::Error::other(other.to_string()),
    }
}

fn frame(picture: &Picture, width: u16, height: u16) -> Frame<'static> {
    let rgb = picture.to_rgb();
    let (mut palette, mut places) = (Vec::new(), HashMap::new());
    let mut indices = Vec::with_capacity(rgb.pixels().len() / 3);
    for colour in rgb.pixels().as_chunks::<3>().0 {
        let next = places.len();
        let place = *places.entry(*colour).or_insert(next);
        if place == next {
            if next == 256 {
                return Frame::from_rgb_speed(width, height, rgb.pixels(), 10);
            }
            palette.extend_from_slice(colour);
        }
        indices.push(place as u8);
    }
    Frame::from_palette_pixels(width, height, indices, palette, None)
}
