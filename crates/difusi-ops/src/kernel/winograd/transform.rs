//! The small matrices of Winograd's F(4x4, 3x3) over the points 0, 1, -1, 2, -2, ∞ (arXiv:1509.09308), as straight-line code,
//! and the two-dimensional transforms made of them.
//!
//! With `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A` for a patch `d` `[6][6]`, a filter `g` `[3][3]` and a tile `Y` `[4][4]`, the gradients need
//! the adjoints: `A dY Aᵀ` of a tile and `Gᵀ dU G` of a filter.

use crate::simd::{Float, Lanes, Stored};

/// A one-dimensional transform of up to six values into up to six.
pub(super) trait Transform {
    /// How many values it takes; the others are not looked at.
    const TAKES: usize;
    /// How many values it gives; the others are zero.
    const GIVES: usize;
    /// # Safety
    /// As the methods of [`Lanes`].
    unsafe fn apply<L: Lanes>(x: [L; 6]) -> [L; 6];
}

/// `Bᵀ`, 6 → 6: what a patch of the image becomes.
pub(super) struct Patch;

impl Transform for Patch {
    const TAKES: usize = 6;
    const GIVES: usize = 6;
    #[inline(always)]
    unsafe fn apply<L: Lanes>([d0, d1, d2, d3, d4, d5]: [L; 6]) -> [L; 6] {
        unsafe {
            let (two, four) = (L::constant(2.0), L::constant(4.0));
            let (minus_two, minus_four, minus_five) = (L::constant(-2.0), L::constant(-4.0), L::constant(-5.0));
            let (a, b) = (d2.fma(minus_four, d4), d1.fma(minus_four, d3));
            let (c, e) = (d4.sub(d2), d3.sub(d1));
            let first = d0.fma(four, d2.fma(minus_five, d4));
            let last = d1.fma(four, d3.fma(minus_five, d5));
            [first, a.add(b), a.sub(b), e.fma(two, c), e.fma(minus_two, c), last]
        }
    }
}

/// `Aᵀ`, 6 → 4: what becomes a tile of the result.
pub(super) struct Tile;

impl Transform for Tile {
    const TAKES: usize = 6;
    const GIVES: usize = 4;
    #[inline(always)]
    unsafe fn apply<L: Lanes>([m0, m1, m2, m3, m4, m5]: [L; 6]) -> [L; 6] {
        unsafe {
            let (sum, difference) = (m1.add(m2), m1.sub(m2));
            let (far_sum, far_difference) = (m3.add(m4), m3.sub(m4));
            let zero = L::constant(0.0);
            [
                m0.add(sum).add(far_sum),
                far_difference.fma(L::constant(2.0), difference),
                far_sum.fma(L::constant(4.0), sum),
                far_difference.fma(L::constant(8.0), difference.add(m5)),
                zero,
                zero,
            ]
        }
    }
}

/// `A`, 4 → 6: the adjoint of [`Tile`].
pub(super) struct TileGradient;

impl Transform for TileGradient {
    const TAKES: usize = 4;
    const GIVES: usize = 6;
    #[inline(always)]
    unsafe fn apply<L: Lanes>([y0, y1, y2, y3, _, _]: [L; 6]) -> [L; 6] {
        unsafe {
            let (two, four) = (L::constant(2.0), L::constant(4.0));
            let (even, odd) = (y0.add(y2), y1.add(y3));
            let (far_even, far_odd) = (y2.fma(four, y0), y3.fma(four, y1));
            let far_minus = far_odd.fma(L::constant(-2.0), far_even);
            [y0, even.add(odd), even.sub(odd), far_odd.fma(two, far_even), far_minus, y3]
        }
    }
}

/// `G`, 3 → 6: what a filter becomes.
pub(super) struct Filter;

impl Transform for Filter {
    const TAKES: usize = 3;
    const GIVES: usize = 6;
    #[inline(always)]
    unsafe fn apply<L: Lanes>([g0, g1, g2, _, _, _]: [L; 6]) -> [L; 6] {
        unsafe {
            let share = |n: f64| L::splat(L::F::of_f64(1.0 / n));
            let near = g0.add(g2).mul(share(-6.0));
            let far = g0.mul(share(24.0)).add(g2.mul(share(6.0)));
            let (step, far_step) = (g1.mul(share(6.0)), g1.mul(share(12.0)));
            [g0.mul(share(4.0)), near.sub(step), near.add(step), far.add(far_step), far.sub(far_step), g2]
        }
    }
}

/// `Gᵀ`, 6 → 3: the adjoint of [`Filter`].
pub(super) struct FilterGradient;

impl Transform for FilterGradient {
    const TAKES: usize = 6;
    const GIVES: usize = 3;
    #[inline(always)]
    unsafe fn apply<L: Lanes>([u0, u1, u2, u3, u4, u5]: [L; 6]) -> [L; 6] {
        unsafe {
            let share = |n: f64| L::splat(L::F::of_f64(1.0 / n));
            let zero = L::constant(0.0);
            let (near, far) = (u1.add(u2).mul(share(6.0)), u3.add(u4));
            let step = u2.sub(u1).mul(share(6.0)).add(u3.sub(u4).mul(share(12.0)));
            let first = u0.mul(share(4.0)).sub(near).add(far.mul(share(24.0)));
            [first, step, far.mul(share(6.0)).sub(near).add(u5), zero, zero, zero]
        }
    }
}

/// Where a square of values lies: value (i, j) at `at + i · row + j · step`.
pub(super) struct Square<P> {
    pub at: P,
    pub row: usize,
    pub step: usize,
}

impl<P> Square<P> {
    /// A square of six that lies as one row of 36 values, `step` apart.
    pub(super) fn positions(at: P, step: usize) -> Self {
        Self { at, row: 6 * step, step }
    }
}

/// Sixteen two-dimensional transforms at once: rows and columns of `from` through `T`, plus `add`, into `to`; what is negative
/// becomes 0 where `RELU`.
///
/// # Safety
/// As [`Lanes`]; `from` and `to` are valid for the squares of sixteen numbers that `T` takes and gives.
#[inline(always)]
pub(super) unsafe fn square<L: Lanes, T: Transform, S: Stored<F = L::F>, R: Stored<F = L::F>, const RELU: bool>(
    from: Square<*const S>,
    to: Square<*mut R>,
    add: L,
) {
    unsafe {
        let zero = L::constant(0.0);
        let mut half = [[zero; 6]; 6];
        for j in 0..T::TAKES {
            let mut x = [zero; 6];
            for i in 0..T::TAKES {
                x[i] = S::load::<L>(from.at.add(i * from.row + j * from.step));
            }
            let y = T::apply(x);
            for i in 0..T::GIVES {
                half[i][j] = y[i];
            }
        }
        for i in 0..T::GIVES {
            let y = T::apply(half[i]);
            for j in 0..T::GIVES {
                let y = y[j].add(add);
                R::store::<L>(if RELU { zero.max(y) } else { y }, to.at.add(i * to.row + j * to.step));
            }
        }
    }
}
