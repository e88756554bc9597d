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
const PIECES: usize = 7;

/// A digit's strokes in pixels of an image.
pub(super) fn write(digit: u32, size: ImageSize, r: &mut Random) -> Vec<Path> {
    let mut glyph = strokes(digit, r);
    glyph.iter_mut().for_each(|stroke| shake(stroke, r));
    let mut lines: Vec<Vec<Point>> = glyph.iter().map(curve).collect();
    let wobble = Wobble::new(r);
    let turned = Turned::new(digit, r);
    lines.iter_mut().flatten().for_each(|p| *p = turned.apply(wobble.apply(*p)));
    place(&mut lines, digit, size, r);
    let unit = size.height.min(size.width) as f64 / 28.0;
    let pen = Pen::new(unit, r);
    lines.iter().map(|l| pen.follow(l, unit, r)).collect()
}

/// Moves every key point a little; neighbours move alike (their correlation is 0.6), so that round strokes stay round.
fn shake(stroke: &mut Stroke, r: &mut Random) {
    let unsteady = r.range(0.008, 0.028);
    let mut by = Point { x: r.normal(0.0, unsteady), y: r.normal(0.0, unsteady) };
    for knot in stroke {
        knot.at.x += by.x;
        knot.at.y += by.y;
        by.x = 0.6 * by.x + r.normal(0.0, 0.8 * unsteady);
        by.y = 0.6 * by.y + r.normal(0.0, 0.8 * unsteady);
    }
}

/// A curve through the key points, parted at corners, as a polyline.
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

/// Cubic Bezier pieces between key points. At each point the tangent is that of the circle through it and its neighbours,
/// and the handles are as long as that circle's arc asks for, so that few points make a round bowl.
fn spline(knots: &[Knot], line: &mut Vec<Point>) {
    let ways: Vec<Way> = (0..knots.len()).map(|i| Way::at(knots, i)).collect();
    for (pair, way) in knots.windows(2).zip(ways.windows(2)) {
        let (p, q) = (pair[0].at, pair[1].at);
        let length = libm::hypot(q.x - p.x, q.y - p.y);
        let (h, k) = (way[0].handle * length, way[1].handle * length);
        let handles = [
            Point { x: p.x + way[0].along.x * h, y: p.y + way[0].along.y * h },
            Point { x: q.x - way[1].along.x * k, y: q.y - way[1].along.y * k },
        ];
        let first = usize::from(!line.is_empty());
        line.extend((first..=PIECES).map(|i| bezier([p, handles[0], handles[1], q], i as f64 / PIECES as f64)));
    }
}

fn bezier([a, b, c, d]: [Point; 4], t: f64) -> Point {
    let s = 1.0 - t;
    let mix = |a: f64, b: f64, c: f64, d: f64| s * s * (s * a + 3.0 * t * b) + t * t * (3.0 * s * c + t * d);
    Point { x: mix(a.x, b.x, c.x, d.x), y: mix(a.y, b.y, c.y, d.y) }
}

/// Where a curve goes at a key point.
#[derive(Clone, Copy)]
struct Way {
    /// Unit vector.
    along: Point,
    /// Length of the handles as a share of the chord: 1/3 on a straight line, `(1/3) / cos^2(turn / 4)` on a circle.
    handle: f64,
}

impl Way {
    fn at(knots: &[Knot], i: usize) -> Self {
        let chord = |i: usize| {
            let (p, q) = (knots[i].at, knots[i + 1].at);
            let length = libm::hypot(q.x - p.x, q.y - p.y).max(1e-9);
            (Point { x: (q.x - p.x) / length, y: (q.y - p.y) / length }, length)
        };
        let last = knots.len() - 1;
        if i > 0 && i < last {
            let ((u, a), (v, b)) = (chord(i - 1), chord(i));
            let (x, y) = (u.x * b + v.x * a, u.y * b + v.y * a);
            let length = libm::hypot(x, y).max(1e-9);
            let cosine = (u.x * v.x + u.y * v.y).clamp(-1.0, 1.0);
            let handle = 2.0 / 3.0 / (1.0 + ((1.0 + cosine) / 2.0).sqrt());
            return Self { along: Point { x: x / length, y: y / length }, handle };
        }
        // at an end the curve is the same arc seen from its other side
        let (u, _) = chord(if i == 0 { 0 } else { last - 1 });
        if last == 1 {
            return Self { along: u, handle: 1.0 / 3.0 };
        }
        let Self { along, handle } = Self::at(knots, if i == 0 { 1 } else { last - 1 });
        let shadow = 2.0 * (along.x * u.x + along.y * u.y);
        Self { along: Point { x: shadow * u.x - along.x, y: shadow * u.y - along.y }, handle }
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
        let slant = r.normal(0.17, 0.2);
        let angle = r.normal(0.0, 0.07);
        let stretch = libm::exp(r.normal(0.04, 0.16));
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
        let radius = (1.3 * libm::exp(r.normal(0.0, 0.27))).clamp(0.7, 2.3) * unit;
        Self {
            radius,
            swing: r.range(0.02, 0.2),
            pressure: r.range(0.93, 1.03),
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
            let radius = (self.radius * (1.0 + self.swing * wave) * thin).max(0.5 * unit.max(1.0));
            Dot { at: *p, radius, ink: (self.pressure - fade * (0.5 + 0.5 * wave)).min(1.0) }
        };
        line.iter().enumerate().map(dot).collect()
    }
}
