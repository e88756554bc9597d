//! Attention of both kinds: fused, with learned tokens, with keys of its own, and the whole linear layer.

use burn::tensor::Tensor;
use difusi_ops::{self as ops, AttentionKind, LinearAttentionWeights};

use crate::support::check;

const KINDS: [AttentionKind; 2] = [AttentionKind::Full, AttentionKind::Linear];

/// Batch, heads, tokens, learned tokens, depth: more than a strip, a block and a panel, and odd ones.
const SHAPES: [[usize; 5]; 8] = [
    [2, 4, 64, 4, 32],
    [1, 1, 1, 1, 1],
    [3, 2, 65, 2, 7],
    [2, 3, 130, 70, 16],
    [1, 2, 33, 5, 40],
    [1, 1, 700, 3, 8],
    [1, 3, 15, 1, 17],
    [2, 1, 17, 16, 33],
];

#[test]
fn fused() {
    for [b, heads, n, m, d] in SHAPES {
        for kind in KINDS {
            let qkv = |t: &[Tensor<1>]| t[0].clone().reshape([b, n, 3 * heads * d]);
            let memory = |t: &[Tensor<1>]| t[1].clone().reshape([2, heads, m, d]);
            let (what, own) = (format!("{kind:?} {b} {heads} {n} {m} {d}"), b * n * 3 * heads * d);
            check(&what, &[own, 2 * heads * m * d], |t| ops::self_attention(qkv(t), Some(memory(t)), heads, kind));
            check(&what, &[own], |t| ops::self_attention(qkv(t), None, heads, kind));
        }
    }
}

#[test]
fn separate_keys() {
    for [b, heads, n, m, d] in SHAPES {
        for kind in KINDS {
            // As heads lie in memory, and as views of `[B, tokens, heads, D]`.
            let plain = |x: &Tensor<1>, n: usize| x.clone().reshape([b, heads, n, d]);
            let view = |x: &Tensor<1>, n: usize| x.clone().reshape([b, n, heads, d]).swap_dims(1, 2);
            let (sizes, what) = ([n, m, m].map(|n| b * heads * n * d), format!("{kind:?} {b} {heads} {n} {m} {d}"));
            check(&what, &sizes, |t| ops::attention(plain(&t[0], n), plain(&t[1], m), plain(&t[2], m), kind));
            check(&what, &sizes, |t| ops::attention(view(&t[0], n), view(&t[1], m), view(&t[2], m), kind));
        }
    }
}

#[test]
fn linear_layer() {
    for [b, heads, n, m, d] in SHAPES {
        for channels in [1, 3, 16, 17, 64] {
            let hidden = heads * d;
            let sizes = [b * n * channels, 3 * hidden * channels, 2 * hidden * m, channels * hidden, channels];
            check(&format!("linear layer {b} {heads} {n} {m} {d}, {channels}"), &sizes, |t| {
                let weights = LinearAttentionWeights {
                    qkv: t[1].clone().reshape([3 * hidden, channels]),
                    memory: t[2].clone().reshape([2, heads, m, d]),
                    out: t[3].clone().reshape([channels, hidden]),
                    bias: t[4].clone(),
                };
                ops::linear_attention_layer(t[0].clone().reshape([b, n, channels]), weights)
            });
        }
    }
}
