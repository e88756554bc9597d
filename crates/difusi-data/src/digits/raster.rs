//! Paths of the pen to pixels: the signed distance to every piece of the path, softened over about a pixel.

use difusi_core::ImageSize;

use super::style::{Dot, Path};

/// Ink `[H * W]` in 0..1. Pixel (row, column) has its centre at (column + 1/2, row + 1/2).
pub(super) fn ink(paths: &[Path], size: ImageSize) -> Vec<f32> {
    let mut out = vec![0.0; size.pixels()];
    // the edge is 1.2 pixels soft at 28x28 and no sharper than a pixel anywhere
    let soft = (size.height.min(size.width) as f64 / 28.0 * 0.6).max(1.2) as f32;
    for path in paths {
        for pair in path.windows(2) {
            piece(&mut out, size, [&pair[0], &pair[1]], soft);
        }
    }
    out
}

/// Pixels `low..high` that a piece can reach on one axis.
fn reach(a: f64, b: f64, margin: f64, n: usize) -> (usize, usize) {
    let low = (a.min(b) - margin).floor().max(0.0) as usize;
    let high = (a.max(b) + margin).ceil().max(0.0) as usize;
    (low.min(n), high.min(n))
}

/// Draws one straight piece: round ends, width and ink changing evenly from one end to the other.
fn piece(out: &mut [f32], size: ImageSize, [a, b]: [&Dot; 2], soft: f32) {
    let margin = a.radius.max(b.radius) + f64::from(soft);
    let (left, right) = reach(a.at.x, b.at.x, margin, size.width);
    let (top, bottom) = reach(a.at.y, b.at.y, margin, size.height);
    let (ax, ay) = (a.at.x as f32, a.at.y as f32);
    let (dx, dy) = (b.at.x as f32 - ax, b.at.y as f32 - ay);
    let per_length = 1.0 / (dx * dx + dy * dy).max(1e-9);
    let (ra, rb, ia, ib) = (a.radius as f32, (b.radius - a.radius) as f32, a.ink as f32, (b.ink - a.ink) as f32);
    let edge = 1.0 / soft;
    for y in top..bottom {
        let py = y as f32 + 0.5 - ay;
        for (x, pixel) in out[y * size.width + left..y * size.width + right].iter_mut().enumerate() {
            let px = (x + left) as f32 + 0.5 - ax;
            let t = ((px * dx + py * dy) * per_length).clamp(0.0, 1.0);
            let (ex, ey) = (px - t * dx, py - t * dy);
            let distance = (ex * ex + ey * ey).sqrt();
            let cover = ((ra + t * rb - distance) * edge + 0.5).clamp(0.0, 1.0);
            *pixel = pixel.max(cover * (ia + t * ib));
        }
    }
}
