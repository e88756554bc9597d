//! Which values a class accepts, beyond their types.

use super::{Algorithm, BetaSchedule, FinalSigmas, PredictionType, SchedulerClass, Settings, Spacing, VarianceType};
use crate::{ValueError, error::Checks};

/// Everything wrong; keys are diffusers'.
pub(super) fn check(class: SchedulerClass, s: &Settings) -> Vec<ValueError> {
    let mut checks = Checks::default();
    let has = |key: &str| class.keys().contains(&key);
    let show = |key: &str| s.get(key).unwrap_or_default();
    checks.require(
        (1..=1_000_000).contains(&s.num_train_timesteps),
        "num_train_timesteps",
        s.num_train_timesteps,
        "1 to 1000000",
    );
    if has("beta_schedule") {
        check_betas(class, s, &mut checks);
    }
    if has("prediction_type") {
        let (good, accepted) = predictions(class, s);
        checks.require(good.contains(&s.prediction_type), "prediction_type", show("prediction_type"), accepted);
    }
    if class == SchedulerClass::DdimInverse {
        let good = s.timestep_spacing != Spacing::Linspace;
        checks.require(
            good,
            "timestep_spacing",
            show("timestep_spacing"),
            "\"leading\" or \"trailing\" in DDIMInverseScheduler",
        );
    }
    if has("solver_order") {
        checks.require((1..=3).contains(&s.solver_order), "solver_order", s.solver_order, "1, 2 or 3");
        check_solver(class, s, &mut checks);
    }
    check_variance(class, s, &mut checks);
    check_sigmas(class, s, &mut checks);
    let positive = |value: f64| value > 0.0 && value.is_finite();
    checks.require(
        (0.0..=1.0).contains(&s.dynamic_thresholding_ratio),
        "dynamic_thresholding_ratio",
        s.dynamic_thresholding_ratio,
        "a number in [0, 1]",
    );
    for (key, value) in [
        ("clip_sample_range", s.clip_sample_range),
        ("sample_max_value", s.sample_max_value),
        ("flow_shift", s.flow_shift),
        ("shift", s.shift),
        ("sigma_data", s.sigma_data),
        ("rho", s.rho),
        ("timestep_scaling", s.timestep_scaling),
        ("snr", s.snr),
        ("sampling_eps", s.sampling_eps),
    ] {
        checks.require(positive(value), key, value, "a number above 0");
    }
    checks.require((0.0..=1.0).contains(&s.eta), "eta", s.eta, "a number in [0, 1]");
    let original = (1..=s.num_train_timesteps).contains(&s.original_inference_steps) || class != SchedulerClass::Lcm;
    checks.require(original, "original_inference_steps", s.original_inference_steps, "1 to `num_train_timesteps`");
    checks.0
}

fn check_betas(class: SchedulerClass, s: &Settings, checks: &mut Checks) {
    use BetaSchedule as B;
    let (good, accepted): (bool, _) = match (s.beta_schedule, class) {
        (B::Linear | B::ScaledLinear | B::SquaredCosine, _) => (true, ""),
        (B::Sigmoid, SchedulerClass::Ddpm | SchedulerClass::RePaint) => (true, ""),
        (B::Laplace, SchedulerClass::Ddpm) | (B::Exponential, SchedulerClass::HeunDiscrete) => (true, ""),
        _ => (
            false,
            "\"linear\", \"scaled_linear\" or \"squaredcos_cap_v2\"; of DDPM also \"sigmoid\" and \"laplace\", of RePaint \
             \"sigmoid\", of Heun \"exp\"",
        ),
    };
    checks.require(good, "beta_schedule", s.get("beta_schedule").unwrap_or_default(), accepted);
    match &s.trained_betas {
        Some(betas) => {
            let accepted = format!("{} numbers, one per training step", s.num_train_timesteps);
            checks.require(
                betas.len() == s.num_train_timesteps,
                "trained_betas",
                format_args!("a list of {}", betas.len()),
                accepted,
            );
            for (i, beta) in betas.iter().enumerate() {
                checks.require(*beta > 0.0 && *beta < 1.0, &format!("trained_betas[{i}]"), beta, "a number in (0, 1)");
            }
        }
        None => {
            checks.require(s.beta_start > 0.0 && s.beta_start < 1.0, "beta_start", s.beta_start, "a number in (0, 1)");
            let good = s.beta_end >= s.beta_start && s.beta_end < 1.0;
            checks.require(good, "beta_end", s.beta_end, "a number in (0, 1), at least `beta_start`");
        }
    }
}

/// What the network of a class may predict.
fn predictions(class: SchedulerClass, s: &Settings) -> (&'static [PredictionType], &'static str) {
    use PredictionType::{Epsilon, Flow, Sample, VPrediction};
    use SchedulerClass as C;
    match class {
        C::Pndm
        | C::EulerAncestralDiscrete
        | C::Kdpm2Discrete
        | C::Kdpm2AncestralDiscrete
        | C::EdmEuler
        | C::EdmDpmSolverMultistep => (&[Epsilon, VPrediction], "\"epsilon\" or \"v_prediction\" in this class"),
        C::DpmSolverMultistep | C::DpmSolverSinglestep
            if matches!(s.algorithm_type, Algorithm::DpmSolver | Algorithm::SdeDpmSolver) =>
        {
            (&[Epsilon, Sample, VPrediction], "\"epsilon\", \"sample\" or \"v_prediction\" with this `algorithm_type`")
        }
        C::UniPcMultistep if !s.predict_x0 => {
            (&[Epsilon, Sample, VPrediction], "\"epsilon\", \"sample\" or \"v_prediction\" without `predict_x0`")
        }
        C::DpmSolverMultistep | C::DpmSolverSinglestep | C::UniPcMultistep | C::DeisMultistep => {
            (&[Epsilon, Sample, VPrediction, Flow], "\"epsilon\", \"sample\", \"v_prediction\" or \"flow_prediction\"")
        }
        _ => (&[Epsilon, Sample, VPrediction], "\"epsilon\", \"sample\" or \"v_prediction\""),
    }
}

fn check_solver(class: SchedulerClass, s: &Settings, checks: &mut Checks) {
    use Algorithm as A;
    use SchedulerClass as C;
    let algorithm = s.get("algorithm_type").unwrap_or_default();
    let (good, accepted): (&[A], _) = match class {
        C::DpmSolverMultistep => (
            &[A::DpmSolver, A::DpmSolverPp, A::SdeDpmSolver, A::SdeDpmSolverPp],
            "\"dpmsolver\", \"dpmsolver++\", \"sde-dpmsolver\" or \"sde-dpmsolver++\"",
        ),
        C::DpmSolverSinglestep => (
            &[A::DpmSolver, A::DpmSolverPp, A::SdeDpmSolverPp],
            "\"dpmsolver\", \"dpmsolver++\" or \"sde-dpmsolver++\"",
        ),
        C::EdmDpmSolverMultistep => (&[A::DpmSolverPp, A::SdeDpmSolverPp], "\"dpmsolver++\" or \"sde-dpmsolver++\""),
        C::DeisMultistep => (&[A::Deis], "\"deis\""),
        _ => return,
    };
    checks.require(good.contains(&s.algorithm_type), "algorithm_type", &algorithm, accepted);
    let of_eps = matches!(s.algorithm_type, A::DpmSolver | A::SdeDpmSolver);
    let ends = !of_eps || s.final_sigmas_type == FinalSigmas::SigmaMin;
    checks.require(
        ends,
        "final_sigmas_type",
        s.get("final_sigmas_type").unwrap_or_default(),
        format!("\"sigma_min\" with `algorithm_type` {algorithm}"),
    );
    let third = s.solver_order == 3
        && (s.algorithm_type == A::SdeDpmSolver
            || (class == C::EdmDpmSolverMultistep && s.algorithm_type == A::SdeDpmSolverPp));
    checks.require(
        !third,
        "solver_order",
        s.solver_order,
        format!("1 or 2 with `algorithm_type` {algorithm} in {class}"),
    );
}

fn check_variance(class: SchedulerClass, s: &Settings, checks: &mut Checks) {
    if class != SchedulerClass::Ddpm {
        return;
    }
    let good = !matches!(s.variance_type, Some(VarianceType::FixedLargeLog) | None);
    let accepted = "\"fixed_small\", \"fixed_small_log\", \"fixed_large\", \"learned\" or \"learned_range\" (with \
                    \"fixed_large_log\" diffusers \
                    takes the root of a negative number)";
    checks.require(good, "variance_type", s.get("variance_type").unwrap_or_default(), accepted);
}

fn check_sigmas(class: SchedulerClass, s: &Settings, checks: &mut Checks) {
    let chosen =
        [s.use_karras_sigmas, s.use_exponential_sigmas, s.use_beta_sigmas].into_iter().filter(|on| *on).count();
    let accepted = "at most one of `use_karras_sigmas`, `use_exponential_sigmas` and `use_beta_sigmas`";
    checks.require(chosen <= 1, "use_karras_sigmas", format_args!("one of {chosen} that are true"), accepted);
    for (key, value) in [("sigma_min", s.sigma_min), ("sigma_max", s.sigma_max)] {
        checks.require(
            value.is_none_or(|v| v > 0.0 && v.is_finite()),
            key,
            value.unwrap_or_default(),
            "a number above 0",
        );
        let needed = matches!(
            class,
            SchedulerClass::EdmEuler | SchedulerClass::EdmDpmSolverMultistep | SchedulerClass::ScoreSdeVe
        );
        checks.require(value.is_some() || !needed, key, "null", format!("a number in {class}"));
    }
    if let (Some(low), Some(high)) = (s.sigma_min, s.sigma_max) {
        checks.require(low < high, "sigma_max", high, "a number above `sigma_min`");
    }
    if let Some(terminal) = s.shift_terminal {
        checks.require((0.0..1.0).contains(&terminal), "shift_terminal", terminal, "a number in [0, 1) or null");
        let flow = class != SchedulerClass::UniPcMultistep || s.use_flow_sigmas;
        checks.require(flow, "shift_terminal", terminal, "null without `use_flow_sigmas`");
    }
}
