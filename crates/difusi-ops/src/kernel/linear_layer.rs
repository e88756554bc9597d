//! A whole layer of linear attention, from its input to its output projection, in blocks of tokens that stay in the cache:
//! `y = b + Σ_heads softmax_D(q) D^-0.5 (softmax_tokens(k)ᵀ v) W_out`, `q, k, v = x W`.
//!
//! Queries, keys and values are twelve times as wide as the input in the U-Nets here: to compute them again costs less than to
//! write and read them, in the backward pass too. The context and the output projection of a head are one matrix `[D][C]`.

mod gradient;
mod weights;

pub(crate) use gradient::backward;

use rayon::prelude::*;

use self::weights::{Part, Weights};
use super::{
    dense::Dense,
    softmax::{self, Scores, SoFar},
    tokens::{read_rows, write_rows},
};
use crate::{
    buffer::{filled, with_parts},
    simd::{Float, Stored},
};

/// Tokens per block.
const BLOCK: usize = 64;

/// The layer's input and weights.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a, E: Stored> {
    /// `[B, N, C]`.
    pub x: &'a [E],
    pub dims: [usize; 3],
    pub heads: usize,
    /// Width of a head.
    pub depth: usize,
    /// `[3 heads D, C]`: queries of all heads, keys, values.
    pub weight: &'a [E::F],
    /// Learned keys and values, `[2, heads, M, D]`.
    pub memory: &'a [E::F],
    /// `[C, heads D]`.
    pub out: &'a [E::F],
    /// `[C]`.
    pub bias: &'a [E::F],
}

/// What is known of the keys and values of one image: of each head `[wide]`, `[wide]` and squares `[wide][wide]`.
struct Context<'a, F> {
    /// Of each column of the keys, the largest.
    top: &'a mut [F],
    /// Of each column of the keys, `1 / Σ e^(key - top)`.
    factors: &'a mut [F],
    /// `scale · softmax(k)ᵀ v`.
    product: &'a mut [F],
    /// `product · W_out`, `[head][wide][padded channels]`, zeros below the depth.
    projected: &'a mut [F],
}

impl<'a, F: Float, E: Stored<F = F>> Layer<'a, E> {
    fn wide(&self) -> usize {
        self.depth.next_multiple_of(16)
    }

    fn padded(&self) -> usize {
        self.dims[2].next_multiple_of(16)
    }

    fn scale(&self) -> F {
        F::of_f64((self.depth as f64).sqrt().recip())
    }

    /// Learned tokens per head.
    fn remembered(&self) -> usize {
        self.memory.len() / (2 * self.heads * self.depth).max(1)
    }

    fn check(&self) {
        let ([b, n, c], hidden) = (self.dims, self.heads * self.depth);
        assert!(self.x.len() == b * n * c && self.weight.len() == 3 * hidden * c && self.out.len() == hidden * c);
        assert!(self.bias.len() == c && self.memory.len() == 2 * hidden * self.remembered());
    }

    /// The shapes in words, and the floating-point operations of the forward pass.
    pub(crate) fn label(&self) -> (String, f64) {
        let ([b, n, c], h, d) = (self.dims, self.heads, self.depth);
        (format!("{b}x{n}x{c}, {h} heads x {d}"), 2.0 * (b * n * h * d) as f64 * (4 * c + 2 * d) as f64)
    }

    /// Rows `first..` of an image of `from` `[B, N, C]` as padded rows.
    fn rows(&self, from: &[E], image: usize, first: usize, to: &mut [F]) {
        let [_, tokens, channels] = self.dims;
        let from = &from[(image * tokens + first) * channels..];
        read_rows((from, channels), (to, self.padded()), channels);
    }

    /// `to = rows · matrix`, rows padded to `wide`.
    fn project(&self, rows: &[F], matrix: &[F], to: &mut [F]) {
        let (wide, size) = (self.wide(), [rows.len() / self.padded(), self.dims[2], self.wide()]);
        Dense { a: rows, a_steps: [self.padded(), 1], b: matrix, b_row: wide, size }.into(to, wide);
    }

    /// `to += head · matrix`, `matrix` `[depth][padded channels]`.
    fn add_back(&self, head: &[F], matrix: &[F], to: &mut [F]) {
        let (wide, padded) = (self.wide(), self.padded());
        let size = [head.len() / wide, self.depth, padded];
        Dense { a: head, a_steps: [wide, 1], b: matrix, b_row: padded, size }.add_to(to, padded);
    }

    /// `to += headᵀ · rows`, `[depth][columns]`.
    fn add_outer(&self, head: &[F], rows: &[F], columns: usize, to: &mut [F]) {
        let wide = self.wide();
        let size = [self.depth, head.len() / wide, columns];
        Dense { a: head, a_steps: [1, wide], b: rows, b_row: columns, size }.add_to(to, columns);
    }

    /// Fills `to` from all keys and values of an image. `scratch`: a block of rows, one of keys, one of values.
    fn gather(&self, weights: &Weights<F>, image: usize, scratch: [&mut [F]; 3], to: &mut Context<'_, F>) {
        let ([x, key, value], wide, padded) = (scratch, self.wide(), self.padded());
        let tokens = self.dims[1];
        to.projected.fill(F::ZERO);
        for head in 0..self.heads {
            let (top, sum) = (&mut to.top[head * wide..][..wide], &mut to.factors[head * wide..][..wide]);
            let out = &mut to.product[head * wide * wide..][..wide * wide];
            SoFar { top, sum, out, width: wide }.clear();
            let mut add = |key: &mut [F], value: &[F]| {
                let mut so_far = SoFar { top, sum, out: &mut out[..self.depth * wide], width: wide };
                softmax::columns_more(key, wide, &mut so_far);
                self.add_outer(key, value, wide, out);
            };
            for first in (0..self.remembered()).step_by(BLOCK) {
                let count = BLOCK.min(self.remembered() - first);
                let (key, value) = (&mut key[..count * wide], &mut value[..count * wide]);
                self.learned_block([0, head, first], key);
                self.learned_block([1, head, first], value);
                add(key, value);
            }
            for first in (0..tokens).step_by(BLOCK) {
                let count = BLOCK.min(tokens - first);
                let (x, key, value) = (&mut x[..count * padded], &mut key[..count * wide], &mut value[..count * wide]);
                self.rows(self.x, image, first, x);
                self.project(x, weights.into(Part::Key, head), key);
                self.project(x, weights.into(Part::Value, head), value);
                add(key, value);
            }
            for (factor, row) in sum.iter_mut().zip(out.chunks_exact_mut(wide)) {
                *factor = F::ONE / *factor;
                row.iter_mut().for_each(|x| *x = *x * *factor * self.scale());
            }
            let projected = &mut to.projected[head * wide * padded..][..self.depth * padded];
            self.add_back(&out[..self.depth * wide], weights.out(head), projected);
        }
    }

    /// Rows `first..` of the learned keys (part 0) or values (1) of a head.
    fn learned_block(&self, [part, head, first]: [usize; 3], to: &mut [F]) {
        let from = ((part * self.heads + head) * self.remembered() + first) * self.depth;
        read_rows((&self.memory[from..], self.depth), (to, self.wide()), self.depth);
    }

    /// The softmax of a block of a head's queries.
    fn queries(&self, rows: &[F], weights: &Weights<F>, head: usize, to: &mut [F]) {
        self.project(rows, weights.into(Part::Query, head), to);
        Scores { data: to, step: self.wide(), valid: self.depth }.softmax();
    }
}

/// The forward pass, `[B, N, C]`.
pub(crate) fn forward<F: Float, E: Stored<F = F>>(of: &Layer<'_, E>) -> Vec<E> {
    of.check();
    let ([batch, tokens, channels], wide, padded) = (of.dims, of.wide(), of.padded());
    let weights = Weights::new(of);
    let (block, rows, h) = (BLOCK * wide, BLOCK * padded, of.heads);
    let sizes = [rows, rows, block, block, h * wide, h * wide, h * wide * wide, h * wide * padded];
    // SAFETY: each job writes all of its image.
    unsafe {
        filled(of.x.len(), |to| {
            (0..batch).into_par_iter().for_each(|image| {
                with_parts(sizes, |[x, y, a, b, top, factors, product, projected]| {
                    let mut context = Context { top, factors, product, projected };
                    of.gather(&weights, image, [&mut *x, &mut *a, &mut *b], &mut context);
                    for first in (0..tokens).step_by(BLOCK) {
                        let count = BLOCK.min(tokens - first);
                        let (x, y, query) =
                            (&mut x[..count * padded], &mut y[..count * padded], &mut a[..count * wide]);
                        of.rows(of.x, image, first, x);
                        for row in y.chunks_exact_mut(padded) {
                            row[..channels].copy_from_slice(of.bias);
                            row[channels..].fill(F::ZERO);
                        }
                        for (head, projected) in context.projected.chunks_exact(wide * padded).enumerate() {
                            of.queries(x, &weights, head, query);
                            of.add_back(query, projected, y);
                        }
                        let to = to.at((image * tokens + first) * channels);
                        write_rows((y, padded), (to, channels), channels);
                    }
                });
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;
    use crate::kernel::check::{check, stored, wide};

    fn run<E: Stored>(dims: [usize; 3], [heads, depth]: [usize; 2], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (x, dy): (Vec<E>, Vec<E>) = (stored(&inputs[0]), stored(&inputs[5]));
        let [weight, memory, out, bias] = [1, 2, 3, 4].map(|i| stored::<E::F>(&inputs[i]));
        let of = Layer { x: &x, dims, heads, depth, weight: &weight, memory: &memory, out: &out, bias: &bias };
        let d = backward(&of, &dy);
        vec![wide(&forward(&of)), wide(&d.x), wide(&d.weight), wide(&d.memory), wide(&d.out), wide(&d.bias)]
    }

    #[test]
    fn gradients_of_the_layer() {
        // The second has more than one block of tokens; the third more learned tokens than a block and full vectors.
        for (dims, heads, memory) in [([2, 5, 3], [2, 3], 2), ([1, 70, 20], [1, 20], 3), ([1, 3, 16], [2, 16], 66)] {
            let ([b, n, c], hidden) = (dims, heads[0] * heads[1]);
            let sizes = [b * n * c, 3 * hidden * c, 2 * hidden * memory, c * hidden, c, b * n * c];
            check(
                [&|x| run::<f64>(dims, heads, x), &|x| run::<f32>(dims, heads, x), &|x| run::<bf16>(dims, heads, x)],
                &sizes,
                &format!("{dims:?} {heads:?} {memory}"),
            );
        }
    }
}
