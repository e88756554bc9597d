//! The weights of a layer of linear attention, padded and turned the way its products read them.

use super::Layer;
use crate::{
    buffer::Aligned,
    simd::{Float, Stored},
};

/// Queries, keys or values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Query,
    Key,
    Value,
}

/// The projections of every head, with zeros where there is no channel.
pub(super) struct Weights<F> {
    /// `[part][head][channels][wide]`.
    into: Aligned<F>,
    /// `[part][head][depth][padded channels]`.
    back: Aligned<F>,
    /// `[head][depth][padded channels]`.
    out: Aligned<F>,
    /// `[head][channels][wide]`.
    out_back: Aligned<F>,
    heads: usize,
    depth: usize,
    channels: usize,
    wide: usize,
    padded: usize,
}

impl<F: Float> Weights<F> {
    pub(super) fn new<E: Stored<F = F>>(of: &Layer<'_, E>) -> Self {
        let ([_, _, channels], heads, depth) = (of.dims, of.heads, of.depth);
        let (wide, padded) = (of.wide(), of.padded());
        let (mut into, mut back) =
            (Aligned::zeros(3 * heads * channels * wide), Aligned::zeros(3 * heads * depth * padded));
        for (i, row) in of.weight.chunks_exact(channels).enumerate() {
            back.as_mut_slice()[i * padded..][..channels].copy_from_slice(row);
            let (head, d) = (i / depth, i % depth);
            for (c, &w) in row.iter().enumerate() {
                into.as_mut_slice()[(head * channels + c) * wide + d] = w;
            }
        }
        let (mut out, mut out_back) = (Aligned::zeros(heads * depth * padded), Aligned::zeros(heads * channels * wide));
        for (c, row) in of.out.chunks_exact(heads * depth).enumerate() {
            for (i, &w) in row.iter().enumerate() {
                out.as_mut_slice()[i * padded + c] = w;
                out_back.as_mut_slice()[(i / depth * channels + c) * wide + i % depth] = w;
            }
        }
        Self { into, back, out, out_back, heads, depth, channels, wide, padded }
    }

    /// `[channels][wide]`: from the input to a head.
    pub(super) fn into(&self, part: Part, head: usize) -> &[F] {
        let len = self.channels * self.wide;
        &self.into.as_slice()[(part as usize * self.heads + head) * len..][..len]
    }

    /// `[depth][padded channels]`: from a head's gradient to the input's.
    pub(super) fn back(&self, part: Part, head: usize) -> &[F] {
        let len = self.depth * self.padded;
        &self.back.as_slice()[(part as usize * self.heads + head) * len..][..len]
    }

    /// `[depth][padded channels]`: from a head to the output.
    pub(super) fn out(&self, head: usize) -> &[F] {
        let len = self.depth * self.padded;
        &self.out.as_slice()[head * len..][..len]
    }

    /// `[channels][wide]`: from the output's gradient to a head's.
    pub(super) fn out_back(&self, head: usize) -> &[F] {
        let len = self.channels * self.wide;
        &self.out_back.as_slice()[head * len..][..len]
    }
}
