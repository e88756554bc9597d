//! The CPU kernels, over plain slices: no tensors, no autodiff.
//!
//! Work is cut into jobs whose results do not depend on how many threads run them; where jobs add into one result,
//! the cut is fixed by the shapes and the partial sums are added in order.

#![allow(
    clippy::needless_range_loop,
    reason = "register tiles are indexed by constants, so that the compiler unrolls them"
)]

pub(crate) mod attention;
#[cfg(test)]
pub(crate) mod check;
pub(crate) mod conv;
pub(crate) mod conv_grad;
pub(crate) mod convert;
pub(crate) mod dense;
pub(crate) mod group_lines;
pub(crate) mod group_norm;
pub(crate) mod heads;
pub(crate) mod layout;
pub(crate) mod linear_attention;
pub(crate) mod linear_layer;
pub(crate) mod norm;
pub(crate) mod outer;
pub(crate) mod pack;
pub(crate) mod plane;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod softmax;
pub(crate) mod sums;
pub(crate) mod tokens;
pub(crate) mod winograd;

#[cfg(test)]
mod tests {
    use super::{
        conv::{self, ConvShape},
        conv_grad,
        group_norm::{self, Affine, GroupShape},
        heads,
        linear_layer::{self, Layer},
        norm::{self, Coefficients, NormShape},
        sums,
        tokens::{Place, Qkv, Source},
        winograd,
    };
    use crate::{
        AttentionKind, ConvSpec,
        simd::{Unit, tests::LIMIT},
    };

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    /// Runs `work` in a pool whose threads use no wider unit than `limit`.
    fn with_unit<R: Send>(limit: Unit, work: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(move |_| LIMIT.set(limit));
        pool.build().expect("a pool").install(work)
    }

    type Results = fn() -> Vec<Vec<f32>>;

    /// Every vector unit computes the same things, up to rounding.
    #[test]
    fn units_agree() {
        let kinds: [(Results, f32); 2] = [(everything, 5e-6), (tiles, 3e-5)];
        for (work, tolerance) in kinds {
            let widest = with_unit(Unit::Avx512, work);
            for limit in [Unit::Avx2, Unit::Portable] {
                for (i, (a, b)) in with_unit(limit, work).iter().zip(&widest).enumerate() {
                    let size = b.iter().fold(1.0f32, |m, x| m.max(x.abs()));
                    assert!(
                        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance * size),
                        "{limit:?}, {i}"
                    );
                }
            }
        }
    }

    fn groups_of(channels: usize) -> GroupShape {
        let groups = if channels == 32 { 8 } else { 7 };
        GroupShape { images: 2, pixels: 150, channels, groups, epsilon: 1e-5, silu: true }
    }

    /// All three passes of a convolution.
    fn passes(shape: ConvShape) -> [Vec<f32>; 4] {
        let [x, w, y] = [shape.x, shape.weight, shape.y()].map(|dims| dims.iter().product());
        let (x, w, dy) = (numbers(x, 1), numbers(w, 2), numbers(y, 3));
        let y = conv::conv2d(&x, &w, &numbers(shape.weight[0], 4), &shape);
        let (dw, db) = conv_grad::weight_gradient(&x, &dy, &shape);
        [y, conv::input_gradient(&dy, &w, &shape), dw, db]
    }

    /// Convolutions by Winograd's tiles, inside images and on their borders, in whole vectors and not.
    fn tiles() -> Vec<Vec<f32>> {
        let mut results = Vec::new();
        for (x, out, padding, doubled) in [
            ([2, 9, 7, 16], 17, 1, false),
            ([1, 12, 13, 33], 16, 1, false),
            ([1, 8, 8, 16], 32, 2, false),
            ([1, 4, 4, 64], 80, 1, false),
            ([1, 4, 6, 16], 20, 1, true),
        ] {
            let shape = ConvShape { x, weight: [out, x[3], 3, 3], spec: ConvSpec::new(1, padding), doubled };
            assert!(winograd::applies(&shape), "{shape:?}");
            results.extend(passes(shape));
        }
        results
    }

    fn everything() -> Vec<Vec<f32>> {
        let mut results = Vec::new();
        for ([i, o], [kh, kw], stride, padding, doubled) in [
            ([5, 130], [3, 3], 1, 1, false),
            ([32, 70], [1, 1], 1, 0, false),
            ([16, 33], [5, 5], 1, 2, false),
            ([17, 20], [3, 3], 2, 1, false),
            ([3, 16], [4, 4], 2, 1, false),
            ([16, 5], [1, 7], 1, 0, false),
            ([6, 18], [3, 3], 1, 1, true),
        ] {
            let (spec, weight) = (ConvSpec::new(stride, padding), [o, i, kh, kw]);
            results.extend(passes(ConvShape { x: [3, 9, 7, i], weight, spec, doubled }));
            results.push(sums::column_sums(&numbers(189 * o, 3), o));
        }
        for channels in [32, 21] {
            let shape = NormShape { images: 2, pixels: 150, channels, silu: true };
            let (gain, pair) = (numbers(channels, 5), numbers(2 * channels, 6));
            let (x, dy) = (numbers(300 * channels, 7), numbers(300 * channels, 8));
            let given = Coefficients { gain: &gain, scale: &pair, shift: &pair };
            let d = norm::backward(&x, given, &dy, shape);
            results.extend([norm::forward(&x, None, given, shape), d.x, d.gain, d.scale, d.shift]);
            let of = Affine { gain: &gain, bias: &gain, scale: &pair, shift: &pair };
            let d = group_norm::backward(&x, of, &dy, groups_of(channels));
            results.extend([group_norm::forward(&x, of, groups_of(channels)), d.x, d.gain, d.bias, d.scale, d.shift]);
        }
        let (qkv, dy, memory) = (numbers(2 * 90 * 120, 9), numbers(2 * 90 * 40, 10), numbers(2 * 2 * 3 * 20, 11));
        let dims = [2, 2, 90, 20];
        let of = Qkv::fused(&qkv, dims, &memory);
        for kind in [AttentionKind::Full, AttentionKind::Linear] {
            results.push(heads::forward(kind, &of));
            let dy = Source { data: &dy, place: Place::part(dims, 0, 1), memory: &[] };
            let (dx, dmemory) = heads::backward_fused(kind, &of, &dy);
            results.extend([dx, dmemory]);
        }
        for (dims, [heads, depth], learned) in [([2, 70, 20], [2, 12], 3), ([1, 17, 32], [1, 16], 66)] {
            let (len, hidden) = (dims.iter().product(), heads * depth);
            let weights = [3 * hidden * dims[2], 2 * hidden * learned, dims[2] * hidden, dims[2]];
            let (x, dy, weights) = (numbers(len, 12), numbers(len, 13), weights.map(|n| numbers(n, 14)));
            let [weight, memory, out, bias] = weights.each_ref().map(Vec::as_slice);
            let of = Layer { x: &x, dims, heads, depth, weight, memory, out, bias };
            let d = linear_layer::backward(&of, &dy);
            results.extend([linear_layer::forward(&of), d.x, d.weight, d.memory, d.out, d.bias]);
        }
        results
    }
}
