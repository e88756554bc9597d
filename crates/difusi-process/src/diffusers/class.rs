//! The scheduler classes of diffusers 0.42.1 that both sides have, and which keys each of them takes.
//!
//! Deliberately absent: the samplers that draw their noise from torchsde (`DPMSolverSDEScheduler`,
//! `CosineDPMSolverMultistepScheduler`) and classes that belong to one pipeline each.

use std::fmt;

/// A scheduler class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "diffusers' own names")]
pub enum SchedulerClass {
    Ddpm,
    Ddim,
    DdimInverse,
    Pndm,
    LmsDiscrete,
    EulerDiscrete,
    EulerAncestralDiscrete,
    HeunDiscrete,
    Kdpm2Discrete,
    Kdpm2AncestralDiscrete,
    DpmSolverMultistep,
    DpmSolverSinglestep,
    UniPcMultistep,
    DeisMultistep,
    Ipndm,
    Lcm,
    FlowMatchEulerDiscrete,
    FlowMatchHeunDiscrete,
    EdmEuler,
    EdmDpmSolverMultistep,
    RePaint,
    ScoreSdeVe,
}

/// The start of every class with betas.
macro_rules! discrete {
    ($($key:literal),* $(,)?) => {
        &["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", $($key),*]
    };
}

const SIGMA_SPACE: &[&str] = discrete![
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
];

impl SchedulerClass {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Ddpm,
        Self::Ddim,
        Self::DdimInverse,
        Self::Pndm,
        Self::LmsDiscrete,
        Self::EulerDiscrete,
        Self::EulerAncestralDiscrete,
        Self::HeunDiscrete,
        Self::Kdpm2Discrete,
        Self::Kdpm2AncestralDiscrete,
        Self::DpmSolverMultistep,
        Self::DpmSolverSinglestep,
        Self::UniPcMultistep,
        Self::DeisMultistep,
        Self::Ipndm,
        Self::Lcm,
        Self::FlowMatchEulerDiscrete,
        Self::FlowMatchHeunDiscrete,
        Self::EdmEuler,
        Self::EdmDpmSolverMultistep,
        Self::RePaint,
        Self::ScoreSdeVe,
    ];

    /// `_class_name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ddpm => "DDPMScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::DdimInverse => "DDIMInverseScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::LmsDiscrete => "LMSDiscreteScheduler",
            Self::EulerDiscrete => "EulerDiscreteScheduler",
            Self::EulerAncestralDiscrete => "EulerAncestralDiscreteScheduler",
            Self::HeunDiscrete => "HeunDiscreteScheduler",
            Self::Kdpm2Discrete => "KDPM2DiscreteScheduler",
            Self::Kdpm2AncestralDiscrete => "KDPM2AncestralDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::DpmSolverSinglestep => "DPMSolverSinglestepScheduler",
            Self::UniPcMultistep => "UniPCMultistepScheduler",
            Self::DeisMultistep => "DEISMultistepScheduler",
            Self::Ipndm => "IPNDMScheduler",
            Self::Lcm => "LCMScheduler",
            Self::FlowMatchEulerDiscrete => "FlowMatchEulerDiscreteScheduler",
            Self::FlowMatchHeunDiscrete => "FlowMatchHeunDiscreteScheduler",
            Self::EdmEuler => "EDMEulerScheduler",
            Self::EdmDpmSolverMultistep => "EDMDPMSolverMultistepScheduler",
            Self::RePaint => "RePaintScheduler",
            Self::ScoreSdeVe => "ScoreSdeVeScheduler",
        }
    }

    /// The class of this `_class_name`. The names of diffusers' former Flax classes, which Stable Diffusion's own files hold,
    /// count as those of the classes themselves.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix("Flax").unwrap_or(name);
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The keys of its `scheduler_config.json`, in no order.
    pub(crate) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Ddpm => discrete![
                "variance_type",
                "clip_sample",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "clip_sample_range",
                "sample_max_value",
                "timestep_spacing",
                "steps_offset",
                "rescale_betas_zero_snr",
            ],
            Self::Ddim => discrete![
                "clip_sample",
                "set_alpha_to_one",
                "steps_offset",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "clip_sample_range",
                "sample_max_value",
                "timestep_spacing",
                "rescale_betas_zero_snr",
            ],
            Self::DdimInverse => discrete![
                "clip_sample",
                "set_alpha_to_one",
                "steps_offset",
                "prediction_type",
                "clip_sample_range",
                "timestep_spacing",
                "rescale_betas_zero_snr",
            ],
            Self::Pndm => {
                discrete!["skip_prk_steps", "set_alpha_to_one", "prediction_type", "timestep_spacing", "steps_offset",]
            }
            Self::LmsDiscrete | Self::Kdpm2Discrete | Self::Kdpm2AncestralDiscrete => SIGMA_SPACE,
            Self::EulerDiscrete => discrete![
                "prediction_type",
                "interpolation_type",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "sigma_min",
                "sigma_max",
                "timestep_spacing",
                "timestep_type",
                "steps_offset",
                "rescale_betas_zero_snr",
                "final_sigmas_type",
            ],
            Self::EulerAncestralDiscrete => {
                discrete!["prediction_type", "timestep_spacing", "steps_offset", "rescale_betas_zero_snr",]
            }
            Self::HeunDiscrete => discrete![
                "prediction_type",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "clip_sample",
                "clip_sample_range",
                "timestep_spacing",
                "steps_offset",
            ],
            Self::DpmSolverMultistep => discrete![
                "solver_order",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "sample_max_value",
                "algorithm_type",
                "solver_type",
                "lower_order_final",
                "euler_at_final",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "use_lu_lambdas",
                "use_flow_sigmas",
                "flow_shift",
                "final_sigmas_type",
                "lambda_min_clipped",
                "variance_type",
                "timestep_spacing",
                "steps_offset",
                "rescale_betas_zero_snr",
                "use_dynamic_shifting",
                "time_shift_type",
            ],
            Self::DpmSolverSinglestep => discrete![
                "solver_order",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "sample_max_value",
                "algorithm_type",
                "solver_type",
                "lower_order_final",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "use_flow_sigmas",
                "flow_shift",
                "final_sigmas_type",
                "lambda_min_clipped",
                "variance_type",
                "use_dynamic_shifting",
                "time_shift_type",
            ],
            Self::UniPcMultistep => discrete![
                "solver_order",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "sample_max_value",
                "predict_x0",
                "solver_type",
                "lower_order_final",
                "disable_corrector",
                "solver_p",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "use_flow_sigmas",
                "flow_shift",
                "timestep_spacing",
                "steps_offset",
                "final_sigmas_type",
                "rescale_betas_zero_snr",
                "use_dynamic_shifting",
                "time_shift_type",
                "sigma_min",
                "sigma_max",
                "shift_terminal",
            ],
            Self::DeisMultistep => discrete![
                "solver_order",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "sample_max_value",
                "algorithm_type",
                "solver_type",
                "lower_order_final",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "use_flow_sigmas",
                "flow_shift",
                "timestep_spacing",
                "steps_offset",
                "use_dynamic_shifting",
                "time_shift_type",
            ],
            Self::Ipndm => &["num_train_timesteps", "trained_betas"],
            Self::Lcm => discrete![
                "original_inference_steps",
                "clip_sample",
                "clip_sample_range",
                "set_alpha_to_one",
                "steps_offset",
                "prediction_type",
                "thresholding",
                "dynamic_thresholding_ratio",
                "sample_max_value",
                "timestep_spacing",
                "timestep_scaling",
                "rescale_betas_zero_snr",
            ],
            Self::FlowMatchEulerDiscrete => &[
                "num_train_timesteps",
                "shift",
                "use_dynamic_shifting",
                "base_shift",
                "max_shift",
                "base_image_seq_len",
                "max_image_seq_len",
                "invert_sigmas",
                "shift_terminal",
                "use_karras_sigmas",
                "use_exponential_sigmas",
                "use_beta_sigmas",
                "time_shift_type",
                "stochastic_sampling",
            ],
            Self::FlowMatchHeunDiscrete => &["num_train_timesteps", "shift"],
            Self::EdmEuler => &[
                "sigma_min",
                "sigma_max",
                "sigma_data",
                "sigma_schedule",
                "num_train_timesteps",
                "prediction_type",
                "rho",
                "final_sigmas_type",
            ],
            Self::EdmDpmSolverMultistep => &[
                "sigma_min",
                "sigma_max",
                "sigma_data",
                "sigma_schedule",
                "num_train_timesteps",
                "prediction_type",
                "rho",
                "solver_order",
                "thresholding",
                "dynamic_thresholding_ratio",
                "sample_max_value",
                "algorithm_type",
                "solver_type",
                "lower_order_final",
                "euler_at_final",
                "final_sigmas_type",
            ],
            Self::RePaint => discrete!["eta", "clip_sample"],
            Self::ScoreSdeVe => {
                &["num_train_timesteps", "snr", "sigma_min", "sigma_max", "sampling_eps", "correct_steps"]
            }
        }
    }
}

impl fmt::Display for SchedulerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
