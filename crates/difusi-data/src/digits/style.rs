//! How a hand differs from another and from itself: unsteady key points, a smooth wobble of the plane, slant, turn, aspect,
//! size, place, and a pen whose width and pressure vary along the stroke.

use std::f64::consts::TAU;

use difusi_core::ImageSize;

use super::glyphs::{Knot, Stroke, strokes};
use super::{Point, Random};

/// A point of the pen's path in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dot {
    pub(super) at: Point,
    /// Half the width of the line, in pixels.
    pub(super) radius: f64,
    /// 0..1.
    pub(super) ink: f64,
}

/// A path of the pen.
pub(super) type Path = Vec<Dot>;

/// Straight pieces between two key points.
const PIECES: usize = 6;

/// A digit's strokes in pixels of an image.
pub(super) fn write(digit: u32, size: ImageSize, r: &mut Random) -> Vec<Path> {
    let mut glyph = strokes(digit, r);
    let unsteady = r.range(0.008, 0.026);
    for knot in glyph.iter_mut().flatten() {
        knot.at.x += r.normal(0.0, unsteady);
        knot.at.y += r.normal(0.0, unsteady);
    }
    let mut lines: Vec<Vec<Point>> = glyph.iter().map(|s| curve(s)).collect();
    let wobble = Wobble::new(r);
    let turned = Turned::new(digit, r);
    lines.iter_mut().flatten().for_each(|p| *p = turned.apply(wobble.apply(*p)));
    place(&mut lines, digit, size, r);
    let unit = size.height.min(size.width) as f64 / 28.0;
    let pen = Pen::new(unit, r);
    lines.iter().map(|l| pen.follow(l, unit, r)).collect()
}

/// A Catmull-Rom curve through the key points, parted at corners, as a polyline.
fn curve(stroke: &Stroke) -> Vec<Point> {
    let mut line = Vec::with_capacity(stroke.len() * PIECES + 1);
    let mut begin = 0;
    for i in 1..stroke.len() {
        if stroke[i].corner || i + 1 == stroke.len() {
            spline(&stroke[begin..=i], &mut line);
            begin = i;
        }
    }
    line
}

fn spline(knots: &[Knot], line: &mut Vec<Point>) {
    let at = |i: usize| knots[i.min(knots.len() - 1)].at;
    for i in 0..knots.len() - 1 {
        let (b, c) = (at(i), at(i + 1));
        // beyond the ends the curve goes on as it came
        let a = if i == 0 { Point { x: 2.0 * b.x - c.x, y: 2.0 * b.y - c.y } } else { at(i - 1) };
        let d = if i + 2 == knots.len() { Point { x: 2.0 * c.x - b.x, y: 2.0 * c.y - b.y } } else { at(i + 2) };
        let pieces = if knots.len() == 2 { 2 } else { PIECES };
        let first = usize::from(!line.is_empty());
        for k in first..=pieces {
            let t = k as f64 / pieces as f64;
            let mix = |a: f64, b: f64, c: f64, d: f64| {
                b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
            };
            line.push(Point { x: mix(a.x, b.x, c.x, d.x), y: mix(a.y, b.y, c.y, d.y) });
        }
    }
}

/// A smooth displacement of the plane: two waves of low frequency per axis.
struct Wobble {
    /// Displacement x and y, wave vector x and y, phase.
    waves: [[f64; 5]; 3],
}

impl Wobble {
    fn new(r: &mut Random) -> Self {
        let wave = |_| {
            let (turn, cycles) = (r.range(0.0, TAU), r.range(0.4, 1.3));
            let size = 0.022;
            [
                r.normal(0.0, size),
                r.normal(0.0, size),
                cycles * TAU * libm::cos(turn),
                cycles * TAU * libm::sin(turn),
                r.range(0.0, TAU),
            ]
        };
        Self { waves: std::array::from_fn(wave) }
    }

    fn apply(&self, p: Point) -> Point {
        let mut out = p;
        for [dx, dy, kx, ky, phase] in self.waves {
            let s = libm::sin(kx * p.x + ky * p.y + phase);
            out.x += dx * s;
            out.y += dy * s;
        }
        out
    }
}

/// Slant, turn and aspect as one matrix.
struct Turned([[f64; 2]; 2]);

impl Turned {
    fn new(digit: u32, r: &mut Random) -> Self {
        let slant = r.normal(0.16, 0.18);
        let angle = r.normal(0.0, 0.07);
        let stretch = libm::exp(r.normal(0.0, 0.13));
        let stretch = if digit == 1 { 1.0 } else { stretch };
        let (c, s) = (libm::cos(angle), libm::sin(angle));
        // turn * slant * stretch; y points down, so leaning right moves the top (small y) right
        let m = [[stretch, -slant], [0.0, 1.0]];
        Self([
            [c * m[0][0] - s * m[1][0], c * m[0][1] - s * m[1][1]],
            [s * m[0][0] + c * m[1][0], s * m[0][1] + c * m[1][1]],
        ])
    }

    fn apply(&self, p: Point) -> Point {
        let [[a, b], [c, d]] = self.0;
        Point { x: a * p.x + b * p.y, y: c * p.x + d * p.y }
    }
}

/// Scales the digit to about 20 of 28 pixels, as MNIST has it, and puts it near the centre.
fn place(lines: &mut [Vec<Point>], digit: u32, size: ImageSize, r: &mut Random) {
    let all = || lines.iter().flatten();
    let fold = |f: fn(f64, f64) -> f64, v: fn(&Point) -> f64, start| all().map(v).fold(start, f);
    let (left, right) = (fold(f64::min, |p| p.x, f64::MAX), fold(f64::max, |p| p.x, f64::MIN));
    let (top, bottom) = (fold(f64::min, |p| p.y, f64::MAX), fold(f64::max, |p| p.y, f64::MIN));
    let side = size.height.min(size.width) as f64;
    let extent = (bottom - top).max((right - left) * if digit == 1 { 1.0 } else { 1.08 }).max(1e-6);
    let scale = side * r.normal(0.635, 0.035) / extent;
    let (dx, dy) = (r.normal(0.0, 0.022) * side, r.normal(0.0, 0.022) * side);
    let (cx, cy) = ((left + right) / 2.0, (top + bottom) / 2.0);
    for p in lines.iter_mut().flatten() {
        p.x = (p.x - cx) * scale + size.width as f64 / 2.0 + dx;
        p.y = (p.y - cy) * scale + size.height as f64 / 2.0 + dy;
    }
}

/// A pen: width, how much width and pressure vary, and how thin the ends are.
struct Pen {
    radius: f64,
    swing: f64,
    pressure: f64,
    taper: f64,
}

impl Pen {
    fn new(unit: f64, r: &mut Random) -> Self {
        let radius = (1.22 * libm::exp(r.normal(0.0, 0.28))).clamp(0.62, 2.3) * unit;
        Self {
            radius,
            swing: r.range(0.02, 0.2),
            pressure: r.range(0.86, 1.0),
            taper: if r.chance(0.4) { r.range(0.2, 0.55) } else { 0.0 },
        }
    }

    /// Gives every point of a line its width and ink, which change slowly along the line.
    fn follow(&self, line: &[Point], unit: f64, r: &mut Random) -> Path {
        let (phase, cycles, fade) = (r.range(0.0, TAU), r.range(0.5, 1.6), r.range(0.0, 0.1));
        let last = line.len().saturating_sub(1).max(1) as f64;
        let dot = |(i, p): (usize, &Point)| {
            let s = i as f64 / last;
            let wave = libm::sin(phase + cycles * TAU * s);
            let to_end = (1.0 - s) / 0.25;
            let thin = 1.0 - self.taper * (1.0 - to_end.min(1.0));
            let radius = (self.radius * (1.0 + self.swing * wave) * thin).max(0.5 * unit);
            Dot { at: *p, radius, ink: self.pressure - fade * (0.5 + 0.5 * wave) }
        };
        line.iter().enumerate().map(dot).collect()
    }
}
