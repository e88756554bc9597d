//! `softmax(q kᵀ / √D) v` per image and head, in blocks of query rows whose scores stay in the cache; the backward pass
//! recomputes them. Inputs may be strided views; outputs lie in memory as `[B, N, heads, D]`, so that joining heads is free.

use rayon::prelude::*;

use super::{
    pack::{Block, Panel, blocks},
    softmax::{self, NEVER},
    tokens::{Rows, Tokens, unpack},
};
use crate::buffer::{filled, with_parts};

/// Query rows per block.
const BLOCK: usize = 64;

/// The sizes of one head, and the blocks of its panels.
struct Head {
    queries: usize,
    keys: usize,
    depth: usize,
    /// Keys and depth rounded up to whole vectors.
    wide_keys: usize,
    wide: usize,
    key_blocks: Vec<Block>,
    depth_blocks: Vec<Block>,
    /// What scores start from: 0, and behind the keys what gets no weight.
    start: Vec<f32>,
    zeros: Vec<f32>,
    scale: f32,
}

impl Head {
    fn new(q: Tokens<'_>, k: Tokens<'_>) -> Self {
        let ([_, _, queries, depth], keys) = (q.dims, k.dims[2]);
        let (wide_keys, wide) = (keys.next_multiple_of(16), depth.next_multiple_of(16));
        let mut start = vec![0.0; wide_keys];
        start[keys..].fill(NEVER);
        let (key_blocks, depth_blocks) = (blocks(keys), blocks(depth));
        let (zeros, scale) = (vec![0.0; wide_keys.max(wide)], (depth as f32).sqrt().recip());
        Self { queries, keys, depth, wide_keys, wide, key_blocks, depth_blocks, start, zeros, scale }
    }

    fn rows<'a>(&self, data: &'a [f32]) -> Rows<'a> {
        Rows { data, width: self.wide, depth: self.depth }
    }

    fn scores<'a>(&self, data: &'a [f32]) -> Rows<'a> {
        Rows { data, width: self.wide_keys, depth: self.keys }
    }

    /// `[depth][keys]`.
    fn across<'a>(&'a self, data: &'a [f32]) -> Panel<'a> {
        Panel { data, blocks: &self.key_blocks, depth: self.depth, columns: self.keys }
    }

    /// `[keys][depth]`.
    fn along<'a>(&'a self, data: &'a [f32]) -> Panel<'a> {
        Panel { data, blocks: &self.depth_blocks, depth: self.keys, columns: self.depth }
    }
}

/// The forward pass; the result is in `[B, N, heads, D]` order.
pub(crate) fn forward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>) -> Vec<f32> {
    let head = Head::new(q, k);
    // SAFETY: the jobs cover every head once, and each writes all rows of its head.
    unsafe {
        filled(q.len(), |to| {
            (0..q.jobs()).into_par_iter().for_each(|job| {
                forward_head([q, k, v], job, &head, |out| q.put_head(to, job, (out, head.wide), 1.0));
            });
        })
    }
}

fn forward_head([q, k, v]: [Tokens<'_>; 3], job: usize, head: &Head, put: impl FnOnce(&[f32])) {
    let Head { queries, keys, wide_keys, wide, .. } = *head;
    let sizes = [queries * wide, keys * wide, wide * wide_keys, keys * wide, BLOCK * wide_keys, queries * wide];
    with_parts(sizes, |[query, rows, across, along, scores, out]| {
        q.copy_head(job, query, wide, 0.0);
        k.copy_head(job, rows, wide, 0.0);
        head.rows(rows).pack_transposed(across, &head.key_blocks, head.scale);
        v.copy_head(job, rows, wide, 0.0);
        head.rows(rows).pack(along, &head.depth_blocks);
        for first in (0..queries).step_by(BLOCK) {
            let count = BLOCK.min(queries - first);
            let p = &mut scores[..count * wide_keys];
            head.rows(query).part(first, count).times(head.across(across), &head.start, p);
            softmax::rows(p, wide_keys);
            head.scores(p).times(head.along(along), &head.zeros[..wide], &mut out[first * wide..]);
        }
        put(out);
    });
}

/// The gradients of q, k and v from that of the output, each in `[B, tokens, heads, D]` order.
pub(crate) fn backward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>, dy: Tokens<'_>) -> [Vec<f32>; 3] {
    let head = Head::new(q, k);
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    // SAFETY: the jobs cover every head once, and each writes all rows of its head in all three outputs.
    let dq = unsafe {
        filled(q.len(), |to_q| {
            dk = filled(k.len(), |to_k| {
                dv = filled(v.len(), |to_v| {
                    (0..q.jobs()).into_par_iter().for_each(|job| {
                        backward_head([q, k, v, dy], job, &head, |[dq, dk, dv]| {
                            q.put_head(to_q, job, (dq, head.wide), head.scale);
                            k.put_head(to_k, job, (dk, head.wide), head.scale);
                            v.put_head(to_v, job, (dv, head.wide), 1.0);
                        });
                    });
                });
            });
        })
    };
    [dq, dk, dv]
}

fn backward_head([q, k, v, dy]: [Tokens<'_>; 4], job: usize, head: &Head, put: impl FnOnce([&[f32]; 3])) {
    let Head { queries, keys, wide_keys, wide, .. } = *head;
    let (of_queries, of_keys, panel, scores) = (queries * wide, keys * wide, wide * wide_keys, BLOCK * wide_keys);
    let sizes = [of_queries, of_queries, of_keys, panel, of_keys, panel, scores, scores, of_queries, of_keys, of_keys];
    with_parts(sizes, |[query, dout, rows, k_across, k_along, v_across, p, dp, dq, dk, dv]| {
        q.copy_head(job, query, wide, 0.0);
        dy.copy_head(job, dout, wide, 0.0);
        v.copy_head(job, rows, wide, 0.0);
        head.rows(rows).pack_transposed(v_across, &head.key_blocks, 1.0);
        k.copy_head(job, rows, wide, 0.0);
        head.rows(rows).pack_transposed(k_across, &head.key_blocks, head.scale);
        head.rows(rows).pack(k_along, &head.depth_blocks);
        dk.fill(0.0);
        dv.fill(0.0);
        for first in (0..queries).step_by(BLOCK) {
            let count = BLOCK.min(queries - first);
            let (p, dp) = (&mut p[..count * wide_keys], &mut dp[..count * wide_keys]);
            let (query, dout) = (head.rows(query).part(first, count), head.rows(dout).part(first, count));
            query.times(head.across(k_across), &head.start, p);
            softmax::rows(p, wide_keys);
            dout.times(head.across(v_across), &head.zeros[..wide_keys], dp);
            head.scores(p).transposed_times(dout, &head.depth_blocks, dv);
            softmax::rows_backward(p, dp, wide_keys);
            head.scores(dp).times(head.along(k_along), &head.zeros[..wide], &mut dq[first * wide..]);
            head.scores(dp).transposed_times(query, &head.depth_blocks, dk);
        }
        // Two panels become rows again, in memory that is no longer needed.
        unpack(head.along(dk), rows, wide);
        unpack(head.along(dv), k_along, wide);
        put([dq, rows, k_along]);
    });
}
