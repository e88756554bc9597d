//! Memory for kernels: outputs that are not zeroed first, cache-line-aligned scratch, and pointers that several jobs may share.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::simd::Float;

/// One cache line: vectors of these are aligned so that no vector load straddles two lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// All bits zero: also the number 0 of every [`Float`].
const EMPTY: Line = Line([0; 64]);

/// How many lines hold `len` numbers.
fn lines<F>(len: usize) -> usize {
    (len * size_of::<F>()).div_ceil(64)
}

/// Aligned memory.
pub(crate) struct Aligned<F = f32> {
    lines: Vec<MaybeUninit<Line>>,
    len: usize,
    number: PhantomData<F>,
}

impl<F: Float> Aligned<F> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let lines = vec![MaybeUninit::new(EMPTY); lines::<F>(len)];
        Self { len: lines.len() * 64 / size_of::<F>(), lines, number: PhantomData }
    }

    /// `len` numbers that are nobody's yet.
    ///
    /// # Safety
    /// Whoever asks writes each of the `len` before anything reads it.
    pub(crate) unsafe fn unwritten(len: usize) -> Self {
        let count = lines::<F>(len);
        let mut lines: Vec<MaybeUninit<Line>> = Vec::with_capacity(count);
        // SAFETY: the capacity is there; the caller promises to write before reading, except for what rounds up the last line.
        unsafe {
            lines.set_len(count);
            if let Some(last) = lines.last_mut() {
                last.write(EMPTY);
            }
        }
        Self { len: lines.len() * 64 / size_of::<F>(), lines, number: PhantomData }
    }

    /// The numbers, rounded up to whole cache lines.
    pub(crate) fn as_slice(&self) -> &[F] {
        // SAFETY: the lines are `len` numbers, without padding; every bit pattern is a number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [F] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Whether scratch is lent as buffers of their own.
static APART: AtomicBool = AtomicBool::new(false);

/// For tests that guard every buffer: from now on each piece of scratch memory is a new buffer of exactly its length, full of
/// NaN, instead of a part of memory that is used again. Slow.
#[doc(hidden)]
pub fn scratch_apart(apart: bool) {
    APART.store(apart, Ordering::Relaxed);
}

/// `len` numbers on their own.
fn apart<F: Float>(len: usize) -> Vec<F> {
    vec![F::of_f64(f64::NAN); len]
}

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` numbers of this thread's scratch memory, aligned, with whatever values the last user left.
/// Not to be nested, and no parallel work may be started inside.
pub(crate) fn with_scratch<F: Float, R>(len: usize, work: impl FnOnce(&mut [F]) -> R) -> R {
    if APART.load(Ordering::Relaxed) {
        return work(&mut apart(len));
    }
    let lines = lines::<F>(len);
    SCRATCH.with(|cell| {
        // Taken out while in use: a nested call would get its own memory instead of a panic.
        let mut memory = cell.take();
        if memory.len() < lines {
            memory.resize(lines, EMPTY);
        }
        // SAFETY: there are at least `len` numbers in the lines; every bit pattern is a number.
        let numbers = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), len) };
        let result = work(numbers);
        cell.replace(memory);
        result
    })
}

/// Lends scratch in parts of these lengths (each beginning at a cache line), with unknown contents. As [`with_scratch`].
pub(crate) fn with_parts<F: Float, R, const N: usize>(lengths: [usize; N], work: impl FnOnce([&mut [F]; N]) -> R) -> R {
    if APART.load(Ordering::Relaxed) {
        let mut parts = lengths.map(apart);
        return work(parts.each_mut().map(Vec::as_mut_slice));
    }
    let room = |n: usize| n.next_multiple_of(16);
    with_scratch(lengths.iter().map(|&n| room(n)).sum(), |mut rest| {
        work(lengths.map(|n| {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(room(n));
            rest = tail;
            &mut part[..n]
        }))
    })
}

/// A vector of `len` values, all of which `fill` writes.
///
/// # Safety
/// `fill` must write every one of the `len` values at the pointer before it returns, and read none that it has not written.
pub(crate) unsafe fn filled<E>(len: usize, fill: impl FnOnce(Shared<E>)) -> Vec<E> {
    let mut values = Vec::with_capacity(len);
    fill(Shared(values.as_mut_ptr()));
    // SAFETY: the capacity is there, and the caller promises that every value has been written.
    unsafe { values.set_len(len) };
    values
}

/// A pointer that parallel jobs share; each job writes only its own part.
#[derive(Debug)]
pub(crate) struct Shared<E = f32>(*mut E);

impl<E> Clone for Shared<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Shared<E> {}

// SAFETY: whoever uses the pointer promises (in `at`) that jobs touch disjoint parts.
unsafe impl<E: Send> Send for Shared<E> {}
// SAFETY: as above.
unsafe impl<E: Send> Sync for Shared<E> {}

impl<E> Shared<E> {
    pub(crate) fn new(values: &mut [E]) -> Self {
        Self(values.as_mut_ptr())
    }

    /// Values `start..start + len`.
    ///
    /// # Safety
    /// They are within the memory, initialised, and no other job touches them while the slice lives.
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [E] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    /// The address of value `index`.
    ///
    /// # Safety
    /// `index` is within the memory, and no other job touches what is done through the pointer.
    pub(crate) unsafe fn at(self, index: usize) -> *mut E {
        unsafe { self.0.add(index) }
    }
}
