//! Convolution weights in the order in which the register tiles read them.

use rayon::prelude::*;

use crate::{
    buffer::{Aligned, Shared},
    simd::{Float, Unit, unit},
};

/// A run of output channels that one register tile covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first channel, a multiple of 16.
    pub first: usize,
    /// Its width in vectors of 16 channels, 1 to 4.
    pub vectors: usize,
}

/// Cuts `channels` into blocks of up to four vectors (one where the CPU has only 16 registers).
pub(crate) fn blocks(channels: usize) -> Vec<Block> {
    let widest = if unit() == Unit::Avx512 { 4 } else { 1 };
    let (mut left, mut first, mut blocks) = (channels.div_ceil(16), 0, Vec::new());
    while left > 0 {
        // Five as three and two: a block of one keeps too few sums in flight.
        let vectors = if left == widest + 1 && widest > 1 { widest - 1 } else { left.min(widest) };
        blocks.push(Block { first, vectors });
        first += 16 * vectors;
        left -= vectors;
    }
    blocks
}

/// Which convolution the weights are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// `x → y`: depth is (ky, kx, in), columns are output channels.
    Forward,
    /// `dy → dx`: taps mirrored, depth is (ky, kx, out), columns are input channels.
    InputGradient,
}

/// A matrix as blocks of columns: block after block, each `[depth][16 · vectors]`, zero where there is no column.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a, F = f32> {
    pub data: &'a [F],
    pub blocks: &'a [Block],
    /// Rows.
    pub depth: usize,
    /// Columns that count.
    pub columns: usize,
}

impl<'a, F> Panel<'a, F> {
    /// The rows of one block.
    pub(crate) fn block(&self, block: Block) -> &'a [F] {
        let start = self.depth * block.first;
        &self.data[start..start + self.depth * 16 * block.vectors]
    }
}

/// Convolution weights as a panel.
pub(crate) struct Packed<F = f32> {
    data: Aligned<F>,
    blocks: Vec<Block>,
    depth: usize,
    columns: usize,
}

impl<F: Float> Packed<F> {
    /// Packs `weight` `[out, in, kh, kw]`.
    pub(crate) fn new(weight: &[F], dims: [usize; 4], direction: Direction) -> Self {
        let [out, inside, kh, kw] = dims;
        assert_eq!(weight.len(), dims.iter().product::<usize>());
        let (columns, rows) = match direction {
            Direction::Forward => (out, inside),
            Direction::InputGradient => (inside, out),
        };
        let depth = kh * kw * rows;
        let blocks = blocks(columns);
        let mut data = Aligned::zeros(depth * 16 * columns.div_ceil(16));
        let taps = kh * kw;
        let (mut rest, mut parts) = (data.as_mut_slice(), Vec::new());
        for block in &blocks {
            let (part, tail) = rest.split_at_mut(depth * 16 * block.vectors);
            parts.push((*block, part));
            rest = tail;
        }
        parts.into_par_iter().for_each(|(block, part)| {
            let width = 16 * block.vectors;
            for lane in 0..width.min(columns - block.first) {
                let column = block.first + lane;
                for row in 0..rows {
                    let source = match direction {
                        Direction::Forward => (column * inside + row) * taps,
                        Direction::InputGradient => (row * inside + column) * taps,
                    };
                    for (tap, &value) in weight[source..source + taps].iter().enumerate() {
                        let tap = if direction == Direction::Forward { tap } else { taps - 1 - tap };
                        part[(tap * rows + row) * width + lane] = value;
                    }
                }
            }
        });
        Self { data, blocks, depth, columns }
    }

    /// The weights, for reading.
    pub(crate) fn panel(&self) -> Panel<'_, F> {
        Panel { data: self.data.as_slice(), blocks: &self.blocks, depth: self.depth, columns: self.columns }
    }
}

/// Adds `parts` sums of a weight gradient, each laid out as a [`Panel`], in order, into `[out, in, kh, kw]`.
pub(crate) fn unpack_sum<F: Float>(parts: &mut [F], count: usize, dims: [usize; 4]) -> Vec<F> {
    let [out, inside, kh, kw] = dims;
    let (taps, depth) = (kh * kw, kh * kw * inside);
    let len = parts.len() / count;
    let (total, others) = parts.split_at_mut(len);
    total.par_chunks_mut(4096).enumerate().for_each(|(i, chunk)| {
        for other in others.chunks_exact(len) {
            for (a, b) in chunk.iter_mut().zip(&other[i * 4096..]) {
                *a = *a + *b;
            }
        }
    });
    let total = &*total;
    let mut weight = vec![F::ZERO; out * depth];
    let shared = Shared::new(&mut weight);
    blocks(out).into_par_iter().for_each(|block| {
        let width = 16 * block.vectors;
        for lane in 0..width.min(out - block.first) {
            let first = (block.first + lane) * depth;
            for row in 0..inside {
                for tap in 0..taps {
                    let value = total[depth * block.first + (tap * inside + row) * width + lane];
                    // SAFETY: the index is below out · depth, and blocks hold different output channels.
                    unsafe { *shared.at(first + row * taps + tap) = value };
                }
            }
        }
    });
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_channels_once() {
        for channels in 1..400 {
            let blocks = blocks(channels);
            let mut next = 0;
            for block in &blocks {
                assert!(block.first == next && (1..=4).contains(&block.vectors));
                next += 16 * block.vectors;
            }
            assert!(next >= channels && next < channels + 16);
        }
    }

    #[test]
    fn unpacking_inverts_packing() {
        let dims = [37, 5, 3, 2];
        let weight: Vec<f32> = (0..dims.iter().product()).map(|i| i as f32).collect();
        let mut packed = Packed::new(&weight, dims, Direction::Forward);
        assert_eq!(unpack_sum(packed.data.as_mut_slice(), 1, dims), weight);
    }
}
