//! `act(x / max(‖x‖, 1e-12) · √C · gain · (1 + scale) + shift)` over channels and its gradient, one pass over memory each.
//!
//! `act` is SiLU or nothing. The gains' gradients are summed per strip of pixels, strips in order.

use rayon::prelude::*;

use crate::{
    buffer::{Aligned, Shared, filled, with_scratch},
    simd::{Kernel, Lanes, dispatch},
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
pub(crate) struct Coefficients<'a> {
    pub gain: &'a [f32],
    pub scale: &'a [f32],
    pub shift: &'a [f32],
}

/// What the backward pass gives, shaped like the inputs.
pub(crate) struct NormGradients {
    pub x: Vec<f32>,
    pub gain: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
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
    fn combined(&self, given: Coefficients<'_>) -> Aligned {
        let (c, padded) = (self.channels, self.padded());
        assert!(given.gain.len() == c && given.scale.len() == self.images * c && given.shift.len() == self.images * c);
        let mut combined = Aligned::zeros(self.images * 2 * padded);
        for (i, to) in combined.as_mut_slice().chunks_exact_mut(2 * padded).take(self.images).enumerate() {
            for j in 0..c {
                to[j] = given.gain[j] * (1.0 + given.scale[i * c + j]);
                to[padded + j] = given.shift[i * c + j];
            }
        }
        combined
    }
}

/// The forward pass over `x` `[images, pixels, C]`.
pub(crate) fn forward(x: &[f32], given: Coefficients<'_>, shape: NormShape) -> Vec<f32> {
    let (c, padded) = (shape.channels, shape.padded());
    assert_eq!(x.len(), shape.images * shape.pixels * c);
    let combined = shape.combined(given);
    let combined = combined.as_slice();
    // SAFETY: the jobs cover every pixel once, and `Forward` writes all channels of its pixels.
    unsafe {
        filled(x.len(), |out| {
            shape.jobs().into_par_iter().for_each(|(image, first, pixels)| {
                let start = (image * shape.pixels + first) * c;
                let coefficients = &combined[image * 2 * padded..][..2 * padded];
                let x = &x[start..start + pixels * c];
                dispatch(Forward { x, y: out.at(start), coefficients, shape });
            });
        })
    }
}

/// The gradients from dL/dy.
pub(crate) fn backward(x: &[f32], given: Coefficients<'_>, dy: &[f32], shape: NormShape) -> NormGradients {
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
fn coefficient_gradients(sums: &[f32], given: Coefficients<'_>, shape: NormShape) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (c, padded) = (shape.channels, shape.padded());
    let strips = shape.pixels.div_ceil(PIXELS);
    let mut gain = vec![0.0f64; c];
    let (mut scale, mut shift) = (Vec::with_capacity(shape.images * c), Vec::with_capacity(shape.images * c));
    for image in 0..shape.images {
        let strips = || sums.chunks_exact(2 * padded).skip(image * strips).take(strips);
        for j in 0..c {
            let slope: f64 = strips().map(|s| f64::from(s[j])).sum();
            gain[j] += slope * (1.0 + f64::from(given.scale[image * c + j]));
            scale.push((slope * f64::from(given.gain[j])) as f32);
            shift.push(strips().map(|s| f64::from(s[padded + j])).sum::<f64>() as f32);
        }
    }
    (gain.into_iter().map(|g| g as f32).collect(), scale, shift)
}

/// `√C / max(‖x‖, 1e-12)` and `1 / ‖x‖²` (0 where the length is clamped). NaN comes through.
#[inline(always)]
unsafe fn lengths<L: Lanes<F = f32>>(x: *const f32, padded: usize, channels: usize) -> (f32, f32) {
    unsafe {
        let (mut a, mut b) = (L::splat(0.0), L::splat(0.0));
        let mut i = 0;
        while i + 32 <= padded {
            let (p, q) = (L::load(x.add(i)), L::load(x.add(i + 16)));
            a = p.fma(p, a);
            b = q.fma(q, b);
            i += 32;
        }
        if i < padded {
            let p = L::load(x.add(i));
            a = p.fma(p, a);
        }
        let square = a.add(b).sum();
        let length = square.sqrt();
        let root = (channels as f32).sqrt();
        if length < 1e-12 { (root / 1e-12, 0.0) } else { (root / length, 1.0 / square) }
    }
}

/// `y` has room for as many values as `x`, whole rows; `coefficients` as `NormShape::combined` for one image.
struct Forward<'a> {
    x: &'a [f32],
    y: *mut f32,
    coefficients: &'a [f32],
    shape: NormShape,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let NormShape { channels, silu, .. } = self.shape;
        let padded = self.shape.padded();
        let mut staged = [0.0f32; 1024];
        for (p, x) in self.x.chunks_exact(channels).enumerate() {
            unsafe {
                let y = self.y.add(p * channels);
                let a = self.coefficients.as_ptr();
                if padded == channels {
                    row_forward::<L>(x.as_ptr(), y, (a, a.add(padded)), (padded, channels), silu);
                } else if padded <= 1024 {
                    staged[..channels].copy_from_slice(x);
                    let row = staged.as_mut_ptr();
                    row_forward::<L>(row, row, (a, a.add(padded)), (padded, channels), silu);
                    std::ptr::copy_nonoverlapping(row, y, channels);
                    staged[channels..padded].fill(0.0);
                } else {
                    let mut row = x.to_vec();
                    row.resize(padded, 0.0);
                    row_forward::<L>(row.as_ptr(), row.as_mut_ptr(), (a, a.add(padded)), (padded, channels), silu);
                    std::ptr::copy_nonoverlapping(row.as_ptr(), y, channels);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn row_forward<L: Lanes<F = f32>>(
    x: *const f32,
    y: *mut f32,
    (a, shift): (*const f32, *const f32),
    (padded, channels): (usize, usize),
    silu: bool,
) {
    unsafe {
        let (inverse, _) = lengths::<L>(x, padded, channels);
        let inverse = L::splat(inverse);
        for i in (0..padded).step_by(16) {
            let n = L::load(x.add(i)).mul(inverse);
            let z = n.fma(L::load(a.add(i)), L::load(shift.add(i)));
            let y_i = if silu { z.mul(z.sigmoid()) } else { z };
            y_i.store(y.add(i));
        }
    }
}

/// `dx` has room for as many values as `x`; `sums` for `2 · padded`, this job's own; `rows` are four padded rows of scratch.
struct Backward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: *mut f32,
    sums: *mut f32,
    coefficients: &'a [f32],
    rows: &'a mut [f32],
    shape: NormShape,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let channels = self.shape.channels;
        let padded = self.shape.padded();
        let (slopes, staged) = self.rows.split_at_mut(padded);
        staged.fill(0.0);
        let row = Row {
            a: self.coefficients.as_ptr(),
            sums: self.sums,
            slopes: slopes.as_mut_ptr(),
            padded,
            channels,
            silu: self.shape.silu,
        };
        for (p, (x, dy)) in self.x.chunks_exact(channels).zip(self.dy.chunks_exact(channels)).enumerate() {
            unsafe {
                let dx = self.dx.add(p * channels);
                if padded == channels {
                    row.backward::<L>(x.as_ptr(), dy.as_ptr(), dx);
                } else {
                    staged[..channels].copy_from_slice(x);
                    staged[padded..padded + channels].copy_from_slice(dy);
                    let at = staged.as_mut_ptr();
                    row.backward::<L>(at, at.add(padded), at.add(2 * padded));
                    std::ptr::copy_nonoverlapping(at.add(2 * padded), dx, channels);
                }
            }
        }
    }
}

struct Row {
    a: *const f32,
    sums: *mut f32,
    slopes: *mut f32,
    padded: usize,
    channels: usize,
    silu: bool,
}

impl Row {
    /// With `n = x · inverse` and `z = a n + shift`: `dn = a dz`, `dx = inverse (dn - x (dn · x) / ‖x‖²)`.
    #[inline(always)]
    unsafe fn backward<L: Lanes<F = f32>>(&self, x: *const f32, dy: *const f32, dx: *mut f32) {
        unsafe {
            let (inverse, per_square) = lengths::<L>(x, self.padded, self.channels);
            let (scale, one) = (L::splat(inverse), L::splat(1.0));
            let mut dot = L::splat(0.0);
            for i in (0..self.padded).step_by(16) {
                let (x, a) = (L::load(x.add(i)), L::load(self.a.add(i)));
                let n = x.mul(scale);
                let mut dz = L::load(dy.add(i));
                if self.silu {
                    let z = n.fma(a, L::load(self.a.add(self.padded + i)));
                    let s = z.sigmoid();
                    dz = dz.mul(s).mul(z.fma(one.sub(s), one));
                }
                let (slope, offset) = (self.sums.add(i), self.sums.add(self.padded + i));
                dz.fma(n, L::load(slope)).store(slope);
                dz.add(L::load(offset)).store(offset);
                let dn = dz.mul(a);
                dot = dn.fma(x, dot);
                dn.store(self.slopes.add(i));
            }
            let along = L::splat(-inverse * (dot.sum() * per_square));
            for i in (0..self.padded).step_by(16) {
                let across = L::load(self.slopes.add(i)).mul(scale);
                L::load(x.add(i)).fma(along, across).store(dx.add(i));
            }
        }
    }
}
