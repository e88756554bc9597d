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

    /// How many jobs there are of `group` heads each.
    pub(crate) fn jobs(&self, group: usize) -> usize {
        self.dims[0] * self.dims[1] / group
    }

    /// One of them; `group` divides the heads.
    pub(crate) fn job(&self, index: usize, group: usize) -> Job {
        let per_image = self.dims[1] / group;
        Job { image: index / per_image, head: index % per_image * group, heads: group }
    }

    /// Where a token of an image's head begins.
    fn at(&self, image: usize, head: usize, token: usize) -> usize {
        self.offset + image * self.strides[0] + head * self.strides[1] + token * self.strides[2]
    }

    /// Whether all of it lies within `len` values.
    fn fits(&self, len: usize) -> bool {
        let [b, h, n, d] = self.dims;
        b * h * n * d == 0 || self.at(b - 1, h - 1, n - 1) + d <= len
    }
}

/// Some heads of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub image: usize,
    pub head: usize,
    pub heads: usize,
}

/// The rows of a job in scratch: `[heads][rows][width]`.
pub(crate) struct Rows<'a, F> {
    pub data: &'a mut [F],
    pub rows: usize,
    pub width: usize,
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

    /// Copies tokens from `first` on, times `scale`, zeros behind the depth; rows behind the last token become zero.
    ///
    /// # Panics
    /// If the tokens reach beyond the data.
    pub(crate) fn read(&self, job: Job, first: usize, to: Rows<'_, E::F>, scale: E::F) {
        let ([_, _, tokens, depth], memory, rows) = (self.place.dims, self.remembered(), to.rows);
        let Rows { data, width, .. } = to;
        assert!(depth <= width && data.len() == job.heads * rows * width);
        let from_memory = memory.saturating_sub(first).min(rows);
        let token = (first + from_memory).saturating_sub(memory);
        let own = tokens.saturating_sub(token).min(rows - from_memory);
        let mut copy =
            Transfer { steps: [depth, memory * depth], rows: [0, from_memory], of: rows, width, depth, scale };
        if from_memory > 0 {
            copy.read(&self.memory[(job.head * memory + first) * depth..], job.heads, data);
        }
        if own > 0 {
            copy.steps = [self.place.strides[2], self.place.strides[1]];
            copy.rows = [from_memory, own];
            copy.read(&self.data[self.place.at(job.image, job.head, token)..], job.heads, data);
        }
        for head in data.chunks_exact_mut(rows * width) {
            head[(from_memory + own) * width..].fill(E::F::ZERO);
        }
    }
}

/// Rows of some heads on their way into or out of scratch: token by token, as they lie in memory.
#[derive(Clone, Copy)]
struct Transfer<F> {
    /// From token to token and from head to head outside.
    steps: [usize; 2],
    /// First row in scratch, and how many …
    rows: [usize; 2],
    /// … of this many per head …
    of: usize,
    /// … and this far apart.
    width: usize,
    depth: usize,
    scale: F,
}

impl<F: Float> Transfer<F> {
    fn read<E: Stored<F = F>>(self, from: &[E], heads: usize, to: &mut [F]) {
        let [first, count] = self.rows;
        assert!((count - 1) * self.steps[0] + (heads - 1) * self.steps[1] + self.depth <= from.len());
        assert!(first + count <= self.of && heads * self.of * self.width <= to.len());
        // SAFETY: every reach was just compared with its slice.
        unsafe { dispatch(Read { copy: self, heads, from: from.as_ptr(), to: to.as_mut_ptr() }) }
    }
}

/// Copies rows of `depth` values, `step` apart, into padded rows of `width`.
pub(crate) fn read_rows<E: Stored>((from, step): (&[E], usize), (to, width): (&mut [E::F], usize), depth: usize) {
    let count = to.len() / width;
    Transfer { steps: [step, 0], rows: [0, count], of: count, width, depth, scale: E::F::ONE }.read(from, 1, to);
}

/// Copies the first `depth` values of padded rows of `width` to `to`, `step` apart.
///
/// # Safety
/// There is room for them, and no other job writes there.
pub(crate) unsafe fn write_rows<E: Stored>((rows, width): (&[E::F], usize), (to, step): (*mut E, usize), depth: usize) {
    let count = rows.len() / width;
    let copy = Transfer { steps: [step, 0], rows: [0, count], of: count, width, depth, scale: E::F::ONE };
    // SAFETY: the rows are there, and the caller promises room.
    unsafe { dispatch(Write { copy, heads: 1, from: rows.as_ptr(), to }) }
}

/// There are so many rows of so many heads at both pointers.
struct Read<E: Stored> {
    copy: Transfer<E::F>,
    heads: usize,
    from: *const E,
    to: *mut E::F,
}

impl<E: Stored> Kernel<E::F> for Read<E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let Transfer { steps, rows, of, width, depth, scale } = self.copy;
        let whole = depth / 16 * 16;
        for token in 0..rows[1] {
            for head in 0..self.heads {
                unsafe {
                    let from = self.from.add(token * steps[0] + head * steps[1]);
                    let to = self.to.add((head * of + rows[0] + token) * width);
                    for i in (0..whole).step_by(16) {
                        E::load::<L>(from.add(i)).mul(L::splat(scale)).store(to.add(i));
                    }
                    for i in whole..depth {
                        to.add(i).write((*from.add(i)).get() * scale);
                    }
                    for i in depth..width {
                        to.add(i).write(E::F::ZERO);
                    }
                }
            }
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
    /// Writes the rows of a job, times `scale`, as the tokens from `first` on; rows behind the last token are left out.
    ///
    /// # Safety
    /// The memory has room for all that the place covers, and no other job writes these tokens.
    pub(crate) unsafe fn write(&self, job: Job, first: usize, from: Rows<'_, E::F>, scale: E::F) {
        let ([_, heads, tokens, depth], Rows { data, rows, width }) = (self.place.dims, from);
        assert!(depth <= width && data.len() == job.heads * rows * width);
        let memory = self.memory.map_or(0, |m| m.tokens);
        let to_memory = memory.saturating_sub(first).min(rows);
        let token = (first + to_memory).saturating_sub(memory);
        let own = tokens.saturating_sub(token).min(rows - to_memory);
        let copy = Transfer { steps: [depth, memory * depth], rows: [0, to_memory], of: rows, width, depth, scale };
        if let Some(sink) = self.memory.filter(|_| to_memory > 0) {
            let start = ((job.image * 2 + sink.part) * heads + job.head) * memory + first;
            // SAFETY: the caller's promise; an image's heads have parts of their own.
            unsafe { dispatch(Write { copy, heads: job.heads, from: data.as_ptr(), to: sink.to.at(start * depth) }) };
        }
        let copy = Transfer { steps: [self.place.strides[2], self.place.strides[1]], rows: [to_memory, own], ..copy };
        // SAFETY: the caller's promise; the rows end with the last token.
        unsafe {
            let to = self.to.at(self.place.at(job.image, job.head, token));
            dispatch(Write { copy, heads: job.heads, from: data.as_ptr(), to });
        }
    }
}

/// There are so many rows of so many heads at both pointers.
struct Write<E: Stored> {
    copy: Transfer<E::F>,
    heads: usize,
    from: *const E::F,
    to: *mut E,
}

impl<E: Stored> Kernel<E::F> for Write<E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = E::F>>(self) {
        let Transfer { steps, rows, of, width, depth, scale } = self.copy;
        let whole = depth / 16 * 16;
        for token in 0..rows[1] {
            for head in 0..self.heads {
                unsafe {
                    let from = self.from.add((head * of + rows[0] + token) * width);
                    let to = self.to.add(token * steps[0] + head * steps[1]);
                    for i in (0..whole).step_by(16) {
                        E::store::<L>(L::load(from.add(i)).mul(L::splat(scale)), to.add(i));
                    }
                    for i in whole..depth {
                        to.add(i).write(E::put(*from.add(i) * scale));
                    }
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
