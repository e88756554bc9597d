//! A scheduler as a `[sample]` section: the solver and the grid that come nearest to it, to be changed key by key. Step for step it is
//! followed by [`SchedulerConfig::recipe`].

use super::{Request, SchedulerClass as C, SchedulerConfig, Spacing};
use crate::{End, Grid, SampleConfig, Solver};

/// Steps of a solver that jumps.
const STEPS: usize = 50;

impl SchedulerConfig {
    /// Sampling as this scheduler does it: all steps with DDPM, else fifty (or all, where there are fewer).
    pub fn sample_config(&self) -> SampleConfig {
        let (s, has) = (self.settings(), |key| self.class().keys().contains(&key));
        let timesteps = s.num_train_timesteps;
        let steps = if self.class() == C::Ddpm { timesteps } else { STEPS.min(timesteps) };
        let grid = match s.timestep_spacing {
            _ if has("use_karras_sigmas") && s.use_karras_sigmas => {
                Grid::Karras { rho: 7.0, sigma_min: None, sigma_max: None }
            }
            _ if !has("timestep_spacing") => Grid::Trailing {},
            Spacing::Leading => Grid::Leading {},
            Spacing::Linspace => Grid::Linspace {},
            Spacing::Trailing => Grid::Trailing {},
        };
        let solver = match self.class() {
            C::DdimInverse | C::RePaint => Solver::ddim(0.0),
            _ => self.solver(&Request::steps(steps)),
        };
        let end = if has("set_alpha_to_one") && !s.set_alpha_to_one { End::SigmaMin } else { End::Data };
        let threshold = self.threshold();
        let found = SampleConfig { solver, grid, end, steps, threshold, ..SampleConfig::default() };
        match found.check(timesteps).is_empty() {
            true => found,
            false => SampleConfig { steps, threshold, ..SampleConfig::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Process, Variance};

    /// What a config becomes, it comes from.
    #[test]
    fn schedulers_and_sections() {
        for class in C::ALL {
            let config = SchedulerConfig::new(class);
            let sample = config.sample_config();
            assert!(sample.check(config.settings().num_train_timesteps).is_empty(), "{class}");
        }
        let config = SchedulerConfig::new(C::Ddpm).with("variance_type", "fixed_large").unwrap();
        let (diffusion, sample) = (config.diffusion_config().unwrap(), config.sample_config());
        assert_eq!(
            (sample.solver, sample.steps, diffusion.variance),
            (Solver::Ancestral {}, 1000, Variance::FixedLarge {})
        );
        assert!(matches!(diffusion.build().unwrap().process, Process::Discrete(_)));
        let back = SchedulerConfig::describing(&diffusion, &sample).unwrap();
        assert!(back.notes.is_empty(), "{:?}", back.notes);
        assert_eq!(back.config.settings(), config.settings());
    }
}
