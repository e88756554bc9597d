//! Memory for kernels: outputs that are not zeroed first, cache-line-aligned scratch, and pointers that several jobs may share.

use std::cell::RefCell;

/// One cache line: vectors of these are aligned so that no vector load straddles two lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [f32; 16]);

const EMPTY: Line = Line([0.0; 16]);

/// Aligned f32 memory.
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self(vec![EMPTY; len.div_ceil(16)])
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a `Line` is exactly sixteen f32, without padding, and the vector owns them.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` floats of this thread's scratch memory, aligned, with whatever values the last user left.
/// Not to be nested, and no parallel work may be started inside.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let lines = len.div_ceil(16);
    SCRATCH.with(|cell| {
        // Taken out while in use: a nested call would get its own memory instead of a panic.
        let mut memory = cell.take();
        if memory.len() < lines {
            memory.resize(lines, EMPTY);
        }
        // SAFETY: a `Line` is exactly sixteen f32, and there are at least `lines` of them.
        let floats = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), len) };
        let result = work(floats);
        cell.replace(memory);
        result
    })
}

/// A vector of `len` values, all of which `fill` writes.
///
/// # Safety
/// `fill` must write every one of the `len` values at the pointer before it returns, and read none that it has not written.
pub(crate) unsafe fn filled(len: usize, fill: impl FnOnce(Shared)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(Shared(values.as_mut_ptr()));
    // SAFETY: the capacity is there, and the caller promises that every value has been written.
    unsafe { values.set_len(len) };
    values
}

/// A pointer that parallel jobs share; each job writes only its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: whoever uses the pointer promises (in `at`) that jobs touch disjoint parts.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    /// Values `start..start + len`.
    ///
    /// # Safety
    /// They are within the memory, initialised, and no other job touches them while the slice lives.
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    /// The address of value `index`.
    ///
    /// # Safety
    /// `index` is within the memory, and no other job touches what is done through the pointer.
    pub(crate) unsafe fn at(self, index: usize) -> *mut f32 {
        unsafe { self.0.add(index) }
    }
}
