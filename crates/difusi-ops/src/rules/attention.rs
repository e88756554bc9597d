//! Attention as rules: fused queries, keys and values with and without memory, and separate ones.

use burn_flex::FlexTensor;

use super::{Rule, dims, tensor, values};
use crate::{
    AttentionKind,
    kernel::{
        heads,
        linear_layer::{self, Layer},
        tokens::{Place, Qkv, Source},
    },
    profile::timed,
};

/// Self-attention of `[B, N, 3 heads D]`, alone or with the memory `[2, heads, M, D]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fused {
    pub kind: AttentionKind,
    pub heads: usize,
}

impl AttentionKind {
    fn name(self) -> &'static str {
        match self {
            AttentionKind::Full => "attention",
            AttentionKind::Linear => "linear attention",
        }
    }

    fn name_backward(self) -> &'static str {
        match self {
            AttentionKind::Full => "attention backward",
            AttentionKind::Linear => "linear attention backward",
        }
    }
}

impl Fused {
    /// `[B, heads, N, D]`.
    fn dims(self, qkv: &FlexTensor) -> [usize; 4] {
        let [batch, tokens, channels] = dims(qkv);
        [batch, self.heads, tokens, channels / (3 * self.heads)]
    }

    fn compute(self, qkv: &FlexTensor, memory: &[f32]) -> FlexTensor {
        let of = Qkv::fused(values(qkv), self.dims(qkv), memory);
        let y = timed(self.kind.name(), || of.label(), || heads::forward(self.kind, &of));
        let [batch, heads, tokens, depth] = self.dims(qkv);
        tensor(y, [batch, tokens, heads * depth])
    }

    /// The gradients of both.
    fn gradients(self, qkv: &FlexTensor, memory: &[f32], dy: &FlexTensor) -> (FlexTensor, Vec<f32>) {
        let place = self.dims(qkv);
        let of = Qkv::fused(values(qkv), place, memory);
        let dy = Source { data: values(dy), place: Place::part(place, 0, 1), memory: &[] };
        let work = || heads::backward_fused(self.kind, &of, &dy);
        let (dx, dmemory) = timed(self.kind.name_backward(), || of.label(), work);
        (tensor(dx, dims::<3>(qkv)), dmemory)
    }
}

impl Rule<1> for Fused {
    fn is_cheap(self) -> bool {
        false
    }

    fn forward(self, [qkv]: [FlexTensor; 1]) -> FlexTensor {
        self.compute(&qkv.to_contiguous(), &[])
    }

    fn backward(self, [qkv]: [FlexTensor; 1], dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.gradients(&qkv.to_contiguous(), &[], &dy.to_contiguous()).0)]
    }
}

impl Rule<2> for Fused {
    fn is_cheap(self) -> bool {
        false
    }

    fn forward(self, inputs: [FlexTensor; 2]) -> FlexTensor {
        let [qkv, memory] = inputs.map(|t| t.to_contiguous());
        self.compute(&qkv, values(&memory))
    }

    fn backward(self, inputs: [FlexTensor; 2], dy: FlexTensor, needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [qkv, memory] = inputs.map(|t| t.to_contiguous());
        let (dx, dmemory) = self.gradients(&qkv, values(&memory), &dy.to_contiguous());
        [needed[0].then_some(dx), needed[1].then(|| tensor(dmemory, dims::<4>(&memory)))]
    }
}

/// Attention of separate queries `[B, heads, N, D]`, keys and values `[B, heads, M, D]`.
pub(super) fn forward(kind: AttentionKind, inputs: [FlexTensor; 3]) -> FlexTensor {
    let [q, k, v] = inputs.map(with_rows);
    let of = Qkv { q: source(&q), k: source(&k), v: source(&v) };
    let y = timed(kind.name(), || of.label(), || heads::forward(kind, &of));
    as_heads(y, of.q.place)
}

/// The gradients of [`forward`].
pub(super) fn backward(kind: AttentionKind, inputs: [FlexTensor; 3], dy: FlexTensor) -> [Option<FlexTensor>; 3] {
    let ([q, k, v], dy) = (inputs.map(with_rows), with_rows(dy));
    let of = Qkv { q: source(&q), k: source(&k), v: source(&v) };
    let work = || heads::backward_separate(kind, &of, &source(&dy));
    let [dq, dk, dv] = timed(kind.name_backward(), || of.label(), work);
    [Some(as_heads(dq, of.q.place)), Some(as_heads(dk, of.k.place)), Some(as_heads(dv, of.v.place))]
}

/// The tensor itself if its rows can be read where they lie, else a contiguous copy.
fn with_rows(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let readable = strides.iter().all(|&s| s >= 0) && strides[3] == 1;
    if readable { tensor } else { tensor.to_contiguous() }
}

fn source(tensor: &FlexTensor) -> Source<'_, f32> {
    let layout = tensor.layout();
    let strides = layout.strides();
    let strides = std::array::from_fn(|i| strides[i] as usize);
    let place = Place { dims: dims(tensor), offset: layout.start_offset(), strides };
    Source { data: tensor.storage::<f32>(), place, memory: &[] }
}

/// `[B, N, heads, D]` in memory, seen as `[B, heads, N, D]`.
fn as_heads(values: Vec<f32>, Place { dims: [batch, heads, tokens, depth], .. }: Place) -> FlexTensor {
    let memory = tensor(values, [batch, tokens, heads, depth]);
    let layout = memory.layout().permute(&[0, 2, 1, 3]);
    memory.with_layout(layout)
}

/// A whole layer of linear attention: `x` `[B, N, C]`, projections `[3 heads D, C]`, memory `[2, heads, M, D]`, output projection
/// `[C, heads D]` and its bias `[C]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearLayer;

fn layer([x, weight, memory, out, bias]: &[FlexTensor; 5]) -> Layer<'_, f32> {
    let [_, heads, _, depth] = dims(memory);
    let [weight, memory, out, bias] = [weight, memory, out, bias].map(|t| values(t));
    Layer { x: values(x), dims: dims(x), heads, depth, weight, memory, out, bias }
}

impl LinearLayer {
    pub(super) fn compute(self, inputs: [FlexTensor; 5]) -> FlexTensor {
        let inputs = inputs.map(|t| t.to_contiguous());
        let of = layer(&inputs);
        let y = timed("linear attention", || of.label(), || linear_layer::forward(&of));
        tensor(y, of.dims)
    }

    pub(super) fn gradients(self, inputs: [FlexTensor; 5], dy: FlexTensor) -> [Option<FlexTensor>; 5] {
        let (inputs, dy) = (inputs.map(|t| t.to_contiguous()), dy.to_contiguous());
        let of = layer(&inputs);
        let d = timed("linear attention backward", || of.label(), || linear_layer::backward(&of, values(&dy)));
        let [_, weight, memory, out, bias] = &inputs;
        [
            Some(tensor(d.x, of.dims)),
            Some(tensor(d.weight, dims::<2>(weight))),
            Some(tensor(d.memory, dims::<4>(memory))),
            Some(tensor(d.out, dims::<2>(out))),
            Some(tensor(d.bias, dims::<1>(bias))),
        ]
    }
}
