//! Between the numbers that lie in memory and those computed with.

use crate::simd::{Float, Kernel, Lanes, Stored, dispatch};

/// Copies `from` into `to`, of the same length.
pub(crate) fn widen<E: Stored>(from: &[E], to: &mut [E::F]) {
    assert_eq!(from.len(), to.len());
    match E::as_numbers(from) {
        Some(from) => to.copy_from_slice(from),
        // SAFETY: the slices are equally long.
        None => unsafe { dispatch(Widen { from, to }) },
    }
}

/// Copies `from` to `to`, rounding.
///
/// # Safety
/// There is room for as many values at `to`, which no other job touches.
pub(crate) unsafe fn narrow<E: Stored>(from: &[E::F], to: *mut E) {
    unsafe { dispatch(Narrow { from, to }) }
}

struct Widen<'a, E: Stored> {
    from: &'a [E],
    to: &'a mut [E::F],
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for Widen<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let whole = self.from.len() / 16 * 16;
        for i in (0..whole).step_by(16) {
            unsafe { E::load::<L>(self.from.as_ptr().add(i)).store(self.to.as_mut_ptr().add(i)) };
        }
        for (to, from) in self.to[whole..].iter_mut().zip(&self.from[whole..]) {
            *to = from.get();
        }
    }
}

struct Narrow<'a, E: Stored> {
    from: &'a [E::F],
    to: *mut E,
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for Narrow<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let whole = self.from.len() / 16 * 16;
        unsafe {
            for i in (0..whole).step_by(16) {
                E::store::<L>(L::load(self.from.as_ptr().add(i)), self.to.add(i));
            }
            for (i, &x) in self.from.iter().enumerate().skip(whole) {
                self.to.add(i).write(E::put(x));
            }
        }
    }
}
