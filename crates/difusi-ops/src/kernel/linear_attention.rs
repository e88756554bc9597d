//! Linear attention per image and head: `softmax_D(q) D^-0.5 · (softmax_tokens(k)ᵀ v)`; the backward pass recomputes both
//! softmaxes. Memory order as in the full attention.

use rayon::prelude::*;

use super::{
    attention::{Tokens, put_head},
    matmul::{Product, View, matmul},
    softmax::{self, NEVER},
};
use crate::buffer::{filled, with_scratch};

/// Copies a head into rows of `width` floats, `pad` behind each.
fn copy_head(head: View<'_>, depth: usize, to: &mut [f32], width: usize, pad: f32) {
    for (from, to) in head.data.chunks(head.row).zip(to.chunks_exact_mut(width)) {
        to[..depth].copy_from_slice(&from[..depth]);
        to[depth..].fill(pad);
    }
}

/// Softmaxed q and k and the context `kᵀ v`, in scratch.
fn prepare(heads: [View<'_>; 3], sizes: (usize, usize, usize), to: [&mut [f32]; 3]) {
    let ([q, k, v], (_, keys, depth)) = (heads, sizes);
    let width = depth.next_multiple_of(16);
    let [qs, ks, context] = to;
    copy_head(q, depth, qs, width, NEVER);
    softmax::rows(qs, width);
    copy_head(k, depth, ks, width, 0.0);
    softmax::columns(ks, width);
    let of = Product { m: depth, n: depth, k: keys, scale: 1.0, add: false };
    matmul(context, depth, View::rows(ks, width).t(), v, of);
}

/// The forward pass; the result is in `[B, N, heads, D]` order.
pub(crate) fn forward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>) -> Vec<f32> {
    let ([_, _, queries, depth], keys) = (q.dims, k.dims[2]);
    let width = depth.next_multiple_of(16);
    let scale = (depth as f32).sqrt().recip();
    // SAFETY: the jobs cover every head once, and each writes all rows of its head.
    unsafe {
        filled(q.len(), |to| {
            (0..q.jobs()).into_par_iter().for_each(|job| {
                with_scratch((queries + keys) * width + (depth + queries) * depth, |scratch| {
                    let (qs, rest) = scratch.split_at_mut(queries * width);
                    let (ks, rest) = rest.split_at_mut(keys * width);
                    let (context, out) = rest.split_at_mut(depth * depth);
                    prepare([q.head(job), k.head(job), v.head(job)], (queries, keys, depth), [qs, ks, context]);
                    let of = Product { m: queries, n: depth, k: depth, scale, add: false };
                    matmul(out, depth, View::rows(qs, width), View::rows(context, depth), of);
                    put_head(to, q.dims, job, out, depth);
                });
            });
        })
    }
}

/// The gradients of q, k and v from that of the output, each in `[B, tokens, heads, D]` order.
pub(crate) fn backward(q: Tokens<'_>, k: Tokens<'_>, v: Tokens<'_>, dy: Tokens<'_>) -> [Vec<f32>; 3] {
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    let width = q.dims[3].next_multiple_of(16);
    // SAFETY: the jobs cover every head once, and each writes all rows of its head in all three outputs.
    let dq = unsafe {
        filled(q.len(), |to_q| {
            dk = filled(k.len(), |to_k| {
                dv = filled(v.len(), |to_v| {
                    (0..q.jobs()).into_par_iter().for_each(|job| {
                        backward_head([q, k, v, dy], job, |[dq, dk, dv]| {
                            put_head(to_q, q.dims, job, dq, width);
                            put_head(to_k, k.dims, job, dk, width);
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
    let width = depth.next_multiple_of(16);
    let scale = (depth as f32).sqrt().recip();
    with_scratch(2 * (queries + keys) * width + (2 * depth + keys) * depth, |scratch| {
        let (qs, rest) = scratch.split_at_mut(queries * width);
        let (dq, rest) = rest.split_at_mut(queries * width);
        let (ks, rest) = rest.split_at_mut(keys * width);
        let (dk, rest) = rest.split_at_mut(keys * width);
        let (context, rest) = rest.split_at_mut(depth * depth);
        let (dcontext, dv) = rest.split_at_mut(depth * depth);
        prepare([q, k, v], (queries, keys, depth), [qs, ks, context]);
        let over = |m, n, k, scale| Product { m, n, k, scale, add: false };
        // y = scale · qs context
        dq.fill(0.0);
        matmul(dq, width, dy, View::rows(context, depth).t(), over(queries, depth, depth, scale));
        softmax::rows_backward(qs, dq, width);
        matmul(dcontext, depth, View::rows(qs, width).t(), dy, over(depth, depth, queries, scale));
        // context = ksᵀ v
        matmul(dv, depth, View::rows(ks, width), View::rows(dcontext, depth), over(keys, depth, depth, 1.0));
        dk.fill(0.0);
        matmul(dk, width, v, View::rows(dcontext, depth).t(), over(keys, depth, depth, 1.0));
        softmax::columns_backward(ks, dk, width);
        put([dq, dk, dv]);
    });
}
