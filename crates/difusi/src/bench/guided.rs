//! What classifier-free guidance costs: a guided step beside an unguided one and beside one of twice as many pictures.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Cond, Draw, Noise};
use difusi_process::{Denoise, Guidance, NetworkDenoiser};

use super::{LEAST, Timing};
use crate::Error;
use crate::config::DiffusionTask;
use crate::network::DiffusionNetwork;

/// Times of sampling steps, measured by turns: what the network says, guided and thresholded, without the solver.
#[derive(Clone, Debug, PartialEq)]
pub struct GuidedTiming {
    /// Pictures of the unguided and the guided step.
    pub batch: usize,
    /// Without guidance.
    pub plain: Timing,
    /// With guidance: the network is asked about every picture twice, in one batch.
    pub guided: Timing,
    /// Without guidance, of twice as many pictures.
    pub double: Timing,
}

impl GuidedTiming {
    /// Guided steps over unguided ones, a median of neighbours.
    pub fn over_plain(&self) -> f64 {
        ratio(&self.guided, &self.plain)
    }

    /// Guided steps over steps of twice as many pictures.
    pub fn over_double(&self) -> f64 {
        ratio(&self.guided, &self.double)
    }
}

/// Of runs beside each other, so that a machine that is slow for a while is slow for both.
fn ratio(a: &Timing, b: &Timing) -> f64 {
    Timing::of(a.all_ms.iter().zip(&b.all_ms).map(|(a, b)| a / b).collect()).median_ms
}

/// Runs of each kind.
pub(super) fn runs(runs: usize) -> usize {
    1 + runs.max(LEAST)
}

/// Whether the network can be guided at all.
pub(super) fn can_be(task: &DiffusionTask) -> bool {
    task.network.null_class()
}

/// The guidance that is measured: the config's, or scale 2.
fn guidance(task: &DiffusionTask) -> Guidance {
    if task.sample.guidance.is_off() { Guidance::scale(2.0) } else { task.sample.guidance }
}

/// Measures steps of `batch` pictures `[H, W, C]` in the middle of the process.
pub(super) fn measure(
    (network, task): (&DiffusionNetwork, &DiffusionTask),
    (batch, [h, w, c]): (usize, [usize; 3]),
    count: usize,
    device: &Device,
    tick: &mut dyn FnMut(&'static str),
) -> Result<GuidedTiming, Error> {
    let diffusion = task.diffusion.build()?;
    let level = diffusion.level(task.diffusion.timesteps / 2)?;
    let classes = task.network.classes().unwrap_or(1) as u32;
    let inputs = |batch: usize| {
        let pixels = Noise::new(0).normal(Draw::Init, 0..batch as u64, 0, h * w * c);
        let x = Tensor::<4>::from_data(TensorData::new(pixels, [batch, h, w, c]), device); // [B, H, W, C]
        (x, Cond::labels((0..batch as u32).map(|i| i % classes)))
    };
    let (one, two) = (inputs(batch), inputs(2 * batch));
    let denoiser = |guidance| NetworkDenoiser::new(network, &diffusion, task.sample.threshold).guided(guidance, None);
    let (plain, guided) = (denoiser(Guidance::None {}), denoiser(guidance(task)));
    let kinds = [(&plain, &one), (&guided, &one), (&plain, &two)];
    let mut times = [const { Vec::new() }; 3];
    for run in 0..runs(count) {
        for (times, (denoiser, (x, cond))) in times.iter_mut().zip(kinds) {
            tick("guidance");
            let started = std::time::Instant::now();
            denoiser.begin();
            // Read back, so that a device that works on its own has finished.
            drop(denoiser.denoise(x.clone(), level, cond)?.x0.into_data());
            if run > 0 {
                times.push(1e3 * started.elapsed().as_secs_f64());
            }
        }
    }
    let [plain, guided, double] = times.map(Timing::of);
    Ok(GuidedTiming { batch, plain, guided, double })
}
