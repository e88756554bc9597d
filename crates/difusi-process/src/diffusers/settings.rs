//! Every key that a scheduler class of diffusers can have, typed, with the defaults of each class.
//!
//! The keys are diffusers' own; what they mean is told by its documentation. A class has some of them
//! ([`SchedulerClass::keys`]); the others keep a default that nobody reads.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SchedulerClass;

/// A key with a list of accepted words, spelled as diffusers spells them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $($variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "diffusers' own words")]
        pub enum $name { $(#[serde(rename = $word)] $variant),+ }
    };
}

words! {
    /// How betas grow.
    BetaSchedule: Linear = "linear", ScaledLinear = "scaled_linear", SquaredCosine = "squaredcos_cap_v2",
    Sigmoid = "sigmoid", Laplace = "laplace", Exponential = "exp",
}
words! {
    /// What the network outputs.
    PredictionType: Epsilon = "epsilon", Sample = "sample", VPrediction = "v_prediction", Flow = "flow_prediction",
}
words! {
    /// How visited steps are spread.
    Spacing: Leading = "leading", Linspace = "linspace", Trailing = "trailing",
}
words! {
    /// Variance of DDPM's reverse step.
    VarianceType: FixedSmall = "fixed_small", FixedSmallLog = "fixed_small_log", FixedLarge = "fixed_large",
    FixedLargeLog = "fixed_large_log", Learned = "learned", LearnedRange = "learned_range",
}
words! {
    /// Where a list of sigmas ends.
    FinalSigmas: Zero = "zero", SigmaMin = "sigma_min",
}
words! {
    /// What DPM-Solver integrates.
    Algorithm: DpmSolver = "dpmsolver", DpmSolverPp = "dpmsolver++", SdeDpmSolver = "sde-dpmsolver",
    SdeDpmSolverPp = "sde-dpmsolver++", Deis = "deis",
}
words! {
    /// Variant of a solver's formula.
    SolverType: Midpoint = "midpoint", Heun = "heun", Bh1 = "bh1", Bh2 = "bh2", LogRho = "logrho",
}
words! {
    /// How Euler finds a sigma between two steps.
    Interpolation: Linear = "linear", LogLinear = "log_linear",
}
words! {
    /// What Euler's network receives as its time.
    TimestepType: Discrete = "discrete", Continuous = "continuous",
}
words! {
    /// EDM's list of sigmas.
    SigmaSchedule: Karras = "karras", Exponential = "exponential",
}
words! {
    /// How dynamic shifting moves flow times.
    TimeShift: Exponential = "exponential", Linear = "linear",
}

/// The keys, their types, and access by name.
macro_rules! settings {
    ($($key:ident: $type:ty = $default:expr,)+) => {
        /// Values of all keys; which of them count is [`SchedulerClass`]'s to say.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "diffusers' own keys")]
        pub struct Settings { $(pub $key: $type),+ }

        impl Settings {
            /// What most classes default to.
            fn usual() -> Self {
                Self { $($key: $default),+ }
            }

            /// Every key.
            pub(crate) const KEYS: &'static [&'static str] = &[$(stringify!($key)),+];

            /// The value of a key as JSON; infinities as text.
            pub(crate) fn get(&self, key: &str) -> Option<Value> {
                match key {
                    $(stringify!($key) => Some(self.$key.to_json()),)+
                    _ => None,
                }
            }

            /// Sets a key from JSON; the error says what was expected.
            pub(crate) fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
                match key {
                    $(stringify!($key) => self.$key = Json::from_json(value)?,)+
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

settings! {
    num_train_timesteps: usize = 1000,
    beta_start: f64 = 1e-4,
    beta_end: f64 = 0.02,
    beta_schedule: BetaSchedule = BetaSchedule::Linear,
    trained_betas: Option<Vec<f64>> = None,
    prediction_type: PredictionType = PredictionType::Epsilon,
    timestep_spacing: Spacing = Spacing::Linspace,
    steps_offset: usize = 0,
    rescale_betas_zero_snr: bool = false,
    set_alpha_to_one: bool = true,
    clip_sample: bool = true,
    clip_sample_range: f64 = 1.0,
    thresholding: bool = false,
    dynamic_thresholding_ratio: f64 = 0.995,
    sample_max_value: f64 = 1.0,
    variance_type: Option<VarianceType> = None,
    skip_prk_steps: bool = false,
    use_karras_sigmas: bool = false,
    use_exponential_sigmas: bool = false,
    use_beta_sigmas: bool = false,
    use_lu_lambdas: bool = false,
    use_flow_sigmas: bool = false,
    flow_shift: f64 = 1.0,
    sigma_min: Option<f64> = None,
    sigma_max: Option<f64> = None,
    sigma_data: f64 = 0.5,
    sigma_schedule: SigmaSchedule = SigmaSchedule::Karras,
    rho: f64 = 7.0,
    final_sigmas_type: FinalSigmas = FinalSigmas::Zero,
    interpolation_type: Interpolation = Interpolation::Linear,
    timestep_type: TimestepType = TimestepType::Discrete,
    solver_order: usize = 2,
    algorithm_type: Algorithm = Algorithm::DpmSolverPp,
    solver_type: SolverType = SolverType::Midpoint,
    lower_order_final: bool = true,
    euler_at_final: bool = false,
    lambda_min_clipped: f64 = f64::NEG_INFINITY,
    predict_x0: bool = true,
    disable_corrector: Vec<usize> = Vec::new(),
    solver_p: Option<()> = None,
    shift: f64 = 1.0,
    shift_terminal: Option<f64> = None,
    use_dynamic_shifting: bool = false,
    time_shift_type: TimeShift = TimeShift::Exponential,
    base_shift: f64 = 0.5,
    max_shift: f64 = 1.15,
    base_image_seq_len: usize = 256,
    max_image_seq_len: usize = 4096,
    invert_sigmas: bool = false,
    stochastic_sampling: bool = false,
    original_inference_steps: usize = 50,
    timestep_scaling: f64 = 10.0,
    eta: f64 = 0.0,
    snr: f64 = 0.15,
    sampling_eps: f64 = 1e-5,
    correct_steps: usize = 1,
}

impl Settings {
    /// The defaults of a class.
    pub(crate) fn of(class: SchedulerClass) -> Self {
        use SchedulerClass as C;
        let mut s = Self::usual();
        match class {
            C::Ddpm => {
                s.timestep_spacing = Spacing::Leading;
                s.variance_type = Some(VarianceType::FixedSmall);
            }
            C::Ddim | C::DdimInverse => s.timestep_spacing = Spacing::Leading,
            C::Pndm => (s.timestep_spacing, s.set_alpha_to_one) = (Spacing::Leading, false),
            C::HeunDiscrete | C::Kdpm2Discrete | C::Kdpm2AncestralDiscrete => {
                (s.beta_start, s.beta_end, s.clip_sample) = (0.00085, 0.012, false);
            }
            C::DpmSolverSinglestep => s.lower_order_final = false,
            C::UniPcMultistep => s.solver_type = SolverType::Bh2,
            C::DeisMultistep => (s.algorithm_type, s.solver_type) = (Algorithm::Deis, SolverType::LogRho),
            C::Lcm => {
                (s.beta_start, s.beta_end, s.beta_schedule) = (0.00085, 0.012, BetaSchedule::ScaledLinear);
                (s.timestep_spacing, s.clip_sample) = (Spacing::Leading, false);
            }
            C::EdmEuler | C::EdmDpmSolverMultistep => (s.sigma_min, s.sigma_max) = (Some(0.002), Some(80.0)),
            C::ScoreSdeVe => {
                s.num_train_timesteps = 2000;
                (s.sigma_min, s.sigma_max) = (Some(0.01), Some(1348.0));
            }
            _ => {}
        }
        s
    }
}

/// A value of a key, to JSON and back. Python writes infinities as bare words; here they are text until the last moment.
trait Json: Sized {
    fn to_json(&self) -> Value;
    fn from_json(value: &Value) -> Result<Self, String>;
}

/// Those that serde knows.
macro_rules! plain {
    ($($type:ty: $expected:literal),+ $(,)?) => { $(
        impl Json for $type {
            fn to_json(&self) -> Value {
                serde_json::to_value(self).unwrap_or(Value::Null)
            }

            fn from_json(value: &Value) -> Result<Self, String> {
                Self::deserialize(value).map_err(|_| $expected.to_string())
            }
        }
    )+ };
}

plain! {
    usize: "a whole number, at least 0",
    bool: "true or false",
    Vec<usize>: "a list of whole numbers",
    Option<Vec<f64>>: "a list of numbers or null",
    Option<()>: "null: another scheduler inside UniPC is not supported",
    BetaSchedule: r#""linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace" or "exp""#,
    PredictionType: r#""epsilon", "sample", "v_prediction" or "flow_prediction""#,
    Spacing: r#""leading", "linspace" or "trailing""#,
    Option<VarianceType>: r#""fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range" or null"#,
    FinalSigmas: r#""zero" or "sigma_min""#,
    Algorithm: r#""dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++" or "deis""#,
    SolverType: r#""midpoint", "heun", "bh1", "bh2" or "logrho""#,
    Interpolation: r#""linear" or "log_linear""#,
    TimestepType: r#""discrete" or "continuous""#,
    SigmaSchedule: r#""karras" or "exponential""#,
    TimeShift: r#""exponential" or "linear""#,
}

impl Json for f64 {
    fn to_json(&self) -> Value {
        match *self {
            Self::INFINITY => "Infinity".into(),
            Self::NEG_INFINITY => "-Infinity".into(),
            number => number.into(),
        }
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(s) if s == "Infinity" => Ok(Self::INFINITY),
            Value::String(s) if s == "-Infinity" => Ok(Self::NEG_INFINITY),
            value => value.as_f64().ok_or_else(|| "a number".to_string()),
        }
    }
}

impl Json for Option<f64> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Json::to_json)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => f64::from_json(value).map(Some).map_err(|_| "a number or null".to_string()),
        }
    }
}
