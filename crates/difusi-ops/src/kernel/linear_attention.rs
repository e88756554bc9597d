//! Linear attention per image and head: `softmax_D(q) D^-0.5 · (softmax_tokens(k)ᵀ v)` in blocks of tokens, keys with a running
//! maximum, so that nothing but one `D x D` matrix is kept; the backward pass computes both softmaxes again.
//!
//! A job takes all heads of an image, so that memory is read in order (single heads where there are few images).

use rayon::prelude::*;

use super::{
    dense::{Dense, turn},
    softmax::{self, Scores, SoFar},
    tokens::{Job, Qkv, Rows, Sink, Source},
};
use crate::{
    buffer::with_parts,
    simd::{Float, Stored},
};

/// Tokens per block: those of four heads of 32 stay in the first-level cache.
const BLOCK: usize = 32;

/// From so many images on, a job takes all heads of one.
const IMAGES: usize = 8;

/// The sizes of a job.
#[derive(Clone, Copy)]
struct Sizes<F> {
    /// Heads.
    group: usize,
    queries: usize,
    keys: usize,
    depth: usize,
    /// Depth rounded up to whole vectors.
    wide: usize,
    scale: F,
}

/// What is known of the keys and values of some heads.
struct Context<'a, F> {
    /// Of each column of the keys, the largest. `[heads][wide]`.
    top: &'a mut [F],
    /// Of each column of the keys, `1 / Σ e^(key - top)`. `[heads][wide]`.
    factors: &'a mut [F],
    /// `scale · softmax(k)ᵀ v`, `[heads][wide][wide]`, zeros below the depth.
    product: &'a mut [F],
}

impl<F: Float> Sizes<F> {
    fn new<E: Stored<F = F>>(of: &Qkv<'_, E>) -> Self {
        of.check();
        let ([images, heads, queries, depth], keys) = (of.q.place.dims, of.k.tokens());
        let scale = F::of_f64((depth as f64).sqrt().recip());
        let group = if images >= IMAGES { heads } else { 1 };
        Self { group, queries, keys, depth, wide: depth.next_multiple_of(16), scale }
    }

    /// A block of tokens of all heads.
    fn block(&self) -> usize {
        self.group * BLOCK * self.wide
    }

    /// One square per head.
    fn squares(&self) -> usize {
        self.group * self.wide * self.wide
    }

    /// Blocks as (first token, tokens, values of all heads).
    fn blocks(&self, tokens: usize) -> impl Iterator<Item = (usize, usize, usize)> + use<F> {
        let row = self.group * self.wide;
        (0..tokens).step_by(BLOCK).map(move |first| {
            let count = BLOCK.min(tokens - first);
            (first, count, count * row)
        })
    }

    fn rows<'a>(&self, data: &'a mut [F]) -> Rows<'a, F> {
        Rows { rows: data.len() / (self.group * self.wide), data, width: self.wide }
    }

    /// `to = rows · square` for each head.
    fn times(&self, rows: &[F], squares: &[F], to: &mut [F]) {
        let Self { group, depth, wide, .. } = *self;
        let len = rows.len() / group;
        let heads = rows.chunks_exact(len).zip(squares.chunks_exact(wide * wide)).zip(to.chunks_exact_mut(len));
        for ((a, b), to) in heads {
            Dense { a, a_steps: [wide, 1], b, b_row: wide, size: [len / wide, depth, wide] }.into(to, wide);
        }
    }

    /// `square += aᵀ b` for each head.
    fn add_outer(&self, a: &[F], b: &[F], squares: &mut [F]) {
        let Self { group, depth, wide, .. } = *self;
        let len = a.len() / group;
        let heads = a.chunks_exact(len).zip(b.chunks_exact(len)).zip(squares.chunks_exact_mut(wide * wide));
        for ((a, b), square) in heads {
            Dense { a, a_steps: [1, wide], b, b_row: wide, size: [depth, len / wide, wide] }.add_to(square, wide);
        }
    }

    /// The transposed squares.
    fn turn(&self, squares: &[F], to: &mut [F]) {
        let (wide, square) = (self.wide, self.wide * self.wide);
        for (from, to) in squares.chunks_exact(square).zip(to.chunks_exact_mut(square)) {
            turn((from, wide), (to, wide), [wide, wide]);
        }
    }

    /// Fills `to` from all keys and values of a job; `key` and `value` are scratch, one block each.
    fn gather<E: Stored<F = F>>(&self, of: &Qkv<'_, E>, job: Job, blocks: [&mut [F]; 2], to: &mut Context<'_, F>) {
        let ([key, value], Self { keys, depth, wide, scale, .. }) = (blocks, *self);
        let Context { top, factors, product } = to;
        SoFar { top, sum: factors, out: product, width: wide }.clear();
        for (first, count, len) in self.blocks(keys) {
            let (key, value) = (&mut key[..len], &mut value[..len]);
            of.k.read(job, first, self.rows(key), F::ONE);
            of.v.read(job, first, self.rows(value), F::ONE);
            let columns = top.chunks_exact_mut(wide).zip(factors.chunks_exact_mut(wide));
            let heads = key.chunks_exact_mut(count * wide).zip(product.chunks_exact_mut(wide * wide));
            for ((top, sum), (key, product)) in columns.zip(heads) {
                let mut so_far = SoFar { top, sum, out: &mut product[..depth * wide], width: wide };
                softmax::columns_more(key, wide, &mut so_far);
            }
            self.add_outer(key, value, product);
        }
        for (factor, row) in factors.iter_mut().zip(product.chunks_exact_mut(wide)) {
            *factor = F::ONE / *factor;
            for x in row {
                *x = *x * *factor * scale;
            }
        }
    }

    /// The softmax of a block of queries.
    fn read_queries<E: Stored<F = F>>(&self, of: &Qkv<'_, E>, job: Job, first: usize, to: &mut [F]) {
        of.q.read(job, first, self.rows(to), F::ONE);
        Scores { data: to, step: self.wide, valid: self.depth }.softmax();
    }
}

/// The forward pass.
///
/// # Safety
/// There is room in `to` for all that its place covers.
pub(crate) unsafe fn forward<E: Stored>(of: &Qkv<'_, E>, to: Sink<E>) {
    let sizes = Sizes::new(of);
    let columns = sizes.group * sizes.wide;
    let parts = [sizes.block(), sizes.block(), columns, columns, sizes.squares()];
    (0..of.q.place.jobs(sizes.group)).into_par_iter().for_each(|job| {
        let job = of.q.place.job(job, sizes.group);
        with_parts(parts, |[a, b, top, factors, product]| {
            let mut context = Context { top, factors, product };
            sizes.gather(of, job, [&mut *a, &mut *b], &mut context);
            for (first, _, len) in sizes.blocks(sizes.queries) {
                let (query, out) = (&mut a[..len], &mut b[..len]);
                sizes.read_queries(of, job, first, query);
                sizes.times(query, context.product, out);
                // SAFETY: each job writes the queries of its own heads.
                unsafe { to.write(job, first, sizes.rows(out), E::F::ONE) };
            }
        });
    });
}

/// The gradients of q, k and v from that of the output.
///
/// # Safety
/// There is room in `to` for all that their places cover, in memory of their own each.
pub(crate) unsafe fn backward<E: Stored>(of: &Qkv<'_, E>, dy: &Source<'_, E>, to: [Sink<E>; 3]) {
    let sizes = Sizes::new(of);
    assert!(dy.place.dims == of.q.place.dims);
    (0..of.q.place.jobs(sizes.group)).into_par_iter().for_each(|job| {
        backward_job(of, dy, of.q.place.job(job, sizes.group), &sizes, to);
    });
}

fn backward_job<E: Stored>(of: &Qkv<'_, E>, dy: &Source<'_, E>, job: Job, sizes: &Sizes<E::F>, to: [Sink<E>; 3]) {
    let (block, squares, columns) = (sizes.block(), sizes.squares(), sizes.group * sizes.wide);
    let parts = [block, block, block, block, columns, columns, columns, squares, squares, squares];
    with_parts(parts, |[a, b, c, d, top, factors, dots, product, turned, dproduct]| {
        let mut context = Context { top, factors, product };
        sizes.gather(of, job, [&mut *a, &mut *b], &mut context);
        // y = query · product, the product holding the scale
        sizes.turn(context.product, turned);
        dproduct.fill(E::F::ZERO);
        for (first, _, len) in sizes.blocks(sizes.queries) {
            let (query, dout, dq) = (&mut a[..len], &mut b[..len], &mut c[..len]);
            sizes.read_queries(of, job, first, query);
            dy.read(job, first, sizes.rows(dout), E::F::ONE);
            sizes.times(dout, turned, dq);
            sizes.add_outer(query, dout, dproduct);
            Scores { data: dq, step: sizes.wide, valid: sizes.depth }.softmax_backward(query);
            // SAFETY: each job writes the tokens of its own heads.
            unsafe { to[0].write(job, first, sizes.rows(dq), E::F::ONE) };
        }
        // product = scale · keyᵀ · value; down a column of keys, Σ p dp is what a row of both products has in common.
        let rows = context.product.chunks_exact(sizes.wide).zip(dproduct.chunks_exact_mut(sizes.wide));
        for (dot, (product, dproduct)) in dots.iter_mut().zip(rows) {
            *dot = product.iter().zip(&*dproduct).fold(E::F::ZERO, |sum, (&a, &b)| sum + a * b);
            dproduct.iter_mut().for_each(|x| *x = *x * sizes.scale);
        }
        sizes.turn(dproduct, turned);
        let back = Back { dots, dproduct, turned };
        sizes.keys_and_values(of, job, [a, b, c, d], (&context, back), [to[1], to[2]]);
    });
}

/// What leads from keys and values to their gradients.
struct Back<'a, F> {
    /// Of each column of the keys, `Σ p dp`. `[heads][wide]`.
    dots: &'a [F],
    /// dL/d(keyᵀ value), `[heads][wide][wide]`, and transposed.
    dproduct: &'a [F],
    turned: &'a [F],
}

impl<F: Float> Sizes<F> {
    /// The gradients of keys and values; `parts` are scratch, a block each.
    fn keys_and_values<E: Stored<F = F>>(
        &self,
        of: &Qkv<'_, E>,
        job: Job,
        parts: [&mut [F]; 4],
        (context, back): (&Context<'_, F>, Back<'_, F>),
        to: [Sink<E>; 2],
    ) {
        let [a, b, c, d] = parts;
        for (first, _, len) in self.blocks(self.keys) {
            let (key, value, dk, dv) = (&mut a[..len], &mut b[..len], &mut c[..len], &mut d[..len]);
            of.k.read(job, first, self.rows(key), F::ONE);
            of.v.read(job, first, self.rows(value), F::ONE);
            self.weigh_keys(key, context);
            self.times(key, back.dproduct, dv);
            self.times(value, back.turned, dk);
            self.keys_backward(key, dk, back.dots);
            // SAFETY: each job writes the tokens of its own heads.
            unsafe {
                to[0].write(job, first, self.rows(dk), F::ONE);
                to[1].write(job, first, self.rows(dv), F::ONE);
            }
        }
    }

    /// The softmax of a block of keys.
    fn weigh_keys(&self, key: &mut [F], context: &Context<'_, F>) {
        let columns = context.top.chunks_exact(self.wide).zip(context.factors.chunks_exact(self.wide));
        let len = key.len() / self.group;
        for (key, (top, factors)) in key.chunks_exact_mut(len).zip(columns) {
            softmax::columns(key, top, factors);
        }
    }

    /// From the weights of a block of keys and dL/dweights to dL/dkeys, in place of dL/dweights.
    fn keys_backward(&self, key: &[F], dk: &mut [F], dots: &[F]) {
        let len = key.len() / self.group;
        let heads = key.chunks_exact(len).zip(dk.chunks_exact_mut(len)).zip(dots.chunks_exact(self.wide));
        for ((key, dk), dots) in heads {
            softmax::columns_backward(key, dk, dots);
        }
    }
}
