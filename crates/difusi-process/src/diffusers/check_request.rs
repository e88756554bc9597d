//! Which requests a class accepts.

use super::{Request, SchedulerClass, SchedulerConfig, Spacing, VarianceType, Visits, sigmas::Spread};
use crate::{ValueError, error::Checks};

/// Everything wrong; keys are the fields of [`Request`] and those of the config that stand in the way.
pub(super) fn check_request(config: &SchedulerConfig, request: &Request) -> Vec<ValueError> {
    use SchedulerClass as C;
    let (class, s, mut checks) = (config.class(), config.settings(), Checks::default());
    let free = matches!(
        class,
        C::Ipndm
            | C::FlowMatchEulerDiscrete
            | C::FlowMatchHeunDiscrete
            | C::EdmEuler
            | C::EdmDpmSolverMultistep
            | C::ScoreSdeVe
    );
    let most = if free { usize::MAX } else { s.num_train_timesteps };
    let accepted = if free { "at least 1".to_string() } else { format!("1 to {most}, the `num_train_timesteps`") };
    let count = request.visits.count();
    checks.require((1..=most).contains(&count), "visits", format_args!("{count} steps"), accepted);
    if !checks.0.is_empty() {
        return checks.0;
    }
    match &request.visits {
        Visits::Count(count) => check_count(config, *count, request, &mut checks),
        Visits::Times(times) => check_times(config, times, &mut checks),
        Visits::Sigmas(sigmas) => check_sigmas(config, sigmas, &mut checks),
    }
    let dynamic = matches!(class, C::FlowMatchEulerDiscrete | C::UniPcMultistep) && s.use_dynamic_shifting;
    let optional =
        matches!(class, C::DpmSolverMultistep | C::DpmSolverSinglestep | C::DeisMultistep) && s.use_dynamic_shifting;
    match request.mu {
        None => {
            checks.require(!dynamic, "mu", "missing", "a number, since `use_dynamic_shifting` is on (`Request::mu_of`)")
        }
        Some(mu) => {
            checks.require(dynamic || optional, "mu", mu, "none, since `use_dynamic_shifting` is off");
            checks.require(mu.is_finite(), "mu", mu, "a number");
        }
    }
    checks.require((0.0..=1.0).contains(&request.eta), "eta", request.eta, "a number in [0, 1]");
    let strength = request.strength > 0.0 && request.strength <= 1.0;
    checks.require(strength, "strength", request.strength, "a number in (0, 1]");
    let learned = class == C::Ddpm && s.variance_type == Some(VarianceType::Learned);
    checks.require(
        !learned,
        "variance_type",
        "\"learned\"",
        "\"learned_range\" or a fixed one: no network here says its variance itself",
    );
    checks.0.extend(request.resampling.check().into_iter().map(|e| e.under("resampling")));
    checks.0
}

fn check_count(config: &SchedulerConfig, count: usize, request: &Request, checks: &mut Checks) {
    let (class, s) = (config.class(), config.settings());
    if class == SchedulerClass::Lcm {
        let origin = (s.original_inference_steps as f64 * request.strength) as usize;
        let accepted = format!("1 to {origin}, the steps of the distillation times `strength`");
        checks.require(count <= origin, "visits", format_args!("{count} steps"), accepted);
    }
    if class == SchedulerClass::Pndm && !s.skip_prk_steps {
        checks.require(
            count >= 4,
            "visits",
            format_args!("{count} steps"),
            "at least 4 with Runge-Kutta steps: set `skip_prk_steps`",
        );
    }
    // With all steps visited and an offset, the noisiest would lie beyond the schedule.
    let spaced = class.keys().contains(&"timestep_spacing")
        && s.timestep_spacing == Spacing::Leading
        && class != SchedulerClass::Lcm;
    let highest = (count - 1) * (s.num_train_timesteps / count) + s.steps_offset;
    checks.require(
        !spaced || highest < s.num_train_timesteps,
        "steps_offset",
        s.steps_offset,
        format!("less with {count} steps: the noisiest would be {highest}"),
    );
}

fn check_times(config: &SchedulerConfig, times: &[f64], checks: &mut Checks) {
    use SchedulerClass as C;
    let (class, s) = (config.class(), config.settings());
    let takes = matches!(
        class,
        C::Ddpm
            | C::Lcm
            | C::EulerDiscrete
            | C::HeunDiscrete
            | C::DpmSolverMultistep
            | C::DpmSolverSinglestep
            | C::FlowMatchEulerDiscrete
    );
    checks.require(takes, "visits", "a list of times", format!("a number of steps: {class} takes no list"));
    let free = Spread::of(s).is_none() || class == C::FlowMatchEulerDiscrete;
    checks.require(free, "visits", "a list of times", "a number of steps with a list of sigmas of the config's own");
    let (whole, flow) = (matches!(class, C::Ddpm | C::Lcm), class == C::FlowMatchEulerDiscrete);
    let mut limit = s.num_train_timesteps as f64 + if flow { 1.0 } else { 0.0 };
    for (i, t) in times.iter().enumerate() {
        let good = *t >= 0.0 && *t < limit && (!whole || t.fract() == 0.0);
        let kind = if whole { "a whole number" } else { "a number" };
        checks.require(good, &format!("visits[{i}]"), t, format!("{kind} of at least 0 below {limit}: times fall"));
        limit = *t;
    }
}

fn check_sigmas(config: &SchedulerConfig, sigmas: &[f64], checks: &mut Checks) {
    use SchedulerClass as C;
    let (class, s) = (config.class(), config.settings());
    let takes = matches!(class, C::EulerDiscrete | C::FlowMatchEulerDiscrete)
        || (class == C::UniPcMultistep && s.use_flow_sigmas);
    checks.require(takes, "visits", "a list of sigmas", format!("a number of steps or times: {class} takes no sigmas"));
    checks.require(
        sigmas.len() > 1 || class != C::EulerDiscrete,
        "visits",
        "a list of one",
        "at least two sigmas: the last is the end",
    );
    let mut limit = f64::INFINITY;
    for (i, sigma) in sigmas.iter().enumerate() {
        let end = class == C::EulerDiscrete && i + 1 == sigmas.len();
        let good = (*sigma > 0.0 || (end && *sigma == 0.0)) && *sigma < limit;
        checks.require(good, &format!("visits[{i}]"), sigma, format!("a number above 0, below {limit}: sigmas fall"));
        limit = *sigma;
    }
}
