//! What a group norm does to a strip of pixels, given what is known of its image's channels: sums, and the way there and back.

use crate::simd::{Float, Kernel, Lanes, Stored};

/// What one image's channels are computed with, each `[padded]`, zeros behind the channels:
/// `y = act((x - mean) a + b)`, `dx = dz a + (x - mean) along + offset`.
pub(super) struct Lines<F> {
    pub values: Vec<F>,
    pub padded: usize,
}

pub(super) const MEAN: usize = 0;
pub(super) const A: usize = 1;
pub(super) const B: usize = 2;
pub(super) const ALONG: usize = 3;
pub(super) const OFFSET: usize = 4;

impl<F: Float> Lines<F> {
    pub(super) fn new(padded: usize) -> Self {
        Self { values: vec![F::ZERO; 5 * padded], padded }
    }

    pub(super) fn set(&mut self, line: usize, channel: usize, value: f64) {
        self.values[line * self.padded + channel] = F::of_f64(value);
    }
}

/// Means and sums of squares around them of each channel, into two padded lines that hold zeros.
pub(super) struct Moments<'a, E: Stored> {
    pub x: &'a [E],
    pub out: &'a mut [E::F],
    pub channels: usize,
}

impl<E: Stored> Kernel<E::F> for Moments<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let (c, count) = (self.channels, self.x.len() / self.channels);
        let padded = c.next_multiple_of(16);
        let (mean, squares) = (self.out.as_mut_ptr(), unsafe { self.out.as_mut_ptr().add(padded) });
        for p in 0..count {
            for i in (0..c).step_by(16) {
                unsafe {
                    let x = E::load_first::<L>(self.x.as_ptr().add(p * c + i), c - i);
                    L::load(mean.add(i)).add(x).store(mean.add(i));
                }
            }
        }
        for i in (0..padded).step_by(16) {
            unsafe { L::load(mean.add(i)).mul(L::splat(E::F::of_f64(1.0 / count as f64))).store(mean.add(i)) };
        }
        for p in 0..count {
            for i in (0..c).step_by(16) {
                unsafe {
                    let d = E::load_first::<L>(self.x.as_ptr().add(p * c + i), c - i).sub(L::load(mean.add(i)));
                    d.fma(d, L::load(squares.add(i))).store(squares.add(i));
                }
            }
        }
    }
}

/// The lines of an image from channel `i` on.
struct At<L> {
    mean: L,
    a: L,
    b: L,
}

impl<L: Lanes> At<L> {
    #[inline(always)]
    unsafe fn new(lines: &Lines<L::F>, i: usize) -> Self {
        unsafe {
            let line = |n: usize| lines.values.as_ptr().wrapping_add(n * lines.padded + i);
            Self { mean: L::load(line(MEAN)), a: L::load(line(A)), b: L::load(line(B)) }
        }
    }

    /// dL/dz from dL/dy.
    #[inline(always)]
    unsafe fn dz(&self, centred: L, dy: L, silu: bool) -> L {
        if !silu {
            return dy;
        }
        unsafe {
            let (z, one) = (centred.fma(self.a, self.b), L::splat(L::F::ONE));
            let s = z.sigmoid();
            dy.mul(s).mul(z.fma(one.sub(s), one))
        }
    }
}

/// `y` has room for as many values as `x`, whole pixels.
pub(super) struct Apply<'a, E: Stored> {
    pub x: &'a [E],
    pub y: *mut E,
    pub lines: &'a Lines<E::F>,
    pub channels: usize,
    pub silu: bool,
}

impl<E: Stored> Kernel<E::F> for Apply<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let c = self.channels;
        for first in (0..self.x.len()).step_by(c) {
            for i in (0..c).step_by(16) {
                unsafe {
                    let at = At::<L>::new(self.lines, i);
                    let x = E::load_first::<L>(self.x.as_ptr().add(first + i), c - i);
                    let z = x.sub(at.mean).fma(at.a, at.b);
                    let y = if self.silu { z.mul(z.sigmoid()) } else { z };
                    E::store_first::<L>(y, self.y.add(first + i), c - i);
                }
            }
        }
    }
}

/// The sums of dz and of `dz (x - mean)`, into two padded lines that hold zeros.
pub(super) struct Sums<'a, E: Stored> {
    pub x: &'a [E],
    pub dy: &'a [E],
    pub out: &'a mut [E::F],
    pub lines: &'a Lines<E::F>,
    pub channels: usize,
    pub silu: bool,
}

impl<E: Stored> Kernel<E::F> for Sums<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let (c, padded) = (self.channels, self.lines.padded);
        for first in (0..self.x.len()).step_by(c) {
            for i in (0..c).step_by(16) {
                unsafe {
                    let at = At::<L>::new(self.lines, i);
                    let x = E::load_first::<L>(self.x.as_ptr().add(first + i), c - i).sub(at.mean);
                    let dy = E::load_first::<L>(self.dy.as_ptr().add(first + i), c - i);
                    let dz = at.dz(x, dy, self.silu);
                    let (flat, slope) = (self.out.as_mut_ptr().add(i), self.out.as_mut_ptr().add(padded + i));
                    L::load(flat).add(dz).store(flat);
                    dz.fma(x, L::load(slope)).store(slope);
                }
            }
        }
    }
}

/// `dx` has room for as many values as `x`, whole pixels.
pub(super) struct Spread<'a, E: Stored> {
    pub x: &'a [E],
    pub dy: &'a [E],
    pub dx: *mut E,
    pub lines: &'a Lines<E::F>,
    pub channels: usize,
    pub silu: bool,
}

impl<E: Stored> Kernel<E::F> for Spread<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let (c, padded) = (self.channels, self.lines.padded);
        for first in (0..self.x.len()).step_by(c) {
            for i in (0..c).step_by(16) {
                unsafe {
                    let at = At::<L>::new(self.lines, i);
                    let along = L::load(self.lines.values.as_ptr().add(ALONG * padded + i));
                    let offset = L::load(self.lines.values.as_ptr().add(OFFSET * padded + i));
                    let x = E::load_first::<L>(self.x.as_ptr().add(first + i), c - i).sub(at.mean);
                    let dy = E::load_first::<L>(self.dy.as_ptr().add(first + i), c - i);
                    let dz = at.dz(x, dy, self.silu);
                    let dx = dz.fma(at.a, x.fma(along, offset));
                    E::store_first::<L>(dx, self.dx.add(first + i), c - i);
                }
            }
        }
    }
}
