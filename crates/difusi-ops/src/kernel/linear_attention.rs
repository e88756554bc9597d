//! Linear attention per image and head: `softmax_D(q) D^-0.5 · (softmax_tokens(k)ᵀ v)` in blocks of tokens, keys with a running
//! maximum, so that nothing but one `D x D` matrix is kept; the backward pass computes both softmaxes again.

use rayon::prelude::*;

use super::{
    dense::{Dense, turn},
    softmax::{self, Scores, SoFar},
    tokens::{Qkv, Sink, Source},
};
use crate::{
    buffer::with_parts,
    simd::{Float, Stored},
};

/// Tokens per block.
const BLOCK: usize = 64;

/// The sizes of one head.
#[derive(Clone, Copy)]
struct Head<F> {
    queries: usize,
    keys: usize,
    depth: usize,
    /// Depth rounded up to whole vectors.
    wide: usize,
    scale: F,
}

/// What is known of the keys and values of one head.
struct Context<'a, F> {
    /// Of each column of the keys, the largest.
    top: &'a mut [F],
    /// Of each column of the keys, `1 / Σ e^(key - top)`.
    factors: &'a mut [F],
    /// `scale · softmax(k)ᵀ v`, `[depth][wide]` and zeros below.
    product: &'a mut [F],
}

impl<F: Float> Head<F> {
    fn new<E: Stored<F = F>>(of: &Qkv<'_, E>) -> Self {
        of.check();
        let ([_, _, queries, depth], keys) = (of.q.place.dims, of.k.tokens());
        let scale = F::of_f64((depth as f64).sqrt().recip());
        Self { queries, keys, depth, wide: depth.next_multiple_of(16), scale }
    }

    /// `to = rows · square`, in padded rows.
    fn times(&self, rows: &[F], square: &[F], to: &mut [F]) {
        let size = [rows.len() / self.wide, self.depth, self.wide];
        Dense { a: rows, a_steps: [self.wide, 1], b: square, b_row: self.wide, size }.into(to, self.wide);
    }

    /// `square += aᵀ b`.
    fn add_outer(&self, a: &[F], b: &[F], square: &mut [F]) {
        let size = [self.depth, a.len() / self.wide, self.wide];
        Dense { a, a_steps: [1, self.wide], b, b_row: self.wide, size }.add_to(square, self.wide);
    }

    /// The transpose of a square.
    fn turn(&self, square: &[F], to: &mut [F]) {
        turn((square, self.wide), (to, self.wide), [self.wide, self.wide]);
    }

    /// Fills `to` from all keys and values of a head; `key` and `value` are scratch, one block each.
    fn gather<E: Stored<F = F>>(&self, of: &Qkv<'_, E>, job: usize, blocks: [&mut [F]; 2], to: &mut Context<'_, F>) {
        let ([key, value], Self { keys, depth, wide, scale, .. }) = (blocks, *self);
        let Context { top, factors, product } = to;
        SoFar { top, sum: factors, out: product, width: wide }.clear();
        for first in (0..keys).step_by(BLOCK) {
            let count = BLOCK.min(keys - first) * wide;
            let (key, value) = (&mut key[..count], &mut value[..count]);
            of.k.read(job, first, (key, wide), F::ONE);
            of.v.read(job, first, (value, wide), F::ONE);
            let out = &mut product[..depth * wide];
            softmax::columns_more(key, wide, SoFar { top: &mut **top, sum: &mut **factors, out, width: wide });
            self.add_outer(key, value, out_of(product, depth * wide));
        }
        for (factor, row) in factors.iter_mut().zip(product.chunks_exact_mut(wide)) {
            *factor = F::ONE / *factor;
            for x in row {
                *x = *x * *factor * scale;
            }
        }
    }
}

fn out_of<F>(product: &mut [F], len: usize) -> &mut [F] {
    &mut product[..len]
}

/// The softmax of a block of queries.
fn read_queries<E: Stored>(of: &Qkv<'_, E>, job: usize, first: usize, to: &mut [E::F], head: &Head<E::F>) {
    of.q.read(job, first, (to, head.wide), E::F::ONE);
    Scores { data: to, step: head.wide, valid: head.depth }.softmax();
}

/// The forward pass.
///
/// # Safety
/// There is room in `to` for all that its place covers.
pub(crate) unsafe fn forward<E: Stored>(of: &Qkv<'_, E>, to: Sink<E>) {
    let head = Head::new(of);
    let Head { queries, wide, .. } = head;
    let sizes = [BLOCK * wide, BLOCK * wide, wide, wide, wide * wide];
    (0..of.q.place.jobs()).into_par_iter().for_each(|job| {
        with_parts(sizes, |[a, b, top, factors, product]| {
            let mut context = Context { top, factors, product };
            head.gather(of, job, [&mut *a, &mut *b], &mut context);
            for first in (0..queries).step_by(BLOCK) {
                let count = BLOCK.min(queries - first) * wide;
                let (query, out) = (&mut a[..count], &mut b[..count]);
                read_queries(of, job, first, query, &head);
                head.times(query, context.product, out);
                // SAFETY: each job writes the queries of its own head.
                unsafe { to.write(job, first, (out, wide), E::F::ONE) };
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
    (0..of.q.place.jobs()).into_par_iter().for_each(|job| backward_head(of, dy, job, &head, to));
}

fn backward_head<E: Stored>(of: &Qkv<'_, E>, dy: &Source<'_, E>, job: usize, head: &Head<E::F>, to: [Sink<E>; 3]) {
    let Head { queries, keys, wide, scale, .. } = *head;
    let (block, square) = (BLOCK * wide, wide * wide);
    let sizes = [block, block, block, block, wide, wide, wide, square, square, square];
    with_parts(sizes, |[a, b, c, d, top, factors, dots, product, turned, dproduct]| {
        let mut context = Context { top, factors, product };
        head.gather(of, job, [&mut *a, &mut *b], &mut context);
        // y = query · product, the product holding the scale
        head.turn(context.product, turned);
        dproduct.fill(E::F::ZERO);
        for first in (0..queries).step_by(BLOCK) {
            let count = BLOCK.min(queries - first) * wide;
            let (query, dout, dq) = (&mut a[..count], &mut b[..count], &mut c[..count]);
            read_queries(of, job, first, query, head);
            dy.read(job, first, (dout, wide), E::F::ONE);
            head.times(dout, turned, dq);
            head.add_outer(query, dout, dproduct);
            Scores { data: dq, step: wide, valid: head.depth }.softmax_backward(query);
            // SAFETY: each job writes the tokens of its own head.
            unsafe { to[0].write(job, first, (dq, wide), E::F::ONE) };
        }
        // product = scale · keyᵀ · value; down a column of keys, Σ p dp is what a row of both products has in common.
        let rows = context.product.chunks_exact(wide).zip(dproduct.chunks_exact_mut(wide));
        for (dot, (product, dproduct)) in dots.iter_mut().zip(rows) {
            *dot = product.iter().zip(&*dproduct).fold(E::F::ZERO, |sum, (&a, &b)| sum + a * b);
            dproduct.iter_mut().for_each(|x| *x = *x * scale);
        }
        head.turn(dproduct, turned);
        for first in (0..keys).step_by(BLOCK) {
            let count = BLOCK.min(keys - first) * wide;
            let (key, value, dk, dv) = (&mut a[..count], &mut b[..count], &mut c[..count], &mut d[..count]);
            of.k.read(job, first, (key, wide), E::F::ONE);
            of.v.read(job, first, (value, wide), E::F::ONE);
            softmax::columns(key, context.top, context.factors);
            head.times(key, dproduct, dv);
            head.times(value, turned, dk);
            softmax::columns_backward(key, dk, dots);
            // SAFETY: as above.
            unsafe {
                to[1].write(job, first, (dk, wide), E::F::ONE);
                to[2].write(job, first, (dv, wide), E::F::ONE);
            }
        }
    });
}
