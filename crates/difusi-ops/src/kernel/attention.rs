//! `softmax(q kᵀ / √D) v` per image and head, in blocks of query rows whose scores stay in the cache; the backward pass
//! recomputes them. Inputs may be strided views; outputs lie in memory as `[B, N, heads, D]`, so that joining heads is free.

use rayon::prelude::*;

use super::{
    matmul::{Product, View, matmul},
    softmax::{self, NEVER},
};
use crate::buffer::{Shared, filled, with_scratch};

/// Query rows per block.
const BLOCK: usize = 64;

/// `[B, heads, tokens, D]` in memory with any strides but a contiguous last dimension.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub data: &'a [f32],
    /// `[B, heads, tokens, D]`.
    pub dims: [usize; 4],
    /// Strides of the first three dimensions.
    pub strides: [usize; 3],
}

impl<'a> Tokens<'a> {
    /// The `[tokens, D]` matrix of head `job % heads` of image `job / heads`.
    pub(crate) fn head(&self, job: usize) -> View<'a> {
        let [_, heads, tokens, depth] = self.dims;
        let start = job / heads * self.strides[0] + job % heads * self.strides[1];
        let len = (tokens - 1) * self.strides[2] + depth;
        View::rows(&self.data[start..start + len], self.strides[2])
    }

    /// How many values.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Images times heads.
    pub(crate) fn jobs(&self) -> usize {
        self.dims[0] * self.dims[1]
    }
}

/// Copies a head's `rows` (of `width` floats) to where `[B, N, heads, D]` has it.
///
/// # Safety
/// `to` has room for `dims`, and no other job writes this head.
pub(crate) unsafe fn put_head(to: Shared, dims: [usize; 4], job: usize, rows: &[f32], width: usize) {
    let [_, heads, tokens, depth] = dims;
    let start = job / heads * tokens * heads * depth + job % heads * depth;
    for (n, row) in rows.chunks_exact(width).take(tokens).enumerate() {
        let row = &row[..depth];
        unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), to.at(start + n * heads * depth), depth) };
    }
}

/// Softmaxed scores of query rows `first..first + rows`, `[rows, width]`.
fn weights(q: View<'_>, k: View<'_>, scores: &mut [f32], sizes: (usize, usize, usize), width: usize) {
    let (rows, keys, depth) = sizes;
    let scale = (depth as f32).sqrt().recip();
    matmul(scores, width, q, k.t(), Product { m: rows, n: keys, k: depth, scale, add: false });
    for row in scores.chunks_exact_mut(width) {
        row[keys..].fill(NEVER);
    }
    softmax::rows(scores, width);
}

/// The rows of `view` from `first` on.
fn from(view: View<'_>, first: usize) -> View<'_> {
    View { data: &view.data[first * view.row..], ..view }
}

/// The forward pass; the result is in `[B, N, heads, D]` order.
pub(crate) fn forward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>) -> Vec<f32> {
    let ([_, _, queries, depth], keys) = (q.dims, k.dims[2]);
    let width = keys.next_multiple_of(16);
    // SAFETY: the jobs cover every head once, and each writes all rows of its head.
    unsafe {
        filled(q.len(), |to| {
            (0..q.jobs()).into_par_iter().for_each(|job| {
                let (q_head, k_head, v_head) = (q.head(job), k.head(job), v.head(job));
                with_scratch(BLOCK * width + queries * depth, |scratch| {
                    let (scores, out) = scratch.split_at_mut(BLOCK * width);
                    for first in (0..queries).step_by(BLOCK) {
                        let rows = BLOCK.min(queries - first);
                        let p = &mut scores[..rows * width];
                        weights(from(q_head, first), k_head, p, (rows, keys, depth), width);
                        let of = Product { m: rows, n: depth, k: keys, scale: 1.0, add: false };
                        matmul(&mut out[first * depth..], depth, View::rows(p, width), v_head, of);
                    }
                    put_head(to, q.dims, job, out, depth);
                });
            });
        })
    }
}

/// The gradients of q, k and v from that of the output, each in `[B, tokens, heads, D]` order.
pub(crate) fn backward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>, dy: Tokens<'_>) -> [Vec<f32>; 3] {
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    // SAFETY: the jobs cover every head once, and each writes all rows of its head in all three outputs.
    let dq = unsafe {
        filled(q.len(), |to_q| {
            dk = filled(k.len(), |to_k| {
                dv = filled(v.len(), |to_v| {
                    (0..q.jobs()).into_par_iter().for_each(|job| {
                        backward_head([q, k, v, dy], job, |[dq, dk, dv]| {
                            put_head(to_q, q.dims, job, dq, q.dims[3]);
                            put_head(to_k, k.dims, job, dk, q.dims[3]);
                            put_head(to_v, v.dims, job, dv, q.dims[3]);
                        });
                    });
                });
            });
        })
    };
    [dq, dk, dv]
}

fn backward_head(of: [Tokens<'_>; 4], job: usize, put: impl FnOnce([&[f32]; 3])) {
    let [q, k, v, dy] = of.map(|tokens| tokens.head(job));
    let ([_, _, queries, depth], keys) = (of[0].dims, of[1].dims[2]);
    let width = keys.next_multiple_of(16);
    let scale = (depth as f32).sqrt().recip();
    with_scratch(2 * BLOCK * width + (queries + 2 * keys) * depth, |scratch| {
        let (p, rest) = scratch.split_at_mut(BLOCK * width);
        let (dp, rest) = rest.split_at_mut(BLOCK * width);
        let (dq, rest) = rest.split_at_mut(queries * depth);
        let (dk, dv) = rest.split_at_mut(keys * depth);
        for first in (0..queries).step_by(BLOCK) {
            let rows = BLOCK.min(queries - first);
            let (p, dp, add) = (&mut p[..rows * width], &mut dp[..rows * width], first > 0);
            let (q, dy) = (from(q, first), from(dy, first));
            weights(q, k, p, (rows, keys, depth), width);
            let over = |m, n, k, scale, add| Product { m, n, k, scale, add };
            dp.fill(0.0);
            matmul(dp, width, dy, v.t(), over(rows, keys, depth, 1.0, false));
            matmul(dv, depth, View::rows(p, width).t(), dy, over(keys, depth, rows, 1.0, add));
            softmax::rows_backward(p, dp, width);
            let ds = View::rows(dp, width);
            matmul(&mut dq[first * depth..], depth, ds, k, over(rows, depth, keys, scale, false));
            matmul(dk, depth, ds.t(), q, over(keys, depth, rows, scale, add));
        }
        put([dq, dk, dv]);
    });
}
