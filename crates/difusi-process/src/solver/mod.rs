//! From x_t to x_s: one small pure step per solver. The loop, the history and the noise are the [`crate::Sampler`]'s.
//!
//! A solver says two things: how the visited levels are cut into [`Stage`]s, each one network evaluation ([`Solver::stages`]), and
//! where x goes after an evaluation ([`Solver::advance`]). Everything is written for `x_t = alpha x_0 + sigma eps`, so that the same
//! solver serves variance-preserving, variance-exploding and straight-line processes.

mod ancestral;
mod ddim;
mod dpm;
mod dpm2;
mod dpm_sde;
mod euler;
mod exponential;
mod heun;
mod kind;
mod langevin;
mod lcm;
mod moment;
mod multistep;
mod ode;
mod options;
mod polynomial;
mod reverse_sde;
mod sum;
mod unipc;

use burn::tensor::Tensor;

use crate::{Level, Process, ProcessError, Stage, StepSize, ValueError};

use dpm::{Dpm, Taper};
use dpm_sde::DpmSde;
pub use kind::Solver;
pub(crate) use moment::{Estimate, Moment, Noises, weighted};
use ode::Between;
pub use options::{
    Churn, Curvature, DpmAlgorithm, DpmKind, EpsSource, InverseTime, IpndmStart, PndmMean, PndmWarmup, StepSet,
    UnipcKind,
};
pub use reverse_sde::Predictor;
use unipc::Unipc;

impl Solver {
    /// The network evaluations of a run over `levels`: the visited ones and the end.
    pub(crate) fn stages(&self, levels: &[Level], process: Option<&Process>) -> Result<Vec<Stage>, ValueError> {
        let between = Between(process);
        match *self {
            Self::Ancestral {}
            | Self::Ddim { .. }
            | Self::EulerAncestral { .. }
            | Self::DpmMultistep { .. }
            | Self::Unipc { .. }
            | Self::Deis { .. }
            | Self::Lms { .. }
            | Self::Ipndm { .. }
            | Self::Lcm { .. }
            | Self::ReverseSde { .. } => Ok(one_each(levels)),
            Self::DdimInverse { at } => Ok(ddim::inverse_stages(levels, at)),
            Self::Euler { churn } => euler::stages(levels, churn, between),
            Self::Heun { churn } => heun::stages(levels, churn, between),
            Self::FlowMatchHeun { churn } => heun::line_stages(levels, churn, between),
            Self::Dpm2 { churn } => dpm2::stages(levels, churn, between),
            Self::Dpm2Ancestral { eta, .. } => dpm2::ancestral_stages(levels, eta, between),
            Self::DpmSinglestep { order, lower_order_final, .. } => {
                Ok(dpm::singlestep_stages(levels, order, lower_order_final))
            }
            Self::DpmSde { r, .. } => dpm_sde::stages(levels, r, between),
            Self::Pndm { warmup, .. } => multistep::pndm_stages(levels, warmup, between),
            Self::Langevin { steps, .. } => Ok(langevin::stages(levels, steps)),
            Self::PredictorCorrector { correct, .. } => Ok(reverse_sde::corrected(levels, correct)),
        }
    }

    /// x after a stage, `[B, H, W, C]`.
    pub(crate) fn advance(&self, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
        match *self {
            Self::Ancestral {} => ancestral::step(now, noises),
            Self::Ddim { eta, eps } => ddim::step((eta, eps), now, noises),
            Self::DdimInverse { .. } => Ok(ddim::inverse_step(now)),
            Self::Euler { .. } => Ok(euler::step(now)),
            Self::EulerAncestral { eta, s_noise } => euler::ancestral(now, (eta, s_noise), noises),
            Self::Heun { .. } => Ok(heun::step(now)),
            Self::FlowMatchHeun { .. } => Ok(heun::line_step(now)),
            Self::Dpm2 { .. } => Ok(dpm2::step(now)),
            Self::Dpm2Ancestral { eta, s_noise } => dpm2::ancestral(now, (eta, s_noise), noises),
            Self::DpmMultistep { algorithm, order, solver_type, curvature, lower_order_final, euler_at_final } => {
                let dpm = Dpm { algorithm, order, kind: solver_type, curvature };
                dpm::multistep(dpm, Taper { lower_order_final, euler_at_final }, now, noises)
            }
            Self::DpmSinglestep { algorithm, order, solver_type, curvature, .. } => {
                dpm::singlestep(Dpm { algorithm, order, kind: solver_type, curvature }, now, noises)
            }
            Self::DpmSde { eta, s_noise, r } => dpm_sde::step(DpmSde { eta, s_noise, r }, now, noises),
            Self::Unipc { order, solver_type, predict_x0, lower_order_final, corrector, disable_corrector } => {
                let uncorrected = corrector.then_some(disable_corrector);
                Ok(unipc::step(Unipc { order, kind: solver_type, predict_x0, lower_order_final, uncorrected }, now))
            }
            Self::Deis { order, lower_order_final } => {
                dpm::multistep(Dpm::deis(order), Taper { lower_order_final, euler_at_final: false }, now, noises)
            }
            Self::Pndm { warmup, mean } => Ok(multistep::pndm(warmup, mean, now)),
            Self::Lms { order } => Ok(multistep::lms(order, now)),
            Self::Ipndm { order, start } => Ok(multistep::ipndm(order, start, now)),
            Self::Lcm { timestep_scaling, sigma_data } => lcm::step((timestep_scaling, sigma_data), now, noises),
            Self::ReverseSde { predictor } => predictor.step(now, noises),
            Self::Langevin { step_size, .. } => langevin::step(step_size, now, noises),
            Self::PredictorCorrector { predictor, snr, norms, .. } => {
                reverse_sde::step_corrected(predictor, StepSize::Snr { snr, norms }, now, noises)
            }
        }
    }

    /// How many estimates a step looks at, this one included.
    pub(crate) fn memory(&self) -> usize {
        match *self {
            Self::Ancestral {}
            | Self::Ddim { .. }
            | Self::DdimInverse { .. }
            | Self::Euler { .. }
            | Self::EulerAncestral { .. }
            | Self::Lcm { .. }
            | Self::ReverseSde { .. }
            | Self::Langevin { .. }
            | Self::PredictorCorrector { .. } => 1,
            Self::Heun { .. }
            | Self::FlowMatchHeun { .. }
            | Self::Dpm2 { .. }
            | Self::Dpm2Ancestral { .. }
            | Self::DpmSde { .. } => 2,
            Self::Unipc { order, .. } => order + 1,
            Self::DpmMultistep { order, .. }
            | Self::DpmSinglestep { order, .. }
            | Self::Deis { order, .. }
            | Self::Lms { order }
            | Self::Ipndm { order, .. } => order,
            Self::Pndm { .. } => multistep::PNDM_MEMORY,
        }
    }
}

/// One evaluation per interval, at its start.
fn one_each(levels: &[Level]) -> Vec<Stage> {
    levels.windows(2).map(|pair| Stage::whole(pair[0], pair[1])).collect()
}
