//! Upsampling, space-to-channels, joining channels, and the way back.

use rayon::prelude::*;

use crate::{
    buffer::{Shared, filled},
    simd::{Float, Kernel, Lanes, Stored, dispatch},
};

/// Pixels per job.
const PIXELS: usize = 256;

/// Writes `values` to `to`.
///
/// # Safety
/// There is room for them, apart from where they lie, and no other job touches it.
unsafe fn write<E: Copy>(values: &[E], to: *mut E) {
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
}

/// Each pixel of `x` `[batch, height, width, channels]` four times.
pub(crate) fn upsample2<E: Stored>(x: &[E], [_, _, width, channels]: [usize; 4]) -> Vec<E> {
    let row = width * channels;
    let one = |from: &[E], to: *mut E| {
        for (i, pixel) in from.chunks_exact(channels).enumerate() {
            // SAFETY: there is room for two rows, each of twice the pixels, behind `to`.
            unsafe {
                let to = to.add(2 * i * channels);
                write(pixel, to);
                write(pixel, to.add(channels));
            }
        }
        // SAFETY: the first row was just written, and the second is apart from it.
        unsafe { std::ptr::copy_nonoverlapping(to, to.add(2 * row), 2 * row) };
    };
    assert!(x.len().is_multiple_of(row.max(1)));
    // SAFETY: the rows are all of `x`, and each writes four times its length at its own place.
    unsafe {
        filled(4 * x.len(), |out: Shared<E>| {
            x.par_chunks_exact(row).enumerate().for_each(|(i, from)| one(from, out.at(4 * i * row)));
        })
    }
}

/// The gradient of [`upsample2`]: the sum of each pixel's four copies. `dims` are those of `x`.
pub(crate) fn upsample2_backward<E: Stored>(dy: &[E], [batch, height, width, channels]: [usize; 4]) -> Vec<E> {
    let row = width * channels;
    assert_eq!(dy.len(), 4 * batch * height * row);
    // SAFETY: as many quadruple rows as there are rows, and a job writes all of its row.
    unsafe {
        filled(batch * height * row, |out: Shared<E>| {
            dy.par_chunks_exact(4 * row).enumerate().for_each(|(i, rows)| {
                dispatch(SumOfFour { rows, channels, to: out.at(i * row) });
            });
        })
    }
}

/// Adds the 2x2 pixels of two rows; there is room for a quarter of their values at `to`.
struct SumOfFour<'a, E> {
    rows: &'a [E],
    channels: usize,
    to: *mut E,
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for SumOfFour<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let (channels, whole) = (self.channels, self.channels / 16 * 16);
        let (upper, lower) = self.rows.split_at(self.rows.len() / 2);
        let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
        for (pixel, (upper, lower)) in pairs.enumerate() {
            unsafe {
                let to = self.to.add(pixel * channels);
                let ((a, b), (c, d)) = (upper.split_at(channels), lower.split_at(channels));
                for i in (0..whole).step_by(16) {
                    // Closures would not be compiled for the vector unit.
                    let upper = E::load::<L>(a.as_ptr().add(i)).add(E::load(b.as_ptr().add(i)));
                    let lower = E::load::<L>(c.as_ptr().add(i)).add(E::load(d.as_ptr().add(i)));
                    E::store::<L>(upper.add(lower), to.add(i));
                }
                for i in whole..channels {
                    to.add(i).write(E::put((a[i].get() + b[i].get()) + (c[i].get() + d[i].get())));
                }
            }
        }
    }
}

/// `x` `[batch, height, width, channels]` → `[batch, height / 2, width / 2, (channels, 2, 2)]`.
pub(crate) fn unshuffle2<E: Stored>(x: &[E], [_, _, width, channels]: [usize; 4]) -> Vec<E> {
    let row = width * channels;
    let mut out = vec![E::default(); x.len()];
    out.par_chunks_exact_mut(2 * row).zip(x.par_chunks_exact(2 * row)).for_each(|(to, from)| {
        let (upper, lower) = from.split_at(row);
        let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
        for (to, (upper, lower)) in to.chunks_exact_mut(4 * channels).zip(pairs) {
            for (c, to) in to.chunks_exact_mut(4).enumerate() {
                to.copy_from_slice(&[upper[c], upper[channels + c], lower[c], lower[channels + c]]);
            }
        }
    });
    out
}

/// The inverse (and gradient) of [`unshuffle2`]. `dims` are those of `x`.
pub(crate) fn shuffle2<E: Stored>(y: &[E], [_, _, width, channels]: [usize; 4]) -> Vec<E> {
    let row = width * channels;
    let mut out = vec![E::default(); y.len()];
    out.par_chunks_exact_mut(2 * row).zip(y.par_chunks_exact(2 * row)).for_each(|(to, from)| {
        let (upper, lower) = to.split_at_mut(row);
        let pairs = upper.chunks_exact_mut(2 * channels).zip(lower.chunks_exact_mut(2 * channels));
        for (from, (upper, lower)) in from.chunks_exact(4 * channels).zip(pairs) {
            for (c, from) in from.chunks_exact(4).enumerate() {
                (upper[c], upper[channels + c]) = (from[0], from[1]);
                (lower[c], lower[channels + c]) = (from[2], from[3]);
            }
        }
    });
    out
}

/// The channels of two images of the same pixels, one after the other.
///
/// # Panics
/// If the images have different numbers of pixels.
pub(crate) fn join<E: Stored>([a, b]: [&[E]; 2], [first, second]: [usize; 2]) -> Vec<E> {
    let (both, pixels) = (first + second, a.len() / first.max(1));
    assert!(a.len() == pixels * first && b.len() == pixels * second);
    // SAFETY: the jobs write each pixel's channels of both images, each pixel once.
    unsafe {
        filled(pixels * both, |out: Shared<E>| {
            (0..pixels.div_ceil(PIXELS)).into_par_iter().for_each(|job| {
                for pixel in job * PIXELS..pixels.min((job + 1) * PIXELS) {
                    let to = out.at(pixel * both);
                    write(&a[pixel * first..][..first], to);
                    write(&b[pixel * second..][..second], to.add(first));
                }
            });
        })
    }
}

/// The inverse (and gradient) of [`join`].
pub(crate) fn split<E: Stored>(y: &[E], [first, second]: [usize; 2]) -> [Vec<E>; 2] {
    let both = first + second;
    let pixels = y.len() / both;
    assert_eq!(y.len(), pixels * both);
    let mut b = Vec::new();
    // SAFETY: the jobs write each pixel's channels to both images, each pixel once.
    let a = unsafe {
        filled(pixels * first, |to_a: Shared<E>| {
            b = filled(pixels * second, |to_b: Shared<E>| {
                y.par_chunks(PIXELS * both).enumerate().for_each(|(job, pixels)| {
                    for (i, pixel) in pixels.chunks_exact(both).enumerate() {
                        let (one, other) = pixel.split_at(first);
                        write(one, to_a.at((job * PIXELS + i) * first));
                        write(other, to_b.at((job * PIXELS + i) * second));
                    }
                });
            });
        })
    };
    [a, b]
}
