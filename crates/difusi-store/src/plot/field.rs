//! A field behind a chart: numbers on a regular grid as shades of one colour, such as a density in the plane.

use difusi_core::ImageSize;

use crate::Picture;

/// Numbers on a regular grid; 0 is white, the largest has the full colour, what is negative or no number is white.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Both ends of the grid along x; the axis should be linear.
    pub x: [f64; 2],
    /// Both ends along y.
    pub y: [f64; 2],
    /// Cells along x, at least 1.
    pub columns: usize,
    /// One number per cell, `[rows * columns]`: the first row has the lowest y.
    pub values: Vec<f64>,
    /// RGB of the largest number.
    pub colour: [u8; 3],
}

impl Field {
    /// `f(x, y)` at the middles of `cells` `[columns, rows]`, in blue.
    pub fn sampled(x: [f64; 2], y: [f64; 2], cells: [usize; 2], f: impl Fn(f64, f64) -> f64) -> Self {
        let [columns, rows] = cells.map(|n| n.max(1));
        let middle = |[low, high]: [f64; 2], i: usize, n: usize| low + (high - low) * (i as f64 + 0.5) / n as f64;
        let row = |r: usize| (0..columns).map(move |c| [middle(x, c, columns), middle(y, r, rows)]);
        let values = (0..rows).flat_map(row).map(|[x, y]| f(x, y)).collect();
        Self { x, y, columns, values, colour: [58, 122, 186] }
    }

    /// The same with every column divided by its largest number, so that each is as dark as the others.
    pub fn by_column(mut self) -> Self {
        let columns = self.columns.max(1);
        for c in 0..columns {
            let largest = self.values.iter().skip(c).step_by(columns).fold(0.0, |a: f64, v| a.max(*v));
            if largest > 0.0 {
                self.values.iter_mut().skip(c).step_by(columns).for_each(|v| *v /= largest);
            }
        }
        self
    }

    /// One pixel per cell, the highest y on top; `None` where there is no whole row.
    pub(super) fn picture(&self) -> Option<Picture> {
        let columns = self.columns.max(1);
        let largest = self.values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
        let shade = |v: &f64| {
            let share = if largest > 0.0 && *v > 0.0 { (v / largest).min(1.0) } else { 0.0 };
            self.colour.map(|c| (255.0 + (f64::from(c) - 255.0) * share).round() as u8)
        };
        let rows: Vec<&[f64]> = self.values.chunks_exact(columns).collect();
        let pixels: Vec<u8> = rows.iter().rev().flat_map(|row| row.iter().flat_map(shade)).collect();
        Picture::new(ImageSize { height: rows.len(), width: columns }, 3, pixels).ok()
    }
}
