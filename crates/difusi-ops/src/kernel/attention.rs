//! `softmax(q kᵀ / √D) v` per image and head (FlashAttention, arXiv:2205.14135): scores exist for one strip of queries at a
//! time, forward also for one block of keys at a time; the backward pass computes them again.

use rayon::prelude::*;

use super::{
    dense::{Dense, spread, turn},
    softmax::{Scores, SoFar},
    tokens::{Job, Qkv, Rows, Sink, Source},
};
use crate::{
    buffer::with_parts,
    simd::{Float, Stored},
};

/// Queries per strip.
const STRIP: usize = 64;

/// Keys per block of the forward pass, at most: their values stay in the first-level cache.
const KEYS: usize = 320;

/// Scores per strip of the backward pass, roughly: two such strips stay in the second-level cache.
const SCORES: usize = 1 << 17;

/// The sizes of one head.
#[derive(Clone, Copy)]
struct Head<F> {
    queries: usize,
    keys: usize,
    depth: usize,
    /// Depth and keys rounded up to whole vectors.
    wide: usize,
    wide_keys: usize,
    /// The distance of rows that hold one value per key.
    step: usize,
    scale: F,
}

impl<F: Float> Head<F> {
    fn new<E: Stored<F = F>>(of: &Qkv<'_, E>) -> Self {
        of.check();
        let ([_, _, queries, depth], keys) = (of.q.place.dims, of.k.tokens());
        let scale = F::of_f64((depth as f64).sqrt().recip());
        let (wide, wide_keys) = (depth.next_multiple_of(16), keys.next_multiple_of(16));
        Self { queries, keys, depth, wide, wide_keys, step: spread(keys), scale }
    }

    fn rows<'a>(&self, data: &'a mut [F]) -> Rows<'a, F> {
        Rows { rows: data.len() / self.wide, data, width: self.wide }
    }

    /// `to = rows · panelᵀ` for as many rows as there are: one score per key from `first` on.
    fn scores(&self, rows: &[F], across: &[F], (first, count): (usize, usize), to: (&mut [F], usize)) {
        let size = [rows.len() / self.wide, self.depth, count.next_multiple_of(16)];
        let dense = Dense { a: rows, a_steps: [self.wide, 1], b: &across[first..], b_row: self.step, size };
        dense.into(to.0, to.1);
    }

    /// Keys or values, one row per value of the depth.
    fn turn(&self, rows: &[F], across: &mut [F]) {
        turn((rows, self.wide), (across, self.step), [self.wide_keys, self.wide]);
    }
}

/// The forward pass.
///
/// # Safety
/// There is room in `to` for all that its place covers.
pub(crate) unsafe fn forward<E: Stored>(of: &Qkv<'_, E>, to: Sink<E>) {
    let head = Head::new(of);
    let blocks = head.keys.div_ceil(KEYS);
    let block = head.keys.div_ceil(blocks).next_multiple_of(16);
    let Head { queries, wide, wide_keys, step, .. } = head;
    let panel = [wide_keys * wide, wide_keys * wide, step * wide];
    let sizes = [panel[0], panel[1], panel[2], STRIP * wide, STRIP * spread(block), STRIP, STRIP, STRIP * wide];
    (0..of.q.place.jobs(1)).into_par_iter().for_each(|job| {
        let job = of.q.place.job(job, 1);
        with_parts(sizes, |[rows, values, across, query, scores, top, sum, out]| {
            of.k.read(job, 0, head.rows(rows), head.scale);
            head.turn(rows, across);
            of.v.read(job, 0, head.rows(values), E::F::ONE);
            let mut so_far = SoFar { top, sum, out, width: wide };
            for first in (0..queries).step_by(STRIP) {
                let strip = STRIP.min(queries - first);
                let query = &mut query[..strip * wide];
                of.q.read(job, first, head.rows(query), E::F::ONE);
                so_far.clear();
                for key in (0..head.keys).step_by(block) {
                    let count = block.min(head.keys - key);
                    let step = spread(count);
                    let p = &mut scores[..strip * step];
                    head.scores(query, across, (key, count), (p, step));
                    Scores { data: p, step, valid: count }.softmax_more(&mut so_far);
                    let size = [strip, count, wide];
                    let dense = Dense { a: p, a_steps: [step, 1], b: &values[key * wide..], b_row: wide, size };
                    dense.add_to(so_far.out, wide);
                }
                so_far.finish(strip);
                // SAFETY: each job writes the queries of its own head.
                unsafe { to.write(job, first, head.rows(&mut so_far.out[..strip * wide]), E::F::ONE) };
            }
        });
    });
}

/// The gradients of q, k and v from that of the output.
///
/// # Safety
/// There is room in `to` for all that their places cover, in memory of their own each.
pub(crate) unsafe fn backward<E: Stored>(of: &Qkv<'_, E>, dy: &Source<'_, E>, to: [Sink<E>; 3]) {
    let head = Head::new(of);
    assert!(dy.place.dims == of.q.place.dims);
    (0..of.q.place.jobs(1)).into_par_iter().for_each(|job| {
        backward_head(of, dy, of.q.place.job(job, 1), &head, to);
    });
}

fn backward_head<E: Stored>(of: &Qkv<'_, E>, dy: &Source<'_, E>, job: Job, head: &Head<E::F>, to: [Sink<E>; 3]) {
    let Head { queries, keys, wide, wide_keys, step, scale, .. } = *head;
    let strip = (SCORES / step / 16 * 16).clamp(16, STRIP).min(queries);
    let (of_strip, of_keys, panel, scores) = (strip * wide, wide_keys * wide, step * wide, strip * step);
    let sizes = [of_strip, of_strip, of_strip, of_keys, panel, panel, scores, scores, of_keys, of_keys];
    with_parts(sizes, |[query, dout, dq, rows, k_across, v_across, p, dp, dk, dv]| {
        of.v.read(job, 0, head.rows(rows), E::F::ONE);
        head.turn(rows, v_across);
        of.k.read(job, 0, head.rows(rows), E::F::ONE);
        head.turn(rows, k_across);
        dk.fill(E::F::ZERO);
        dv.fill(E::F::ZERO);
        for first in (0..queries).step_by(strip) {
            let count = strip.min(queries - first);
            let (query, dout) = (&mut query[..count * wide], &mut dout[..count * wide]);
            let (p, dp) = (&mut p[..count * step], &mut dp[..count * step]);
            of.q.read(job, first, head.rows(query), scale);
            dy.read(job, first, head.rows(dout), E::F::ONE);
            head.scores(query, k_across, (0, keys), (p, step));
            Scores { data: p, step, valid: keys }.softmax();
            head.scores(dout, v_across, (0, keys), (dp, step));
            let outer = |a, b| Dense { a, a_steps: [1, step], b, b_row: wide, size: [keys, count, wide] };
            outer(p, dout).add_to(dv, wide);
            Scores { data: dp, step, valid: keys }.softmax_backward(p);
            outer(dp, query).add_to(dk, wide);
            let size = [count, keys, wide];
            Dense { a: dp, a_steps: [step, 1], b: rows, b_row: wide, size }.into(dq, wide);
            // SAFETY: each job writes the tokens of its own head.
            unsafe { to[0].write(job, first, head.rows(&mut dq[..count * wide]), scale) };
        }
        // SAFETY: as above.
        unsafe {
            to[1].write(job, 0, head.rows(dk), E::F::ONE);
            to[2].write(job, 0, head.rows(dv), E::F::ONE);
        }
    });
}
