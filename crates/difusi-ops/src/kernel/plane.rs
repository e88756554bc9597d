//! Which pixels a convolution reads: images with their border of zeros, so that the tiles never ask about edges.

use super::convert::widen;
use crate::simd::{Float, Stored};

/// One pass of a kernel over images: the forward convolution, or the one that gives the input gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// What is read: `[batch, height, width, channels]`.
    pub source: [usize; 4],
    /// Zeros put between source pixels: the source counts every `dilation`-th position.
    pub dilation: usize,
    /// Zeros above and left of the first source pixel.
    pub pad: [usize; 2],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Positions between outputs.
    pub stride: usize,
    /// Output height and width.
    pub out: [usize; 2],
}

/// Rows `y0..y1` of the output of images `first..first + images`: one job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    pub first: usize,
    pub images: usize,
    pub y0: usize,
    pub y1: usize,
}

impl Strip {
    /// Output pixels of the strip.
    pub(crate) fn pixels(&self, sweep: &Sweep) -> usize {
        self.images * (self.y1 - self.y0) * sweep.out[1]
    }
}

/// Where a job finds its input: image stride, row stride (in floats) and the offset of its first value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub image: usize,
    pub row: usize,
    pub start: usize,
}

impl Sweep {
    /// Whether the source can be read where it lies: no border and no gaps.
    pub(crate) fn in_place(&self) -> bool {
        let [_, height, width, _] = self.source;
        let reach = |n: usize, k: usize| (n - 1) * self.stride + k;
        self.pad == [0, 0]
            && self.dilation == 1
            && reach(self.out[0], self.kernel[0]) <= height
            && reach(self.out[1], self.kernel[1]) <= width
    }

    /// Width in pixels of a bordered row.
    fn plane_width(&self) -> usize {
        (self.out[1] - 1) * self.stride + self.kernel[1]
    }

    /// Rows of input under output rows of a strip.
    fn plane_rows(&self, strip: Strip) -> usize {
        (strip.y1 - strip.y0 - 1) * self.stride + self.kernel[0]
    }

    /// Floats of scratch that [`Self::fill`] needs.
    pub(crate) fn scratch(&self, strip: Strip, in_place: bool) -> usize {
        if in_place { 0 } else { strip.images * self.plane_rows(strip) * self.plane_width() * self.source[3] }
    }

    /// Where the strip's input lies: in the source, or in what [`Self::fill`] writes.
    pub(crate) fn geometry(&self, strip: Strip, in_place: bool) -> Geometry {
        let [_, height, width, channels] = self.source;
        if in_place {
            let (image, row) = (height * width * channels, width * channels);
            return Geometry { image, row, start: strip.first * image + strip.y0 * self.stride * row };
        }
        let row = self.plane_width() * channels;
        Geometry { image: self.plane_rows(strip) * row, row, start: 0 }
    }

    /// Writes the strip's input with its border into `plane` (all [`Self::scratch`] floats of it).
    pub(crate) fn fill<E: Stored>(&self, source: &[E], strip: Strip, plane: &mut [E::F]) {
        let [_, height, _, channels] = self.source;
        let (rows, width) = (self.plane_rows(strip), self.plane_width() * channels);
        let source_row = self.source[2] * channels;
        for (i, row) in plane.chunks_exact_mut(width).enumerate() {
            let (image, y) = (strip.first + i / rows, strip.y0 * self.stride + i % rows);
            match y.checked_sub(self.pad[0]).filter(|y| y % self.dilation == 0 && y / self.dilation < height) {
                Some(y) => {
                    let start = (image * height + y / self.dilation) * source_row;
                    self.fill_row(&source[start..start + source_row], row);
                }
                None => row.fill(E::F::ZERO),
            }
        }
    }

    fn fill_row<E: Stored>(&self, source: &[E], row: &mut [E::F]) {
        let channels = self.source[3];
        let left = (self.pad[1] * channels).min(row.len());
        if self.dilation == 1 {
            let (border, rest) = row.split_at_mut(left);
            let (inside, right) = rest.split_at_mut(source.len().min(rest.len()));
            border.fill(E::F::ZERO);
            widen(&source[..inside.len()], inside);
            right.fill(E::F::ZERO);
            return;
        }
        row.fill(E::F::ZERO);
        for (pixel, to) in source.chunks_exact(channels).zip(row[left..].chunks_mut(channels * self.dilation)) {
            widen(pixel, &mut to[..channels]);
        }
    }

    /// Cuts the output, `columns` per pixel, into jobs whose input and output stay in the second-level cache: strips of an
    /// image, or several small images. Any cut gives the same bits.
    pub(crate) fn strips(&self, columns: usize) -> Vec<Strip> {
        let [batch, _, _, channels] = self.source;
        let channels = channels.max(columns);
        let [height, width] = self.out;
        let pixels = batch * height * width;
        let target = (pixels / 16).min((1 << 17) / channels).clamp(64, 1024);
        let images = (target / (height * width)).max(1);
        let rows = height.div_ceil((height * width).div_ceil(target)).max(1);
        let mut strips = Vec::new();
        for first in (0..batch).step_by(images) {
            let images = images.min(batch - first);
            for y0 in (0..height).step_by(rows) {
                strips.push(Strip { first, images, y0, y1: (y0 + rows).min(height) });
            }
        }
        strips
    }
}
