//! What this machine can do at best: the rate of f32 multiply-adds when nothing has to be read or written.
//!
//! The same vector unit as the kernels', register to register, in every thread at once: the ceiling that a share is a share of.
//! Winograd's convolutions may go past it, since they need fewer multiply-adds than the convolution's definition counts.
//! Deliberately absent: memory bandwidth, other numbers than f32.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::simd::{Kernel, Lanes, Unit, dispatch, unit};

/// Multiply-adds of one accumulator in one round: about a millisecond, so that some round goes undisturbed.
const LENGTH: usize = 1 << 19;

/// Rounds; the best one counts, since others use the machine too.
const ROUNDS: usize = 40;

/// `N` independent chains of multiply-adds, [`LENGTH`] long, and the sum of where they end.
struct Chains<'a, const N: usize> {
    factor: f32,
    result: &'a mut f32,
}

impl<const N: usize> Kernel for Chains<'_, N> {
    #[inline(always)]
    unsafe fn run<L: Lanes<F = f32>>(self) {
        // SAFETY: `dispatch` has checked the features; nothing is read or written but registers.
        unsafe {
            let (factor, term) = (L::splat(self.factor), L::splat(1.0 - self.factor));
            let mut chains = [L::splat(0.5); N];
            for _ in 0..LENGTH {
                for chain in &mut chains {
                    *chain = chain.fma(factor, term);
                }
            }
            *self.result = chains.iter().fold(L::splat(0.0), |sum, chain| sum.add(*chain)).sum();
        }
    }
}

/// One round in this thread; the floating-point operations it made.
fn round() -> f64 {
    // As many chains as hide an instruction's latency and stay in registers: a chain is one register of AVX-512, two of AVX2.
    let chains = match unit() {
        unit if unit >= Unit::Avx512 => run::<16>(),
        unit if unit >= Unit::Avx2 => run::<6>(),
        _ => run::<3>(),
    };
    2.0 * 16.0 * (chains * LENGTH) as f64
}

fn run<const N: usize>() -> usize {
    let mut result = 0.0;
    // SAFETY: the kernel follows no pointers.
    unsafe { dispatch(Chains::<N> { factor: black_box(0.9999), result: &mut result }) };
    black_box(result);
    N
}

/// The f32 multiply-add ceiling of `threads` threads (at least 1) in GFLOP/s, a multiply and an add being two operations.
/// Takes about a tenth of a second; the threads are its own and end with it.
pub fn ceiling_gflops(threads: usize) -> f64 {
    let threads = threads.max(1);
    let barrier = Barrier::new(threads);
    // Nanoseconds of each round's slowest thread: threads that share a core slow each other down, so all begin together.
    let rounds: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(1)).collect();
    let work = || {
        let mut operations = 0.0;
        for slowest in &rounds {
            barrier.wait();
            let start = Instant::now();
            operations = round();
            let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            slowest.fetch_max(nanos, Ordering::Relaxed);
        }
        operations
    };
    let operations = std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work()
    });
    let best = rounds.into_iter().map(AtomicU64::into_inner).min().unwrap_or(u64::MAX);
    threads as f64 * operations / best as f64
}

/// The vector unit that the kernels use here: `avx512`, `avx2` or `portable`.
pub fn vector_unit() -> &'static str {
    match unit() {
        unit if unit >= Unit::Avx512 => "avx512",
        unit if unit >= Unit::Avx2 => "avx2",
        _ => "portable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chains converge to 1, so none was optimised away; a rate comes out at any number of threads.
    #[test]
    fn the_work_is_done() {
        for chains in [1, 16] {
            let mut result = 0.0;
            unsafe {
                match chains {
                    1 => dispatch(Chains::<1> { factor: 0.9999, result: &mut result }),
                    _ => dispatch(Chains::<16> { factor: 0.9999, result: &mut result }),
                }
            }
            assert!((result - 16.0 * chains as f32).abs() < 0.1 * chains as f32, "{chains}: {result}");
        }
        for threads in [0, 2] {
            assert!(ceiling_gflops(threads) > 0.0);
        }
        assert!(["avx512", "avx2", "portable"].contains(&vector_unit()));
    }
}
