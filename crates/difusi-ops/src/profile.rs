//! Where the time goes: seconds per op and shape, counted while [`measure`] runs.
//!
//! Off, it costs one atomic load per op. Deliberately absent: burn's own ops, which cannot be seen from here.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What one op with one shape took.
#[derive(Clone, Debug, PartialEq)]
pub struct OpTime {
    /// The op and its pass, such as `conv2d dw`.
    pub op: &'static str,
    /// The shapes, such as `32x32x32x64 -> 64, 3x3`.
    pub shape: String,
    /// How often it ran.
    pub calls: u64,
    /// Wall-clock seconds in all calls together.
    pub seconds: f64,
    /// Floating-point operations in all calls together by the op's definition (a multiply and an add are two), 0 where not counted.
    pub flops: f64,
}

static ON: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<Option<Times>> = Mutex::new(None);

/// Calls, seconds and floating-point operations per op and shape.
type Times = HashMap<(&'static str, String), (u64, f64, f64)>;

/// Runs `work` and returns what each op of this crate took in it, in all threads, the longest first.
pub fn measure<R>(work: impl FnOnce() -> R) -> (R, Vec<OpTime>) {
    *lock() = Some(HashMap::new());
    ON.store(true, Ordering::Release);
    let result = work();
    ON.store(false, Ordering::Release);
    let times = lock().take().unwrap_or_default();
    let mut times: Vec<OpTime> = times
        .into_iter()
        .map(|((op, shape), (calls, seconds, flops))| OpTime { op, shape, calls, seconds, flops })
        .collect();
    times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| (a.op, &a.shape).cmp(&(b.op, &b.shape))));
    (result, times)
}

fn lock() -> std::sync::MutexGuard<'static, Option<Times>> {
    TIMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs `work`, counted as `op` with what `describe` says: the shapes and the floating-point operations.
pub(crate) fn timed<R>(op: &'static str, describe: impl FnOnce() -> (String, f64), work: impl FnOnce() -> R) -> R {
    if !ON.load(Ordering::Acquire) {
        return work();
    }
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    let (shape, flops) = describe();
    if let Some(times) = lock().as_mut() {
        let entry = times.entry((op, shape)).or_insert((0, 0.0, 0.0));
        entry.0 += 1;
        entry.1 += seconds;
        entry.2 += flops;
    }
    result
}
