//! The numbers that kernels compute with and the numbers that lie in memory.

use std::ops::{Add, Div, Mul, Neg, Sub};

use burn::tensor::bf16;

use super::{Kernel, Lanes, Portable, dispatch_f32};

/// A number that kernels compute with: f32, or f64 in tests.
pub(crate) trait Float:
    Copy
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Stored<F = Self>
    + 'static
{
    const ZERO: Self;
    const ONE: Self;
    fn of(x: f32) -> Self;
    /// Rounded where it does not fit.
    fn of_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    /// `2^self` for whole numbers in [-126, 127].
    fn pow2(self) -> Self;
    /// Runs a kernel of this number with the widest vectors there are for it.
    ///
    /// # Safety
    /// As [`super::dispatch`].
    unsafe fn run<K: Kernel<Self>>(kernel: K);
}

/// A number that lies in memory: f32, f64, or bf16 (computed with as f32).
pub(crate) trait Stored: Copy + Send + Sync + Default + 'static {
    /// What it is computed with.
    type F: Float;
    fn get(self) -> Self::F;
    /// The same slice, where what is stored is what is computed with.
    fn as_numbers(values: &[Self]) -> Option<&[Self::F]>;
    /// Whether what is stored is what is computed with.
    const IS_NUMBER: bool;
    /// The same address, where what is stored is what is computed with.
    fn as_numbers_mut(to: *mut Self) -> Option<*mut Self::F>;
    /// Rounded to the nearest, ties to even.
    fn put(x: Self::F) -> Self;
    /// Sixteen numbers from memory.
    ///
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes<F = Self::F>>(from: *const Self) -> L;
    /// Sixteen numbers to memory.
    ///
    /// # Safety
    /// As [`Lanes::store`].
    unsafe fn store<L: Lanes<F = Self::F>>(lanes: L, to: *mut Self);

    /// Up to sixteen numbers from memory, zeros behind them.
    ///
    /// # Safety
    /// As [`Lanes::load`], for `count` values.
    #[inline(always)]
    unsafe fn load_first<L: Lanes<F = Self::F>>(from: *const Self, count: usize) -> L {
        if count >= 16 {
            return unsafe { Self::load(from) };
        }
        let mut lanes = [Self::F::ZERO; 16];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            *lane = unsafe { (*from.add(i)).get() };
        }
        unsafe { L::load(lanes.as_ptr()) }
    }

    /// Up to sixteen numbers to memory.
    ///
    /// # Safety
    /// As [`Lanes::store`], for `count` values.
    #[inline(always)]
    unsafe fn store_first<L: Lanes<F = Self::F>>(lanes: L, to: *mut Self, count: usize) {
        if count >= 16 {
            return unsafe { Self::store(lanes, to) };
        }
        let mut values = [Self::F::ZERO; 16];
        unsafe { lanes.store(values.as_mut_ptr()) };
        for (i, &value) in values.iter().enumerate().take(count) {
            unsafe { to.add(i).write(Self::put(value)) };
        }
    }
}

macro_rules! float {
    ($float:ident, $run:expr) => {
        impl Stored for $float {
            type F = $float;
            #[inline(always)]
            fn get(self) -> $float {
                self
            }
            #[inline(always)]
            fn as_numbers(values: &[Self]) -> Option<&[$float]> {
                Some(values)
            }
            const IS_NUMBER: bool = true;
            #[inline(always)]
            fn as_numbers_mut(to: *mut Self) -> Option<*mut $float> {
                Some(to)
            }
            #[inline(always)]
            fn put(x: $float) -> Self {
                x
            }
            #[inline(always)]
            unsafe fn load<L: Lanes<F = $float>>(from: *const Self) -> L {
                unsafe { L::load(from) }
            }
            #[inline(always)]
            unsafe fn store<L: Lanes<F = $float>>(lanes: L, to: *mut Self) {
                unsafe { lanes.store(to) }
            }
        }

        impl Float for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn of(x: f32) -> Self {
                x.into()
            }
            #[inline(always)]
            fn of_f64(x: f64) -> Self {
                x as $float
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn pow2(self) -> Self {
                // 2^n has the exponent n + 127 and an empty mantissa.
                f32::from_bits((((self as i32).wrapping_add(127)) as u32) << 23).into()
            }
            #[inline(always)]
            unsafe fn run<K: Kernel<Self>>(kernel: K) {
                // SAFETY: the caller's promise is handed on.
                unsafe { $run(kernel) }
            }
        }
    };
}

float!(f32, dispatch_f32);
float!(f64, plain);

/// # Safety
/// As [`super::dispatch`].
unsafe fn plain<K: Kernel<f64>>(kernel: K) {
    // SAFETY: plain arrays need no CPU features.
    unsafe { kernel.run::<Portable<f64>>() }
}

impl Stored for bf16 {
    type F = f32;
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn as_numbers(_: &[Self]) -> Option<&[f32]> {
        None
    }
    const IS_NUMBER: bool = false;
    #[inline(always)]
    fn as_numbers_mut(_: *mut Self) -> Option<*mut f32> {
        None
    }
    #[inline(always)]
    fn put(x: f32) -> Self {
        bf16::from_f32(x)
    }
    #[inline(always)]
    unsafe fn load<L: Lanes<F = f32>>(from: *const Self) -> L {
        unsafe { L::widen(from) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes<F = f32>>(lanes: L, to: *mut Self) {
        unsafe { lanes.narrow(to) }
    }
}
