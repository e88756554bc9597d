//! Full and linear self-attention over tokens.
//!
//! Full: arXiv:1706.03762 eq. 1. Linear: arXiv:1812.01243, with the scaling of denoising-diffusion-pytorch's `LinearAttention`.
//! Deliberately absent: masks, dropout, projections (those are 1x1 convolutions of the network).

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, extension::CpuOps, route::has_kernel, rules::Ternary};

/// `softmax(q kᵀ / √D) v`. `q` `[B, heads, N, D]`; `k`, `v` `[B, heads, M, D]` → `[B, heads, N, D]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    if has_kernel(&q) { run([q, k, v], Ternary::Attention) } else { composed::attention(q, k, v) }
}

/// Linear attention: `q` softmaxed over `D` and scaled by `D^-0.5`, `k` softmaxed over its `M` tokens, `q (kᵀ v)`.
/// `q` `[B, heads, N, D]`; `k`, `v` `[B, heads, M, D]` → `[B, heads, N, D]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn linear_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    if has_kernel(&q) { run([q, k, v], Ternary::LinearAttention) } else { composed::linear_attention(q, k, v) }
}

fn run(tokens: [Tensor<4>; 3], rule: Ternary) -> Tensor<4> {
    let [[b, h, _, d], k, v] = tokens.each_ref().map(Tensor::dims);
    assert!(
        k == v && [k[0], k[1], k[3]] == [b, h, d],
        "queries [{b}, {h}, _, {d}] do not fit keys {k:?}, values {v:?}"
    );
    let [q, k, v] = tokens.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::ternary(q, k, v, rule))
}
