//! Softmax over rows and over columns of small matrices, and what their gradients need.
//!
//! Rows are padded to a multiple of 16 floats; pad with [`NEVER`] where the padding must get no weight.

use crate::simd::{Kernel, Lanes, dispatch};

/// A score whose softmax weight is 0 in f32 (about 1e-38).
pub(crate) const NEVER: f32 = -1e30;

/// Softmax of every row of `values`, rows of `width` floats, `width` a multiple of 16.
pub(crate) fn rows(values: &mut [f32], width: usize) {
    assert!(width.is_multiple_of(16) && values.len().is_multiple_of(width));
    // SAFETY: the kernel works within the slice, whose length is a multiple of the vectors'.
    unsafe { dispatch(Rows { values, width }) }
}

struct Rows<'a> {
    values: &'a mut [f32],
    width: usize,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        for row in self.values.chunks_exact_mut(self.width) {
            let row = row.as_mut_ptr();
            unsafe {
                let mut top = L::load(row);
                for i in (16..self.width).step_by(16) {
                    top = L::load(row.add(i)).max(top);
                }
                let top = L::splat(top.largest());
                let mut sum = L::splat(0.0);
                for i in (0..self.width).step_by(16) {
                    let e = L::load(row.add(i)).sub(top).exp();
                    sum = sum.add(e);
                    e.store(row.add(i));
                }
                let scale = L::splat(1.0 / sum.sum());
                for i in (0..self.width).step_by(16) {
                    L::load(row.add(i)).mul(scale).store(row.add(i));
                }
            }
        }
    }
}

/// From weights `p` and dL/dp to dL/dscores, in place of dL/dp: `p (dp - Σ p dp)` per row.
/// Padding of `p` must be (about) 0 and that of `dp` finite.
pub(crate) fn rows_backward(p: &[f32], dp: &mut [f32], width: usize) {
    assert!(width.is_multiple_of(16) && p.len() == dp.len() && p.len().is_multiple_of(width));
    // SAFETY: the kernel works within the two equal slices, whose lengths are multiples of the vectors'.
    unsafe { dispatch(RowsBackward { p, dp, width }) }
}

struct RowsBackward<'a> {
    p: &'a [f32],
    dp: &'a mut [f32],
    width: usize,
}

impl Kernel for RowsBackward<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        for (p, dp) in self.p.chunks_exact(self.width).zip(self.dp.chunks_exact_mut(self.width)) {
            let (p, dp) = (p.as_ptr(), dp.as_mut_ptr());
            unsafe {
                let mut dot = L::splat(0.0);
                for i in (0..self.width).step_by(16) {
                    dot = L::load(p.add(i)).fma(L::load(dp.add(i)), dot);
                }
                let dot = L::splat(dot.sum());
                for i in (0..self.width).step_by(16) {
                    L::load(p.add(i)).mul(L::load(dp.add(i)).sub(dot)).store(dp.add(i));
                }
            }
        }
    }
}

/// Softmax of every column of `values`, rows of `width` floats, `width` a multiple of 16.
pub(crate) fn columns(values: &mut [f32], width: usize) {
    assert!(width.is_multiple_of(16) && values.len().is_multiple_of(width));
    // SAFETY: the kernel works within the slice, whose length is a multiple of the vectors'.
    unsafe { dispatch(Columns { values, width }) }
}

struct Columns<'a> {
    values: &'a mut [f32],
    width: usize,
}

impl Kernel for Columns<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let rows = self.values.len() / self.width;
        for i in (0..self.width).step_by(16) {
            let at = unsafe { self.values.as_mut_ptr().add(i) };
            unsafe {
                let mut top = L::load(at);
                for r in 1..rows {
                    top = L::load(at.add(r * self.width)).max(top);
                }
                let mut sum = L::splat(0.0);
                for r in 0..rows {
                    let e = L::load(at.add(r * self.width)).sub(top).exp();
                    sum = sum.add(e);
                    e.store(at.add(r * self.width));
                }
                let scale = L::splat(1.0).div(sum);
                for r in 0..rows {
                    L::load(at.add(r * self.width)).mul(scale).store(at.add(r * self.width));
                }
            }
        }
    }
}

/// As [`rows_backward`], per column.
pub(crate) fn columns_backward(p: &[f32], dp: &mut [f32], width: usize) {
    assert!(width.is_multiple_of(16) && p.len() == dp.len() && p.len().is_multiple_of(width));
    // SAFETY: the kernel works within the two equal slices, whose lengths are multiples of the vectors'.
    unsafe { dispatch(ColumnsBackward { p, dp, width }) }
}

struct ColumnsBackward<'a> {
    p: &'a [f32],
    dp: &'a mut [f32],
    width: usize,
}

impl Kernel for ColumnsBackward<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        let rows = self.p.len() / self.width;
        for i in (0..self.width).step_by(16) {
            unsafe {
                let (p, dp) = (self.p.as_ptr().add(i), self.dp.as_mut_ptr().add(i));
                let mut dot = L::splat(0.0);
                for r in 0..rows {
                    dot = L::load(p.add(r * self.width)).fma(L::load(dp.add(r * self.width)), dot);
                }
                for r in 0..rows {
                    let at = r * self.width;
                    L::load(p.add(at)).mul(L::load(dp.add(at)).sub(dot)).store(dp.add(at));
                }
            }
        }
    }
}
