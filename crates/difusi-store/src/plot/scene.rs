//! The shapes a figure consists of. Units are SVG pixels, y grows downwards.

use crate::Picture;

/// RGB.
pub(super) type Colour = [u8; 3];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

impl Rect {
    pub(super) fn right(&self) -> f64 {
        self.x + self.w
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.h
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pen {
    pub(super) colour: Colour,
    pub(super) width: f64,
    pub(super) opacity: f64,
    /// Lengths of dash and gap.
    pub(super) dash: Option<[f64; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One line of text; `at` is on the baseline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub(super) at: [f64; 2],
    pub(super) text: String,
    pub(super) size: f64,
    pub(super) anchor: Anchor,
    pub(super) colour: Colour,
    /// Turned to read upwards.
    pub(super) upwards: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Connected points, cut at `clip`.
    Line { points: Vec<[f64; 2]>, pen: Pen, clip: Rect },
    /// Filled circles.
    Dots { centres: Vec<[f64; 2]>, radius: f64, colour: Colour, opacity: f64, clip: Rect },
    /// The inside of a closed line (even-odd where it crosses itself), cut at `clip`.
    Polygon { points: Vec<[f64; 2]>, colour: Colour, opacity: f64, clip: Rect },
    /// A picture stretched over `rect`, smoothly, cut at `clip`.
    Image { rect: Rect, picture: Picture, clip: Rect },
    /// A filled rectangle.
    Fill { rect: Rect, colour: Colour, opacity: f64 },
    /// Text.
    Text(Text),
}

/// A whole figure on white.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scene {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}
