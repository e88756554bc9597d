//! A scene as antialiased pixels: the coverage of a pixel falls over one pixel's distance from a shape's edge.

use difusi_core::ImageSize;

use super::scene::{Anchor, Colour, Pen, Rect, Scene, Shape, Text};
use crate::StoreError;
use crate::picture::{Picture, glyphs, text_width};

/// Draws with `scale` pixels per unit.
pub(super) fn draw(scene: &Scene, scale: f64) -> Result<Picture, StoreError> {
    let (width, height) = ((scene.width * scale).ceil() as usize, (scene.height * scale).ceil() as usize);
    let mut canvas = Canvas { width, height, scale, pixels: vec![[255.0; 3]; width * height] };
    for shape in &scene.shapes {
        match shape {
            Shape::Line { points, pen, clip } => canvas.line(points, pen, clip),
            Shape::Dots { centres, radius, colour, opacity, clip } => {
                for centre in centres {
                    canvas.stroke(&[[*centre, *centre]], *radius, (*colour, *opacity), clip);
                }
            }
            Shape::Polygon { points, colour, opacity, clip } => canvas.polygon(points, (*colour, *opacity), clip),
            Shape::Image { rect, picture, clip } => canvas.image(picture, rect, clip),
            Shape::Fill { rect, colour, opacity } => canvas.fill(rect, *colour, *opacity),
            Shape::Text(text) => canvas.text(text),
        }
    }
    let bytes = canvas.pixels.iter().flatten().map(|v| v.round() as u8).collect();
    Picture::new(ImageSize { height, width }, 3, bytes)
}

struct Canvas {
    width: usize,
    height: usize,
    scale: f64,
    pixels: Vec<[f32; 3]>,
}

/// Whole pixels: columns and rows from (included) to (excluded).
#[derive(Clone, Copy)]
struct Area {
    x: [usize; 2],
    y: [usize; 2],
}

impl Canvas {
    fn blend(&mut self, x: usize, y: usize, colour: Colour, alpha: f64) {
        if x < self.width && y < self.height {
            for (value, colour) in self.pixels[y * self.width + x].iter_mut().zip(colour) {
                *value += (f32::from(colour) - *value) * alpha as f32;
            }
        }
    }

    /// The pixels that a rectangle (in pixels, not units) touches.
    fn area(&self, x: [f64; 2], y: [f64; 2]) -> Area {
        let cut = |v: f64, limit: usize| v.clamp(0.0, limit as f64) as usize;
        Area {
            x: [cut(x[0].floor(), self.width), cut(x[1].ceil(), self.width)],
            y: [cut(y[0].floor(), self.height), cut(y[1].ceil(), self.height)],
        }
    }

    fn fill(&mut self, rect: &Rect, colour: Colour, opacity: f64) {
        let s = self.scale;
        let (x, y) = ([rect.x * s, rect.right() * s], [rect.y * s, rect.bottom() * s]);
        let overlap = |i: usize, [a, b]: [f64; 2]| (b.min(i as f64 + 1.0) - a.max(i as f64)).clamp(0.0, 1.0);
        let area = self.area(x, y);
        for py in area.y[0]..area.y[1] {
            for px in area.x[0]..area.x[1] {
                self.blend(px, py, colour, opacity * overlap(px, x) * overlap(py, y));
            }
        }
    }

    /// Four lines of scanning per row of pixels; along a line coverage is exact.
    fn polygon(&mut self, points: &[[f64; 2]], (colour, opacity): (Colour, f64), clip: &Rect) {
        let s = self.scale;
        let area = self.area([clip.x * s, clip.right() * s], [clip.y * s, clip.bottom() * s]);
        let edges = || points.iter().zip(points.iter().cycle().skip(1));
        let mut row = vec![0.0; area.x[1].saturating_sub(area.x[0])];
        for y in area.y[0]..area.y[1] {
            row.fill(0.0);
            for line in [0.125, 0.375, 0.625, 0.875] {
                let at = y as f64 + line;
                let crossing = |(a, b): (&[f64; 2], &[f64; 2])| {
                    let (from, to) = (a[1] * s, b[1] * s);
                    let cross = (from <= at) != (to <= at);
                    cross.then(|| (a[0] + (b[0] - a[0]) * (at - from) / (to - from)) * s - area.x[0] as f64)
                };
                let mut crossings: Vec<f64> = edges().filter_map(crossing).collect();
                crossings.sort_by(f64::total_cmp);
                crossings.chunks_exact(2).for_each(|pair| cover(&mut row, [pair[0], pair[1]], 0.25));
            }
            for (i, covered) in row.iter().enumerate().filter(|(_, c)| **c > 0.0) {
                self.blend(area.x[0] + i, y, colour, opacity * covered);
            }
        }
    }

    /// Bilinear between the middles of the picture's pixels.
    fn image(&mut self, picture: &Picture, rect: &Rect, clip: &Rect) {
        let (s, picture) = (self.scale, picture.to_rgb());
        let (w, h) = (picture.width(), picture.height());
        let inside = self.area([rect.x * s, rect.right() * s], [rect.y * s, rect.bottom() * s]);
        let area = intersect(inside, self.area([clip.x * s, clip.right() * s], [clip.y * s, clip.bottom() * s]));
        let place = |pixel: usize, from: f64, length: f64, count: usize| {
            let at = ((pixel as f64 + 0.5) / s - from) / length * count as f64 - 0.5;
            let at = at.clamp(0.0, (count - 1) as f64);
            (at as usize, (at as usize + 1).min(count - 1), at.fract())
        };
        for y in area.y[0]..area.y[1] {
            let (top, bottom, down) = place(y, rect.y, rect.h, h);
            for x in area.x[0]..area.x[1] {
                let (left, right, across) = place(x, rect.x, rect.w, w);
                let value =
                    |row: usize, column: usize, c: usize| f64::from(picture.pixels()[(row * w + column) * 3 + c]);
                let line = |row: usize, c: usize| value(row, left, c) * (1.0 - across) + value(row, right, c) * across;
                let colour = [0, 1, 2].map(|c| (line(top, c) * (1.0 - down) + line(bottom, c) * down).round() as u8);
                self.blend(x, y, colour, 1.0);
            }
        }
    }

    fn line(&mut self, points: &[[f64; 2]], pen: &Pen, clip: &Rect) {
        let segments: Vec<[[f64; 2]; 2]> = match pen.dash {
            Some(dash) => dashes(points, dash),
            None => points.windows(2).map(|w| [w[0], w[1]]).collect(),
        };
        self.stroke(&segments, pen.width / 2.0, (pen.colour, pen.opacity), clip);
    }

    /// Segments with round ends, blended once where they overlap.
    fn stroke(&mut self, segments: &[[[f64; 2]; 2]], radius: f64, (colour, opacity): (Colour, f64), clip: &Rect) {
        let s = self.scale;
        let radius = radius * s;
        let reach = radius + 1.0;
        let limit = self.area([clip.x * s, clip.right() * s], [clip.y * s, clip.bottom() * s]);
        let all = segments.iter().flatten();
        let edge =
            |axis: usize, pick: fn(f64, f64) -> f64, start: f64| all.clone().map(|p| p[axis] * s).fold(start, pick);
        let box_of = self.area(
            [edge(0, f64::min, f64::MAX) - reach, edge(0, f64::max, f64::MIN) + reach],
            [edge(1, f64::min, f64::MAX) - reach, edge(1, f64::max, f64::MIN) + reach],
        );
        let area = intersect(limit, box_of);
        let width = area.x[1].saturating_sub(area.x[0]);
        let mut mask = vec![0.0f32; width * area.y[1].saturating_sub(area.y[0])];
        for [a, b] in segments {
            let (a, b) = (a.map(|v| v * s), b.map(|v| v * s));
            let near = self.area(
                [a[0].min(b[0]) - reach, a[0].max(b[0]) + reach],
                [a[1].min(b[1]) - reach, a[1].max(b[1]) + reach],
            );
            let near = intersect(area, near);
            for y in near.y[0]..near.y[1] {
                for x in near.x[0]..near.x[1] {
                    let cover = (radius + 0.5 - distance([x as f64 + 0.5, y as f64 + 0.5], a, b)).clamp(0.0, 1.0);
                    let place = &mut mask[(y - area.y[0]) * width + x - area.x[0]];
                    *place = place.max((cover * (2.0 * radius).min(1.0)) as f32);
                }
            }
        }
        for (i, cover) in mask.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            self.blend(area.x[0] + i % width, area.y[0] + i / width, colour, opacity * f64::from(*cover));
        }
    }

    fn text(&mut self, text: &Text) {
        let size = (text.size * self.scale) as f32;
        let width = text_width(&text.text, size);
        let back = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let [x, y] = text.at.map(|v| (v * self.scale) as f32);
        // Upwards: the text's x axis points to -y.
        let origin = if text.upwards { [x, y + back] } else { [x - back, y] }.map(|v| v.round() as i32);
        let mut ink = Vec::new();
        glyphs(&text.text, size, |gx, gy, cover| ink.push((gx, gy, cover)));
        for (gx, gy, cover) in ink {
            let (px, py) =
                if text.upwards { (origin[0] + gy, origin[1] - gx) } else { (origin[0] + gx, origin[1] + gy) };
            if let (Ok(px), Ok(py)) = (usize::try_from(px), usize::try_from(py)) {
                self.blend(px, py, text.colour, f64::from(cover));
            }
        }
    }
}

/// Adds `weight` times the share of each cell that lies between two places.
fn cover(row: &mut [f64], [from, to]: [f64; 2], weight: f64) {
    let (from, to) = (from.clamp(0.0, row.len() as f64), to.clamp(0.0, row.len() as f64));
    for (i, value) in row.iter_mut().enumerate().take(to.ceil() as usize).skip(from as usize) {
        *value += weight * (to.min(i as f64 + 1.0) - from.max(i as f64)).max(0.0);
    }
}

fn intersect(a: Area, b: Area) -> Area {
    let cut = |a: [usize; 2], b: [usize; 2]| {
        let from = a[0].max(b[0]);
        [from, a[1].min(b[1]).max(from)]
    };
    Area { x: cut(a.x, b.x), y: cut(a.y, b.y) }
}

/// Distance of a point from a segment.
fn distance(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (ab, ap) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length = ab[0] * ab[0] + ab[1] * ab[1];
    let t = if length > 0.0 { ((ap[0] * ab[0] + ap[1] * ab[1]) / length).clamp(0.0, 1.0) } else { 0.0 };
    (ap[0] - t * ab[0]).hypot(ap[1] - t * ab[1])
}

/// The visible pieces of a dashed line.
fn dashes(points: &[[f64; 2]], [on, off]: [f64; 2]) -> Vec<[[f64; 2]; 2]> {
    let (mut pieces, mut at) = (Vec::new(), 0.0);
    let period = on + off;
    for w in points.windows(2) {
        let [a, b] = [w[0], w[1]];
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        let point = |d: f64| [0, 1].map(|i| a[i] + (b[i] - a[i]) * d / length);
        let mut done = 0.0;
        while done < length {
            let phase: f64 = (at + done) % period;
            let step = if phase < on { on - phase } else { period - phase }.max(1e-6).min(length - done);
            if phase < on {
                pieces.push([point(done), point(done + step)]);
            }
            done += step;
        }
        at += length;
    }
    pieces
}
