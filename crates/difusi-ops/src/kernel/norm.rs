//! `act(x / max(‖x‖, 1e-12) · √C · gain · (1 + scale) + shift) + residual` over channels and its gradient, one pass over memory each.
//!
//! `act` is SiLU or nothing. Four pixels go side by side, so that sums over channels, exponentials and divisions of one wait
//! while those of the others run. The gains' gradients are summed per strip of pixels, strips in order.

use rayon::prelude::*;

use crate::{
    buffer::{Aligned, Shared, filled, with_scratch},
    simd::{Float, Kernel, Lanes, Stored, dispatch},
};

/// Pixels per job.
const PIXELS: usize = 128;

/// The sizes and the activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormShape {
    /// Images, each with its own scale and shift.
    pub images: usize,
    /// Pixels per image.
    pub pixels: usize,
    pub channels: usize,
    pub silu: bool,
}

/// The coefficients: `gain` `[C]`, `scale` and `shift` `[images, C]`.
#[derive(Clone, Copy)]
pub(crate) struct Coefficients<'a, F> {
    pub gain: &'a [F],
    pub scale: &'a [F],
    pub shift: &'a [F],
}

/// What the backward pass gives, shaped like the inputs.
pub(crate) struct NormGradients<E: Stored> {
    pub x: Vec<E>,
    pub gain: Vec<E::F>,
    pub scale: Vec<E::F>,
    pub shift: Vec<E::F>,
}

impl NormShape {
    /// The shape in words.
    pub(crate) fn label(&self) -> (String, f64) {
        (format!("{}x{}x{}", self.images, self.pixels, self.channels), 0.0)
    }

    fn padded(&self) -> usize {
        self.channels.next_multiple_of(16)
    }

    /// Jobs as (image, first pixel, pixels).
    fn jobs(&self) -> Vec<(usize, usize, usize)> {
        let strips = (0..self.pixels).step_by(PIXELS).map(|p| (p, PIXELS.min(self.pixels - p)));
        (0..self.images).flat_map(|image| strips.clone().map(move |(p, n)| (image, p, n))).collect()
    }

    /// Per image `gain · (1 + scale)` and `shift`, `[images, 2, padded]`, zeros behind the channels.
    fn combined<F: Float>(&self, given: Coefficients<'_, F>) -> Aligned<F> {
        let (c, padded) = (self.channels, self.padded());
        assert!(given.gain.len() == c && given.scale.len() == self.images * c && given.shift.len() == self.images * c);
        let mut combined = Aligned::zeros(self.images * 2 * padded);
        for (i, to) in combined.as_mut_slice().chunks_exact_mut(2 * padded).take(self.images).enumerate() {
            for j in 0..c {
                to[j] = given.gain[j] * (F::ONE + given.scale[i * c + j]);
                to[padded + j] = given.shift[i * c + j];
            }
        }
        combined
    }
}

/// The forward pass over `x` `[images, pixels, C]`; `residual`, shaped like it, is added behind the activation.
pub(crate) fn forward<E: Stored>(
    x: &[E],
    residual: Option<&[E]>,
    given: Coefficients<'_, E::F>,
    shape: NormShape,
) -> Vec<E> {
    let (c, padded) = (shape.channels, shape.padded());
    assert!(x.len() == shape.images * shape.pixels * c && residual.is_none_or(|r| r.len() == x.len()));
    let combined = shape.combined(given);
    let combined = combined.as_slice();
    // SAFETY: the jobs cover every pixel once, and `Forward` writes all channels of its pixels.
    unsafe {
        filled(x.len(), |out| {
            shape.jobs().into_par_iter().for_each(|(image, first, pixels)| {
                let start = (image * shape.pixels + first) * c;
                let coefficients = &combined[image * 2 * padded..][..2 * padded];
                let (x, y) = (&x[start..start + pixels * c], out.at(start));
                let residual = residual.map(|r| &r[start..start + pixels * c]);
                dispatch(Forward { x, residual, y, coefficients, shape });
            });
        })
    }
}

/// The gradients from dL/dy; that of a residual is dL/dy itself.
pub(crate) fn backward<E: Stored>(
    x: &[E],
    given: Coefficients<'_, E::F>,
    dy: &[E],
    shape: NormShape,
) -> NormGradients<E> {
    let (c, padded) = (shape.channels, shape.padded());
    assert!(x.len() == shape.images * shape.pixels * c && dy.len() == x.len());
    let combined = shape.combined(given);
    let combined = combined.as_slice();
    let jobs = shape.jobs();
    let mut sums = Aligned::zeros(jobs.len() * 2 * padded);
    let shared = Shared::new(sums.as_mut_slice());
    // SAFETY: the jobs cover every pixel once, each with sums of its own; `Backward` writes all channels of its pixels.
    let dx = unsafe {
        filled(x.len(), |out| {
            jobs.par_iter().enumerate().for_each(|(job, &(image, first, pixels))| {
                let start = (image * shape.pixels + first) * c;
                let (x, dy) = (&x[start..start + pixels * c], &dy[start..start + pixels * c]);
                let coefficients = &combined[image * 2 * padded..][..2 * padded];
                let (dx, sums) = (out.at(start), shared.at(job * 2 * padded));
                with_scratch(4 * padded, |rows| dispatch(Backward { x, dy, dx, sums, coefficients, rows, shape }));
            });
        })
    };
    let (gain, scale, shift) = coefficient_gradients(sums.as_slice(), given, shape);
    NormGradients { x: dx, gain, scale, shift }
}

/// From the strips' sums of `dz · n` and `dz` to the gradients of gain, scale and shift.
fn coefficient_gradients<F: Float>(
    sums: &[F],
    given: Coefficients<'_, F>,
    shape: NormShape,
) -> (Vec<F>, Vec<F>, Vec<F>) {
    let (c, padded) = (shape.channels, shape.padded());
    let strips = shape.pixels.div_ceil(PIXELS);
    let mut gain = vec![0.0f64; c];
    let (mut scale, mut shift) = (Vec::with_capacity(shape.images * c), Vec::with_capacity(shape.images * c));
    for image in 0..shape.images {
        let strips = || sums.chunks_exact(2 * padded).skip(image * strips).take(strips);
        for j in 0..c {
            let slope: f64 = strips().map(|s| s[j].to_f64()).sum();
            gain[j] += slope * (1.0 + given.scale[image * c + j].to_f64());
            scale.push(F::of_f64(slope * given.gain[j].to_f64()));
            shift.push(F::of_f64(strips().map(|s| s[padded + j].to_f64()).sum()));
        }
    }
    (gain.into_iter().map(F::of_f64).collect(), scale, shift)
}

/// What rows of `R` pixels have in common.
#[derive(Clone, Copy)]
struct Span<F> {
    /// `gain · (1 + scale)`, and behind it the shift.
    a: *const F,
    padded: usize,
    channels: usize,
    silu: bool,
}

impl<F: Float> Span<F> {
    fn new(coefficients: &[F], shape: NormShape) -> Self {
        let NormShape { channels, silu, .. } = shape;
        Self { a: coefficients.as_ptr(), padded: shape.padded(), channels, silu }
    }
}

/// `√C / max(‖x‖, 1e-12)` and `1 / ‖x‖²` (0 where the length is clamped) of `R` pixels. NaN comes through.
#[inline(always)]
unsafe fn lengths<L: Lanes, X: Stored<F = L::F>, const R: usize>(x: *const X, of: Span<L::F>) -> [[L::F; R]; 2] {
    unsafe {
        let mut sums = [L::splat(L::F::ZERO); R];
        for i in (0..of.padded).step_by(16) {
            for r in 0..R {
                let p = X::load_first::<L>(x.add(r * of.channels + i), of.channels - i);
                sums[r] = p.fma(p, sums[r]);
            }
        }
        let root = L::F::of_f64((of.channels as f64).sqrt());
        let shortest = L::F::of_f64(1e-12);
        let mut results = [[L::F::ZERO; R]; 2];
        for r in 0..R {
            let square = sums[r].sum();
            let length = square.sqrt();
            let clamped = length < shortest;
            results[0][r] = root / if clamped { shortest } else { length };
            results[1][r] = if clamped { L::F::ZERO } else { L::F::ONE / square };
        }
        results
    }
}

/// `y` has room for as many values as `x`, whole pixels; `coefficients` as `NormShape::combined` for one image.
struct Forward<'a, E: Stored> {
    x: &'a [E],
    residual: Option<&'a [E]>,
    y: *mut E,
    coefficients: &'a [E::F],
    shape: NormShape,
}

impl<E: Stored> Kernel<E::F> for Forward<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let (channels, count) = (self.shape.channels, self.x.len() / self.shape.channels);
        let of = Span::new(self.coefficients, self.shape);
        let mut p = 0;
        while p < count {
            let at = p * channels;
            unsafe {
                let (x, y) = (self.x.as_ptr().add(at), self.y.add(at));
                let residual = self.residual.map(|r| r.as_ptr().wrapping_add(at));
                if L::REGISTERS >= 32 && p + 4 <= count {
                    forward_rows::<L, E, 4>((x, y, residual), of);
                    p += 4;
                } else {
                    forward_rows::<L, E, 1>((x, y, residual), of);
                    p += 1;
                }
            }
        }
    }
}

/// `R` pixels from `x` to `y`, plus those at the third pointer.
#[inline(always)]
unsafe fn forward_rows<L: Lanes, X: Stored<F = L::F>, const R: usize>(
    (x, y, residual): (*const X, *mut X, Option<*const X>),
    of: Span<L::F>,
) {
    unsafe {
        let [inverse, _] = lengths::<L, X, R>(x, of);
        for i in (0..of.padded).step_by(16) {
            let (a, shift) = (L::load(of.a.add(i)), L::load(of.a.add(of.padded + i)));
            let mut out = [a; R];
            for r in 0..R {
                let n = X::load_first::<L>(x.add(r * of.channels + i), of.channels - i).mul(L::splat(inverse[r]));
                let z = n.fma(a, shift);
                out[r] = if of.silu { z.mul(z.sigmoid()) } else { z };
            }
            for r in 0..R {
                if let Some(residual) = residual {
                    out[r] = out[r].add(X::load_first::<L>(residual.add(r * of.channels + i), of.channels - i));
                }
                X::store_first::<L>(out[r], y.add(r * of.channels + i), of.channels - i);
            }
        }
    }
}

/// `dx` has room for as many values as `x`; `sums` for `2 · padded`, this job's own; `rows` are four padded pixels of scratch.
struct Backward<'a, E: Stored> {
    x: &'a [E],
    dy: &'a [E],
    dx: *mut E,
    sums: *mut E::F,
    coefficients: &'a [E::F],
    rows: &'a mut [E::F],
    shape: NormShape,
}

impl<E: Stored> Kernel<E::F> for Backward<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let (channels, count) = (self.shape.channels, self.x.len() / self.shape.channels);
        let (of, own) = (Span::new(self.coefficients, self.shape), (self.sums, self.rows.as_mut_ptr()));
        let mut p = 0;
        while p < count {
            let at = p * channels;
            unsafe {
                let at = (self.x.as_ptr().add(at), self.dy.as_ptr().add(at), self.dx.add(at));
                if L::REGISTERS >= 32 && p + 4 <= count {
                    backward_rows::<L, E, 4>(at, own, of);
                    p += 4;
                } else {
                    backward_rows::<L, E, 1>(at, own, of);
                    p += 1;
                }
            }
        }
    }
}

/// `R` pixels: with `n = x · inverse` and `z = a n + shift`: `dn = a dz`, `dx = inverse (dn - x (dn · x) / ‖x‖²)`.
/// Adds to the sums of `dz · n` and `dz`; `slopes` has room for `R` padded pixels.
#[inline(always)]
unsafe fn backward_rows<L: Lanes, X: Stored<F = L::F>, const R: usize>(
    (x, dy, dx): (*const X, *const X, *mut X),
    (sums, slopes): (*mut L::F, *mut L::F),
    of: Span<L::F>,
) {
    unsafe {
        let [inverse, per_square] = lengths::<L, X, R>(x, of);
        let one = L::splat(L::F::ONE);
        let mut dots = [L::splat(L::F::ZERO); R];
        for i in (0..of.padded).step_by(16) {
            let (a, shift) = (L::load(of.a.add(i)), L::load(of.a.add(of.padded + i)));
            let (mut slope, mut offset) = (L::load(sums.add(i)), L::load(sums.add(of.padded + i)));
            for r in 0..R {
                let x = X::load_first::<L>(x.add(r * of.channels + i), of.channels - i);
                let n = x.mul(L::splat(inverse[r]));
                let mut dz = X::load_first::<L>(dy.add(r * of.channels + i), of.channels - i);
                if of.silu {
                    let z = n.fma(a, shift);
                    let s = z.sigmoid();
                    dz = dz.mul(s).mul(z.fma(one.sub(s), one));
                }
                slope = dz.fma(n, slope);
                offset = dz.add(offset);
                let dn = dz.mul(a);
                dots[r] = dn.fma(x, dots[r]);
                dn.store(slopes.add(r * of.padded + i));
            }
            slope.store(sums.add(i));
            offset.store(sums.add(of.padded + i));
        }
        let mut along = [L::F::ZERO; R];
        for r in 0..R {
            along[r] = -(inverse[r] * (dots[r].sum() * per_square[r]));
        }
        for i in (0..of.padded).step_by(16) {
            for r in 0..R {
                let across = L::load(slopes.add(r * of.padded + i)).mul(L::splat(inverse[r]));
                let x = X::load_first::<L>(x.add(r * of.channels + i), of.channels - i);
                X::store_first::<L>(x.fma(L::splat(along[r]), across), dx.add(r * of.channels + i), of.channels - i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;
    use crate::kernel::check::{Case, check, stored, wide};

    fn all<E: Stored>(shape: NormShape, added: bool, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [x, residual, dy] = [0, 4, 5].map(|i| stored::<E>(&inputs[i]));
        let [gain, scale, shift] = [1, 2, 3].map(|i| stored::<E::F>(&inputs[i]));
        let given = Coefficients { gain: &gain, scale: &scale, shift: &shift };
        let y = forward(&x, added.then_some(&residual), given, shape);
        let d = backward(&x, given, &dy, shape);
        let dresidual = if added { wide(&dy) } else { vec![0.0; dy.len()] };
        vec![wide(&y), wide(&d.x), wide(&d.gain), wide(&d.scale), wide(&d.shift), dresidual]
    }

    #[test]
    fn gradients() {
        for (images, pixels, channels) in [(2, 5, 16), (1, 130, 32), (2, 3, 5), (3, 6, 50), (1, 9, 48)] {
            for (silu, added) in [(true, false), (false, false), (true, true)] {
                let shape = NormShape { images, pixels, channels, silu };
                let n = images * pixels * channels;
                let cases: [Case<'_>; 3] = [&|x| all::<f64>(shape, added, x), &|x| all::<f32>(shape, added, x), &|x| {
                    all::<bf16>(shape, added, x)
                }];
                check(cases, &[n, channels, images * channels, images * channels, n, n], &format!("{shape:?} {added}"));
            }
        }
    }
}
