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
        norm::{self, Coefficients, NormShape},
        sums,
        tokens::{Place, Qkv, Source},
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

    /// Every vector unit computes the same things, up to rounding.
    #[test]
    fn units_agree() {
        let widest = with_unit(Unit::Avx512, everything);
        for limit in [Unit::Avx2, Unit::Portable] {
            for (i, (a, b)) in with_unit(limit, everything).iter().zip(&widest).enumerate() {
                let size = b.iter().fold(1.0f32, |m, x| m.max(x.abs()));
                assert!(
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-6 * size),
                    "{limit:?}, {i}"
                );
            }
        }
    }

    fn groups_of(channels: usize) -> GroupShape {
        let groups = if channels == 32 { 8 } else { 7 };
        GroupShape { images: 2, pixels: 150, channels, groups, epsilon: 1e-5, silu: true }
    }

    fn everything() -> Vec<Vec<f32>> {
        let mut results = Vec::new();
        for [i, o, k] in [[5, 130, 3], [32, 70, 1], [16, 33, 5]] {
            let shape = ConvShape { x: [3, 9, 7, i], weight: [o, i, k, k], spec: ConvSpec::same(k), doubled: false };
            let (x, w, dy) = (numbers(189 * i, 1), numbers(o * i * k * k, 2), numbers(189 * o, 3));
            results.push(conv::conv2d(&x, &w, &numbers(o, 4), &shape));
            results.push(conv::input_gradient(&dy, &w, &shape));
            let (dw, db) = conv_grad::weight_gradient(&x, &dy, &shape);
            results.extend([dw, db]);
            results.push(sums::column_sums(&dy, o));
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
        results
    }
}
