//! What was measured, and what follows from it.

use difusi_core::Precision;
use difusi_ops::profile::OpTime;

use super::GuidedTiming;

/// Times of runs of the same work.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Milliseconds of each run, in order.
    pub all_ms: Vec<f64>,
    /// Their median.
    pub median_ms: f64,
    /// The fastest.
    pub min_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Timing {
    /// Of these runs; of none, NaN.
    pub fn of(all_ms: Vec<f64>) -> Self {
        let mut sorted = all_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self { median_ms: (at(last / 2) + at(sorted.len() / 2)) / 2.0, min_ms: at(0), max_ms: at(last), all_ms }
    }
}

/// What the configured run will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Milliseconds of a step as configured, the averages (EMA) included.
    pub step_ms: f64,
    /// Seconds of all steps.
    pub training_s: f64,
    /// Seconds of drawing: the final pictures and those on the way.
    pub sampling_s: f64,
}

/// The figures of one config.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchReport {
    /// Parameters of the network.
    pub parameters: usize,
    /// Shape of a picture, `[H, W, C]`.
    pub shape: [usize; 3],
    /// Images of one training step.
    pub images_per_step: usize,
    /// Images of one forward pass: `sample.count`, or as many as memory holds.
    pub forward_batch: usize,
    /// Number format of the activations in training.
    pub precision: Precision,
    /// The forward pass's: `sample.precision`, or the training's where that is not given.
    pub forward_precision: Precision,
    /// CPU threads.
    pub threads: usize,
    /// Vector unit of the kernels: `avx512`, `avx2` or `portable`; `other` where the device is not the CPU.
    pub unit: &'static str,
    /// Training step without averages (EMA).
    pub step: Timing,
    /// One evaluation of the network for [`BenchReport::forward_batch`] images.
    pub forward: Timing,
    /// Floating-point operations of a training step: three forward passes.
    pub train_flops: f64,
    /// Floating-point operations of the forward pass.
    pub forward_flops: f64,
    /// What the CPU could do in f32, in GFLOP/s; `None` where the device is not the CPU.
    pub ceiling_gflops: Option<f64>,
    /// Peak resident memory in MiB after the training steps; `None` where the system does not tell.
    pub train_peak_mib: Option<f64>,
    /// Peak resident memory in MiB, the forward pass included.
    pub peak_mib: Option<f64>,
    /// What guidance costs, of a network that is told classes.
    pub guided: Option<GuidedTiming>,
    /// What the whole run will take.
    pub prediction: Prediction,
    /// Milliseconds of the training step in which the ops were timed.
    pub profiled_ms: f64,
    /// What each op took in that step, the longest first.
    pub ops: Vec<OpTime>,
}

impl BenchReport {
    /// Training steps per second.
    pub fn steps_per_s(&self) -> f64 {
        1e3 / self.step.median_ms
    }

    /// Images trained on per second.
    pub fn images_per_s(&self) -> f64 {
        self.images_per_step as f64 * self.steps_per_s()
    }

    /// GFLOP/s of the training step.
    pub fn gflops(&self) -> f64 {
        1e-6 * self.train_flops / self.step.median_ms
    }

    /// GFLOP/s of the forward pass.
    pub fn forward_gflops(&self) -> f64 {
        1e-6 * self.forward_flops / self.forward.median_ms
    }

    /// The training step's share of the ceiling, 1 being all of it.
    pub fn share(&self) -> Option<f64> {
        self.ceiling_gflops.map(|ceiling| self.gflops() / ceiling)
    }

    /// Milliseconds of the profiled step in none of the ops: burn's own ops, copies, work on the host.
    pub fn everything_else_ms(&self) -> f64 {
        (self.profiled_ms - self.ops.iter().map(|op| 1e3 * op.seconds).sum::<f64>()).max(0.0)
    }
}
