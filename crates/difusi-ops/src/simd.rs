//! Sixteen f32 at a time, for whichever vector unit the CPU has: AVX-512, AVX2 with FMA, or none in particular.
//!
//! A kernel is written once over [`Lanes`] and runs through [`dispatch`], which picks the widest unit at run time.
//! Kernels and everything they call per element are `#[inline(always)]`, so that they compile with the unit's features.
//! Units may differ in the last bit (fused or separate multiply and add); on one machine results never vary.
//!
//! Kernels are generic over the number they compute with ([`Float`]: f32, and f64 for the tests, which runs on plain arrays)
//! and over the number that lies in memory ([`Stored`]: those two, and bf16 computed in f32).

use burn::tensor::bf16;

mod number;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use number::{Float, Stored};
use portable::Portable;

/// Sixteen numbers.
///
/// # Safety
/// Every method needs the CPU features of its implementor: they may only run inside [`dispatch`].
/// `load`, `store`, `widen` and `narrow` need 16 valid values at the pointer, of any alignment.
pub(crate) trait Lanes: Copy {
    /// The number in each lane.
    type F: Float;
    /// How many of these the CPU's registers hold.
    const REGISTERS: usize;
    unsafe fn splat(x: Self::F) -> Self;
    unsafe fn load(from: *const Self::F) -> Self;
    unsafe fn store(self, to: *mut Self::F);
    /// Sixteen bf16.
    unsafe fn widen(from: *const bf16) -> Self;
    /// Sixteen bf16, rounded to the nearest, ties to even.
    unsafe fn narrow(self, to: *mut bf16);
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `self · b + c`.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// `self > b ? self : b`: a NaN in `b` comes through.
    unsafe fn max(self, b: Self) -> Self;
    /// `self < b ? self : b`: a NaN in `b` comes through.
    unsafe fn min(self, b: Self) -> Self;
    /// To the nearest integer.
    unsafe fn round(self) -> Self;
    /// `2^self` for whole numbers in [-126, 127].
    unsafe fn pow2(self) -> Self;

    /// `self · 2^n` for whole numbers `n` in [-126, 127].
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        unsafe { self.mul(n.pow2()) }
    }

    /// A constant in every lane.
    #[inline(always)]
    unsafe fn constant(x: f32) -> Self {
        unsafe { Self::splat(Self::F::of(x)) }
    }

    /// The sum of the lanes, in one fixed order.
    #[inline(always)]
    unsafe fn sum(self) -> Self::F {
        let mut lanes = [Self::F::ZERO; 16];
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut width = 8;
        while width > 0 {
            for i in 0..width {
                lanes[i] = lanes[i] + lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// The largest lane.
    #[inline(always)]
    unsafe fn largest(self) -> Self::F {
        let mut lanes = [Self::F::ZERO; 16];
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut largest = lanes[0];
        for &lane in &lanes[1..] {
            largest = if largest > lane { largest } else { lane };
        }
        largest
    }

    /// `1 / self` to 2 ulp, where both are normal numbers.
    #[inline(always)]
    unsafe fn recip(self) -> Self {
        unsafe { Self::constant(1.0).div(self) }
    }

    /// Lane `j` of row `i` becomes lane `i` of row `j`.
    #[inline(always)]
    unsafe fn transpose(rows: [Self; 16]) -> [Self; 16] {
        let mut lanes = [[Self::F::ZERO; 16]; 16];
        for i in 0..16 {
            unsafe { rows[i].store(lanes[i].as_mut_ptr()) };
        }
        let mut turned = rows;
        for j in 0..16 {
            let row: [Self::F; 16] = std::array::from_fn(|i| lanes[i][j]);
            turned[j] = unsafe { Self::load(row.as_ptr()) };
        }
        turned
    }

    /// `e^self` to about 2 ulp; below -87.3 the smallest normal number, above 88.3 about 2.2e38. NaN stays NaN.
    /// Range reduction by powers of two and the polynomial of Cephes' `expf`.
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        unsafe { self.exp_f32() }
    }

    /// [`Self::exp`] of an f32.
    #[inline(always)]
    unsafe fn exp_f32(self) -> Self {
        unsafe {
            let x = Self::constant(88.3).min(Self::constant(-87.3).max(self));
            let n = x.mul(Self::constant(std::f32::consts::LOG2_E)).round();
            let r = n.fma(Self::constant(-0.693_359_4), x);
            let r = n.fma(Self::constant(2.121_944_4e-4), r);
            let p = Self::constant(1.987_569_1e-4);
            let p = p.fma(r, Self::constant(1.398_199_9e-3));
            let p = p.fma(r, Self::constant(8.333_452e-3));
            let p = p.fma(r, Self::constant(4.166_579_6e-2));
            let p = p.fma(r, Self::constant(1.666_666_5e-1));
            let p = p.fma(r, Self::constant(0.5));
            let p = p.fma(r.mul(r), r.add(Self::constant(1.0)));
            p.scale(n)
        }
    }

    /// `1 / (1 + e^-self)`.
    #[inline(always)]
    unsafe fn sigmoid(self) -> Self {
        unsafe { Self::constant(1.0).add(Self::constant(0.0).sub(self).exp()).recip() }
    }
}

/// A piece of work written over [`Lanes`]. Implement `run` as `#[inline(always)]`.
pub(crate) trait Kernel<F = f32> {
    /// # Safety
    /// The CPU has the features of `L`; the pointers inside `self` are valid as the kernel's documentation says.
    unsafe fn run<L: Lanes<F = F>>(self);
}

/// A kind of vector unit, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// None that we know.
    Portable,
    /// AVX2 and FMA: sixteen registers of 8.
    Avx2,
    /// AVX-512: thirty-two registers of 16.
    Avx512,
}

/// The widest unit of this CPU.
pub(crate) fn unit() -> Unit {
    #[cfg(test)]
    return detected().min(tests::LIMIT.get());
    #[cfg(not(test))]
    detected()
}

fn detected() -> Unit {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            return Unit::Avx512;
        }
        if has!("avx2") && has!("fma") {
            return Unit::Avx2;
        }
    }
    Unit::Portable
}

/// Runs a kernel with the widest vectors that this CPU has for its numbers.
///
/// # Safety
/// The pointers inside `kernel` are valid as its documentation says.
pub(crate) unsafe fn dispatch<F: Float, K: Kernel<F>>(kernel: K) {
    // SAFETY: the caller's promise is handed on.
    unsafe { F::run(kernel) }
}

/// Runs an f32 kernel with the widest vectors.
///
/// # Safety
/// As [`dispatch`].
unsafe fn dispatch_f32<K: Kernel<f32>>(kernel: K) {
    match unit() {
        // SAFETY: `unit` has found the features on this CPU.
        #[cfg(target_arch = "x86_64")]
        Unit::Avx512 => unsafe { x86::with_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Unit::Avx2 => unsafe { x86::with_avx2(kernel) },
        // SAFETY: plain arrays need no features.
        _ => unsafe { kernel.run::<Portable<f32>>() },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    thread_local! {
        /// The widest unit that this thread may use: lets tests try the others.
        pub(crate) static LIMIT: std::cell::Cell<Unit> = const { std::cell::Cell::new(Unit::Avx512) };
    }

    struct Exp<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Exp<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes<F = f32>>(self) {
            for (x, y) in self.0.chunks_exact(16).zip(self.1.chunks_exact_mut(16)) {
                unsafe { L::load(x.as_ptr()).exp().store(y.as_mut_ptr()) }
            }
        }
    }

    fn check_exp(run: impl Fn(Exp<'_>)) {
        let x: Vec<f32> = (0..160_000).map(|i| -87.0 + i as f32 * (175.0 / 160_000.0)).collect();
        let mut y = vec![0.0; x.len()];
        run(Exp(&x, &mut y));
        for (x, y) in x.iter().zip(&y) {
            let exact = f64::from(*x).exp();
            assert!((f64::from(*y) / exact - 1.0).abs() < 2.5e-7, "exp({x}) = {y}, exactly {exact}");
        }
    }

    #[test]
    fn exp_is_right_on_every_unit() {
        check_exp(|e| unsafe { dispatch(e) });
        check_exp(|e| unsafe { e.run::<Portable<f32>>() });
        #[cfg(target_arch = "x86_64")]
        if unit() >= Unit::Avx2 {
            check_exp(|e| unsafe { x86::with_avx2(e) });
        }
    }

    struct Each<'a>(&'a [f32], &'a mut [f32]);

    /// Reciprocal, sum, largest, and the transposed square, one after the other.
    impl Kernel for Each<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes<F = f32>>(self) {
            let (x, y) = (self.0, self.1.as_mut_ptr());
            unsafe {
                let rows = std::array::from_fn(|i| L::load(x[16 * i..].as_ptr()));
                for (i, row) in rows.into_iter().enumerate() {
                    row.recip().store(y.add(16 * i));
                    L::splat(row.sum()).store(y.add(256 + 16 * i));
                    L::splat(row.largest()).store(y.add(512 + 16 * i));
                }
                for (i, row) in L::transpose(rows).into_iter().enumerate() {
                    row.store(y.add(768 + 16 * i));
                }
            }
        }
    }

    fn check_each(run: impl Fn(Each<'_>)) {
        let x: Vec<f32> = (0..256).map(|i| ((i * 37 % 256) as f32 - 127.5) * 1.37f32.powi(i % 97 - 48)).collect();
        let mut y = vec![0.0f32; 1024];
        run(Each(&x, &mut y));
        for (i, row) in x.chunks_exact(16).enumerate() {
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            let (sum, size) =
                row.iter().fold((0.0, 0.0), |(s, m): (f64, f64), &x| (s + f64::from(x), m + f64::from(x.abs())));
            for (j, &x) in row.iter().enumerate() {
                let at = 16 * i + j;
                assert!((f64::from(y[at]) * f64::from(x) - 1.0).abs() < 1.3e-7, "1 / {x} = {}", y[at]);
                assert!((f64::from(y[256 + at]) - sum).abs() < 3e-7 * size && y[512 + at] == largest);
                assert_eq!(y[768 + 16 * j + i], x);
            }
        }
    }

    #[test]
    fn lanes_are_right_on_every_unit() {
        check_each(|e| unsafe { dispatch(e) });
        check_each(|e| unsafe { e.run::<Portable<f32>>() });
        #[cfg(target_arch = "x86_64")]
        if unit() >= Unit::Avx2 {
            check_each(|e| unsafe { x86::with_avx2(e) });
        }
    }

    #[test]
    fn exp_keeps_nan_and_saturates() {
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e9, -1e9, 88.0, -87.0];
        let x: Vec<f32> = x.iter().chain(&x).copied().collect();
        let mut y = [0.0f32; 16];
        unsafe { dispatch(Exp(&x, &mut y)) };
        assert!(y[0].is_nan() && y[3] == 1.0);
        assert!(y[1] > 1e38 && y[1].is_finite() && y[2] > 0.0 && y[2] < 2e-38);
    }
}
