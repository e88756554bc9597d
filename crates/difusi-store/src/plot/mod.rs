//! Charts as SVG or PNG: lines, dots, filled areas, a field behind them, several panels in one picture.
//!
//! A chart is laid out once into a few shapes (`scene`), which are written as SVG text or drawn with antialiasing.
//! Deliberately absent: bars, errors, interaction, any knowledge of what is plotted.

mod axis;
mod field;
mod layout;
mod legend;
mod raster;
mod scene;
mod svg;

use std::path::Path;

pub use field::Field;

use crate::{Picture, StoreError, atomic, write_png};

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A solid line.
    Line,
    /// A dashed line.
    Dashed,
    /// A thin pale line, for raw values behind a smoothed line.
    Faint,
    /// Dots.
    Dots,
    /// A solid line with a dot at each of its points.
    Beads,
    /// A pale surface between the points and 0 (or the end of the axis that is nearest to 0), without a line. It does not use up a
    /// colour, so the line that follows has the same.
    Area,
}

/// How an axis maps values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; values at or below 0 are gaps.
    Log,
}

/// Whether one unit has the same length on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The axes fill the panel.
    Free,
    /// Maps and point clouds.
    Equal,
}

/// Where the names of the series stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legend {
    /// Inside each panel, in the corner with the fewest points; beside it where there are more than eight.
    EachPanel,
    /// Once, below all panels.
    Shared,
}

/// A set of points with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; empty keeps it out.
    pub name: String,
    /// `[x, y]`; values that are not finite are gaps.
    pub points: Vec<[f64; 2]>,
    /// How it is drawn.
    pub mark: Mark,
    /// RGB; `None` takes the next colour of the palette.
    pub colour: Option<[u8; 3]>,
}

impl Series {
    /// A solid line.
    pub fn line(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.into(), points, mark: Mark::Line, colour: None }
    }

    /// The same points drawn otherwise.
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// The same points in this colour.
    pub fn coloured(self, colour: [u8; 3]) -> Self {
        Self { colour: Some(colour), ..self }
    }
}

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Written along it.
    pub label: String,
    /// How it maps values.
    pub scale: Scale,
    /// Ends; `None` takes the data's.
    pub range: Option<[f64; 2]>,
}

impl Axis {
    /// A linear axis with the data's range.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis with the data's range.
    pub fn log(label: impl Into<String>) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    /// With fixed ends.
    pub fn within(self, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..self }
    }
}

/// A word at a place of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// `[x, y]` of its middle.
    pub at: [f64; 2],
    /// One line.
    pub text: String,
    /// RGB; `None` is ink.
    pub colour: Option<[u8; 3]>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Written above it; may be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Whether units are equal.
    pub aspect: Aspect,
    /// Drawn first, behind everything.
    pub field: Option<Field>,
    /// What is drawn, in order.
    pub series: Vec<Series>,
    /// Words drawn last.
    pub notes: Vec<Note>,
}

impl Chart {
    /// A chart without series.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, aspect: Aspect::Free, field: None, series: Vec::new(), notes: Vec::new() }
    }

    /// With one more series.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// With a field behind everything.
    pub fn over(self, field: Field) -> Self {
        Self { field: Some(field), ..self }
    }

    /// With a word whose middle is at `[x, y]`.
    pub fn noted(mut self, at: [f64; 2], text: impl Into<String>) -> Self {
        self.notes.push(Note { at, text: text.into(), colour: None });
        self
    }

    /// With equal units.
    pub fn equal_aspect(self) -> Self {
        Self { aspect: Aspect::Equal, ..self }
    }
}

/// Several charts in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Written above everything; may be empty.
    pub title: String,
    /// The charts, in rows.
    pub panels: Vec<Chart>,
    /// Charts per row.
    pub columns: usize,
    /// Width and height of a panel in SVG units; a PNG has twice as many pixels.
    pub panel_size: [usize; 2],
    /// Where the names of the series stand.
    pub legend: Legend,
}

impl Figure {
    /// Up to three panels beside each other, each 480 x 360, with their own legends.
    pub fn new(panels: Vec<Chart>) -> Self {
        let columns = panels.len().clamp(1, 3);
        Self { title: String::new(), panels, columns, panel_size: [480, 360], legend: Legend::EachPanel }
    }

    /// As SVG text.
    pub fn to_svg(&self) -> String {
        svg::text(&layout::scene(self))
    }

    /// As pixels, two for each SVG unit.
    pub fn draw(&self) -> Result<Picture, StoreError> {
        raster::draw(&layout::scene(self), 2.0)
    }

    /// Writes the figure atomically, as the file's ending says: `.svg` or `.png`.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("svg") => atomic::write_bytes(path, self.to_svg().as_bytes()),
            Some("png") => write_png(path, &self.draw()?, &[]),
            _ => {
                let (what, got) = ("ending of a chart's file".into(), path.display().to_string());
                Err(StoreError::Value { what, got, accepted: "`.svg` or `.png`" })
            }
        }
    }
}

/// Writes panels in one picture; see [`Figure`] for the choices.
pub fn write_chart(path: &Path, panels: &[Chart]) -> Result<(), StoreError> {
    Figure::new(panels.to_vec()).write(path)
}

/// Points smoothed by an exponential average over about `window` points, without a pull towards the first.
pub fn smoothed(points: &[[f64; 2]], window: f64) -> Vec<[f64; 2]> {
    let keep = 1.0 - 1.0 / window.max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    points
        .iter()
        .filter(|[_, y]| y.is_finite())
        .map(|[x, y]| {
            sum = keep * sum + y;
            weight = keep * weight + 1.0;
            [*x, sum / weight]
        })
        .collect()
}
