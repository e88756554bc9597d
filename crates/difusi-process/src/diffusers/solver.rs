//! Which solver a scheduler class is, with its options.

use super::{Algorithm, PredictionType, Request, SchedulerClass, SchedulerConfig, SolverType};
use crate::{
    Churn, Curvature, DpmAlgorithm, DpmKind, EpsSource, InverseTime, IpndmStart, Norms, PndmMean, PndmWarmup,
    Predictor, Solver, StepSet, UnipcKind,
};

/// Terms of the linear multi-step solvers.
const TERMS: usize = 4;

/// Standard deviation of the data in the boundary condition of consistency models.
const CONSISTENCY_DEVIATION: f64 = 0.5;

impl SchedulerConfig {
    /// How x moves.
    pub(super) fn solver(&self, request: &Request) -> Solver {
        use SchedulerClass as C;
        let s = self.settings();
        let (eta, s_noise, churn, order) = (1.0, 1.0, Churn::default(), s.solver_order);
        match self.class() {
            C::Ddpm => Solver::Ancestral {},
            C::Ddim if request.use_clipped_model_output => {
                Solver::Ddim { eta: request.eta, eps: EpsSource::Thresholded }
            }
            C::Ddim => Solver::Ddim { eta: request.eta, eps: EpsSource::Network },
            C::RePaint => Solver::Ddim { eta: s.eta, eps: EpsSource::Network },
            C::DdimInverse => Solver::DdimInverse { at: InverseTime::Destination },
            C::Pndm => self.pndm(),
            C::LmsDiscrete => Solver::Lms { order: TERMS },
            C::EulerAncestralDiscrete => Solver::EulerAncestral { eta, s_noise },
            C::HeunDiscrete => Solver::Heun { churn },
            C::FlowMatchHeunDiscrete => Solver::FlowMatchHeun { churn },
            C::Kdpm2Discrete => Solver::Dpm2 { churn },
            C::Kdpm2AncestralDiscrete => Solver::Dpm2Ancestral { eta, s_noise },
            C::DpmSolverMultistep | C::EdmDpmSolverMultistep => Solver::DpmMultistep {
                algorithm: self.algorithm(),
                order,
                solver_type: self.dpm_kind(),
                curvature: Curvature::Published,
                lower_order_final: s.lower_order_final,
                euler_at_final: s.euler_at_final,
            },
            C::DpmSolverSinglestep => Solver::DpmSinglestep {
                algorithm: self.algorithm(),
                order,
                solver_type: self.dpm_kind(),
                curvature: Curvature::Published,
                lower_order_final: s.lower_order_final,
            },
            C::UniPcMultistep => Solver::Unipc {
                order,
                solver_type: if s.solver_type == SolverType::Bh1 { UnipcKind::Bh1 } else { UnipcKind::Bh2 },
                predict_x0: s.predict_x0,
                lower_order_final: s.lower_order_final,
                corrector: true,
                disable_corrector: StepSet::of(&s.disable_corrector).unwrap_or_default(),
            },
            C::DeisMultistep => Solver::Deis { order, lower_order_final: s.lower_order_final },
            C::Ipndm => Solver::Ipndm { order: TERMS, start: IpndmStart::Noise },
            C::Lcm => Solver::Lcm { timestep_scaling: s.timestep_scaling, sigma_data: CONSISTENCY_DEVIATION },
            C::FlowMatchEulerDiscrete if s.stochastic_sampling => {
                Solver::Lcm { timestep_scaling: 1.0, sigma_data: 0.0 }
            }
            C::EulerDiscrete | C::FlowMatchEulerDiscrete | C::EdmEuler => Solver::Euler { churn },
            C::ScoreSdeVe => Solver::PredictorCorrector {
                predictor: Predictor::ReverseDiffusion {},
                snr: s.snr,
                correct: s.correct_steps,
                norms: Norms::Batch,
            },
        }
    }

    fn pndm(&self) -> Solver {
        let s = self.settings();
        let warmup = if s.skip_prk_steps { PndmWarmup::Plms } else { PndmWarmup::RungeKutta };
        let velocity = s.prediction_type == PredictionType::VPrediction;
        Solver::Pndm { warmup, mean: if velocity { PndmMean::Velocity } else { PndmMean::Eps } }
    }

    fn algorithm(&self) -> DpmAlgorithm {
        match self.settings().algorithm_type {
            Algorithm::DpmSolver => DpmAlgorithm::DpmSolver,
            Algorithm::SdeDpmSolver => DpmAlgorithm::SdeDpmSolver,
            Algorithm::SdeDpmSolverPp => DpmAlgorithm::SdeDpmSolverPp,
            Algorithm::DpmSolverPp | Algorithm::Deis => DpmAlgorithm::DpmSolverPp,
        }
    }

    fn dpm_kind(&self) -> DpmKind {
        if self.settings().solver_type == SolverType::Heun { DpmKind::Heun } else { DpmKind::Midpoint }
    }
}
