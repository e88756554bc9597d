//! Attention as rules: fused queries, keys and values with and without memory, and separate ones.

use burn_flex::FlexTensor;

use super::{
    Rule,
    number::{Number, contiguous, dims, tensor, values, with_number},
};
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

    fn compute<E: Number>(self, qkv: &FlexTensor, memory: &[f32]) -> FlexTensor {
        let qkv = contiguous::<E>(qkv);
        let of = Qkv::<E>::fused(values(&qkv), self.dims(&qkv), memory);
        let y = timed(self.kind.name(), || of.label(), || heads::forward(self.kind, &of));
        let [batch, heads, tokens, depth] = self.dims(&qkv);
        tensor(y, [batch, tokens, heads * depth])
    }

    /// The gradients of both.
    fn gradients<E: Number>(self, qkv: &FlexTensor, memory: &[f32], dy: &FlexTensor) -> (FlexTensor, Vec<f32>) {
        let (qkv, dy) = (contiguous::<E>(qkv), contiguous::<E>(dy));
        let place = self.dims(&qkv);
        let of = Qkv::<E>::fused(values(&qkv), place, memory);
        let dy = Source { data: values(&dy), place: Place::part(place, 0, 1), memory: &[] };
        let work = || heads::backward_fused(self.kind, &of, &dy);
        let (dx, dmemory) = timed(self.kind.name_backward(), || of.label(), work);
        (tensor(dx, dims::<3>(&qkv)), dmemory)
    }
}

impl Rule<1> for Fused {
    fn is_cheap(self) -> bool {
        false
    }

    fn forward(self, [qkv]: [FlexTensor; 1]) -> FlexTensor {
        with_number!(&qkv, E => self.compute::<E>(&qkv, &[]))
    }

    fn backward(self, [qkv]: [FlexTensor; 1], dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(with_number!(&qkv, E => self.gradients::<E>(&qkv, &[], &dy)).0)]
    }
}

impl Rule<2> for Fused {
    fn is_cheap(self) -> bool {
        false
    }

    fn forward(self, [qkv, memory]: [FlexTensor; 2]) -> FlexTensor {
        let memory = contiguous::<f32>(&memory);
        with_number!(&qkv, E => self.compute::<E>(&qkv, values(&memory)))
    }

    fn backward(self, [qkv, memory]: [FlexTensor; 2], dy: FlexTensor, needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let memory = contiguous::<f32>(&memory);
        let (dx, dmemory) = with_number!(&qkv, E => self.gradients::<E>(&qkv, values(&memory), &dy));
        [needed[0].then_some(dx), needed[1].then(|| tensor(dmemory, dims::<4>(&memory)))]
    }
}

/// Attention of separate queries `[B, heads, N, D]`, keys and values `[B, heads, M, D]`, all of one number.
pub(super) fn forward(kind: AttentionKind, inputs: [FlexTensor; 3]) -> FlexTensor {
    let [q, k, v] = inputs.map(with_rows);
    with_number!(&q, E => {
        let of = Qkv { q: source::<E>(&q), k: source(&k), v: source(&v) };
        let y = timed(kind.name(), || of.label(), || heads::forward(kind, &of));
        as_heads(y, of.q.place)
    })
}

/// The gradients of [`forward`].
pub(super) fn backward(kind: AttentionKind, inputs: [FlexTensor; 3], dy: FlexTensor) -> [Option<FlexTensor>; 3] {
    let ([q, k, v], dy) = (inputs.map(with_rows), with_rows(dy));
    with_number!(&q, E => {
        let of = Qkv { q: source::<E>(&q), k: source(&k), v: source(&v) };
        let work = || heads::backward_separate(kind, &of, &source(&dy));
        let [dq, dk, dv] = timed(kind.name_backward(), || of.label(), work);
        [Some(as_heads(dq, of.q.place)), Some(as_heads(dk, of.k.place)), Some(as_heads(dv, of.v.place))]
    })
}

/// The tensor itself if its rows can be read where they lie, else a contiguous copy.
fn with_rows(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let readable = strides.iter().all(|&s| s >= 0) && strides[3] == 1;
    if readable { tensor } else { tensor.to_contiguous() }
}

fn source<E: Number>(tensor: &FlexTensor) -> Source<'_, E> {
    let layout = tensor.layout();
    let strides = layout.strides();
    let strides = std::array::from_fn(|i| strides[i] as usize);
    let place = Place { dims: dims(tensor), offset: layout.start_offset(), strides };
    Source { data: E::storage(tensor), place, memory: &[] }
}

/// `[B, N, heads, D]` in memory, seen as `[B, heads, N, D]`.
fn as_heads<E: Number>(values: Vec<E>, Place { dims: [batch, heads, tokens, depth], .. }: Place) -> FlexTensor {
    let memory = tensor(values, [batch, tokens, heads, depth]);
    let layout = memory.layout().permute(&[0, 2, 1, 3]);
    memory.with_layout(layout)
}

/// A whole layer of linear attention: `x` `[B, N, C]`, projections `[3 heads D, C]`, memory `[2, heads, M, D]`, output projection
/// `[C, heads D]` and its bias `[C]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearLayer;

fn layer<'a, E: Number>(x: &'a FlexTensor, [weight, memory, out, bias]: &'a [FlexTensor; 4]) -> Layer<'a, E> {
    let [_, heads, _, depth] = dims(memory);
    let [weight, memory, out, bias] = [weight, memory, out, bias].map(values::<f32>);
    Layer { x: values(x), dims: dims(x), heads, depth, weight, memory, out, bias }
}

impl LinearLayer {
    pub(super) fn compute<E: Number>(self, [x, rest @ ..]: [FlexTensor; 5]) -> FlexTensor {
        let (x, rest) = (contiguous::<E>(&x), rest.map(|t| contiguous::<f32>(&t)));
        let of = layer::<E>(&x, &rest);
        let y = timed("linear attention", || of.label(), || linear_layer::forward(&of));
        tensor(y, of.dims)
    }

    pub(super) fn gradients<E: Number>(
        self,
        [x, rest @ ..]: [FlexTensor; 5],
        dy: &FlexTensor,
    ) -> [Option<FlexTensor>; 5] {
        let (x, rest, dy) = (contiguous::<E>(&x), rest.map(|t| contiguous::<f32>(&t)), contiguous::<E>(dy));
        let of = layer::<E>(&x, &rest);
        let d = timed("linear attention backward", || of.label(), || linear_layer::backward(&of, values(&dy)));
        let [weight, memory, out, bias] = &rest;
        [
            Some(tensor(d.x, of.dims)),
            Some(tensor(d.weight, dims::<2>(weight))),
            Some(tensor(d.memory, dims::<4>(memory))),
            Some(tensor(d.out, dims::<2>(out))),
            Some(tensor(d.bias, dims::<1>(bias))),
        ]
    }
}
