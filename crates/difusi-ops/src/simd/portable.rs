//! [`Lanes`] as plain arrays: what other CPUs run, vectorised by the compiler as far as it can, and what the tests run in f64.

use burn::tensor::bf16;

use super::{Float, Lanes, Stored};

/// Sixteen numbers in an array.
#[derive(Clone, Copy)]
pub(crate) struct Portable<F>([F; 16]);

impl<F: Float> Portable<F> {
    #[inline(always)]
    fn each(self, b: Self, f: impl Fn(F, F) -> F) -> Self {
        let mut out = [F::ZERO; 16];
        for (out, (&a, &b)) in out.iter_mut().zip(self.0.iter().zip(&b.0)) {
            *out = f(a, b);
        }
        Self(out)
    }
}

impl<F: Float> Lanes for Portable<F> {
    type F = F;
    const REGISTERS: usize = 4;
    #[inline(always)]
    unsafe fn splat(x: F) -> Self {
        Self([x; 16])
    }
    #[inline(always)]
    unsafe fn load(from: *const F) -> Self {
        Self(unsafe { from.cast::<[F; 16]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut F) {
        unsafe { to.cast::<[F; 16]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16) -> Self {
        let stored = unsafe { from.cast::<[bf16; 16]>().read_unaligned() };
        Self(stored.map(|x| F::of(x.get())))
    }
    #[inline(always)]
    unsafe fn narrow(self, to: *mut bf16) {
        let stored = self.0.map(|x| bf16::put(x.to_f64() as f32));
        unsafe { to.cast::<[bf16; 16]>().write_unaligned(stored) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.each(b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.each(b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.each(b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        self.each(b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.each(self, |a, _| a.sqrt())
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        self.each(b, |a, b| a * b).each(c, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.each(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        self.each(b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding and taking away 1.5 · 2^23 rounds an f32 to the nearest integer.
        self.each(self, |a, _| F::of((a.to_f64() as f32 + 12_582_912.0) - 12_582_912.0))
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        self.each(self, |a, _| a.pow2())
    }
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        if size_of::<F>() == size_of::<f32>() {
            return unsafe { self.exp_f32() };
        }
        self.each(self, |a, _| a.exp())
    }
}
