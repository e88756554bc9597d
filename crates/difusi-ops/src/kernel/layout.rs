//! Upsampling and space-to-channels, and the way back.

use rayon::prelude::*;

use crate::simd::Stored;

/// Each pixel of `x` `[batch, height, width, channels]` four times.
pub(crate) fn upsample2<E: Stored>(x: &[E], [_, _, width, channels]: [usize; 4]) -> Vec<E> {
    let row = width * channels;
    let mut out = vec![E::default(); 4 * x.len()];
    out.par_chunks_exact_mut(4 * row).zip(x.par_chunks_exact(row)).for_each(|(to, from)| {
        let (upper, lower) = to.split_at_mut(2 * row);
        for (to, from) in upper.chunks_exact_mut(2 * channels).zip(from.chunks_exact(channels)) {
            to[..channels].copy_from_slice(from);
            to[channels..].copy_from_slice(from);
        }
        lower.copy_from_slice(upper);
    });
    out
}

/// The gradient of [`upsample2`]: the sum of each pixel's four copies. `dims` are those of `x`.
pub(crate) fn upsample2_backward<E: Stored>(dy: &[E], [batch, height, width, channels]: [usize; 4]) -> Vec<E> {
    let row = width * channels;
    let mut dx = vec![E::default(); batch * height * row];
    dx.par_chunks_exact_mut(row).zip(dy.par_chunks_exact(4 * row)).for_each(|(to, from)| {
        let (upper, lower) = from.split_at(2 * row);
        let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
        for (to, (upper, lower)) in to.chunks_exact_mut(channels).zip(pairs) {
            let ((a, b), (c, d)) = (upper.split_at(channels), lower.split_at(channels));
            for i in 0..channels {
                to[i] = E::put((a[i].get() + b[i].get()) + (c[i].get() + d[i].get()));
            }
        }
    });
    dx
}

/// `x` `[batch, height, width, channels]` → `[batch, height / 2, width / 2, (channels, 2, 2)]`.
pub(crate) fn unshuffle2(x: &[f32], [_, _, width, channels]: [usize; 4]) -> Vec<f32> {
    let row = width * channels;
    let mut out = vec![0.0f32; x.len()];
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
pub(crate) fn shuffle2(y: &[f32], [_, _, width, channels]: [usize; 4]) -> Vec<f32> {
    let row = width * channels;
    let mut out = vec![0.0f32; y.len()];
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
