//! Pooling of channels-last images: sixteen channels at a time over a window's pixels. What lies outside the image does not count.
//!
//! Deliberately absent: gradients ([`crate::max_pool`] says what computes those).

use rayon::prelude::*;

use super::conv::Target;
use crate::{
    ConvSpec,
    simd::{Float, Kernel, Lanes, dispatch},
};

/// What becomes of the pixels of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    Max,
    /// Over those pixels that exist.
    Mean,
}

/// The shapes of one pooling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolShape {
    /// `[batch, height, width, channels]`.
    pub x: [usize; 4],
    /// Height and width of a window.
    pub window: [usize; 2],
    pub spec: ConvSpec,
}

impl PoolShape {
    /// `[batch, height', width', channels]`.
    pub(crate) fn y(&self) -> [usize; 4] {
        let [batch, height, width, channels] = self.x;
        let [height, width] = self.spec.output([height, width], self.window);
        [batch, height, width, channels]
    }
}

/// Pools x into a part of an image's channels. Writes all of them, and reads none.
///
/// # Safety
/// As [`super::conv::conv2d_to`].
///
/// # Panics
/// If `x` is not as long as its shape says, or a window lies outside the image altogether.
pub(crate) unsafe fn pool_to<F: Float>(x: &[F], pool: Pool, shape: &PoolShape, target: Target<F>) {
    let [_, height, width, _] = shape.y();
    assert_eq!(x.len(), shape.x.iter().product::<usize>());
    assert!((0..2).all(|side| shape.spec.padding[side] < shape.window[side]));
    (0..shape.x[0] * height).into_par_iter().for_each(|row| {
        // SAFETY: there is room for all rows, and jobs write different ones.
        unsafe {
            let to = target.to.at(row * width * target.step);
            dispatch(Row { x, pool, shape, at: [row / height, row % height], to, step: target.step });
        }
    });
}

/// A row of the result.
struct Row<'a, F> {
    x: &'a [F],
    pool: Pool,
    shape: &'a PoolShape,
    /// Image and row.
    at: [usize; 2],
    to: *mut F,
    step: usize,
}

/// The part from, to of a window at output `at` that exists, along a side of `len` pixels.
#[inline(always)]
fn inside(at: usize, [stride, padding, window, len]: [usize; 4]) -> [usize; 2] {
    let first = at * stride;
    [first.saturating_sub(padding), (first + window).saturating_sub(padding).min(len)]
}

impl<F: Float> Kernel<F> for Row<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let PoolShape { x: [_, height, width, channels], window, spec } = *self.shape;
        let [image, row] = self.at;
        let [_, _, columns, _] = self.shape.y();
        let rows = inside(row, [spec.stride, spec.padding[0], window[0], height]);
        for column in 0..columns {
            let across = inside(column, [spec.stride, spec.padding[1], window[1], width]);
            assert!(rows[0] < rows[1] && across[0] < across[1]);
            let share = F::ONE / F::of_f64(((rows[1] - rows[0]) * (across[1] - across[0])) as f64);
            for c in (0..channels).step_by(16) {
                // SAFETY: the window's rows and columns are those of the image, and `count` of its channels are left.
                unsafe {
                    let count = channels - c;
                    let at =
                        |y: usize, x: usize| self.x.as_ptr().add(((image * height + y) * width + x) * channels + c);
                    let mut sum: L = F::load_first(at(rows[0], across[0]), count);
                    for y in rows[0]..rows[1] {
                        for x in across[0] + usize::from(y == rows[0])..across[1] {
                            let value: L = F::load_first(at(y, x), count);
                            sum = if self.pool == Pool::Max { sum.max(value) } else { sum.add(value) };
                        }
                    }
                    if self.pool == Pool::Mean {
                        sum = sum.mul(L::splat(share));
                    }
                    F::store_first(sum, self.to.add(column * self.step + c), count);
                }
            }
        }
    }
}
