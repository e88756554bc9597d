//! `act(((x - mean) / √(variance + ε) · gain + bias) · (1 + scale) + shift)`, mean and variance over the pixels of an image and
//! the channels of a group (arXiv:1803.08494), and its gradient. `act` is SiLU or nothing.
//!
//! Sums run per strip of pixels and are added strip by strip in f64, the variance around each strip's own means.

use rayon::prelude::*;

use super::group_lines::{A, ALONG, Apply, B, Lines, MEAN, Moments, OFFSET, Spread, Sums};
use crate::{
    buffer::{Shared, filled},
    simd::{Float, Stored, dispatch},
};

/// Pixels per strip.
const PIXELS: usize = 128;

/// The sizes and the activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupShape {
    pub images: usize,
    /// Pixels per image.
    pub pixels: usize,
    pub channels: usize,
    /// Divides the channels.
    pub groups: usize,
    pub epsilon: f64,
    pub silu: bool,
}

/// The coefficients: `gain` and `bias` `[C]`, `scale` and `shift` `[images, C]` or `[1, C]` for all.
#[derive(Clone, Copy)]
pub(crate) struct Affine<'a, F> {
    pub gain: &'a [F],
    pub bias: &'a [F],
    pub scale: &'a [F],
    pub shift: &'a [F],
}

/// What the backward pass gives, shaped like the inputs.
pub(crate) struct GroupGradients<E: Stored> {
    pub x: Vec<E>,
    pub gain: Vec<E::F>,
    pub bias: Vec<E::F>,
    pub scale: Vec<E::F>,
    pub shift: Vec<E::F>,
}

impl GroupShape {
    /// The shape in words.
    pub(crate) fn label(&self) -> (String, f64) {
        (format!("{}x{}x{}, {} groups", self.images, self.pixels, self.channels, self.groups), 0.0)
    }

    fn padded(&self) -> usize {
        self.channels.next_multiple_of(16)
    }

    fn strips(&self) -> usize {
        self.pixels.div_ceil(PIXELS)
    }

    /// First value and number of values of a strip of an image.
    fn strip(&self, image: usize, strip: usize) -> (usize, usize) {
        let first = strip * PIXELS;
        ((image * self.pixels + first) * self.channels, PIXELS.min(self.pixels - first) * self.channels)
    }

    fn check<F>(&self, x: usize, of: Affine<'_, F>) {
        let (c, rows) = (self.channels, of.scale.len() / self.channels);
        assert!(x == self.images * self.pixels * c && c.is_multiple_of(self.groups) && self.pixels > 0);
        assert!(of.gain.len() == c && of.bias.len() == c && of.scale.len() == of.shift.len());
        assert!(of.scale.len() == rows * c && (rows == 1 || rows == self.images));
    }
}

/// Mean and `1 / √(variance + ε)` of each group of an image.
fn statistics<E: Stored>(x: &[E], image: usize, shape: GroupShape) -> Vec<(f64, f64)> {
    let (c, padded) = (shape.channels, shape.padded());
    let mut parts = vec![E::F::ZERO; shape.strips() * 2 * padded];
    parts.par_chunks_exact_mut(2 * padded).enumerate().for_each(|(strip, out)| {
        let (first, len) = shape.strip(image, strip);
        // SAFETY: the strip is whole pixels, and there is room for two lines.
        unsafe { dispatch(Moments { x: &x[first..first + len], out, channels: c }) };
    });
    let size = c / shape.groups;
    (0..shape.groups)
        .map(|group| {
            let parts = || {
                parts.chunks_exact(2 * padded).enumerate().flat_map(move |(strip, part)| {
                    let pixels = (shape.strip(image, strip).1 / c) as f64;
                    (group * size..(group + 1) * size)
                        .map(move |j| (pixels, part[j].to_f64(), part[padded + j].to_f64()))
                })
            };
            let count = (shape.pixels * size) as f64;
            let mean = parts().map(|(n, mean, _)| n * mean).sum::<f64>() / count;
            let squares: f64 = parts().map(|(n, m, squares)| squares + n * (m - mean) * (m - mean)).sum();
            (mean, 1.0 / (squares / count + shape.epsilon).sqrt())
        })
        .collect()
}

/// The lines of the forward pass, and the groups' statistics.
fn prepare<E: Stored>(
    x: &[E],
    image: usize,
    of: Affine<'_, E::F>,
    shape: GroupShape,
) -> (Lines<E::F>, Vec<(f64, f64)>) {
    let (c, statistics) = (shape.channels, statistics(x, image, shape));
    let mut lines = Lines::new(shape.padded());
    let row = if of.scale.len() > c { image * c } else { 0 };
    for j in 0..c {
        let (mean, inverse) = statistics[j / (c / shape.groups)];
        let scale = 1.0 + of.scale[row + j].to_f64();
        lines.set(MEAN, j, mean);
        lines.set(A, j, of.gain[j].to_f64() * scale * inverse);
        lines.set(B, j, of.bias[j].to_f64() * scale + of.shift[row + j].to_f64());
    }
    (lines, statistics)
}

/// The forward pass over `x` `[images, pixels, C]`.
pub(crate) fn forward<E: Stored>(x: &[E], of: Affine<'_, E::F>, shape: GroupShape) -> Vec<E> {
    shape.check(x.len(), of);
    // SAFETY: the strips cover every pixel once, and `Apply` writes all channels of its pixels.
    unsafe {
        filled(x.len(), |out| {
            (0..shape.images).into_par_iter().for_each(|image| {
                let (lines, _) = prepare(x, image, of, shape);
                (0..shape.strips()).into_par_iter().for_each(|strip| {
                    let (first, len) = shape.strip(image, strip);
                    dispatch(Apply {
                        x: &x[first..first + len],
                        y: out.at(first),
                        lines: &lines,
                        channels: shape.channels,
                        silu: shape.silu,
                    });
                });
            });
        })
    }
}

/// The gradients from dL/dy.
pub(crate) fn backward<E: Stored>(x: &[E], of: Affine<'_, E::F>, dy: &[E], shape: GroupShape) -> GroupGradients<E> {
    shape.check(x.len(), of);
    assert_eq!(x.len(), dy.len());
    let c = shape.channels;
    // Per image and channel the sums of dz and of dz times the normalised x.
    let mut sums = vec![0.0f64; shape.images * 2 * c];
    // SAFETY: the images cover every pixel once, and `backward_image` writes all channels of its pixels.
    let dx = unsafe {
        filled(x.len(), |out| {
            sums.par_chunks_exact_mut(2 * c).enumerate().for_each(|(image, sums)| {
                backward_image((x, dy, out), image, of, shape, sums);
            });
        })
    };
    let (mut gain, mut bias) = (vec![0.0f64; c], vec![0.0f64; c]);
    let rows = of.scale.len() / c;
    let (mut scale, mut shift) = (vec![0.0f64; rows * c], vec![0.0f64; rows * c]);
    for (image, sums) in sums.chunks_exact(2 * c).enumerate() {
        let row = if rows > 1 { image * c } else { 0 };
        for j in 0..c {
            let (flat, slope, factor) = (sums[j], sums[c + j], 1.0 + of.scale[row + j].to_f64());
            gain[j] += slope * factor;
            bias[j] += flat * factor;
            scale[row + j] += slope * of.gain[j].to_f64() + flat * of.bias[j].to_f64();
            shift[row + j] += flat;
        }
    }
    let [gain, bias, scale, shift] = [gain, bias, scale, shift].map(|x| x.into_iter().map(E::F::of_f64).collect());
    GroupGradients { x: dx, gain, bias, scale, shift }
}

/// One image: writes dL/dx, and into `sums` `[2, C]` the sums of dz and of dz times the normalised x.
///
/// # Safety
/// There is room for all of x behind the third pointer; no other job writes this image.
unsafe fn backward_image<E: Stored>(
    (x, dy, dx): (&[E], &[E], Shared<E>),
    image: usize,
    of: Affine<'_, E::F>,
    shape: GroupShape,
    sums: &mut [f64],
) {
    let (c, padded, size) = (shape.channels, shape.padded(), shape.channels / shape.groups);
    let (mut lines, statistics) = prepare(x, image, of, shape);
    let mut parts = vec![E::F::ZERO; shape.strips() * 2 * padded];
    parts.par_chunks_exact_mut(2 * padded).enumerate().for_each(|(strip, out)| {
        let (first, len) = shape.strip(image, strip);
        let (x, dy) = (&x[first..first + len], &dy[first..first + len]);
        // SAFETY: the strips are whole pixels, and there is room for two lines.
        unsafe { dispatch(Sums { x, dy, out, lines: &lines, channels: c, silu: shape.silu }) };
    });
    for j in 0..c {
        let total = |line: usize| parts.chunks_exact(2 * padded).map(|p| p[line * padded + j].to_f64()).sum::<f64>();
        (sums[j], sums[c + j]) = (total(0), total(1) * statistics[j / size].1);
    }
    let row = if of.scale.len() > c { image * c } else { 0 };
    for (group, &(_, inverse)) in statistics.iter().enumerate() {
        let (channels, count) = (group * size..(group + 1) * size, (shape.pixels * size) as f64);
        let a = |j: usize| of.gain[j].to_f64() * (1.0 + of.scale[row + j].to_f64());
        let flat = channels.clone().map(|j| a(j) * sums[j]).sum::<f64>() / count;
        let slope = channels.clone().map(|j| a(j) * sums[c + j]).sum::<f64>() / count;
        for j in channels {
            lines.set(ALONG, j, -inverse * inverse * slope);
            lines.set(OFFSET, j, -inverse * flat);
        }
    }
    (0..shape.strips()).into_par_iter().for_each(|strip| {
        let (first, len) = shape.strip(image, strip);
        let (x, dy) = (&x[first..first + len], &dy[first..first + len]);
        // SAFETY: the caller's promise; strips are whole pixels of their own.
        unsafe { dispatch(Spread { x, dy, dx: dx.at(first), lines: &lines, channels: c, silu: shape.silu }) };
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;
    use crate::kernel::check::{check, stored, wide};

    fn all<E: Stored>(shape: GroupShape, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (x, dy) = (stored::<E>(&inputs[0]), stored::<E>(&inputs[5]));
        let [gain, bias, scale, shift] = [1, 2, 3, 4].map(|i| stored::<E::F>(&inputs[i]));
        let of = Affine { gain: &gain, bias: &bias, scale: &scale, shift: &shift };
        let d = backward(&x, of, &dy, shape);
        let y = forward(&x, of, shape);
        vec![wide(&y), wide(&d.x), wide(&d.gain), wide(&d.bias), wide(&d.scale), wide(&d.shift)]
    }

    #[test]
    fn gradients() {
        // The third has groups that share vectors, the last three strips and one scale for both images.
        for (images, pixels, channels, groups, rows) in
            [(2, 5, 16, 1, 2), (1, 9, 32, 8, 1), (3, 6, 20, 5, 3), (1, 4, 3, 3, 1), (2, 300, 6, 2, 1)]
        {
            for silu in [true, false] {
                let shape = GroupShape { images, pixels, channels, groups, epsilon: 1e-5, silu };
                let n = images * pixels * channels;
                check(
                    [&|x| all::<f64>(shape, x), &|x| all::<f32>(shape, x), &|x| all::<bf16>(shape, x)],
                    &[n, channels, channels, rows * channels, rows * channels, n],
                    &format!("{shape:?}"),
                );
            }
        }
    }

    /// Mean 0 and variance 1 per group, also where the values lie far from 0.
    #[test]
    fn groups_are_normalised() {
        let shape = GroupShape { images: 2, pixels: 200, channels: 6, groups: 3, epsilon: 0.0, silu: false };
        let x: Vec<f32> = (0..2400).map(|i| 3000.0 + ((i * 7919) % 1009) as f32 / 500.0).collect();
        let (one, none) = ([1.0; 6], [0.0; 6]);
        let y = forward(&x, Affine { gain: &one, bias: &none, scale: &none, shift: &none }, shape);
        for group in 0..6 {
            let of = |i: &usize| i / 1200 * 3 + i % 6 / 2 == group;
            let values: Vec<f64> = (0..2400).filter(of).map(|i| f64::from(y[i])).collect();
            let mean = values.iter().sum::<f64>() / 400.0;
            let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 400.0;
            assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
        }
    }
}
