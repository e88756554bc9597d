//! Softmax over rows and over columns of small matrices, whole or in blocks, and what their gradients need.
//!
//! In blocks there are a running maximum and a running sum of exponentials; what was summed before is scaled down when a
//! larger score turns up (Milakov & Gimelshein 2018, arXiv:1805.02867). Rows are padded to whole vectors.

use crate::simd::{Float, Kernel, Lanes, dispatch};

/// A score whose softmax weight is 0 (in f32 about 1e-38).
pub(crate) const NEVER: f32 = -1e30;

/// Rows of scores, `step` apart, of which the first `valid` values count.
pub(crate) struct Scores<'a, F> {
    pub data: &'a mut [F],
    pub step: usize,
    pub valid: usize,
}

impl<F: Float> Scores<'_, F> {
    /// The number of rows.
    ///
    /// # Panics
    /// If a padded row does not fit.
    fn rows(&self) -> usize {
        let whole = self.data.len().is_multiple_of(self.step);
        assert!(whole && self.valid > 0 && self.valid.next_multiple_of(16) <= self.step);
        self.data.len() / self.step
    }

    /// Softmax of every row.
    pub(crate) fn softmax(self) {
        let rows = self.rows();
        // SAFETY: there are so many rows, each with room for its padded values.
        unsafe { dispatch(Rows { scores: self, rows }) }
    }

    /// One more block of scores for rows that have seen others: becomes `e^(score - top)` with the row's new `top`, and
    /// `top`, `sum` and `out` (rows of `width` values) are brought up to it. Start from [`NEVER`], 0 and 0.
    pub(crate) fn softmax_more(self, so_far: &mut SoFar<'_, F>) {
        let rows = self.rows();
        let SoFar { top, sum, out, width } = &*so_far;
        assert!(top.len() >= rows && sum.len() >= rows && width.is_multiple_of(16) && out.len() >= rows * width);
        // SAFETY: as above, and for the rows seen so far.
        unsafe { dispatch(More { scores: self, rows, so_far }) }
    }

    /// From weights `p`, laid out alike, and dL/dp here to dL/dscores here: `p (dp - Σ p dp)` per row.
    pub(crate) fn softmax_backward(self, p: &[F]) {
        let rows = self.rows();
        assert_eq!(p.len(), self.data.len());
        // SAFETY: as above, for both.
        unsafe { dispatch(RowsBackward { p, scores: self, rows }) }
    }
}

/// What softmax in blocks carries on from block to block, one value or row per row of scores.
pub(crate) struct SoFar<'a, F> {
    /// The largest score.
    pub top: &'a mut [F],
    /// `Σ e^(score - top)`.
    pub sum: &'a mut [F],
    /// `Σ e^(score - top) value`, in rows of `width`.
    pub out: &'a mut [F],
    pub width: usize,
}

impl<F: Float> SoFar<'_, F> {
    /// Back to the start.
    pub(crate) fn clear(&mut self) {
        self.top.fill(F::of(NEVER));
        self.sum.fill(F::ZERO);
        self.out.fill(F::ZERO);
    }

    /// Divides the first `rows` rows of `out` by their sums.
    pub(crate) fn finish(&mut self, rows: usize) {
        let factors: &mut [F] = &mut self.sum[..rows];
        factors.iter_mut().for_each(|s| *s = F::ONE / *s);
        scale_rows(&mut self.out[..rows * self.width], self.width, factors);
    }
}

/// Multiplies each row of `width` values by its factor.
pub(crate) fn scale_rows<F: Float>(rows: &mut [F], width: usize, factors: &[F]) {
    assert!(width.is_multiple_of(16) && rows.len() == width * factors.len());
    // SAFETY: the rows are whole vectors, as many as there are factors.
    unsafe { dispatch(ScaleRows { rows, width, factors }) }
}

struct ScaleRows<'a, F> {
    rows: &'a mut [F],
    width: usize,
    factors: &'a [F],
}

impl<F: Float> Kernel<F> for ScaleRows<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        for (row, &factor) in self.rows.chunks_exact_mut(self.width).zip(self.factors) {
            unsafe { scale_row::<L>(row.as_mut_ptr(), self.width, factor) };
        }
    }
}

/// Multiplies `count` values, rounded up to whole vectors.
#[inline(always)]
unsafe fn scale_row<L: Lanes>(row: *mut L::F, count: usize, factor: L::F) {
    unsafe {
        let factor = L::splat(factor);
        for i in (0..count).step_by(16) {
            L::load(row.add(i)).mul(factor).store(row.add(i));
        }
    }
}

/// The largest of `valid` values; those behind them, up to whole vectors, become [`NEVER`].
#[inline(always)]
unsafe fn largest<L: Lanes>(row: *mut L::F, valid: usize) -> L::F {
    unsafe {
        let last = (valid - 1) / 16 * 16;
        if last + 16 > valid {
            let mut mask = [L::F::of(NEVER); 16];
            mask[..valid - last].fill(L::F::ZERO);
            L::load(row.add(last)).add(L::load(mask.as_ptr())).store(row.add(last));
        }
        let mut top = L::load(row.add(last));
        for i in (0..last).step_by(16) {
            top = L::load(row.add(i)).max(top);
        }
        top.largest()
    }
}

/// Replaces `valid` values (and the padding) by `e^(x - top)` and returns their sum.
#[inline(always)]
unsafe fn exponentials<L: Lanes>(row: *mut L::F, valid: usize, top: L::F) -> L::F {
    unsafe {
        let (top, mut sum) = (L::splat(top), L::splat(L::F::ZERO));
        for i in (0..valid).step_by(16) {
            let e = L::load(row.add(i)).sub(top).exp();
            sum = sum.add(e);
            e.store(row.add(i));
        }
        sum.sum()
    }
}

struct Rows<'a, F> {
    scores: Scores<'a, F>,
    rows: usize,
}

impl<F: Float> Kernel<F> for Rows<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let Scores { data, step, valid } = self.scores;
        for row in 0..self.rows {
            unsafe {
                let row = data.as_mut_ptr().add(row * step);
                match valid {
                    16 => short::<L, 1>(row),
                    32 => short::<L, 2>(row),
                    64 => short::<L, 4>(row),
                    _ => {
                        let top = largest::<L>(row, valid);
                        let sum = exponentials::<L>(row, valid, top);
                        scale_row::<L>(row, valid, F::ONE / sum);
                    }
                }
            }
        }
    }
}

/// The softmax of `V` whole vectors.
#[inline(always)]
unsafe fn short<L: Lanes, const V: usize>(row: *mut L::F) {
    unsafe {
        let mut x = [L::load(row); V];
        let mut top = x[0];
        for v in 1..V {
            x[v] = L::load(row.add(16 * v));
            top = x[v].max(top);
        }
        let top = L::splat(top.largest());
        let mut sum = L::splat(L::F::ZERO);
        for v in 0..V {
            x[v] = x[v].sub(top).exp();
            sum = sum.add(x[v]);
        }
        let factor = L::splat(sum.sum()).recip();
        for v in 0..V {
            x[v].mul(factor).store(row.add(16 * v));
        }
    }
}

struct More<'a, 'b, F> {
    scores: Scores<'a, F>,
    rows: usize,
    so_far: &'a mut SoFar<'b, F>,
}

impl<F: Float> Kernel<F> for More<'_, '_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let (Scores { data, step, valid }, SoFar { top, sum, out, width }) = (self.scores, self.so_far);
        let width = *width;
        for r in 0..self.rows {
            unsafe {
                let row = data.as_mut_ptr().add(r * step);
                let (old, new) = (top[r], largest::<L>(row, valid));
                if new > old {
                    let factor = L::splat(old - new).exp();
                    top[r] = new;
                    sum[r] = sum[r] * factor.largest();
                    scale_row::<L>(out.as_mut_ptr().add(r * width), width, factor.largest());
                }
                sum[r] = sum[r] + exponentials::<L>(row, valid, top[r]);
            }
        }
    }
}

struct RowsBackward<'a, F> {
    p: &'a [F],
    scores: Scores<'a, F>,
    rows: usize,
}

impl<F: Float> Kernel<F> for RowsBackward<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let Scores { data, step, valid } = self.scores;
        for row in 0..self.rows {
            unsafe {
                let (p, dp) = (self.p.as_ptr().add(row * step), data.as_mut_ptr().add(row * step));
                let mut dot = L::splat(F::ZERO);
                for i in (0..valid).step_by(16) {
                    dot = L::load(p.add(i)).fma(L::load(dp.add(i)), dot);
                }
                let dot = L::splat(dot.sum());
                for i in (0..valid).step_by(16) {
                    L::load(p.add(i)).mul(L::load(dp.add(i)).sub(dot)).store(dp.add(i));
                }
            }
        }
    }
}

/// Softmax down the columns in blocks: `values`, more rows of `width` values, become `e^(value - top)` with the column's
/// new `top`; `top`, `sum` and the rows of `out` (one per column) are brought up to it. Start from [`NEVER`], 0 and 0.
pub(crate) fn columns_more<F: Float>(values: &mut [F], width: usize, so_far: &mut SoFar<'_, F>) {
    let SoFar { top, sum, out, .. } = &*so_far;
    assert!(width.is_multiple_of(16) && values.len().is_multiple_of(width) && top.len() >= width && sum.len() >= width);
    assert!(
        so_far.width.is_multiple_of(16) && out.len().is_multiple_of(so_far.width) && out.len() / so_far.width <= width
    );
    // SAFETY: the values are rows of whole vectors, and there is room for one top and sum per column.
    unsafe { dispatch(ColumnsMore { values, width, so_far }) }
}

struct ColumnsMore<'a, 'b, F> {
    values: &'a mut [F],
    width: usize,
    so_far: &'a mut SoFar<'b, F>,
}

impl<F: Float> Kernel<F> for ColumnsMore<'_, '_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let SoFar { top, sum, out, width } = self.so_far;
        let width = *width;
        let (rows, step) = (self.values.len() / self.width, self.width);
        for i in (0..step).step_by(16) {
            unsafe {
                let at = self.values.as_mut_ptr().add(i);
                let old = L::load(top.as_ptr().add(i));
                let mut new = old;
                for r in 0..rows {
                    new = L::load(at.add(r * step)).max(new);
                }
                new.store(top.as_mut_ptr().add(i));
                let mut factors = [F::ONE; 16];
                old.sub(new).exp().store(factors.as_mut_ptr());
                let mut total = L::load(sum.as_ptr().add(i)).mul(L::load(factors.as_ptr()));
                for r in 0..rows {
                    let e = L::load(at.add(r * step)).sub(new).exp();
                    total = total.add(e);
                    e.store(at.add(r * step));
                }
                total.store(sum.as_mut_ptr().add(i));
                for (row, &factor) in out.chunks_exact_mut(width).skip(i).zip(&factors) {
                    if factor != F::ONE {
                        scale_row::<L>(row.as_mut_ptr(), width, factor);
                    }
                }
            }
        }
    }
}

/// The softmax of columns whose largest values and factors `1 / Σ e^(value - top)` are known, in place.
pub(crate) fn columns<F: Float>(values: &mut [F], top: &[F], factors: &[F]) {
    let width = top.len();
    assert!(width.is_multiple_of(16) && values.len().is_multiple_of(width) && factors.len() == width);
    // SAFETY: the values are rows of whole vectors, as wide as the others.
    unsafe { dispatch(Columns { values, top, factors }) }
}

struct Columns<'a, F> {
    values: &'a mut [F],
    top: &'a [F],
    factors: &'a [F],
}

impl<F: Float> Kernel<F> for Columns<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let width = self.top.len();
        for i in (0..width).step_by(16) {
            unsafe {
                let (top, factor) = (L::load(self.top.as_ptr().add(i)), L::load(self.factors.as_ptr().add(i)));
                for row in (i..self.values.len()).step_by(width) {
                    let at = self.values.as_mut_ptr().add(row);
                    L::load(at).sub(top).exp().mul(factor).store(at);
                }
            }
        }
    }
}

/// From column weights `p` and dL/dp to dL/dvalues, in place of dL/dp: `p (dp - dot)` with the columns' `Σ p dp`.
pub(crate) fn columns_backward<F: Float>(p: &[F], dp: &mut [F], dots: &[F]) {
    let width = dots.len();
    assert!(width.is_multiple_of(16) && p.len() == dp.len() && p.len().is_multiple_of(width));
    // SAFETY: both are equally many rows of whole vectors, as wide as the dots.
    unsafe { dispatch(ColumnsBackward { p, dp, dots }) }
}

struct ColumnsBackward<'a, F> {
    p: &'a [F],
    dp: &'a mut [F],
    dots: &'a [F],
}

impl<F: Float> Kernel<F> for ColumnsBackward<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let width = self.dots.len();
        for i in (0..width).step_by(16) {
            unsafe {
                let dot = L::load(self.dots.as_ptr().add(i));
                for row in (i..self.p.len()).step_by(width) {
                    let at = self.dp.as_mut_ptr().add(row);
                    L::load(self.p.as_ptr().add(row)).mul(L::load(at).sub(dot)).store(at);
                }
            }
        }
    }
}
