//! Centre-crop to the target's aspect, then resize with an antialiasing filter: Catmull-Rom (Keys 1981, a = -1/2), its
//! support widened by the scale when shrinking. The same numbers as Pillow's `resize(BICUBIC, box=...)`, without its
//! rounding between the passes. Deliberately absent: other filters, gamma, cropping elsewhere than at the centre.

use difusi_core::ImageSize;

/// What one output line takes from the input: weights of the inputs `start..start + weights.len()`.
struct Window {
    start: usize,
    weights: Vec<f32>,
}

/// Keys' cubic with a = -1/2; 0 beyond 2.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Windows of `out` lines that cover `out * scale` of `n` input lines, centred.
fn windows(n: usize, out: usize, scale: f64) -> Vec<Window> {
    let (stretch, offset) = (scale.max(1.0), (n as f64 - out as f64 * scale) / 2.0);
    let window = |i: usize| {
        let centre = offset + (i as f64 + 0.5) * scale;
        let first = (centre - 2.0 * stretch + 0.5).floor().max(0.0) as usize;
        let last = ((centre + 2.0 * stretch + 0.5).floor() as usize).clamp(first + 1, n.max(first + 1));
        let raw: Vec<f64> = (first..last).map(|j| cubic((j as f64 + 0.5 - centre) / stretch)).collect();
        let sum: f64 = raw.iter().sum();
        Window { start: first, weights: raw.iter().map(|w| (w / sum) as f32).collect() }
    };
    (0..out).map(window).collect()
}

/// Fits an image of `shape` `[H, W, C]` to `size`. `row(y, out)` writes row `y` as `[W * C]` numbers in 0..255; rows are
/// asked for in order, only those needed. Returns `[H', W', C]` in 0..255.
pub(crate) fn fit(shape: [usize; 3], size: ImageSize, mut row: impl FnMut(usize, &mut [f32])) -> Vec<f32> {
    let [h, w, c] = shape;
    let mut input = vec![0.0; w * c];
    if [h, w] == [size.height, size.width] {
        let mut out = vec![0.0; h * w * c];
        out.chunks_exact_mut(w * c).enumerate().for_each(|(y, r)| row(y, r));
        return out;
    }
    let scale = (w as f64 / size.width as f64).min(h as f64 / size.height as f64);
    let (across, down) = (windows(w, size.width, scale), windows(h, size.height, scale));
    let (mut narrow, mut out) = (vec![0.0; size.width * c], vec![0.0; size.pixels() * c]);
    let end = down.iter().map(|v| v.start + v.weights.len()).max().unwrap_or(0);
    for y in down.first().map_or(0, |v| v.start)..end {
        row(y, &mut input);
        shrink_row(&input, c, &across, &mut narrow);
        for (window, line) in down.iter().zip(out.chunks_exact_mut(size.width * c)) {
            if let Some(weight) = y.checked_sub(window.start).and_then(|k| window.weights.get(k)) {
                line.iter_mut().zip(&narrow).for_each(|(o, v)| *o += weight * v);
            }
        }
    }
    out.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
    out
}

fn shrink_row(input: &[f32], c: usize, across: &[Window], out: &mut [f32]) {
    for (window, pixel) in across.iter().zip(out.chunks_exact_mut(c)) {
        pixel.fill(0.0);
        for (weight, from) in window.weights.iter().zip(input[window.start * c..].chunks_exact(c)) {
            pixel.iter_mut().zip(from).for_each(|(o, v)| *o += weight * v);
        }
    }
}

/// Fits bytes `[H, W, C]` to `size`: `[H', W', C]`.
pub fn bytes(image: &[u8], shape: [usize; 3], size: ImageSize) -> Vec<u8> {
    let line = shape[1] * shape[2];
    let out = fit(shape, size, |y, row| {
        row.iter_mut().zip(&image[y * line..][..line]).for_each(|(o, v)| *o = f32::from(*v));
    });
    to_bytes(&out)
}

/// Numbers in 0..255 to the nearest byte.
pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|v| v.round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [[usize; 2]; 8] = [[1, 1], [2, 3], [5, 4], [7, 7], [16, 9], [9, 16], [31, 33], [64, 64]];

    /// The same size is the same bytes.
    #[test]
    fn same_size_is_identity() {
        for [h, w] in SIZES {
            let image: Vec<u8> = (0..h * w * 3).map(|i| (i * 37 % 256) as u8).collect();
            assert_eq!(bytes(&image, [h, w, 3], [h, w].into()), image);
        }
    }

    /// A constant stays constant: the weights of every window sum to one.
    #[test]
    fn constants_survive() {
        for from in SIZES {
            for to in SIZES {
                let out = bytes(&vec![77; from[0] * from[1]], [from[0], from[1], 1], to.into());
                assert_eq!(out, vec![77; to[0] * to[1]], "{from:?} -> {to:?}");
            }
        }
    }

    /// Resizing commutes with mirroring, on both axes: the crop is centred.
    #[test]
    fn mirrors_commute() {
        for (from, to) in [([12, 20], [5, 5]), ([20, 12], [7, 9]), ([6, 5], [13, 11])] {
            let [h, w] = from;
            let image: Vec<u8> = (0..h * w).map(|i| (i * i * 31 % 256) as u8).collect();
            let turned: Vec<u8> = image.iter().rev().copied().collect();
            let mut out = bytes(&turned, [h, w, 1], to.into());
            out.reverse();
            assert_eq!(out, bytes(&image, [h, w, 1], to.into()));
        }
    }

    /// A ramp is reproduced by a linear-exact filter away from the border.
    #[test]
    fn ramps_survive() {
        let image: Vec<u8> = (0..64 * 64).map(|i| (i % 64 * 4) as u8).collect();
        let out = fit([64, 64, 1], ImageSize::square(16), |y, r| {
            r.iter_mut().zip(&image[y * 64..]).for_each(|(o, v)| *o = f32::from(*v));
        });
        for x in 3..13 {
            assert!((out[8 * 16 + x] - (x as f32 * 16.0 + 6.0)).abs() < 1e-3, "{x}: {}", out[8 * 16 + x]);
        }
    }

    /// Stripes finer than the target become grey instead of beating: the filter is antialiasing.
    #[test]
    fn stripes_become_grey() {
        let image: Vec<u8> = (0..60 * 60).map(|i| if i % 2 == 0 { 255 } else { 0 }).collect();
        let out = bytes(&image, [60, 60, 1], ImageSize::square(13));
        assert!(out.iter().all(|v| (*v as i32 - 128).abs() <= 12), "{out:?}");
    }

    /// Pillow 13.0.0: `Image.resize((w, h), BICUBIC, box=centre)`; made by the script in the comment.
    ///
    /// ```python
    /// a = numpy.fromfunction(lambda y, x: (x * x * 7 + y * y * 13 + x * y * 3) % 256, (9, 12)).astype("uint8")
    /// Image.fromarray(a).resize((4, 5), Image.BICUBIC, box=(2.4, 0, 9.6, 9))
    /// Image.fromarray(a).resize((5, 2), Image.BICUBIC, box=(0, 2.1, 12, 6.9))
    /// ```
    #[test]
    fn as_pillow() {
        let image: Vec<u8> = (0..108)
            .map(|i| (i % 12, i / 12))
            .map(|(x, y)| ((x * x * 7 + y * y * 13 + x * y * 3) % 256) as u8)
            .collect();
        for (to, want) in [([5, 4], &PILLOW_5X4[..]), ([2, 5], &PILLOW_2X5[..])] {
            let out = bytes(&image, [9, 12, 1], to.into());
            assert!(out.iter().zip(want).all(|(a, b)| a.abs_diff(*b) <= 1), "{out:?}\n{want:?}");
            assert_eq!(out.len(), want.len());
        }
    }

    const PILLOW_5X4: [u8; 20] =
        [66, 160, 139, 145, 137, 87, 96, 132, 101, 124, 82, 147, 120, 164, 116, 96, 171, 103, 165, 148];
    const PILLOW_2X5: [u8; 10] = [112, 117, 88, 131, 121, 145, 128, 129, 103, 104];
}
