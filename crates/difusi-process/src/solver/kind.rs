//! Which solvers there are, and what each of them can be told.

use serde::{Deserialize, Serialize};

use super::{
    Churn, Curvature, DpmAlgorithm, DpmKind, EpsSource, InverseTime, IpndmStart, PndmMean, PndmWarmup, Predictor,
    StepSet, UnipcKind,
};
use crate::{Norms, StepSize, ValueError, choice::choice, error::Checks, score::default_snr};

/// How sampling moves between the levels of its grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Solver {
    /// Draws x_s from the posterior with x_0 replaced by its estimate; the noise is `diffusion.variance`.
    Ancestral {},
    /// DDIM: first order, deterministic or with noise.
    Ddim {
        /// 0 is deterministic, 1 is ancestral with `fixed_small`; in [0, 1]. Default 0.
        #[serde(default)]
        eta: f64,
        /// Which eps: `"thresholded"` or `"network"`. Default that of the thresholded x_0.
        #[serde(default)]
        eps: EpsSource,
    },
    /// DDIM from data to noise, over rising levels: first order.
    DdimInverse {
        /// What time the network is told: `"destination"` or `"origin"`. Default the destination's.
        #[serde(default)]
        at: InverseTime,
    },
    /// Euler's method on the probability-flow ODE: first order; of flow models, flow-matching Euler.
    #[serde(alias = "flow_match_euler")]
    Euler {
        /// Noise added on the way. Default none.
        #[serde(default, skip_serializing_if = "Churn::is_off")]
        churn: Churn,
    },
    /// k-diffusion's Euler-ancestral: Euler to less noise than wanted, fresh noise for the rest.
    EulerAncestral {
        /// 0 is Euler, 1 is ancestral with `fixed_small`; at least 0. Default 1.
        #[serde(default = "one")]
        eta: f64,
        /// Factor of the noise, at least 0. Default 1.
        #[serde(default = "one")]
        s_noise: f64,
    },
    /// Heun's method on the probability-flow ODE: second order, two evaluations a step, one for the step onto the data.
    Heun {
        /// Noise added on the way. Default none.
        #[serde(default, skip_serializing_if = "Churn::is_off")]
        churn: Churn,
    },
    /// The same in the time of flow models, in which their path is straight; for other processes it is `heun`.
    FlowMatchHeun {
        /// Noise added on the way. Default none.
        #[serde(default, skip_serializing_if = "Churn::is_off")]
        churn: Churn,
    },
    /// The midpoint method in log sigma: second order, two evaluations a step, one for the step onto the data.
    Dpm2 {
        /// Noise added on the way. Default none.
        #[serde(default, skip_serializing_if = "Churn::is_off")]
        churn: Churn,
    },
    /// The same to less noise than wanted, and fresh noise for the rest.
    Dpm2Ancestral {
        /// 0 is DPM2; at least 0. Default 1.
        #[serde(default = "one")]
        eta: f64,
        /// Factor of the noise, at least 0. Default 1.
        #[serde(default = "one")]
        s_noise: f64,
    },
    /// DPM-Solver and DPM-Solver++ that look back: 2M by default; 3M, and with noise 2M-SDE and 3M-SDE.
    #[serde(alias = "dpmpp_2m")]
    DpmMultistep {
        /// `"dpmsolver"`, `"dpmsolver++"`, `"sde-dpmsolver"` or `"sde-dpmsolver++"`. Default dpmsolver++.
        #[serde(default)]
        algorithm: DpmAlgorithm,
        /// 1, 2 or 3. Default 2.
        #[serde(default = "two")]
        order: usize,
        /// Second-order steps: `"midpoint"` or `"heun"`. Default midpoint.
        #[serde(default)]
        solver_type: DpmKind,
        /// Third-order steps: `"exact"` or `"published"`. Default exact.
        #[serde(default)]
        curvature: Curvature,
        /// Lower orders for the last two steps of runs under 15 steps. Default true.
        #[serde(default = "yes")]
        lower_order_final: bool,
        /// First order for the last step, wherever it ends. Onto the data it is so anyway. Default false.
        #[serde(default)]
        euler_at_final: bool,
    },
    /// The same in groups of visited levels, each group from its own start: 2S by default.
    #[serde(alias = "dpmpp_2s")]
    DpmSinglestep {
        /// As of `dpm_multistep`.
        #[serde(default)]
        algorithm: DpmAlgorithm,
        /// Levels in a group: 1, 2 or 3. Default 2.
        #[serde(default = "two")]
        order: usize,
        /// `"midpoint"` or `"heun"`, here of third order too. Default midpoint.
        #[serde(default)]
        solver_type: DpmKind,
        /// Third-order steps of `heun` with noise: `"exact"` or `"published"`. Default exact.
        #[serde(default)]
        curvature: Curvature,
        /// Smaller groups at the end, which is done anyway where the steps do not divide into groups. Default false.
        #[serde(default)]
        lower_order_final: bool,
    },
    /// DPM-Solver++ SDE: two evaluations and two noises a step.
    #[serde(alias = "dpmpp_sde")]
    DpmSde {
        /// Noise: 0 is the ODE, 1 the reverse SDE; at least 0. Default 1.
        #[serde(default = "one")]
        eta: f64,
        /// Factor of the noise, at least 0. Default 1.
        #[serde(default = "one")]
        s_noise: f64,
        /// Where the second evaluation lies in the interval of log sigma, in (0, 1). Default 1/2.
        #[serde(default = "half")]
        r: f64,
    },
    /// UniPC: a predictor of the order, and a corrector that raises it by one.
    Unipc {
        /// 1, 2 or 3. Default 2.
        #[serde(default = "two")]
        order: usize,
        /// `"bh1"` or `"bh2"`. Default bh2.
        #[serde(default)]
        solver_type: UnipcKind,
        /// Whether the polynomials are of x_0; of eps otherwise. Default true.
        #[serde(default = "yes")]
        predict_x0: bool,
        /// Lower orders at the end. Default true.
        #[serde(default = "yes")]
        lower_order_final: bool,
        /// Whether anything is corrected. Default true.
        #[serde(default = "yes")]
        corrector: bool,
        /// Steps, from 0, after which it is not; below 128. Default none.
        #[serde(default, skip_serializing_if = "StepSet::is_empty")]
        disable_corrector: StepSet,
    },
    /// DEIS in log rho: exact integrals of polynomials of eps.
    Deis {
        /// 1, 2 or 3. Default 2.
        #[serde(default = "two")]
        order: usize,
        /// Lower orders for the last two steps of runs under 15 steps. Default true.
        #[serde(default = "yes")]
        lower_order_final: bool,
    },
    /// PNDM: Adams and Bashforth's four terms, of second order; Stable Diffusion's PLMS by default.
    #[serde(alias = "plms")]
    Pndm {
        /// `"plms"` or `"runge_kutta"`. Default plms.
        #[serde(default)]
        warmup: PndmWarmup,
        /// Means of `"eps"` or of the `"velocity"`. Default eps.
        #[serde(default)]
        mean: PndmMean,
    },
    /// Linear multi-step: exact integrals of polynomials in sigma / alpha.
    Lms {
        /// Terms, 1 to 4. Default 4.
        #[serde(default = "four")]
        order: usize,
    },
    /// Adams and Bashforth's weights without a warm-up, of second order.
    Ipndm {
        /// Terms, 1 to 4. Default 4.
        #[serde(default = "four")]
        order: usize,
        /// Pure noise: `"estimate"` or `"noise"`. Default estimate.
        #[serde(default)]
        start: IpndmStart,
    },
    /// Consistency models: to x_0, and back to the next level with fresh noise.
    Lcm {
        /// What t is multiplied by in the boundary condition, above 0. Default 10.
        #[serde(default = "ten")]
        timestep_scaling: f64,
        /// Its standard deviation of the data, at least 0; 0 takes x_0 as it is, which is diffusers' `stochastic_sampling` of flow
        /// models. Default 0.5.
        #[serde(default = "half")]
        sigma_data: f64,
    },
    /// Annealed Langevin dynamics: moves along the score at each visited level, then x_0 of the last.
    Langevin {
        /// Moves at each level, at least 1. Default 10; NCSN takes 100 at each of 10 levels.
        #[serde(default = "ten_moves")]
        steps: usize,
        /// How far each goes. Default annealed.
        #[serde(default, with = "crate::choice")]
        step_size: StepSize,
    },
    /// The reverse-time SDE.
    ReverseSde {
        /// Its discretisation: `euler_maruyama`, `reverse_diffusion` or `ancestral`. Default reverse_diffusion.
        #[serde(default, with = "crate::choice")]
        predictor: Predictor,
    },
    /// The reverse-time SDE with Langevin corrections at every level before the step down from it.
    PredictorCorrector {
        /// As of `reverse_sde`.
        #[serde(default, with = "crate::choice")]
        predictor: Predictor,
        /// Signal-to-noise ratio of the corrections, above 0. Default 0.16.
        #[serde(default = "default_snr")]
        snr: f64,
        /// Corrections at each level. Default 1.
        #[serde(default = "once")]
        correct: usize,
        /// Whose norms set the corrections' size: each `image`'s own or the `batch`'s mean. Default image.
        #[serde(default)]
        norms: Norms,
    },
}

choice! { Solver:
    Ancestral = "ancestral" true, Ddim = "ddim" false, DdimInverse = "ddim_inverse" false, Euler = "euler" false,
    EulerAncestral = "euler_ancestral" false, Heun = "heun" false, FlowMatchHeun = "flow_match_heun" false, Dpm2 = "dpm2" false,
    Dpm2Ancestral = "dpm2_ancestral" false, DpmMultistep = "dpm_multistep" false,
    DpmSinglestep = "dpm_singlestep" false, DpmSde = "dpm_sde" false, Unipc = "unipc" false, Deis = "deis" false,
    Pndm = "pndm" false, Lms = "lms" false, Ipndm = "ipndm" false, Lcm = "lcm" false,
    Langevin = "langevin" false, ReverseSde = "reverse_sde" false, PredictorCorrector = "predictor_corrector" false,
}

fn yes() -> bool {
    true
}
fn two() -> usize {
    2
}
fn four() -> usize {
    4
}
fn half() -> f64 {
    0.5
}
fn ten() -> f64 {
    10.0
}
fn ten_moves() -> usize {
    10
}
fn once() -> usize {
    1
}

fn one() -> f64 {
    1.0
}

impl Default for Solver {
    /// Deterministic DDIM.
    fn default() -> Self {
        Self::ddim(0.0)
    }
}

impl Solver {
    /// DDIM with this eta, along the eps of the thresholded x_0.
    pub const fn ddim(eta: f64) -> Self {
        Self::Ddim { eta, eps: EpsSource::Thresholded }
    }

    /// Whether it goes from data to noise.
    pub fn rises(&self) -> bool {
        matches!(self, Self::DdimInverse { .. })
    }

    /// Everything wrong with the parameters.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        self.check_orders(&mut checks);
        let mut amount = |key: &str, value: f64| {
            let good = value >= 0.0 && value.is_finite();
            checks.require(good, &format!("solver.{key}"), value, "a number of at least 0");
        };
        match *self {
            Self::EulerAncestral { eta, s_noise } | Self::Dpm2Ancestral { eta, s_noise } => {
                amount("eta", eta);
                amount("s_noise", s_noise);
            }
            Self::DpmSde { eta, s_noise, r } => {
                amount("eta", eta);
                amount("s_noise", s_noise);
                checks.require(r > 0.0 && r < 1.0, "solver.r", r, "a number in (0, 1)");
            }
            Self::Lcm { timestep_scaling, sigma_data } => {
                amount("sigma_data", sigma_data);
                let good = timestep_scaling > 0.0 && timestep_scaling.is_finite();
                checks.require(good, "solver.timestep_scaling", timestep_scaling, "a number above 0");
            }
            Self::Ddim { eta, .. } => {
                checks.require((0.0..=1.0).contains(&eta), "solver.eta", eta, "a number in [0, 1]");
            }
            Self::Euler { churn } | Self::Heun { churn } | Self::FlowMatchHeun { churn } | Self::Dpm2 { churn } => {
                churn.check(&mut checks);
            }
            Self::Langevin { steps, step_size } => {
                checks.require(steps > 0, "solver.steps", steps, "at least 1");
                checks.0.extend(step_size.check().into_iter().map(|e| e.under("solver.step_size")));
            }
            Self::PredictorCorrector { snr, .. } => {
                checks.require(snr > 0.0 && snr.is_finite(), "solver.snr", snr, "a number above 0");
            }
            _ => {}
        }
        checks.0
    }

    fn check_orders(&self, checks: &mut Checks) {
        let (order, most) = match *self {
            Self::DpmMultistep { order, .. }
            | Self::DpmSinglestep { order, .. }
            | Self::Unipc { order, .. }
            | Self::Deis { order, .. } => (order, 3),
            Self::Lms { order } | Self::Ipndm { order, .. } => (order, 4),
            _ => return,
        };
        checks.require((1..=most).contains(&order), "solver.order", order, format!("1 to {most}"));
    }
}
