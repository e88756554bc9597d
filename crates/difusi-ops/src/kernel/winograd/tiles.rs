//! Tiles of 4x4 pixels: what lies under them, and moving them into and out of Winograd's domain.
//!
//! A tile away from the border and of whole vectors is read and written where it lies; any other goes through a square copy with
//! zeros (or, when written, nothing) where there is no pixel or channel.

use std::marker::PhantomData;

use super::transform::{Square, Tile, Transform, square};
use crate::{
    Activation,
    simd::{Float, Kernel, Lanes, Stored},
};

/// Pixels of a tile in each direction.
pub(super) const SIDE: usize = 4;

/// The tiles that cover a batch of images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    batch: usize,
    rows: usize,
    columns: usize,
}

impl Grid {
    /// The tiles of `batch` images of `height` by `width`.
    pub(super) fn new(batch: usize, [height, width]: [usize; 2]) -> Self {
        Self { batch, rows: height.div_ceil(SIDE), columns: width.div_ceil(SIDE) }
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.batch * self.rows * self.columns
    }

    /// Image, and first row and column of tile `index`.
    fn at(&self, index: usize) -> [usize; 3] {
        let (image, tile) = (index / (self.rows * self.columns), index % (self.rows * self.columns));
        [image, tile / self.columns * SIDE, tile % self.columns * SIDE]
    }
}

/// A square of `side` pixels per tile within images `[batch, height, width, channels]`, beginning `before` pixels above and left of
/// the tile.
#[derive(Clone, Copy)]
pub(super) struct Squares {
    pub grid: Grid,
    pub dims: [usize; 4],
    /// Values from one pixel to the next: the channels, or more where these are some of an image's.
    pub step: usize,
    /// Whether each pixel in memory counts for two by two: the images lie there at half this height and width.
    pub doubled: bool,
    pub side: usize,
    pub before: usize,
}

/// A square's place: its image, the first pixel, and the part of it that lies in the image.
struct Place {
    /// Value of the image's first pixel.
    image: usize,
    /// Position of the first pixel, in pixels; may be negative.
    first: [isize; 2],
    /// Rows and columns of the square that exist: from, to.
    rows: [usize; 2],
    columns: [usize; 2],
}

impl Squares {
    fn place(&self, tile: usize) -> Place {
        let [_, height, width, _] = self.dims;
        let [image, y, x] = self.grid.at(tile);
        let first = [y as isize - self.before as isize, x as isize - self.before as isize];
        let inside = |first: isize, n: usize| {
            let from = (-first).clamp(0, self.side as isize);
            [from as usize, (n as isize - first).clamp(from, self.side as isize) as usize]
        };
        let (rows, columns) = (inside(first[0], height), inside(first[1], width));
        let pixels = if self.doubled { height * width / 4 } else { height * width };
        Place { image: image * pixels * self.step, first, rows, columns }
    }

    /// Whether all of the square lies in the image, in whole vectors.
    fn is_whole(&self, place: &Place) -> bool {
        let whole = [0, self.side];
        !self.doubled && place.rows == whole && place.columns == whole && self.dims[3].is_multiple_of(16)
    }

    /// Value `(row, column, 0)` of a square, counted from the start of the images.
    fn offset(&self, place: &Place, row: usize, column: usize) -> usize {
        let [_, _, width, _] = self.dims;
        let (y, x) = (place.first[0] + row as isize, place.first[1] + column as isize);
        let (y, x) = (y as usize, x as usize);
        let pixel = if self.doubled { y / 2 * (width / 2) + x / 2 } else { y * width + x };
        place.image + pixel * self.step
    }

    /// Channels rounded up to whole vectors.
    fn padded(&self) -> usize {
        self.dims[3].next_multiple_of(16)
    }

    /// Numbers of scratch that a copy of a square needs.
    pub(super) fn scratch(&self) -> usize {
        self.side * self.side * self.padded()
    }
}

/// Transforms the squares of tiles `first..first + count` of an image with `T` into rows: position `p` of tile `i` at
/// `to + p · stride + i · padded channels`. `to` has room for that, `copy` is [`Squares::scratch`] long.
pub(super) struct Read<'a, E: Stored, T> {
    pub source: &'a [E],
    pub squares: Squares,
    pub first: usize,
    pub count: usize,
    pub to: *mut E::F,
    pub stride: usize,
    pub copy: &'a mut [E::F],
    pub transform: PhantomData<T>,
}

impl<F: Float, E: Stored<F = F>, T: Transform> Kernel<F> for Read<'_, E, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let (squares, padded) = (self.squares, self.squares.padded());
        let [_, _, width, channels] = squares.dims;
        let values = squares.dims.iter().product::<usize>();
        assert_eq!(self.source.len(), if squares.doubled { values / 4 } else { values });
        assert!(T::TAKES == squares.side && self.copy.len() >= squares.scratch());
        for i in 0..self.count {
            let place = squares.place(self.first + i);
            unsafe {
                let to = self.to.add(i * padded);
                let zero = L::constant(0.0);
                if squares.is_whole(&place) {
                    let at = self.source.as_ptr().add(squares.offset(&place, 0, 0));
                    for c in (0..channels).step_by(16) {
                        let from = Square { at: at.add(c), row: width * squares.step, step: squares.step };
                        square::<L, T, E, F, false>(from, Square::positions(to.add(c), self.stride), zero);
                    }
                } else {
                    copy_in(self.source, &squares, &place, self.copy);
                    for c in (0..padded).step_by(16) {
                        let at = self.copy.as_ptr().add(c);
                        let from = Square { at, row: squares.side * padded, step: padded };
                        square::<L, T, F, F, false>(from, Square::positions(to.add(c), self.stride), zero);
                    }
                }
            }
        }
    }
}

/// The square with zeros where there is no pixel or channel.
#[inline(always)]
fn copy_in<E: Stored>(source: &[E], squares: &Squares, place: &Place, to: &mut [E::F]) {
    let (channels, padded, side) = (squares.dims[3], squares.padded(), squares.side);
    for row in 0..side {
        for column in 0..side {
            let to = &mut to[(row * side + column) * padded..][..padded];
            let exists =
                (place.rows[0]..place.rows[1]).contains(&row) && (place.columns[0]..place.columns[1]).contains(&column);
            if exists {
                let from = squares.offset(place, row, column);
                for (to, from) in to.iter_mut().zip(&source[from..from + channels]) {
                    *to = from.get();
                }
                to[channels..].fill(E::F::ZERO);
            } else {
                to.fill(E::F::ZERO);
            }
        }
    }
}

/// Transforms rows (as [`Read`] writes them) into tiles of an image, adding `bias` (padded), for tiles `first..first + count`.
/// `to` is the image's first value, `copy` is [`Squares::scratch`] long.
pub(super) struct Write<'a, E: Stored> {
    pub from: *const E::F,
    pub stride: usize,
    pub bias: &'a [E::F],
    /// What is done to the sums last.
    pub last: Activation,
    pub squares: Squares,
    /// The first channel, and how many with their padding: what a row holds.
    pub channels: [usize; 2],
    pub first: usize,
    pub count: usize,
    pub to: *mut E,
    pub copy: &'a mut [E::F],
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for Write<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        // SAFETY: the caller's promise is handed on.
        unsafe {
            match self.last {
                Activation::None => self.tiles::<L, false>(),
                Activation::Relu => self.tiles::<L, true>(),
            }
        }
    }
}

impl<F: Float, E: Stored<F = F>> Write<'_, E> {
    #[inline(always)]
    unsafe fn tiles<L: Lanes<F = F>, const RELU: bool>(self) {
        let (squares, [from_channel, padded]) = (self.squares, self.channels);
        let ([_, _, width, _], step) = (squares.dims, squares.step);
        assert!(from_channel + padded <= squares.padded() && self.bias.len() >= from_channel + padded);
        assert!(squares.side == SIDE && self.copy.len() >= squares.scratch());
        for i in 0..self.count {
            let place = squares.place(self.first + i);
            unsafe {
                let from = self.from.add(i * padded);
                let bias = self.bias.as_ptr().add(from_channel);
                if squares.is_whole(&place) {
                    let at = self.to.add(squares.offset(&place, 0, 0) + from_channel);
                    for c in (0..padded).step_by(16) {
                        let to = Square { at: at.add(c), row: width * step, step };
                        let from = Square::positions(from.add(c), self.stride);
                        square::<L, Tile, F, E, RELU>(from, to, L::load(bias.add(c)));
                    }
                } else {
                    for c in (0..padded).step_by(16) {
                        let at = self.copy.as_mut_ptr().add(c);
                        let to = Square { at, row: SIDE * padded, step: padded };
                        let from = Square::positions(from.add(c), self.stride);
                        square::<L, Tile, F, F, RELU>(from, to, L::load(bias.add(c)));
                    }
                    copy_out(self.copy, &squares, (&place, self.channels), self.to);
                }
            }
        }
    }
}

/// Writes those pixels and channels of a square that exist.
///
/// # Safety
/// `to` points to the first value of images as `squares` says, and no other job writes these channels of this square.
#[inline(always)]
unsafe fn copy_out<E: Stored>(
    from: &[E::F],
    squares: &Squares,
    (place, [first, padded]): (&Place, [usize; 2]),
    to: *mut E,
) {
    let count = padded.min(squares.dims[3] - first);
    for row in place.rows[0]..place.rows[1] {
        for column in place.columns[0]..place.columns[1] {
            let from = &from[(row * squares.side + column) * padded..][..count];
            let to = unsafe { to.add(squares.offset(place, row, column) + first) };
            for (i, &x) in from.iter().enumerate() {
                unsafe { to.add(i).write(E::put(x)) };
            }
        }
    }
}
