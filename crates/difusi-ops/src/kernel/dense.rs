//! Small matrix products in the cache, under attention: rows of plain memory, nothing packed but what [`turn`] transposes.
//!
//! Every sum runs over the depth in order, whatever the tiles. Deliberately absent: threads.

use crate::simd::{Float, Kernel, Lanes, dispatch};

/// Depth whose rows of B, two vectors wide, stay in the first-level cache.
const DEPTH: usize = 256;

/// The distance between rows of `n` values that keeps a column of them spread over the cache: an odd number of lines.
pub(crate) fn spread(n: usize) -> usize {
    16 * (n.div_ceil(16) | 1)
}

/// `C = A B` or `C += A B`.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a, F> {
    pub a: &'a [F],
    /// How far apart rows and columns of A are: swapped, A is transposed.
    pub a_steps: [usize; 2],
    pub b: &'a [F],
    /// How far apart rows of B are.
    pub b_row: usize,
    /// Rows of A; columns of A, which are the rows of B; columns of B, rounded up to whole vectors.
    pub size: [usize; 3],
}

impl<F: Float> Dense<'_, F> {
    /// `C = A B`, rows of C `c_row` apart.
    ///
    /// # Panics
    /// If anything reaches beyond its slice.
    pub(crate) fn into(self, c: &mut [F], c_row: usize) {
        self.run(c, c_row, false);
    }

    /// `C += A B`. As [`Self::into`].
    pub(crate) fn add_to(self, c: &mut [F], c_row: usize) {
        self.run(c, c_row, true);
    }

    fn run(self, c: &mut [F], c_row: usize, added: bool) {
        let [rows, depth, columns] = self.size;
        if rows == 0 || depth == 0 || columns == 0 {
            return;
        }
        assert!(columns.is_multiple_of(16));
        assert!((rows - 1) * self.a_steps[0] + (depth - 1) * self.a_steps[1] < self.a.len());
        assert!((depth - 1) * self.b_row + columns <= self.b.len() && (rows - 1) * c_row + columns <= c.len());
        // SAFETY: every reach was just compared with its slice.
        unsafe { dispatch(Tiles { of: self, c: c.as_mut_ptr(), c_row, added }) }
    }
}

struct Tiles<'a, F> {
    of: Dense<'a, F>,
    c: *mut F,
    c_row: usize,
    added: bool,
}

/// A piece of the depth, and whether its products are added to what is there.
#[derive(Clone, Copy)]
struct Piece {
    first: usize,
    count: usize,
    added: bool,
}

impl<F: Float> Kernel<F> for Tiles<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let [_, depth, columns] = self.of.size;
        for first in (0..depth).step_by(DEPTH) {
            let piece = Piece { first, count: DEPTH.min(depth - first), added: self.added || first > 0 };
            let mut column = 0;
            unsafe {
                if L::REGISTERS >= 32 {
                    while column + 32 <= columns {
                        self.column::<L, 8, 2>(column, piece);
                        column += 32;
                    }
                    if column < columns {
                        self.column::<L, 8, 1>(column, piece);
                    }
                } else {
                    while column < columns {
                        self.column::<L, 4, 1>(column, piece);
                        column += 16;
                    }
                }
            }
        }
    }
}

impl<F: Float> Tiles<'_, F> {
    /// All rows of `V` vectors of columns.
    #[inline(always)]
    unsafe fn column<L: Lanes<F = F>, const P: usize, const V: usize>(&self, column: usize, piece: Piece) {
        let [rows, ..] = self.of.size;
        let mut row = 0;
        unsafe {
            while row + P <= rows {
                self.tile::<L, P, V>([row, column], P, piece);
                row += P;
            }
            while row < rows {
                self.tile::<L, 4, V>([row, column], 4.min(rows - row), piece);
                row += 4;
            }
        }
    }

    /// The register tile: `P` rows, of which `live` count, by `V` vectors.
    #[inline(always)]
    unsafe fn tile<L: Lanes<F = F>, const P: usize, const V: usize>(
        &self,
        [row, column]: [usize; 2],
        live: usize,
        piece: Piece,
    ) {
        let Dense { a, a_steps: [down, along], b, b_row, .. } = self.of;
        unsafe {
            let a: [*const F; P] =
                std::array::from_fn(|p| a.as_ptr().add((row + p.min(live - 1)) * down + piece.first * along));
            let mut b = b.as_ptr().add(piece.first * b_row + column);
            let c = self.c.add(row * self.c_row + column);
            let mut sums = [[L::splat(F::ZERO); V]; P];
            if piece.added {
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v] = L::load(c.add(p.min(live - 1) * self.c_row + 16 * v));
                    }
                }
            }
            let mut at = 0;
            for _ in 0..piece.count {
                let mut w = [L::splat(F::ZERO); V];
                for v in 0..V {
                    w[v] = L::load(b.add(16 * v));
                }
                for p in 0..P {
                    let value = L::splat(*a[p].add(at));
                    for v in 0..V {
                        sums[p][v] = value.fma(w[v], sums[p][v]);
                    }
                }
                at += along;
                // The last step may lead beyond the slice, where nothing is read.
                b = b.wrapping_add(b_row);
            }
            for p in 0..P {
                if p < live {
                    for v in 0..V {
                        sums[p][v].store(c.add(p * self.c_row + 16 * v));
                    }
                }
            }
        }
    }
}

/// Transposes `rows` × `columns` values, both multiples of 16, from rows `from_row` apart into rows `to_row` apart.
pub(crate) fn turn<F: Float>((from, from_row): (&[F], usize), (to, to_row): (&mut [F], usize), size: [usize; 2]) {
    let [rows, columns] = size;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(rows.is_multiple_of(16) && columns.is_multiple_of(16));
    assert!((rows - 1) * from_row + columns <= from.len() && (columns - 1) * to_row + rows <= to.len());
    // SAFETY: every reach was just compared with its slice.
    unsafe { dispatch(Turn { from, from_row, to, to_row, size }) }
}

struct Turn<'a, F> {
    from: &'a [F],
    from_row: usize,
    to: &'a mut [F],
    to_row: usize,
    size: [usize; 2],
}

impl<F: Float> Kernel<F> for Turn<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let [rows, columns] = self.size;
        for row in (0..rows).step_by(16) {
            for column in (0..columns).step_by(16) {
                unsafe {
                    let from = self.from.as_ptr().add(row * self.from_row + column);
                    let to = self.to.as_mut_ptr().add(column * self.to_row + row);
                    let mut square = [L::splat(F::ZERO); 16];
                    for i in 0..16 {
                        square[i] = L::load(from.add(i * self.from_row));
                    }
                    let square = L::transpose(square);
                    for i in 0..16 {
                        square[i].store(to.add(i * self.to_row));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against plain loops, for A as it lies and transposed, on sizes beyond every tile.
    #[test]
    fn products_are_sums_of_products() {
        for [rows, depth, columns] in [[1, 1, 16], [8, 32, 32], [13, 300, 48], [68, 7, 80], [3, 513, 16]] {
            let number = |i: usize| ((i * 7919) % 64) as f64 / 8.0 - 4.0;
            let a: Vec<f64> = (0..rows * depth).map(number).collect();
            let b: Vec<f64> = (0..depth * columns).map(|i| number(i + 3)).collect();
            let turned: Vec<f64> = (0..rows * depth).map(|i| a[i % rows * depth + i / rows]).collect();
            let exact = |i: usize| (0..depth).map(|k| a[i / columns * depth + k] * b[k * columns + i % columns]).sum();
            let exact: Vec<f64> = (0..rows * columns).map(exact).collect();
            for (a, a_steps) in [(&a, [depth, 1]), (&turned, [1, rows])] {
                let mut c = vec![f64::NAN; rows * columns];
                let dense = Dense { a, a_steps, b: &b, b_row: columns, size: [rows, depth, columns] };
                dense.into(&mut c, columns);
                assert_eq!(c, exact);
                let mut narrow = vec![1.0f32; rows * columns];
                let (a, b): (Vec<f32>, Vec<f32>) =
                    (a.iter().map(|&x| x as f32).collect(), b.iter().map(|&x| x as f32).collect());
                Dense { a: &a, a_steps, b: &b, b_row: columns, size: [rows, depth, columns] }
                    .add_to(&mut narrow, columns);
                assert!(narrow.iter().zip(&exact).all(|(&c, e)| f64::from(c) == e + 1.0), "small numbers are exact");
            }
        }
    }

    #[test]
    fn turning_swaps_rows_and_columns() {
        let from: Vec<f32> = (0..32 * 50).map(|i| i as f32).collect();
        let mut to = vec![0.0; 48 * 32];
        turn((&from, 50), (&mut to, 32), [32, 48]);
        assert!((0..48 * 32).all(|i| to[i] == from[i % 32 * 50 + i / 32]));
    }
}
