//! The tokens of an attention layer: where their heads lie in memory, and moving them into and out of padded rows.
//!
//! Keys and values may begin with learned ones ("memory") that every image shares.

use rayon::prelude::*;

use crate::{
    buffer::Shared,
    simd::{Float, Kernel, Lanes, Stored, dispatch},
};

/// Where `[B, heads, tokens, D]` lies: any strides but a contiguous last dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// `[B, heads, tokens, D]`.
    pub dims: [usize; 4],
    /// Of the first value.
    pub offset: usize,
    /// Of the first three dimensions.
    pub strides: [usize; 3],
}

impl Place {
    /// Part `part` of `parts` of the channels of `[B, tokens, parts · heads · D]`.
    pub(crate) fn part(dims: [usize; 4], part: usize, parts: usize) -> Self {
        let [_, heads, tokens, depth] = dims;
        let row = parts * heads * depth;
        Self { dims, offset: part * heads * depth, strides: [tokens * row, depth, row] }
    }

    /// Images times heads.
    pub(crate) fn jobs(&self) -> usize {
        self.dims[0] * self.dims[1]
    }

    /// Where a token of head `job % heads` of image `job / heads` begins.
    fn at(&self, job: usize, token: usize) -> usize {
        let heads = self.dims[1];
        self.offset + job / heads * self.strides[0] + job % heads * self.strides[1] + token * self.strides[2]
    }

    /// Whether all of it lies within `len` values.
    fn fits(&self, len: usize) -> bool {
        let [b, h, n, d] = self.dims;
        b * h * n * d == 0 || self.at(b * h - 1, n - 1) + d <= len
    }
}

/// Queries, keys or values, or the gradient of an output.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, E: Stored> {
    pub data: &'a [E],
    pub place: Place,
    /// Learned tokens before the others, `[heads, M, D]`, the same for every image; empty if there are none.
    pub memory: &'a [E::F],
}

impl<E: Stored> Source<'_, E> {
    /// Learned tokens per head.
    pub(crate) fn remembered(&self) -> usize {
        let [_, heads, _, depth] = self.place.dims;
        self.memory.len() / (heads * depth).max(1)
    }

    /// Tokens per head, the learned ones included.
    pub(crate) fn tokens(&self) -> usize {
        self.remembered() + self.place.dims[2]
    }

    /// Copies tokens from `first` on, times `scale`, into rows of `width` values, zero behind the depth;
    /// rows behind the last token become zero.
    ///
    /// # Panics
    /// If the tokens reach beyond the data.
    pub(crate) fn read(&self, job: usize, first: usize, to: (&mut [E::F], usize), scale: E::F) {
        let ([_, heads, tokens, depth], memory, (to, width)) = (self.place.dims, self.remembered(), to);
        let rows = to.len() / width;
        let from_memory = memory.saturating_sub(first).min(rows);
        let (own, rest) = to.split_at_mut(from_memory * width);
        if from_memory > 0 {
            let start = (job % heads * memory + first) * depth;
            read_rows((&self.memory[start..], depth), (own, width), depth, scale);
        }
        let token = (first + from_memory).saturating_sub(memory);
        let count = tokens.saturating_sub(token).min(rows - from_memory);
        let (own, behind) = rest.split_at_mut(count * width);
        if count > 0 {
            read_rows((&self.data[self.place.at(job, token)..], self.place.strides[2]), (own, width), depth, scale);
        }
        behind.fill(E::F::ZERO);
    }
}

/// Copies rows of `depth` values, `step` apart, into padded ones.
fn read_rows<E: Stored>((from, step): (&[E], usize), (to, width): (&mut [E::F], usize), depth: usize, scale: E::F) {
    let rows = to.len() / width;
    assert!(depth <= width && (rows - 1) * step + depth <= from.len());
    // SAFETY: every reach was just compared with its slice.
    unsafe { dispatch(Read { from, step, to, width, depth, scale }) }
}

struct Read<'a, E: Stored> {
    from: &'a [E],
    step: usize,
    to: &'a mut [E::F],
    width: usize,
    depth: usize,
    scale: E::F,
}

impl<E: Stored> Kernel<E::F> for Read<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let whole = self.depth / 16 * 16;
        for (row, to) in self.to.chunks_exact_mut(self.width).enumerate() {
            unsafe {
                let (from, scale) = (self.from.as_ptr().add(row * self.step), L::splat(self.scale));
                for i in (0..whole).step_by(16) {
                    E::load::<L>(from.add(i)).mul(scale).store(to.as_mut_ptr().add(i));
                }
                for i in whole..self.depth {
                    to[i] = (*from.add(i)).get() * self.scale;
                }
            }
            to[self.depth..].fill(E::F::ZERO);
        }
    }
}

/// Where tokens go: an output or a gradient.
#[derive(Clone, Copy)]
pub(crate) struct Sink<E: Stored> {
    pub to: Shared<E>,
    pub place: Place,
    /// The gradients of the learned tokens.
    pub memory: Option<MemorySink<E::F>>,
}

/// Where the gradients of the learned keys or values of each image go, `[B, 2, heads, M, D]`.
#[derive(Clone, Copy)]
pub(crate) struct MemorySink<F> {
    pub to: Shared<F>,
    /// 0 for keys, 1 for values.
    pub part: usize,
    /// Tokens per head.
    pub tokens: usize,
}

impl<E: Stored> Sink<E> {
    /// Writes rows of `width` values, times `scale`, as the tokens from `first` on; rows behind the last token are left out.
    ///
    /// # Safety
    /// The memory has room for all that the place covers, and no other job writes these tokens.
    pub(crate) unsafe fn write(&self, job: usize, first: usize, (rows, width): (&[E::F], usize), scale: E::F) {
        let ([_, heads, tokens, depth], count) = (self.place.dims, rows.len() / width);
        let memory = self.memory.map_or(0, |m| m.tokens);
        let to_memory = memory.saturating_sub(first).min(count);
        let (own, rest) = rows.split_at(to_memory * width);
        if let Some(sink) = self.memory.filter(|_| to_memory > 0) {
            let start = ((job / heads * 2 + sink.part) * heads + job % heads) * memory + first;
            // SAFETY: the caller's promise; an image's heads have parts of their own.
            unsafe { dispatch(Write { to: sink.to.at(start * depth), step: depth, rows: own, width, depth, scale }) };
        }
        let token = (first + to_memory).saturating_sub(memory);
        let rows = &rest[..tokens.saturating_sub(token).min(count - to_memory) * width];
        let step = self.place.strides[2];
        // SAFETY: the caller's promise; the rows end with the last token.
        unsafe { dispatch(Write { to: self.to.at(self.place.at(job, token)), step, rows, width, depth, scale }) };
    }
}

/// There is room at `to` for the rows, `step` apart.
struct Write<'a, E: Stored> {
    to: *mut E,
    step: usize,
    rows: &'a [E::F],
    width: usize,
    depth: usize,
    scale: E::F,
}

impl<E: Stored> Kernel<E::F> for Write<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let whole = self.depth / 16 * 16;
        for (n, row) in self.rows.chunks_exact(self.width).enumerate() {
            unsafe {
                let (to, scale) = (self.to.add(n * self.step), L::splat(self.scale));
                for i in (0..whole).step_by(16) {
                    E::store::<L>(L::load(row.as_ptr().add(i)).mul(scale), to.add(i));
                }
                for i in whole..self.depth {
                    to.add(i).write(E::put(row[i] * self.scale));
                }
            }
        }
    }
}

/// Queries, keys and values of one attention layer.
#[derive(Clone, Copy)]
pub(crate) struct Qkv<'a, E: Stored> {
    pub q: Source<'a, E>,
    pub k: Source<'a, E>,
    pub v: Source<'a, E>,
}

impl<'a, E: Stored> Qkv<'a, E> {
    /// From `[B, N, 3 heads D]`, with the memory `[2, heads, M, D]` (keys, values) before keys and values.
    /// `dims` are `[B, heads, N, D]`.
    pub(crate) fn fused(data: &'a [E], dims: [usize; 4], memory: &'a [E::F]) -> Self {
        let (keys, values) = memory.split_at(memory.len() / 2);
        let part = |part, memory| Source { data, place: Place::part(dims, part, 3), memory };
        Self { q: part(0, &[]), k: part(1, keys), v: part(2, values) }
    }

    /// Whether the shapes fit each other and everything lies within its data.
    pub(crate) fn check(&self) {
        let Self { q, k, v } = self;
        let ([b, h, _, d], [kb, kh, _, kd]) = (q.place.dims, k.place.dims);
        assert!(k.place.dims == v.place.dims && [b, h, d] == [kb, kh, kd] && q.memory.is_empty());
        assert!(k.memory.len() == v.memory.len() && k.memory.len() == h * k.remembered() * d);
        assert!([q, k, v].iter().all(|s| s.place.fits(s.data.len())));
    }

    /// The shapes in words, and the floating-point operations of full attention.
    pub(crate) fn label(&self) -> (String, f64) {
        let ([b, h, n, d], m) = (self.q.place.dims, self.k.tokens());
        (format!("{b}x{h}x{n}x{d}, {m} keys"), 4.0 * (b * h * n * m * d) as f64)
    }
}

/// The sum over images of `parts` `[images, len]`, in order, in f64.
pub(crate) fn sum_images<F: Float>(parts: &[F], images: usize) -> Vec<F> {
    let len = parts.len() / images.max(1);
    let sum = |i: usize| F::of_f64(parts.iter().skip(i).step_by(len).map(|x| x.to_f64()).sum());
    (0..len).into_par_iter().with_min_len(256).map(sum).collect()
}
