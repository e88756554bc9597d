//! The weight gradient: for every kernel position and channel pair, the sum over pixels of input times output gradient.
//!
//! The batch is cut into groups by the shapes alone; each group has its own sums, and these are added in order,
//! so the bits do not depend on the number of threads.

use rayon::prelude::*;

use super::{
    conv::ConvShape,
    convert::widen,
    layout::upsample2,
    outer::{Outer, PIXELS},
    pack::{Block, blocks, unpack_sum},
    plane::{Strip, Sweep},
    sums::column_sums,
    winograd,
};
use crate::{
    buffer::{Aligned, Shared, with_parts},
    simd::{Float, Stored},
};

/// dL/dweight `[out, in, kh, kw]` and dL/dbias `[out]` from `x` and dL/dy.
pub(crate) fn weight_gradient<E: Stored>(x: &[E], dy: &[E], shape: &ConvShape) -> (Vec<E::F>, Vec<E::F>) {
    if winograd::applies(shape) {
        return winograd::weight_gradient(x, dy, shape);
    }
    if shape.doubled {
        return weight_gradient(&upsample2(x, shape.x), dy, &ConvShape { x: shape.seen(), doubled: false, ..*shape });
    }
    let shape = flattened(shape);
    let [out, inside, kh, kw] = shape.weight;
    let padded = 16 * out.div_ceil(16);
    let len = kh * kw * inside * padded;
    let images = shape.x[0];
    let groups = ((1 << 22) / len).clamp(2, 16).min(images);
    let mut sums = Aligned::zeros(groups * len);
    let blocks = blocks(out);
    let shared = Shared::new(sums.as_mut_slice());
    (0..groups * blocks.len()).into_par_iter().for_each(|job| {
        let (group, block) = (job / blocks.len(), blocks[job % blocks.len()]);
        let range = images * group / groups..images * (group + 1) / groups;
        let depth = kh * kw * inside;
        // SAFETY: groups and blocks own disjoint parts of the sums.
        let sums = unsafe { shared.slice(group * len + depth * block.first, depth * 16 * block.vectors) };
        Job { x, dy, sweep: shape.forward(), out, block }.run(range, sums);
    });
    (unpack_sum(&mut sums.as_mut_slice()[..groups * len], groups, shape.weight), column_sums(dy, out))
}

/// A 1x1 convolution has no neighbours: its pixels may be regrouped into images of a convenient size.
fn flattened(shape: &ConvShape) -> ConvShape {
    let ([batch, height, width, channels], [_, _, kh, kw]) = (shape.x, shape.weight);
    let pixels = batch * height * width;
    let pointwise = kh * kw == 1 && shape.spec.stride == 1 && shape.spec.padding == [0, 0];
    match (1..=PIXELS).rev().find(|n| pixels.is_multiple_of(*n)) {
        Some(n) if pointwise => ConvShape { x: [pixels / n, 1, n, channels], ..*shape },
        _ => *shape,
    }
}

/// One block of output channels over one group of images.
struct Job<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    sweep: Sweep,
    out: usize,
    block: Block,
}

impl<E: Stored> Job<'_, E> {
    fn run(&self, images: std::ops::Range<usize>, sums: &mut [E::F]) {
        let Sweep { source, kernel, stride, out: [height, width], .. } = self.sweep;
        let whole = |first| Strip { first, images: 1, y0: 0, y1: height };
        let numbers = E::as_numbers(self.x).filter(|_| self.sweep.in_place());
        let lanes = 16 * self.block.vectors;
        with_parts([self.sweep.scratch(whole(0), numbers.is_some()), height * width * lanes], |[plane, grad]| {
            for image in images {
                let at = self.sweep.geometry(whole(image), numbers.is_some());
                let input = match numbers {
                    Some(x) => &x[at.start..],
                    None => {
                        self.sweep.fill(self.x, whole(image), plane);
                        &*plane
                    }
                };
                let dy = &self.dy[image * height * width * self.out..(image + 1) * height * width * self.out];
                self.copy_columns(dy, grad);
                let outer = Outer {
                    input,
                    grad,
                    pixels: [height, width],
                    input_row: stride * at.row,
                    input_step: stride * source[3],
                    grad_row: width * lanes,
                    grad_step: lanes,
                    runs: kernel[0],
                    run: kernel[1] * source[3],
                    row: at.row,
                };
                outer.add_to(sums, self.block);
            }
        });
    }

    /// The block's columns side by side, aligned, with zeros where there is no column.
    fn copy_columns(&self, dy: &[E], to: &mut [E::F]) {
        let lanes = 16 * self.block.vectors;
        let valid = lanes.min(self.out - self.block.first);
        for (to, from) in to.chunks_exact_mut(lanes).zip(dy.chunks_exact(self.out)) {
            widen(&from[self.block.first..self.block.first + valid], &mut to[..valid]);
            to[valid..].fill(E::F::ZERO);
        }
    }
}
