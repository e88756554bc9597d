//! The heads of an attention layer: where they lie, and moving them into and out of padded rows.

use super::{
    outer::Outer,
    pack::{Block, Panel, fill_panel},
    product::Product,
};
use crate::buffer::Shared;

/// `[B, heads, tokens, D]` in memory with any strides but a contiguous last dimension.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub data: &'a [f32],
    /// `[B, heads, tokens, D]`.
    pub dims: [usize; 4],
    /// Strides of the first three dimensions.
    pub strides: [usize; 3],
}

impl Tokens<'_> {
    /// Copies head `job % heads` of image `job / heads` into rows of `width` floats, `pad` behind the depth.
    pub(crate) fn copy_head(&self, job: usize, to: &mut [f32], width: usize, pad: f32) {
        let [_, heads, tokens, depth] = self.dims;
        let start = job / heads * self.strides[0] + job % heads * self.strides[1];
        for (n, to) in to.chunks_exact_mut(width).take(tokens).enumerate() {
            let from = start + n * self.strides[2];
            to[..depth].copy_from_slice(&self.data[from..from + depth]);
            to[depth..].fill(pad);
        }
    }

    /// The shape of these queries with these keys in words, and the floating-point operations of full attention.
    pub(crate) fn label(&self, keys: &Self) -> (String, f64) {
        let ([b, h, n, d], m) = (self.dims, keys.dims[2]);
        (format!("{b}x{h}x{n}x{d}, {m} keys"), 4.0 * (b * h * n * m * d) as f64)
    }

    /// How many values.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Images times heads.
    pub(crate) fn jobs(&self) -> usize {
        self.dims[0] * self.dims[1]
    }

    /// Writes a head's `rows` of `width` floats, times `scale`, to where `[B, tokens, heads, D]` has it.
    ///
    /// # Safety
    /// `to` has room for all values, and no other job writes this head.
    pub(crate) unsafe fn put_head(&self, to: Shared, job: usize, (rows, width): (&[f32], usize), scale: f32) {
        let [_, heads, tokens, depth] = self.dims;
        let start = job / heads * tokens * heads * depth + job % heads * depth;
        for (n, row) in rows.chunks_exact(width).take(tokens).enumerate() {
            let to = unsafe { to.at(start + n * heads * depth) };
            for (i, x) in row[..depth].iter().enumerate() {
                unsafe { to.add(i).write(x * scale) };
            }
        }
    }
}

/// Rows of `width` floats, of which `depth` count.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub data: &'a [f32],
    pub width: usize,
    pub depth: usize,
}

impl<'a> Rows<'a> {
    /// `count` rows from `first` on.
    pub(crate) fn part(self, first: usize, count: usize) -> Self {
        Self { data: &self.data[first * self.width..(first + count) * self.width], ..self }
    }

    /// `out = self · panel + start`, rows of `out` as wide as the panel with its padding.
    pub(crate) fn times(self, panel: Panel<'_>, start: &[f32], out: &mut [f32]) {
        let pixels: Vec<usize> = (0..self.data.len() / self.width).map(|i| i * self.width).collect();
        let (step, panel) =
            (panel.columns.next_multiple_of(16), Panel { columns: panel.columns.next_multiple_of(16), ..panel });
        Product { input: self.data, pixels: &pixels, runs: 1, run: self.depth, row: 0, panel, start }.into(out, step);
    }

    /// `sums += selfᵀ · other`, `[depth][other's width]` as a panel of `blocks`.
    pub(crate) fn transposed_times(self, other: Rows<'a>, blocks: &[Block], sums: &mut [f32]) {
        for &block in blocks {
            let outer = Outer {
                input: self.data,
                grad: &other.data[block.first..],
                pixels: [1, self.data.len() / self.width],
                input_row: 0,
                input_step: self.width,
                grad_row: 0,
                grad_step: other.width,
                runs: 1,
                run: self.depth,
                row: 0,
            };
            outer.add_to(&mut sums[self.depth * block.first..], block);
        }
    }

    /// Fills `data` with these rows as a panel `[count][depth]`.
    pub(crate) fn pack(self, data: &mut [f32], blocks: &[Block]) {
        let count = self.data.len() / self.width;
        fill_panel(data, blocks, count, self.depth, |row, column| self.data[row * self.width + column]);
    }

    /// Fills `data` with the transposed rows as a panel `[depth][count]`, times `scale`.
    pub(crate) fn pack_transposed(self, data: &mut [f32], blocks: &[Block], scale: f32) {
        let count = self.data.len() / self.width;
        fill_panel(data, blocks, self.depth, count, |row, column| scale * self.data[column * self.width + row]);
    }
}

/// Copies a panel `[depth][columns]` into rows of `width` floats, `width` being its columns with their padding.
pub(crate) fn unpack(panel: Panel<'_>, rows: &mut [f32], width: usize) {
    for &block in panel.blocks {
        let lanes = 16 * block.vectors;
        for (row, from) in rows.chunks_exact_mut(width).zip(panel.block(block).chunks_exact(lanes)) {
            row[block.first..block.first + lanes].copy_from_slice(from);
        }
    }
}
