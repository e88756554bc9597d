//! Attention of either kind on whole tensors: the outputs' memory, fused `[B, N, 3 heads D]` or in separate tensors.

use super::{
    attention, linear_attention,
    tokens::{MemorySink, Place, Qkv, Sink, Source, sum_images},
};
use crate::{
    AttentionKind,
    buffer::{Shared, filled},
    simd::{Float, Stored},
};

/// The output, `[B, N, heads, D]`.
pub(crate) fn forward<E: Stored>(kind: AttentionKind, of: &Qkv<'_, E>) -> Vec<E> {
    let place = Place::part(of.q.place.dims, 0, 1);
    // SAFETY: both write the whole place, which is all of the memory.
    unsafe {
        filled(place.dims.iter().product(), |to| {
            let to = Sink { to, place, memory: None };
            match kind {
                AttentionKind::Full => attention::forward(of, to),
                AttentionKind::Linear => linear_attention::forward(of, to),
            }
        })
    }
}

/// # Safety
/// As the two functions it chooses from.
unsafe fn run_backward<E: Stored>(kind: AttentionKind, of: &Qkv<'_, E>, dy: &Source<'_, E>, to: [Sink<E>; 3]) {
    // SAFETY: the caller's promise is handed on.
    unsafe {
        match kind {
            AttentionKind::Full => attention::backward(of, dy, to),
            AttentionKind::Linear => linear_attention::backward(of, dy, to),
        }
    }
}

/// The gradients of fused queries, keys and values `[B, N, 3 heads D]` and of the memory `[2, heads, M, D]`.
pub(crate) fn backward_fused<E: Stored>(
    kind: AttentionKind,
    of: &Qkv<'_, E>,
    dy: &Source<'_, E>,
) -> (Vec<E>, Vec<E::F>) {
    let (dims, tokens) = (of.q.place.dims, of.k.remembered());
    let mut parts = vec![E::F::ZERO; dims[0] * 2 * of.k.memory.len()];
    let memory = Shared::new(&mut parts);
    // SAFETY: the three places are all of the memory, and each image and head has its part of the memory's gradient.
    let dx = unsafe {
        filled(3 * dims.iter().product::<usize>(), |to| {
            let own = |part| Some(MemorySink { to: memory, part, tokens });
            let sink = |part, memory| Sink { to, place: Place::part(dims, part, 3), memory };
            run_backward(kind, of, dy, [sink(0, None), sink(1, own(0)), sink(2, own(1))]);
        })
    };
    (dx, sum_images(&parts, dims[0]))
}

/// The gradients of separate queries, keys and values without memory, each `[B, tokens, heads, D]`.
pub(crate) fn backward_separate<E: Stored>(kind: AttentionKind, of: &Qkv<'_, E>, dy: &Source<'_, E>) -> [Vec<E>; 3] {
    let places = [of.q, of.k, of.v].map(|s| Place::part(s.place.dims, 0, 1));
    let sink = |to, i: usize| Sink { to, place: places[i], memory: None };
    let len = |i: usize| places[i].dims.iter().product();
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    // SAFETY: each place is all of its memory.
    let dq = unsafe {
        filled(len(0), |q| {
            dk = filled(len(1), |k| {
                dv = filled(len(2), |v| run_backward(kind, of, dy, [sink(q, 0), sink(k, 1), sink(v, 2)]));
            });
        })
    };
    [dq, dk, dv]
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;
    use crate::kernel::check::{check, stored, wide};

    fn fused<E: Stored>(kind: AttentionKind, dims: [usize; 4], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (qkv, memory, dy): (Vec<E>, Vec<E::F>, Vec<E>) =
            (stored(&inputs[0]), stored(&inputs[1]), stored(&inputs[2]));
        let of = Qkv::fused(&qkv, dims, &memory);
        let dy = Source { data: &dy, place: Place::part(dims, 0, 1), memory: &[] };
        let (dx, dmemory) = backward_fused(kind, &of, &dy);
        vec![wide(&forward(kind, &of)), wide(&dx), wide(&dmemory)]
    }

    fn separate<E: Stored>(kind: AttentionKind, [dims, keys]: [[usize; 4]; 2], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [q, k, v, dy] = [0, 1, 2, 3].map(|i| stored::<E>(&inputs[i]));
        let source = |data, dims| Source { data, place: Place::part(dims, 0, 1), memory: &[] };
        let of = Qkv { q: source(&q, dims), k: source(&k, keys), v: source(&v, keys) };
        let [dq, dk, dv] = backward_separate(kind, &of, &source(&dy, dims));
        vec![wide(&forward(kind, &of)), wide(&dq), wide(&dk), wide(&dv)]
    }

    #[test]
    fn gradients_of_fused_attention() {
        for kind in [AttentionKind::Full, AttentionKind::Linear] {
            // The second has more than one strip, block and panel; the third more learned tokens than a block.
            for (dims, memory) in [([2, 2, 5, 3], 4), ([1, 1, 70, 20], 3), ([1, 2, 3, 16], 66), ([1, 1, 330, 2], 0)] {
                let [b, h, n, d] = dims;
                let sizes = [3 * b * h * n * d, 2 * h * memory * d, b * h * n * d];
                check(
                    [&|x| fused::<f64>(kind, dims, x), &|x| fused::<f32>(kind, dims, x), &|x| {
                        fused::<bf16>(kind, dims, x)
                    }],
                    &sizes,
                    &format!("{kind:?} {dims:?} {memory}"),
                );
            }
        }
    }

    #[test]
    fn gradients_of_separate_attention() {
        for kind in [AttentionKind::Full, AttentionKind::Linear] {
            let dims = [[1, 2, 5, 18], [1, 2, 7, 18]];
            let [q, k] = dims.map(|d| d.iter().product());
            check(
                [&|x| separate::<f64>(kind, dims, x), &|x| separate::<f32>(kind, dims, x), &|x| {
                    separate::<bf16>(kind, dims, x)
                }],
                &[q, k, k, q],
                &format!("{kind:?} {dims:?}"),
            );
        }
    }

    /// Scores far apart, in falling and in rising order, neither overflow nor lose the weight of the largest.
    #[test]
    fn large_scores_are_fine() {
        let dims = [1, 1, 700, 1];
        for sign in [1.0f32, -1.0] {
            let qkv: Vec<f32> = (0..700).flat_map(|i| [30.0, sign * i as f32, i as f32]).collect();
            let y = forward(AttentionKind::Full, &Qkv::fused(&qkv, dims, &[]));
            let largest = if sign > 0.0 { 699.0 } else { 0.0 };
            assert!(y.iter().all(|y| (y - largest).abs() < 1e-3), "{:?}", &y[..3]);
        }
    }
}
