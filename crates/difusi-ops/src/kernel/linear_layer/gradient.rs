//! The gradients of a layer of linear attention; queries, keys and values are computed again.

use rayon::prelude::*;

use super::{
    BLOCK, Context, Layer,
    weights::{Part, Weights},
};
use crate::{
    buffer::{Shared, filled, with_parts},
    kernel::{
        dense::{Dense, turn},
        softmax::{self, Scores},
        sums::add_rows,
        tokens::{sum_images, write_rows},
    },
    simd::{Float, Stored},
};

/// At most so many sums of the weights' gradients are kept apart and added in order.
const GROUPS: usize = 16;

/// The gradients, shaped like what they belong to.
pub(crate) struct LayerGradients<E: Stored> {
    pub x: Vec<E>,
    pub weight: Vec<E::F>,
    pub memory: Vec<E::F>,
    pub out: Vec<E::F>,
    pub bias: Vec<E::F>,
}

/// The sums that one group of images gathers.
struct Sums<'a, F> {
    /// `[3 heads D][padded channels]`.
    weight: &'a mut [F],
    /// `[2, heads, M, D]`.
    memory: &'a mut [F],
    /// `[heads D][padded channels]`.
    out: &'a mut [F],
    /// `[padded channels]`.
    bias: &'a mut [F],
}

/// The gradients from that of the output.
pub(crate) fn backward<F: Float, E: Stored<F = F>>(of: &Layer<'_, E>, dy: &[E]) -> LayerGradients<E> {
    of.check();
    assert_eq!(dy.len(), of.x.len());
    let ([batch, _, channels], padded, hidden) = (of.dims, of.padded(), of.heads * of.depth);
    let weights = Weights::new(of);
    let groups = batch.min(GROUPS);
    let lengths = [3 * hidden * padded, of.memory.len(), hidden * padded, padded];
    let len = lengths.iter().sum::<usize>();
    let mut sums = vec![F::ZERO; groups * len];
    let shared = Shared::new(&mut sums);
    // SAFETY: groups have sums of their own and write all of their images.
    let x = unsafe {
        filled(of.x.len(), |to| {
            (0..groups).into_par_iter().for_each(|group| {
                let (weight, rest) = shared.slice(group * len, len).split_at_mut(lengths[0]);
                let (memory, rest) = rest.split_at_mut(lengths[1]);
                let (out, bias) = rest.split_at_mut(lengths[2]);
                let mut sums = Sums { weight, memory, out, bias };
                for image in batch * group / groups..batch * (group + 1) / groups {
                    backward_image(of, &weights, (dy, image), &mut sums, to);
                }
            });
        })
    };
    let total = sum_images(&sums, groups);
    let (weight, rest) = total.split_at(lengths[0]);
    let (memory, rest) = rest.split_at(lengths[1]);
    let (out, bias) = rest.split_at(lengths[2]);
    let without = |rows: &[F]| rows.chunks_exact(padded).flat_map(|row| &row[..channels]).copied().collect();
    let turned = (0..channels * hidden).map(|i| out[i % hidden * padded + i / hidden]).collect();
    LayerGradients { x, weight: without(weight), memory: memory.to_vec(), out: turned, bias: bias[..channels].to_vec() }
}

/// The gradients of one image: writes that of its input, adds the others.
///
/// # Safety
/// There is room at `to` for the whole input, of which no other job writes this image.
unsafe fn backward_image<F: Float, E: Stored<F = F>>(
    of: &Layer<'_, E>,
    weights: &Weights<F>,
    (dy, image): (&[E], usize),
    sums: &mut Sums<'_, F>,
    to: Shared<E>,
) {
    let ([_, tokens, channels], wide, padded, h) = (of.dims, of.wide(), of.padded(), of.heads);
    let (block, rows, panel) = (BLOCK * wide, BLOCK * padded, wide * padded);
    let context = [h * wide, h * wide, h * wide * wide, h * panel];
    let squares = [h * panel, panel.max(2 * wide * wide + wide), tokens * padded];
    let sizes =
        [rows, rows, 4 * block, context[0], context[1], context[2], context[3], squares[0], squares[1], squares[2]];
    with_parts(sizes, |[x, g, blocks, top, factors, product, projected, dprojected, turned, dx]| {
        let [a, b, c, d] = quarters(blocks, block);
        let mut context = Context { top, factors, product, projected };
        of.gather(weights, image, [&mut *x, &mut *a, &mut *b], &mut context);
        dprojected.fill(F::ZERO);
        dx.fill(F::ZERO);
        for (head, projected) in context.projected.chunks_exact(panel).enumerate() {
            turn((projected, padded), (turned, wide), [wide, padded]);
            let dprojected = &mut dprojected[head * panel..][..of.depth * padded];
            let dweight = &mut sums.weight[head * of.depth * padded..][..of.depth * padded];
            for first in (0..tokens).step_by(BLOCK) {
                let count = BLOCK.min(tokens - first);
                let (x, g) = (&mut x[..count * padded], &mut g[..count * padded]);
                let (query, dquery) = (&mut a[..count * wide], &mut b[..count * wide]);
                of.rows(of.x, image, first, x);
                of.rows(dy, image, first, g);
                of.queries(x, weights, head, query);
                of.project(g, &turned[..channels * wide], dquery);
                of.add_outer(query, g, padded, dprojected);
                Scores { data: &mut *dquery, step: wide, valid: of.depth }.softmax_backward(query);
                of.add_back(dquery, weights.back(Part::Query, head), &mut dx[first * padded..][..count * padded]);
                of.add_outer(dquery, x, padded, dweight);
                if head == 0 {
                    add_rows(g, sums.bias);
                }
            }
        }
        for head in 0..h {
            let dprojected = &dprojected[head * panel..][..of.depth * padded];
            let square = context_gradient(of, weights, head, (context.product, dprojected), (sums.out, turned));
            let known = (&context.top[head * wide..][..wide], &context.factors[head * wide..][..wide], square);
            let scratch = [&mut *x, &mut *a, &mut *b, &mut *c, &mut *d];
            keys_and_values(of, weights, [head, image], known, scratch, (&mut *dx, sums));
        }
        // SAFETY: the caller's promise.
        unsafe { write_rows((dx, padded), (to.at(image * tokens * channels), channels), channels) };
    });
}

/// The gradient of a head's context.
struct Square<'a, F> {
    /// Of `product`, times the scale; `[wide][wide]`.
    by_key: &'a [F],
    /// The same, turned.
    by_value: &'a [F],
    /// `Σ p dp` of each column of the keys.
    dots: &'a [F],
}

/// The gradients of a head's part of the output projection, added, and of its context, in `square`.
fn context_gradient<'s, F: Float, E: Stored<F = F>>(
    of: &Layer<'_, E>,
    weights: &Weights<F>,
    head: usize,
    (product, dprojected): (&[F], &[F]),
    (dout, square): (&mut [F], &'s mut [F]),
) -> Square<'s, F> {
    let (wide, padded, depth) = (of.wide(), of.padded(), of.depth);
    let product = &product[head * wide * wide..][..depth * wide];
    of.add_outer(product, dprojected, padded, &mut dout[head * depth * padded..][..depth * padded]);
    let (by_key, rest) = square.split_at_mut(wide * wide);
    let (by_value, dots) = rest.split_at_mut(wide * wide);
    by_key.fill(F::ZERO);
    of.project(dprojected, weights.out_back(head), &mut by_key[..depth * wide]);
    // Down a column of keys, Σ p dp is what a row of both products has in common.
    let dots = &mut dots[..wide];
    dots.fill(F::ZERO);
    for (dot, (product, gradient)) in dots.iter_mut().zip(product.chunks_exact(wide).zip(by_key.chunks_exact_mut(wide)))
    {
        *dot = product.iter().zip(&*gradient).fold(F::ZERO, |sum, (&a, &b)| sum + a * b);
        gradient.iter_mut().for_each(|x| *x = *x * of.scale());
    }
    turn((by_key, wide), (by_value, wide), [wide, wide]);
    Square { by_key, by_value, dots }
}

/// The gradients of a head's keys and values of one image: of the input (added to `dx`), the projections and the learned tokens.
fn keys_and_values<F: Float, E: Stored<F = F>>(
    of: &Layer<'_, E>,
    weights: &Weights<F>,
    [head, image]: [usize; 2],
    (top, factors, square): (&[F], &[F], Square<'_, F>),
    scratch: [&mut [F]; 5],
    (dx, sums): (&mut [F], &mut Sums<'_, F>),
) {
    let ([_, tokens, _], wide, padded, h) = (of.dims, of.wide(), of.padded(), of.heads);
    let ([x, key, value, dkey, dvalue], depth) = (scratch, of.depth);
    let through = |key: &mut [F], value: &[F], dkey: &mut [F], dvalue: &mut [F]| {
        softmax::columns(key, top, factors);
        let times = |rows: &[F], square: &[F], to: &mut [F]| {
            let size = [rows.len() / wide, depth, wide];
            Dense { a: rows, a_steps: [wide, 1], b: square, b_row: wide, size }.into(to, wide);
        };
        times(key, square.by_key, dvalue);
        times(value, square.by_value, dkey);
        softmax::columns_backward(key, dkey, square.dots);
    };
    let remembered = of.remembered();
    for first in (0..remembered).step_by(BLOCK) {
        let len = BLOCK.min(remembered - first) * wide;
        of.learned_block([0, head, first], &mut key[..len]);
        of.learned_block([1, head, first], &mut value[..len]);
        through(&mut key[..len], &value[..len], &mut dkey[..len], &mut dvalue[..len]);
        for (part, gradient) in [&dkey[..len], &dvalue[..len]].into_iter().enumerate() {
            let to = &mut sums.memory[((part * h + head) * remembered + first) * depth..];
            for (to, row) in to.chunks_exact_mut(depth).zip(gradient.chunks_exact(wide)) {
                to.iter_mut().zip(row).for_each(|(to, &x)| *to = *to + x);
            }
        }
    }
    for first in (0..tokens).step_by(BLOCK) {
        let count = BLOCK.min(tokens - first);
        let (x, len) = (&mut x[..count * padded], count * wide);
        of.rows(of.x, image, first, x);
        of.project(x, weights.into(Part::Key, head), &mut key[..len]);
        of.project(x, weights.into(Part::Value, head), &mut value[..len]);
        through(&mut key[..len], &value[..len], &mut dkey[..len], &mut dvalue[..len]);
        let dx = &mut dx[first * padded..][..count * padded];
        for (part, gradient) in [(Part::Key, &dkey[..len]), (Part::Value, &dvalue[..len])] {
            of.add_back(gradient, weights.back(part, head), dx);
            let at = (part as usize * h + head) * depth * padded;
            of.add_outer(gradient, x, padded, &mut sums.weight[at..][..depth * padded]);
        }
    }
}

/// Four equal parts.
fn quarters<F>(all: &mut [F], len: usize) -> [&mut [F]; 4] {
    let (a, rest) = all.split_at_mut(len);
    let (b, rest) = rest.split_at_mut(len);
    let (c, rest) = rest.split_at_mut(len);
    [a, b, c, &mut rest[..len]]
}
