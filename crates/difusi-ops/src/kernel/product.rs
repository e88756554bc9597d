//! The matrix product under convolution and attention: rows read where they lie times a packed panel.
//!
//! A register tile of rows by columns walks down the depth; every sum runs in one order, whatever the tiles.

use super::pack::{Block, Panel};
use crate::{
    Activation,
    simd::{Float, Kernel, Lanes, dispatch},
};

/// `out[i] = start + Σ input[pixels[i] + r · row + k] · panel[r · run + k]` over `r < runs`, `k < run`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, F = f32> {
    pub input: &'a [F],
    /// Where each row begins in `input`.
    pub pixels: &'a [usize],
    /// A row is this many runs …
    pub runs: usize,
    /// … of this many values …
    pub run: usize,
    /// … this far apart.
    pub row: usize,
    pub panel: Panel<'a, F>,
    /// What the sums start from, one per column, columns rounded up to 16 …
    pub start: &'a [F],
    /// … unless they carry on from what `out` holds.
    pub more: bool,
    /// What is done to the sums last.
    pub activation: Activation,
}

impl<F: Float> Product<'_, F> {
    /// Writes the result into `out`, rows `step` apart.
    ///
    /// # Panics
    /// If anything reaches beyond its slice.
    pub(crate) fn into(self, out: &mut [F], step: usize) {
        let rows = self.pixels.len();
        assert!(rows == 0 || (rows - 1) * step + self.panel.columns <= out.len());
        // SAFETY: the slice has room for every row, and it is ours alone.
        unsafe { self.write(out.as_mut_ptr(), step) }
    }

    /// Writes the result at `out`, rows `step` apart.
    ///
    /// # Safety
    /// There is room for `(rows - 1) · step + columns` values at `out`, which no other job touches.
    ///
    /// # Panics
    /// If an input reaches beyond its slice.
    pub(crate) unsafe fn write(self, out: *mut F, step: usize) {
        let furthest = self.pixels.iter().max().map_or(0, |&p| p + (self.runs - 1) * self.row + self.run);
        assert!(furthest <= self.input.len() && self.panel.depth == self.runs * self.run);
        assert!(self.panel.columns <= self.start.len() && self.start.len().is_multiple_of(16));
        // SAFETY: the reaches were just compared; the caller vouches for `out`.
        unsafe { dispatch(Tiles { of: self, out, step }) };
    }
}

struct Tiles<'a, F> {
    of: Product<'a, F>,
    out: *mut F,
    step: usize,
}

impl<F: Float> Kernel<F> for Tiles<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        for &block in self.of.panel.blocks {
            unsafe {
                match block.vectors {
                    4 => self.block::<L, 6, 4>(block),
                    3 => self.block::<L, 8, 3>(block),
                    2 => self.block::<L, 12, 2>(block),
                    _ if L::REGISTERS > 8 => self.block::<L, 12, 1>(block),
                    _ => self.block::<L, 6, 1>(block),
                }
            }
        }
    }
}

/// A piece of the depth: runs `r`, and of each the values `k`.
#[derive(Clone, Copy)]
struct Piece {
    r: [usize; 2],
    k: [usize; 2],
}

/// What all rows of a piece share.
#[derive(Clone, Copy)]
struct Rows<F> {
    weight: *const F,
    piece: Piece,
    first: usize,
    valid: usize,
}

/// Bytes of a panel that stay in the first-level cache while all rows pass over them.
const RESIDENT: usize = 24 << 10;

impl<F: Float> Tiles<'_, F> {
    #[inline(always)]
    unsafe fn block<L: Lanes<F = F>, const P: usize, const V: usize>(&self, block: Block) {
        let Product { runs, run, .. } = self.of;
        let most = RESIDENT / (64 * V);
        let ragged = block.first + 16 * V > self.of.panel.columns;
        if ragged || runs * run <= most {
            return unsafe { self.piece::<L, P, V>(block, Piece { r: [0, runs], k: [0, run] }) };
        }
        let rows = (most / run).max(1);
        let values = run.div_ceil(run.div_ceil(most));
        for r in (0..runs).step_by(rows) {
            for k in (0..run).step_by(values) {
                let piece = Piece { r: [r, (r + rows).min(runs)], k: [k, (k + values).min(run)] };
                unsafe { self.piece::<L, P, V>(block, piece) };
            }
        }
    }

    /// All rows over a piece of the depth.
    #[inline(always)]
    unsafe fn piece<L: Lanes<F = F>, const P: usize, const V: usize>(&self, block: Block, piece: Piece) {
        let Product { pixels, run, panel, .. } = self.of;
        let valid = (16 * V).min(panel.columns - block.first);
        let weight = panel.block(block)[(piece.r[0] * run + piece.k[0]) * 16 * V..].as_ptr();
        let rows = Rows { weight, piece, first: block.first, valid };
        let mut done = 0;
        unsafe {
            while done + P <= pixels.len() {
                self.rows::<L, P, V>(rows, done);
                done += P;
            }
            while done + 4 <= pixels.len() {
                self.rows::<L, 4, V>(rows, done);
                done += 4;
            }
            while done < pixels.len() {
                self.rows::<L, 1, V>(rows, done);
                done += 1;
            }
        }
    }

    /// Rows `done..done + P` over a piece of the depth: the sums start from `start` at the first piece, else from what is there.
    #[inline(always)]
    unsafe fn rows<L: Lanes<F = F>, const P: usize, const V: usize>(&self, rows: Rows<F>, done: usize) {
        let Product { input, pixels, row, start, .. } = self.of;
        let Rows { weight, piece, first, valid } = rows;
        unsafe {
            let mut x = [input.as_ptr(); P];
            for p in 0..P {
                x[p] = input.as_ptr().add(*pixels.get_unchecked(done + p) + piece.r[0] * row + piece.k[0]);
            }
            let out = self.out.add(done * self.step + first);
            let is_first = !self.of.more && piece.r[0] == 0 && piece.k[0] == 0;
            let (from, step) = if is_first { (start.as_ptr().add(first), 0) } else { (out.cast_const(), self.step) };
            let mut sums = [[L::splat(F::ZERO); V]; P];
            for p in 0..P {
                for v in 0..V {
                    sums[p][v] = L::load(from.add(p * step + 16 * v));
                }
            }
            let mut sums = self.tile::<L, P, V>(x, weight, piece, sums);
            if self.of.activation == Activation::Relu && piece.r[1] == self.of.runs && piece.k[1] == self.of.run {
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v] = L::splat(F::ZERO).max(sums[p][v]);
                    }
                }
            }
            for p in 0..P {
                store::<L, V>(sums[p], out.add(p * self.step), valid);
            }
        }
    }

    /// The register tile: `P` rows by `V` vectors of columns, from where `x` and `weight` point.
    #[inline(always)]
    unsafe fn tile<L: Lanes<F = F>, const P: usize, const V: usize>(
        &self,
        x: [*const F; P],
        mut weight: *const F,
        piece: Piece,
        mut sums: [[L; V]; P],
    ) -> [[L; V]; P] {
        unsafe {
            for r in 0..piece.r[1] - piece.r[0] {
                let mut x = x;
                for p in 0..P {
                    x[p] = x[p].add(r * self.of.row);
                }
                for k in 0..piece.k[1] - piece.k[0] {
                    let mut w = [L::splat(F::ZERO); V];
                    for v in 0..V {
                        w[v] = L::load(weight.add(16 * v));
                    }
                    weight = weight.add(16 * V);
                    for p in 0..P {
                        let value = L::splat(*x[p].add(k));
                        for v in 0..V {
                            sums[p][v] = value.fma(w[v], sums[p][v]);
                        }
                    }
                }
            }
            sums
        }
    }
}

/// Writes the first `valid` of `16 V` values.
#[inline(always)]
unsafe fn store<L: Lanes, const V: usize>(sums: [L; V], to: *mut L::F, valid: usize) {
    unsafe {
        if valid == 16 * V {
            for v in 0..V {
                sums[v].store(to.add(16 * v));
            }
            return;
        }
        let mut spill = [[L::F::ZERO; 16]; V];
        for v in 0..V {
            sums[v].store(spill[v].as_mut_ptr());
        }
        std::ptr::copy_nonoverlapping(spill.as_ptr().cast::<L::F>(), to, valid);
    }
}
