//! The arguments of OpenAI's guided-diffusion for its process (`create_gaussian_diffusion` of its scripts) and what they are here.
//!
//! Deliberately absent: the way back; `rescale_learned_sigmas`, which scales a part of the loss and nothing of a trained model, is read
//! and reported as a note.

use serde::{Deserialize, Serialize};

use crate::{
    DiffusionConfig, Grid, Loss, Prediction, SampleConfig, Schedule, Solver, Threshold, TimeDistribution, ValueError,
    Variance, error::Checks, peer::Translated,
};

/// Its arguments under its own names, with its scripts' defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidedDiffusion {
    /// T. Default 1000.
    pub diffusion_steps: usize,
    /// Whether the network's second half is a variance. Default false.
    pub learn_sigma: bool,
    /// Default `linear`.
    pub noise_schedule: NoiseSchedule,
    /// Which steps sampling visits: all (empty, the default), so many in each of several equal parts (`"250"`, `"10,15,20"`), or so many at equal
    /// distances, by DDIM (`"ddim25"`).
    pub timestep_respacing: String,
    /// Whether the bound is trained. Default false.
    pub use_kl: bool,
    /// Whether the network predicts x_0. Default false.
    pub predict_xstart: bool,
    /// Whether the network is told `1000 t / T`; only where that is t. Default false.
    pub rescale_timesteps: bool,
    /// Training only. Default false.
    pub rescale_learned_sigmas: bool,
}

impl Default for GuidedDiffusion {
    fn default() -> Self {
        Self {
            diffusion_steps: 1000,
            learn_sigma: false,
            noise_schedule: NoiseSchedule::Linear,
            timestep_respacing: String::new(),
            use_kl: false,
            predict_xstart: false,
            rescale_timesteps: false,
            rescale_learned_sigmas: false,
        }
    }
}

/// Its schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSchedule {
    /// 1e-4..0.02 times 1000 / T.
    Linear,
    /// Nichol & Dhariwal.
    Cosine,
}

/// Prefix of the spacing that is DDIM's.
const DDIM: &str = "ddim";

impl GuidedDiffusion {
    /// Everything wrong; keys are the peer's.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        let steps = self.diffusion_steps;
        checks.require((1..=1_000_000).contains(&steps), "diffusion_steps", steps, "1 to 1000000");
        let told = !self.rescale_timesteps || steps == 1000;
        checks.require(told, "rescale_timesteps", true, "false, or 1000 diffusion_steps: networks here are told t");
        if checks.0.is_empty() {
            let accepted = format!(
                "empty, numbers with commas between them that fit into parts of {steps} steps, or ddimN with N steps at equal \
                 distances in {steps}"
            );
            checks.require(self.steps().is_some(), "timestep_respacing", &self.timestep_respacing, accepted);
        }
        checks.0
    }

    /// The same process here.
    pub fn diffusion(&self) -> Translated<DiffusionConfig> {
        let value = DiffusionConfig {
            timesteps: self.diffusion_steps,
            schedule: match self.noise_schedule {
                NoiseSchedule::Linear => Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: true },
                NoiseSchedule::Cosine => Schedule::Cosine { s: 0.008 },
            },
            prediction: if self.predict_xstart { Prediction::X0 {} } else { Prediction::Epsilon {} },
            loss: match (self.use_kl, self.learn_sigma) {
                (true, _) => Loss::Vlb {},
                (false, true) => Loss::Hybrid { lambda: 0.001 },
                (false, false) => Loss::L2 {},
            },
            times: TimeDistribution::Uniform {},
            variance: if self.learn_sigma { Variance::LearnedRange {} } else { Variance::FixedLarge {} },
            ..DiffusionConfig::default()
        };
        let mut notes = Vec::new();
        if self.rescale_learned_sigmas {
            notes.push("rescale_learned_sigmas is not offered here; further training goes without it".to_owned());
        }
        Translated { value, notes }
    }

    /// Sampling as its scripts do it, x_0 clipped: ancestral, or DDIM where the spacing says so.
    pub fn sample(&self) -> SampleConfig {
        let (all, visited) = (self.diffusion_steps, self.steps().unwrap_or_default());
        let solver = if self.timestep_respacing.starts_with(DDIM) { Solver::ddim(0.0) } else { Solver::Ancestral {} };
        let (steps, grid) = match visited.len() {
            count if count == all => (all, Grid::Leading {}),
            count => (count, Grid::Custom { steps: visited }),
        };
        SampleConfig { solver, grid, steps, threshold: Threshold::Static {}, ..SampleConfig::default() }
    }

    /// The visited steps, falling; `None` where there are none such.
    fn steps(&self) -> Option<Vec<usize>> {
        let (total, text) = (self.diffusion_steps, self.timestep_respacing.trim());
        if text.is_empty() {
            return Some((0..total).rev().collect());
        }
        if let Some(count) = text.strip_prefix(DDIM) {
            let count: usize = count.parse().ok().filter(|count| *count > 0)?;
            // The smallest distance at which there are so many.
            let stride = (1..=total).find(|stride| total.div_ceil(*stride) == count)?;
            return Some((0..total).step_by(stride).collect::<Vec<_>>().into_iter().rev().collect());
        }
        let counts: Option<Vec<usize>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        let counts = counts.filter(|counts| counts.iter().all(|count| *count > 0))?;
        let (size, larger) = (total / counts.len(), total % counts.len());
        let (mut steps, mut start) = (Vec::new(), 0);
        for (i, count) in counts.into_iter().enumerate() {
            let size = size + usize::from(i < larger);
            if size < count {
                return None;
            }
            let stride = if count > 1 { (size - 1) as f64 / (count - 1) as f64 } else { 1.0 };
            // Added up as there, so that the same ones are rounded up.
            let mut at = 0.0_f64;
            for _ in 0..count {
                steps.push(start + at.round_ties_even() as usize);
                at += stride;
            }
            start += size;
        }
        steps.dedup();
        steps.reverse();
        Some(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaced(total: usize, text: &str) -> Option<Vec<usize>> {
        let args = GuidedDiffusion { diffusion_steps: total, timestep_respacing: text.into(), ..Default::default() };
        args.steps()
    }

    #[test]
    fn steps_are_spaced() {
        assert_eq!(spaced(4, "").unwrap(), [3, 2, 1, 0]);
        assert_eq!(spaced(10, "4").unwrap(), [9, 6, 3, 0]);
        assert_eq!(spaced(10, "2,3").unwrap(), [9, 7, 5, 4, 0]);
        assert_eq!(spaced(10, "ddim5").unwrap(), [8, 6, 4, 2, 0]);
        assert_eq!(spaced(1000, "250").unwrap().len(), 250);
        assert_eq!(spaced(1000, "250").unwrap()[..3], [999, 995, 991]);
        assert_eq!(spaced(10, "ddim6"), None);
        assert_eq!(spaced(10, "11"), None);
        assert_eq!(spaced(10, "0"), None);
        assert_eq!(spaced(10, "a"), None);
    }

    #[test]
    fn a_process_is_built() {
        let args = GuidedDiffusion { learn_sigma: true, noise_schedule: NoiseSchedule::Cosine, ..Default::default() };
        assert!(args.check().is_empty());
        let (diffusion, sample) = (args.diffusion().value, args.sample());
        assert!(diffusion.check().is_empty() && sample.check(1000).is_empty());
        assert!(diffusion.variance.is_learned() && sample.steps == 1000);
        let bad = GuidedDiffusion { diffusion_steps: 4000, rescale_timesteps: true, ..args };
        assert_eq!(bad.check().len(), 1);
    }
}
