//! Full and linear self-attention over tokens.
//!
//! Full: arXiv:1706.03762 eq. 1. Linear: arXiv:1812.01243, with the scaling of denoising-diffusion-pytorch's `LinearAttention`.
//! Deliberately absent: masks, dropout, projections (those are 1x1 convolutions of the network).

use burn::tensor::Tensor;

use crate::composed;

/// `softmax(q kᵀ / √D) v`. `q` `[B, heads, N, D]`; `k`, `v` `[B, heads, M, D]` → `[B, heads, N, D]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    composed::attention(q, k, v)
}

/// Linear attention: `q` softmaxed over `D` and scaled by `D^-0.5`, `k` softmaxed over its `M` tokens, `q (kᵀ v)`.
/// `q` `[B, heads, N, D]`; `k`, `v` `[B, heads, M, D]` → `[B, heads, N, D]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn linear_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    composed::linear_attention(q, k, v)
}
