//! The other matrix product under gradients: a sum over pixels of what lies under a pixel times that pixel's gradient.
//!
//! Sums are carried on from what the panel holds, in pixel order, so that cutting the pixels in pieces changes nothing.

use super::pack::Block;
use crate::simd::{Float, Kernel, Lanes, dispatch};

/// At most so many pixels are passed over at a time …
pub(crate) const PIXELS: usize = 112;
/// … whose values and gradients, so many bytes, stay in the first-level cache while all tiles pass over them.
const RESIDENT: usize = 28 << 10;

/// `sums[r · run + k][c] += Σ input[y · input_row + x · input_step + r · row + k] · grad[y · grad_row + x · grad_step + c]`
/// over pixels `(y, x)`, for `r < runs`, `k < run` and one block of columns `c` (from 0 in `grad`).
#[derive(Clone, Copy)]
pub(crate) struct Outer<'a, F = f32> {
    pub input: &'a [F],
    pub grad: &'a [F],
    /// Rows and columns of pixels.
    pub pixels: [usize; 2],
    pub input_row: usize,
    pub input_step: usize,
    pub grad_row: usize,
    pub grad_step: usize,
    pub runs: usize,
    pub run: usize,
    pub row: usize,
}

impl<F: Float> Outer<'_, F> {
    /// Adds to `sums`, `[runs · run][16 · vectors]`.
    ///
    /// # Panics
    /// If anything reaches beyond its slice.
    pub(crate) fn add_to(self, sums: &mut [F], block: Block) {
        let [height, width] = self.pixels;
        if height * width == 0 {
            return;
        }
        let input = (height - 1) * self.input_row + (width - 1) * self.input_step;
        let grad = (height - 1) * self.grad_row + (width - 1) * self.grad_step;
        assert!(input + (self.runs - 1) * self.row + self.run <= self.input.len());
        assert!(grad + 16 * block.vectors <= self.grad.len());
        assert!(self.runs * self.run * 16 * block.vectors <= sums.len());
        // SAFETY: every reach was just compared with its slice.
        unsafe { dispatch(Tiles { of: self, sums: sums.as_mut_ptr(), vectors: block.vectors }) };
    }
}

struct Tiles<'a, F> {
    of: Outer<'a, F>,
    sums: *mut F,
    vectors: usize,
}

/// A rectangle of pixels.
#[derive(Clone, Copy)]
struct Area {
    y0: usize,
    x0: usize,
    rows: usize,
    columns: usize,
}

impl<F: Float> Kernel<F> for Tiles<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        unsafe {
            match self.vectors {
                4 => self.areas::<L, 6, 4>(),
                3 => self.areas::<L, 8, 3>(),
                2 => self.areas::<L, 8, 2>(),
                _ => self.areas::<L, 6, 1>(),
            }
        }
    }
}

impl<F: Float> Tiles<'_, F> {
    #[inline(always)]
    unsafe fn areas<L: Lanes<F = F>, const P: usize, const V: usize>(&self) {
        let [height, width] = self.of.pixels;
        let bytes = size_of::<F>() * (self.of.input_step.min(self.of.run) + 16 * V);
        let pixels = (RESIDENT / bytes).clamp(16, PIXELS);
        let columns = width.div_ceil(width.div_ceil(pixels));
        let rows = height.div_ceil(height.div_ceil((pixels / columns).max(1)));
        for y0 in (0..height).step_by(rows) {
            for x0 in (0..width).step_by(columns) {
                let (rows, columns) = (rows.min(height - y0), columns.min(width - x0));
                unsafe { self.area::<L, P, V>(Area { y0, x0, rows, columns }) };
            }
        }
    }

    /// All tiles over a few pixels: `P` rows of the panel at a time, then 4, 2, 1 for what is left of a run.
    #[inline(always)]
    unsafe fn area<L: Lanes<F = F>, const P: usize, const V: usize>(&self, area: Area) {
        let run = self.of.run;
        for r in 0..self.of.runs {
            let mut k = 0;
            unsafe {
                while k + P <= run {
                    self.tile::<L, P, V>(area, r, k);
                    k += P;
                }
                while k + 4 <= run {
                    self.tile::<L, 4, V>(area, r, k);
                    k += 4;
                }
                while k + 2 <= run {
                    self.tile::<L, 2, V>(area, r, k);
                    k += 2;
                }
                if k < run {
                    self.tile::<L, 1, V>(area, r, k);
                }
            }
        }
    }

    /// The register tile: `P` rows of the panel by `V` vectors of columns.
    #[inline(always)]
    unsafe fn tile<L: Lanes<F = F>, const P: usize, const V: usize>(&self, area: Area, r: usize, k: usize) {
        let of = &self.of;
        unsafe {
            let sums = self.sums.add((r * of.run + k) * 16 * V);
            let mut tile = [[L::splat(F::ZERO); V]; P];
            for p in 0..P {
                for v in 0..V {
                    tile[p][v] = L::load(sums.add((p * V + v) * 16));
                }
            }
            for y in area.y0..area.y0 + area.rows {
                let mut x = of.input.as_ptr().add(y * of.input_row + area.x0 * of.input_step + r * of.row + k);
                let mut grad = of.grad.as_ptr().add(y * of.grad_row + area.x0 * of.grad_step);
                for _ in 0..area.columns {
                    let mut g = [L::splat(F::ZERO); V];
                    for v in 0..V {
                        g[v] = L::load(grad.add(16 * v));
                    }
                    for p in 0..P {
                        let value = L::splat(*x.add(p));
                        for v in 0..V {
                            tile[p][v] = value.fma(g[v], tile[p][v]);
                        }
                    }
                    // The last step may lead beyond the slices, where nothing is read.
                    x = x.wrapping_add(of.input_step);
                    grad = grad.wrapping_add(of.grad_step);
                }
            }
            for p in 0..P {
                for v in 0..V {
                    tile[p][v].store(sums.add((p * V + v) * 16));
                }
            }
        }
    }
}
