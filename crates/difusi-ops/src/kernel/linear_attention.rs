//! Linear attention per image and head: `softmax_D(q) D^-0.5 · (softmax_tokens(k)ᵀ v)`; the backward pass recomputes both
//! softmaxes. Memory order as in the full attention.

use rayon::prelude::*;

use super::{
    pack::{Block, Panel, blocks, fill_panel},
    softmax::{self, NEVER},
    tokens::{Rows, Tokens},
};
use crate::buffer::{filled, with_parts};

/// The sizes of one head, and the blocks of its panels.
struct Head {
    queries: usize,
    keys: usize,
    depth: usize,
    /// Depth rounded up to whole vectors.
    wide: usize,
    blocks: Vec<Block>,
    zeros: Vec<f32>,
    scale: f32,
}

impl Head {
    fn new(q: Tokens<'_>, k: Tokens<'_>) -> Self {
        let ([_, _, queries, depth], keys) = (q.dims, k.dims[2]);
        let wide = depth.next_multiple_of(16);
        let scale = (depth as f32).sqrt().recip();
        Self { queries, keys, depth, wide, blocks: blocks(depth), zeros: vec![0.0; wide], scale }
    }

    fn rows<'a>(&self, data: &'a [f32]) -> Rows<'a> {
        Rows { data, width: self.wide, depth: self.depth }
    }

    /// `[depth][depth]`.
    fn square<'a>(&'a self, data: &'a [f32]) -> Panel<'a> {
        Panel { data, blocks: &self.blocks, depth: self.depth, columns: self.depth }
    }

    /// `to = rows · panel`, in padded rows.
    fn times(&self, rows: &[f32], panel: &[f32], to: &mut [f32]) {
        self.rows(rows).times(self.square(panel), &self.zeros, to);
    }

    /// `to = aᵀ · b · scale`, a square panel.
    fn context(&self, a: &[f32], b: &[f32], scale: f32, to: &mut [f32]) {
        to.fill(0.0);
        self.rows(a).transposed_times(self.rows(b), &self.blocks, to);
        for x in to {
            *x *= scale;
        }
    }

    /// The transpose of a square panel.
    fn transpose(&self, panel: &[f32], to: &mut [f32]) {
        let from = self.square(panel);
        fill_panel(to, &self.blocks, self.depth, self.depth, |row, column| {
            // The transposed element is in the block that holds its row as a column.
            let block = self.blocks.iter().find(|b| row < b.first + 16 * b.vectors);
            block.map_or(0.0, |&b| from.block(b)[column * 16 * b.vectors + row - b.first])
        });
    }

    /// Softmaxed queries and keys, values, and the scaled context `kᵀ v`.
    fn prepare(&self, [q, k, v]: [Tokens<'_>; 3], job: usize, to: [&mut [f32]; 4]) {
        let [query, key, value, context] = to;
        q.copy_head(job, query, self.wide, NEVER);
        softmax::rows(query, self.wide);
        k.copy_head(job, key, self.wide, 0.0);
        softmax::columns(key, self.wide);
        v.copy_head(job, value, self.wide, 0.0);
        self.context(key, value, self.scale, context);
    }
}

/// The forward pass; the result is in `[B, N, heads, D]` order.
pub(crate) fn forward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>) -> Vec<f32> {
    let head = Head::new(q, k);
    let Head { queries, keys, wide, .. } = head;
    let sizes = [queries * wide, keys * wide, keys * wide, wide * wide, queries * wide];
    // SAFETY: the jobs cover every head once, and each writes all rows of its head.
    unsafe {
        filled(q.len(), |to| {
            (0..q.jobs()).into_par_iter().for_each(|job| {
                with_parts(sizes, |[query, key, value, context, out]| {
                    let context = &mut context[..head.depth * wide];
                    head.prepare([q, k, v], job, [query, key, value, context]);
                    head.times(query, context, out);
                    q.put_head(to, job, (out, wide), 1.0);
                });
            });
        })
    }
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
                            q.put_head(to_q, job, (dq, head.wide), 1.0);
                            k.put_head(to_k, job, (dk, head.wide), 1.0);
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
    let Head { queries, keys, depth, wide, .. } = *head;
    let (of_queries, of_keys, square) = (queries * wide, keys * wide, depth * wide);
    let sizes = [of_queries, of_keys, of_keys, square, of_queries, square, square, of_queries, of_keys, of_keys];
    with_parts(sizes, |[query, key, value, context, dout, dcontext, turned, dq, dk, dv]| {
        head.prepare([q, k, v], job, [query, key, value, context]);
        dy.copy_head(job, dout, wide, 0.0);
        // y = query · context, the context holding the scale
        head.transpose(context, turned);
        head.times(dout, turned, dq);
        softmax::rows_backward(query, dq, wide);
        head.context(query, dout, head.scale, dcontext);
        // context = keyᵀ · value
        head.times(key, dcontext, dv);
        head.transpose(dcontext, turned);
        head.times(value, turned, dk);
        softmax::columns_backward(key, dk, wide);
        put([dq, dk, dv]);
    });
}
