//! Between the numbers that lie in memory and those computed with; sums of two arrays.

use rayon::prelude::*;

use crate::{
    buffer::{Shared, filled},
    simd::{Float, Kernel, Lanes, Stored, dispatch},
};

/// Values per job.
const JOB: usize = 1 << 15;

/// The same values, rounded where `B` is the shorter number.
pub(crate) fn converted<A: Stored, B: Stored<F = A::F>>(from: &[A]) -> Vec<B> {
    // SAFETY: the jobs write every value once.
    unsafe {
        filled(from.len(), |to: Shared<B>| {
            from.par_chunks(JOB).enumerate().for_each(|(job, from)| dispatch(Convert { from, to: to.at(job * JOB) }));
        })
    }
}

/// `a + b`, rounded once.
///
/// # Panics
/// If they differ in length.
pub(crate) fn sum<E: Stored>(a: &[E], b: &[E]) -> Vec<E> {
    assert_eq!(a.len(), b.len());
    // SAFETY: the jobs write every value once.
    unsafe {
        filled(a.len(), |to: Shared<E>| {
            a.par_chunks(JOB).zip(b.par_chunks(JOB)).enumerate().for_each(|(job, (a, b))| {
                dispatch(Add { a: a.as_ptr(), b, to: to.at(job * JOB) });
            });
        })
    }
}

/// Adds `b` to `sum`.
///
/// # Panics
/// If they differ in length.
pub(crate) fn add_to<E: Stored>(sum: &mut [E], b: &[E]) {
    assert_eq!(sum.len(), b.len());
    sum.par_chunks_mut(JOB).zip(b.par_chunks(JOB)).for_each(|(sum, b)| {
        let to = sum.as_mut_ptr();
        // SAFETY: the slices are equally long, and every value is read before it is written.
        unsafe { dispatch(Add { a: to, b, to }) };
    });
}

/// Copies `from` into `to`, of the same length.
pub(crate) fn widen<E: Stored>(from: &[E], to: &mut [E::F]) {
    assert_eq!(from.len(), to.len());
    match E::as_numbers(from) {
        Some(from) => to.copy_from_slice(from),
        // SAFETY: the slices are equally long.
        None => unsafe { dispatch(Convert { from, to: to.as_mut_ptr() }) },
    }
}

/// Copies `from` to `to`, rounding.
///
/// # Safety
/// There is room for as many values at `to`, which no other job touches.
pub(crate) unsafe fn narrow<E: Stored>(from: &[E::F], to: *mut E) {
    unsafe { dispatch(Convert { from, to }) }
}

/// There is room for as many values at `to`.
struct Convert<'a, A, B> {
    from: &'a [A],
    to: *mut B,
}

impl<F: Float, A: Stored<F = F>, B: Stored<F = F>> Kernel<F> for Convert<'_, A, B> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let whole = self.from.len() / 16 * 16;
        unsafe {
            for i in (0..whole).step_by(16) {
                B::store::<L>(A::load(self.from.as_ptr().add(i)), self.to.add(i));
            }
            for (i, &x) in self.from.iter().enumerate().skip(whole) {
                self.to.add(i).write(B::put(x.get()));
            }
        }
    }
}

/// There are as many values at `a` as in `b`, and room for them at `to`, which is `a` or apart from both.
struct Add<'a, E> {
    a: *const E,
    b: &'a [E],
    to: *mut E,
}

impl<F: Float, E: Stored<F = F>> Kernel<F> for Add<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = F>>(self) {
        let whole = self.b.len() / 16 * 16;
        unsafe {
            for i in (0..whole).step_by(16) {
                let sum = E::load::<L>(self.a.add(i)).add(E::load(self.b.as_ptr().add(i)));
                E::store::<L>(sum, self.to.add(i));
            }
            for (i, &b) in self.b.iter().enumerate().skip(whole) {
                self.to.add(i).write(E::put((*self.a.add(i)).get() + b.get()));
            }
        }
    }
}
