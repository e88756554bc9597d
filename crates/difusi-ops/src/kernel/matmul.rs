//! Small strided matrix products on one thread (the `gemm` crate), with bounds checked once per product.

use gemm::Parallelism;

/// A matrix inside a slice: element `(i, j)` is `data[i · row + j · column]`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> View<'a> {
    /// Rows of `row` floats each.
    pub(crate) fn rows(data: &'a [f32], row: usize) -> Self {
        Self { data, row, column: 1 }
    }

    /// The same matrix, transposed.
    pub(crate) fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// `m` by `n` through `k`.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Factor of the product.
    pub scale: f32,
    /// Whether the product is added to what the destination holds.
    pub add: bool,
}

/// `to = [to +] scale · a b`, `to` being rows of `row` floats.
///
/// # Panics
/// If a matrix reaches beyond its slice.
pub(crate) fn matmul(to: &mut [f32], row: usize, a: View<'_>, b: View<'_>, of: Product) {
    let Product { m, n, k, scale, add } = of;
    let reach = |rows: usize, row: usize, columns: usize, column: usize| (rows - 1) * row + (columns - 1) * column;
    assert!(m > 0 && n > 0 && k > 0 && row >= n);
    assert!(reach(m, row, n, 1) < to.len());
    assert!(reach(m, a.row, k, a.column) < a.data.len() && reach(k, b.row, n, b.column) < b.data.len());
    // SAFETY: all three matrices were found to lie within their slices, and rows of the destination do not overlap.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            row as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
