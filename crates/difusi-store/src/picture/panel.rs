//! Rows of pictures with labels: `difusi noise`, filmstrips, samples beside their nearest training images.

use difusi_core::ImageSize;

use super::{Picture, text_width};
use crate::StoreError;

const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [34, 34, 34];

/// One row of pictures.
#[derive(Clone, Debug)]
pub struct PanelRow {
    /// Written to the left; empty for none.
    pub label: String,
    /// Pictures of any sizes.
    pub pictures: Vec<Picture>,
}

/// Labelled rows of pictures on white.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Written above everything; empty for none.
    pub title: String,
    /// Written above the columns; empty for none.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<PanelRow>,
    /// Pixels between pictures.
    pub padding: usize,
    /// Height of a line of text in pixels.
    pub text_size: f32,
}

impl Panel {
    /// Rows without title or column labels, with 4 pixels between pictures and text of 14 pixels.
    pub fn new(rows: Vec<PanelRow>) -> Self {
        Self { title: String::new(), columns: Vec::new(), rows, padding: 4, text_size: 14.0 }
    }

    /// Draws the panel, RGB. An error where there is no picture.
    pub fn draw(&self) -> Result<Picture, StoreError> {
        let count = self.rows.iter().map(|row| row.pictures.len()).max().unwrap_or(0);
        if count == 0 {
            let (what, got) = ("number of pictures".into(), "0".into());
            return Err(StoreError::Value { what, got, accepted: "at least one" });
        }
        let places = self.places(count);
        let mut out = Picture::filled(places.size, 3, PAPER);
        let line = self.text_size * 1.5;
        let pad = self.padding as f32;
        out.draw_text(&self.title, [pad, pad], self.text_size * 1.15, INK);
        for (text, [from, width]) in self.columns.iter().zip(&places.columns) {
            let x = *from as f32 + (*width as f32 - text_width(text, self.text_size)) / 2.0;
            out.draw_text(text, [x.max(0.0), places.top as f32 - line], self.text_size, INK);
        }
        for (row, [y, height]) in self.rows.iter().zip(&places.rows) {
            let middle = *y as f32 + (*height as f32 - self.text_size) / 2.0;
            out.draw_text(&row.label, [pad, middle.max(0.0)], self.text_size, INK);
            for (picture, [x, _]) in row.pictures.iter().zip(&places.columns) {
                out.paste(&picture.to_rgb(), *y, *x);
            }
        }
        Ok(out)
    }

    /// Where rows and columns lie.
    fn places(&self, count: usize) -> Places {
        let pad = self.padding;
        let line = (self.text_size * 1.5).ceil() as usize;
        let width_of = |text: &String| text_width(text, self.text_size).ceil() as usize;
        let label = self.rows.iter().map(|r| width_of(&r.label)).max().unwrap_or(0);
        let mut x = pad + if label > 0 { label + 2 * pad } else { 0 };
        let mut columns = Vec::with_capacity(count);
        for c in 0..count {
            let widest = self.rows.iter().filter_map(|r| r.pictures.get(c)).map(Picture::width).max().unwrap_or(0);
            let apart = (self.text_size * 0.7) as usize;
            let wanted = widest.max(self.columns.get(c).map_or(0, |text| width_of(text) + apart));
            columns.push([x + (wanted - widest) / 2, widest]);
            x += wanted + pad;
        }
        let top = pad + if self.title.is_empty() { 0 } else { line } + if self.columns.is_empty() { 0 } else { line };
        let mut y = top;
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let tallest = row.pictures.iter().map(Picture::height).max().unwrap_or(0).max(line);
            rows.push([y, tallest]);
            y += tallest + pad;
        }
        let title = text_width(&self.title, self.text_size * 1.15).ceil() as usize + 2 * pad;
        Places { size: ImageSize { height: y, width: x.max(title) }, top, columns, rows }
    }
}

struct Places {
    size: ImageSize,
    /// Where the first row begins.
    top: usize,
    /// `[x, width]`.
    columns: Vec<[usize; 2]>,
    /// `[y, height]`.
    rows: Vec<[usize; 2]>,
}
