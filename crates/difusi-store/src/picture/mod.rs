//! Pictures of bytes: grids, panels with labels, PNG with text metadata, GIF.
//!
//! Deliberately absent: decoding of training images and resizing of photographs (difusi-data).

mod font;
mod gif;
mod panel;
mod png;

pub use gif::{Repeat, write_gif};
pub use panel::{Panel, PanelRow};
pub use png::{read_png, read_png_text, write_png};

use font::ASCENT;

pub(crate) use font::{glyphs, text_width};
pub(crate) use png::{png_bytes, png_text};

use difusi_core::{ImageSize, pixels};

use crate::StoreError;

/// What lies between the pictures of a grid.
const BACKGROUND: u8 = 38;

/// A grey or RGB picture, 8 bits per channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    height: usize,
    width: usize,
    channels: usize,
    /// `[H * W * C]`, channels last.
    pixels: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture {}x{}x{}", self.height, self.width, self.channels)
    }
}

impl Picture {
    /// `pixels` `[H * W * C]`, channels last, with `channels` 1 or 3; neither side 0.
    pub fn new(size: ImageSize, channels: usize, pixels: Vec<u8>) -> Result<Self, StoreError> {
        let ImageSize { height, width } = size;
        if !(channels == 1 || channels == 3) {
            let got = channels.to_string();
            return Err(StoreError::Value { what: "picture channels".into(), got, accepted: "1 or 3" });
        }
        if size.pixels() == 0 || size.pixels() * channels != pixels.len() {
            let (what, got) = (format!("length of a {size}x{channels} picture"), pixels.len().to_string());
            return Err(StoreError::Value { what, got, accepted: "height x width x channels, not 0" });
        }
        Ok(Self { height, width, channels, pixels })
    }

    /// From numbers in `[-1, 1]`, `[H * W * C]`, channels last; outside they saturate.
    pub fn from_unit(size: ImageSize, channels: usize, values: &[f32]) -> Result<Self, StoreError> {
        Self::new(size, channels, values.iter().map(|v| pixels::to_byte(*v)).collect())
    }

    /// The pictures of a batch: `values` `[N * H * W * C]` in `[-1, 1]`.
    pub fn from_batch(size: ImageSize, channels: usize, values: &[f32]) -> Result<Vec<Self>, StoreError> {
        let each = (size.pixels() * channels).max(1);
        values.chunks(each).map(|v| Self::from_unit(size, channels, v)).collect()
    }

    /// One colour everywhere (grey where `channels` is 1: the mean). Sides of 0 become 1.
    pub fn filled(size: ImageSize, channels: usize, colour: [u8; 3]) -> Self {
        let [height, width] = [size.height.max(1), size.width.max(1)];
        let pixels = if channels == 3 {
            colour.repeat(height * width)
        } else {
            vec![(colour.iter().map(|c| u32::from(*c)).sum::<u32>() / 3) as u8; height * width]
        };
        Self { height, width, channels: if channels == 3 { 3 } else { 1 }, pixels }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width.
    pub fn size(&self) -> ImageSize {
        ImageSize { height: self.height, width: self.width }
    }

    /// `[H * W * C]`, channels last.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Three channels.
    pub fn to_rgb(&self) -> Self {
        if self.channels == 3 {
            return self.clone();
        }
        Self { channels: 3, pixels: self.pixels.iter().flat_map(|v| [*v; 3]).collect(), ..*self }
    }

    /// Every pixel becomes a square of `factor` pixels (0 counts as 1).
    pub fn upscaled(&self, factor: usize) -> Self {
        let factor = factor.max(1);
        let (height, width, c) = (self.height * factor, self.width * factor, self.channels);
        let mut pixels = Vec::with_capacity(height * width * c);
        for row in self.pixels.chunks(self.width * c) {
            let wide: Vec<u8> = row.chunks(c).flat_map(|p| p.repeat(factor)).collect();
            (0..factor).for_each(|_| pixels.extend_from_slice(&wide));
        }
        Self { height, width, channels: c, pixels }
    }

    /// Copies a picture with the same number of channels to row `y`, column `x`; what does not fit is cut off.
    pub fn paste(&mut self, other: &Self, y: usize, x: usize) {
        if x >= self.width || self.channels != other.channels {
            return;
        }
        let c = self.channels;
        let count = other.width.min(self.width - x) * c;
        for (i, row) in other.pixels.chunks(other.width * c).enumerate().take(self.height.saturating_sub(y)) {
            let at = ((y + i) * self.width + x) * c;
            self.pixels[at..at + count].copy_from_slice(&row[..count]);
        }
    }

    /// Writes one line of text of this colour; `y` is the top of capital letters' line, `size` the height of a line in
    /// pixels. What does not fit is cut off.
    pub fn draw_text(&mut self, text: &str, [x, y]: [f32; 2], size: f32, colour: [u8; 3]) {
        let (w, h, c) = (self.width as i64, self.height as i64, self.channels);
        glyphs(text, size, |gx, gy, coverage| {
            let (px, py) = ((x.round() as i64) + i64::from(gx), ((y + size * ASCENT).round() as i64) + i64::from(gy));
            if (0..w).contains(&px) && (0..h).contains(&py) {
                let at = (py * w + px) as usize * c;
                for (value, colour) in self.pixels[at..at + c].iter_mut().zip(colour) {
                    let mix = f32::from(*value) + (f32::from(colour) - f32::from(*value)) * coverage;
                    *value = mix.round() as u8;
                }
            }
        });
    }

    /// An error where the other picture has another size or number of channels.
    pub(crate) fn check_same(&self, other: &Self) -> Result<(), StoreError> {
        if (self.size(), self.channels) == (other.size(), other.channels) {
            return Ok(());
        }
        let (what, got) = ("a picture of a set".into(), format!("{other:?} beside {self:?}"));
        Err(StoreError::Value { what, got, accepted: "pictures of one size" })
    }
}

/// Pictures of one size in rows of `columns`, `padding` pixels around each. Fewer pictures than a row make a shorter row.
pub fn grid(pictures: &[Picture], columns: usize, padding: usize) -> Result<Picture, StoreError> {
    let Some(first) = pictures.first() else {
        return Err(StoreError::Value { what: "number of pictures".into(), got: "0".into(), accepted: "at least one" });
    };
    let columns = columns.clamp(1, pictures.len());
    let rows = pictures.len().div_ceil(columns);
    let (cell_h, cell_w) = (first.height + padding, first.width + padding);
    let size = ImageSize { height: rows * cell_h + padding, width: columns * cell_w + padding };
    let mut out = Picture::filled(size, first.channels, [BACKGROUND; 3]);
    for (i, picture) in pictures.iter().enumerate() {
        first.check_same(picture)?;
        out.paste(picture, i / columns * cell_h + padding, i % columns * cell_w + padding);
    }
    Ok(out)
}
