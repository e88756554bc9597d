//! Full and linear attention over tokens.
//!
//! Full: arXiv:1706.03762 eq. 1. Linear: arXiv:1812.01243, with the scaling of denoising-diffusion-pytorch's `LinearAttention`.
//! Learned keys and values beside the tokens' own ("memory"): arXiv:1907.01470.
//! Tokens that are hidden (padding): [`attention_where`]. Deliberately absent: other masks, dropout, projections (those are 1x1 convolutions of the network).

use burn::{
    backend::Dispatch,
    tensor::{Tensor, TensorData},
};

use crate::{
    composed,
    convert::{as_in, to_f32},
    extension::CpuOps,
    route::has_kernel,
    rules::{Fused, LinearLayer, Quinary, Ternary},
};

/// How tokens attend to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionKind {
    /// `softmax(q kᵀ / √D) v`: cost grows with the square of the number of tokens.
    Full,
    /// `softmax_D(q) / √D · (softmax_tokens(k)ᵀ v)`: cost grows with the number of tokens.
    Linear,
}

/// Self-attention of what one projection gives: `qkv` `[B, N, 3 heads D]` holds the queries of all heads, then their keys, then
/// their values. `memory` `[2, heads, M, D]` are learned keys and values that every image attends to before its own.
/// Returns `[B, N, heads D]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn self_attention(qkv: Tensor<3>, memory: Option<Tensor<4>>, heads: usize, kind: AttentionKind) -> Tensor<3> {
    let [_, tokens, channels] = qkv.dims();
    assert!(tokens > 0 && channels > 0, "there is nothing to attend to in {:?}", qkv.dims());
    assert!(heads > 0 && channels % (3 * heads) == 0, "{channels} channels are not q, k and v of {heads} heads");
    if let Some([two, of, _, depth]) = memory.as_ref().map(Tensor::dims) {
        let fits = [two, of, depth] == [2, heads, channels / (3 * heads)];
        assert!(fits, "memory [{two}, {of}, _, {depth}] does not fit {heads} heads in {channels} channels");
    }
    if !has_kernel(&qkv) {
        return composed::self_attention(qkv, memory, heads, kind);
    }
    let (qkv, rule) = (qkv.into_dispatch(), Fused { kind, heads });
    Tensor::from_dispatch(match memory {
        Some(memory) => Dispatch::attention_with_memory(qkv, to_f32(memory).into_dispatch(), rule),
        None => Dispatch::attention(qkv, rule),
    })
}

/// The projections of [`linear_attention_layer`].
#[derive(Clone, Debug)]
pub struct LinearAttentionWeights {
    /// `[3 heads D, C]`: queries of all heads, then keys, then values.
    pub qkv: Tensor<2>,
    /// Learned keys and values, `[2, heads, M, D]`.
    pub memory: Tensor<4>,
    /// `[C, heads D]`.
    pub out: Tensor<2>,
    /// `[C]`.
    pub bias: Tensor<1>,
}

/// A whole layer of linear self-attention: `x` `[B, N, C]` through `qkv`, [`AttentionKind::Linear`] with the memory, and `out`.
/// The kernel keeps nothing but `x` for the gradient: queries, keys and values are computed again. Returns `[B, N, C]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn linear_attention_layer(x: Tensor<3>, weights: LinearAttentionWeights) -> Tensor<3> {
    let LinearAttentionWeights { qkv, memory, out, bias } = weights;
    let ([_, tokens, channels], [two, heads, _, depth]) = (x.dims(), memory.dims());
    let fits = qkv.dims() == [3 * heads * depth, channels] && out.dims() == [channels, heads * depth];
    assert!(
        two == 2 && fits && bias.dims() == [channels] && tokens > 0,
        "projections {:?} and {:?} and memory {:?} do not fit {channels} channels",
        qkv.dims(),
        out.dims(),
        memory.dims()
    );
    if !has_kernel(&x) {
        let y = self_attention(composed::linear(x, qkv, None), Some(memory), heads, AttentionKind::Linear);
        return composed::linear(y, out, Some(bias));
    }
    let [qkv, out] = [qkv, out].map(|w| to_f32(w).into_dispatch());
    let (x, memory, bias) = (x.into_dispatch(), to_f32(memory).into_dispatch(), to_f32(bias).into_dispatch());
    Tensor::from_dispatch(Dispatch::quinary(x, qkv, memory, out, bias, Quinary::Layer(LinearLayer)))
}

/// Attention of queries to separate keys and values. `q` `[B, heads, N, D]`; `k`, `v` `[B, heads, M, D]` → `[B, heads, N, D]`.
///
/// # Panics
/// On shapes that do not fit.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, kind: AttentionKind) -> Tensor<4> {
    let [[b, h, n, d], keys, values] = [&q, &k, &v].map(Tensor::dims);
    assert!(
        keys == values && [keys[0], keys[1], keys[3]] == [b, h, d] && keys[2] > 0 && n > 0,
        "queries [{b}, {h}, {n}, {d}] do not fit keys {keys:?}, values {values:?}"
    );
    if !has_kernel(&q) {
        return composed::attention(q, k, v, kind);
    }
    let (k, v) = (as_in(k, &q), as_in(v, &q));
    let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::ternary(q, k, v, Ternary::Attention(kind)))
}

/// What a hidden key scores: nothing beside any other.
const HIDDEN: f64 = -1e9;

/// [`AttentionKind::Full`] attention of queries to the keys that are `seen` `[B * M]`, the same for all heads: `q` `[B, heads, N, D]`; `k`, `v`
/// `[B, heads, M, D]` -> `[B, heads, N, D]`. An image whose keys are all hidden sees all of them evenly.
///
/// One more number in queries and keys carries the mask, so this is [`attention`] with its gradients.
///
/// # Panics
/// On shapes that do not fit.
pub fn attention_where(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, seen: &[bool]) -> Tensor<4> {
    let ([batch, heads, _, depth], [_, _, keys, _]) = (q.dims(), k.dims());
    assert!(seen.len() == batch * keys, "{} marks for {batch} sequences of {keys} keys", seen.len());
    if seen.iter().all(|seen| *seen) {
        return attention(q, k, v, AttentionKind::Full);
    }
    // Scores are divided by the root of one more than D.
    let root = ((depth + 1) as f64).sqrt();
    let told: Vec<f32> = seen.iter().map(|seen| if *seen { 0.0 } else { HIDDEN as f32 }).collect();
    let told = Tensor::<4>::from_data(TensorData::new(told, [batch, 1, keys, 1]), &q.device());
    let told = as_in(told.expand([batch, heads, keys, 1]), &q);
    let [k, v] = [k, v].map(|x| as_in(x, &q));
    let one = q.clone().narrow(3, 0, 1).ones_like() * root;
    let none = v.clone().narrow(3, 0, 1).zeros_like();
    let q = Tensor::cat(vec![q * (root / (depth as f64).sqrt()), one], 3);
    let y = attention(q, Tensor::cat(vec![k, told], 3), Tensor::cat(vec![v, none], 3), AttentionKind::Full);
    y.narrow(3, 0, depth)
}
