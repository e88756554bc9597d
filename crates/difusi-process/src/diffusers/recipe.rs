//! From a config and a request to what the sampling loop needs: process, prediction, threshold, plan, and the size of the start.

use super::{
    BetaSchedule, PredictionType, Request, SchedulerClass, SchedulerConfig, Spacing, VarianceType,
    check_request::check_request, tables::Tables,
};
use crate::{
    Diffusion, DiffusionConfig, Plan, Prediction, Process, ProcessError, Rounding, Schedule, Stage, Threshold,
    Variance, error::all_good,
};

/// A run of a scheduler, before it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The process and what the network predicts. Its tables are diffusers' f32 betas; the plan's levels are diffusers' own.
    pub diffusion: Diffusion,
    /// What happens to a predicted x_0.
    pub threshold: Threshold,
    /// One stage for each of diffusers' `timesteps`.
    pub plan: Plan,
    /// Standard deviation of x at the start: `init_noise_sigma`, times alpha where diffusers holds `x / alpha`.
    pub start: f64,
}

impl SchedulerConfig {
    /// What `set_timesteps` and the steps that follow it do.
    ///
    /// # Errors
    /// Requests that the class does not have, with what it accepts.
    pub fn recipe(&self, request: &Request) -> Result<Recipe, ProcessError> {
        all_good(check_request(self, request))?;
        let tables = Tables::new(self.class(), self.settings());
        let stages = self.stages(&tables, request);
        let (start, variance) = (self.start(&stages), self.variance());
        let plan = Plan::from_stages(stages, self.solver(request), variance)?.rounded(Rounding::F32);
        let (process, prediction) = (self.process(&tables), self.prediction());
        let diffusion = Diffusion { process, prediction, variance, ..DiffusionConfig::default().build()? };
        Ok(Recipe { diffusion, threshold: self.threshold(), plan, start })
    }

    /// The process by the name of its schedule, in f64, for training and measuring; `None` of iPNDM, whose schedule has no name.
    pub fn diffusion_config(&self) -> Option<DiffusionConfig> {
        let (s, has) = (self.settings(), |key| self.class().keys().contains(&key));
        let (beta_start, beta_end) = (s.beta_start, s.beta_end);
        let schedule = match (s.beta_schedule, self.process(&Tables::new(self.class(), s))) {
            (_, Process::Edm { sigma_min, sigma_max, .. }) => Schedule::Edm { sigma_min, sigma_max },
            (_, Process::Ve { sigma_min, sigma_max, .. }) => Schedule::Ve { sigma_min, sigma_max },
            (_, Process::Flow { shift, .. }) => Schedule::Flow { shift },
            _ if !has("beta_schedule") => return None,
            _ if s.trained_betas.is_some() => {
                Schedule::CustomBetas { betas: s.trained_betas.clone().unwrap_or_default() }
            }
            (BetaSchedule::Linear, _) => Schedule::Linear { beta_start, beta_end, rescale: false },
            (BetaSchedule::ScaledLinear, _) => Schedule::ScaledLinear { beta_start, beta_end },
            (BetaSchedule::SquaredCosine, _) => Schedule::Cosine { s: 0.008 },
            (BetaSchedule::Sigmoid, _) => Schedule::BetaSigmoid { beta_start, beta_end, range: 6.0 },
            (BetaSchedule::Laplace, _) => Schedule::Laplace {},
            (BetaSchedule::Exponential, _) => Schedule::Exponential { rate: 12.0 },
        };
        Some(DiffusionConfig {
            timesteps: s.num_train_timesteps,
            schedule,
            prediction: self.prediction(),
            zero_terminal_snr: has("rescale_betas_zero_snr") && s.rescale_betas_zero_snr,
            variance: self.variance(),
            ..DiffusionConfig::default()
        })
    }

    /// The process of a run.
    fn process(&self, tables: &Tables) -> Process {
        use SchedulerClass as C;
        let (s, timesteps) = (self.settings(), self.settings().num_train_timesteps);
        let (sigma_min, sigma_max) = (s.sigma_min.unwrap_or(0.002), s.sigma_max.unwrap_or(80.0));
        match self.class() {
            C::EdmEuler | C::EdmDpmSolverMultistep => Process::Edm { sigma_min, sigma_max, timesteps },
            C::ScoreSdeVe => Process::Ve { sigma_min, sigma_max, timesteps },
            C::FlowMatchEulerDiscrete | C::FlowMatchHeunDiscrete => Process::Flow { shift: s.shift, timesteps },
            _ if s.use_flow_sigmas => Process::Flow { shift: s.flow_shift, timesteps },
            _ => Process::Discrete(crate::Tables::from_betas(tables.betas.iter().map(|b| f64::from(*b)).collect())),
        }
    }

    /// What the network outputs.
    pub fn prediction(&self) -> Prediction {
        use SchedulerClass as C;
        let s = self.settings();
        match (self.class(), s.prediction_type) {
            (C::EdmEuler | C::EdmDpmSolverMultistep, PredictionType::VPrediction) => {
                Prediction::EdmVelocity { sigma_data: s.sigma_data }
            }
            (C::EdmEuler | C::EdmDpmSolverMultistep, _) => Prediction::Edm { sigma_data: s.sigma_data },
            (C::FlowMatchEulerDiscrete, _) if s.invert_sigmas => Prediction::FlowToData {},
            (C::FlowMatchEulerDiscrete | C::FlowMatchHeunDiscrete, _) => Prediction::Flow {},
            (C::Ipndm, _) => Prediction::Velocity {},
            (C::ScoreSdeVe, _) => Prediction::Score {},
            (_, PredictionType::Epsilon) => Prediction::Epsilon {},
            (_, PredictionType::Sample) => Prediction::X0 {},
            (_, PredictionType::VPrediction) => Prediction::Velocity {},
            (_, PredictionType::Flow) => Prediction::Flow {},
        }
    }

    /// What happens to a predicted x_0.
    pub fn threshold(&self) -> Threshold {
        let (s, has) = (self.settings(), |key| self.class().keys().contains(&key));
        let unused = self.class() == SchedulerClass::UniPcMultistep && !s.predict_x0;
        if has("thresholding") && s.thresholding && !unused {
            return Threshold::Dynamic { quantile: s.dynamic_thresholding_ratio, max: Some(s.sample_max_value) };
        }
        match s.clip_sample_range {
            _ if !has("clip_sample") || !s.clip_sample => Threshold::None {},
            range if has("clip_sample_range") && range != 1.0 => Threshold::Clip { range },
            _ => Threshold::Static {},
        }
    }

    fn variance(&self) -> Variance {
        match self.settings().variance_type {
            Some(VarianceType::FixedLarge) => Variance::FixedLarge {},
            Some(VarianceType::LearnedRange) => Variance::LearnedRange {},
            _ => Variance::FixedSmall {},
        }
    }

    /// `init_noise_sigma`, in the coordinates of x.
    fn start(&self, stages: &[Stage]) -> f64 {
        use SchedulerClass as C;
        let s = self.settings();
        match (self.class(), stages.first()) {
            (C::EdmEuler | C::EdmDpmSolverMultistep, _) => s.sigma_max.unwrap_or(1.0).hypot(1.0),
            (C::ScoreSdeVe, _) => s.sigma_max.unwrap_or(1.0),
            (
                C::LmsDiscrete
                | C::EulerDiscrete
                | C::EulerAncestralDiscrete
                | C::HeunDiscrete
                | C::Kdpm2Discrete
                | C::Kdpm2AncestralDiscrete,
                Some(Stage { at, .. }),
            ) => match s.timestep_spacing {
                Spacing::Linspace | Spacing::Trailing => at.sigma,
                Spacing::Leading => at.ratio().hypot(1.0) * at.alpha,
            },
            _ => 1.0,
        }
    }
}
