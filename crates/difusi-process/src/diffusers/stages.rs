//! The network evaluations of each scheduler: which level is asked about, and where x goes from there.
//!
//! One stage for each entry of diffusers' `timesteps`. Where diffusers computes the end of a step from its own arithmetic (`t - T / n`)
//! and not from the next visited step, the stages do not join; that is as it should be.

use super::{
    Request, SchedulerClass, SchedulerConfig, Settings, Visits, flow,
    ladder::{self, Ladder, step},
    spacing,
    tables::Tables,
    torch,
};
use crate::{Level, Lift, Stage, edit::Resampling};

/// Noise that is left where DDPM steps onto the data from a step other than the first: diffusers clamps the variance at 1e-20.
const QUIET: f64 = 1e-10;

impl SchedulerConfig {
    /// The stages of a checked request, in order.
    pub(super) fn stages(&self, tables: &Tables, request: &Request) -> Vec<Stage> {
        use SchedulerClass as C;
        let (class, s) = (self.class(), self.settings());
        let steps = request.visits.count();
        match class {
            C::Ddpm => ddpm(tables, &integer_times(s, request)),
            C::Ddim => ddim(s, tables, &spacing::integer(s, steps)),
            C::DdimInverse => inverse(s, tables, &spacing::integer(s, steps)),
            C::Pndm => pndm(s, tables, steps),
            C::Lcm => {
                let times = match &request.visits {
                    Visits::Times(times) => times.clone(),
                    _ => spacing::consistency(s, steps, request.strength),
                };
                chain(&by_index(tables, &times, Level::DATA))
            }
            C::LmsDiscrete | C::EulerDiscrete | C::EulerAncestralDiscrete => {
                chain(&ladder::sigma_space(class, s, tables, request))
            }
            C::HeunDiscrete => trapezoids(&ladder::sigma_space(class, s, tables, request)),
            C::Kdpm2Discrete => {
                let ladder = ladder::sigma_space(class, s, tables, request);
                let middles = ladder::halfway(tables, &ladder, geometric);
                midpoints(&ladder, &middles)
            }
            C::Kdpm2AncestralDiscrete => {
                let ladder = ladder::sigma_space(class, s, tables, request);
                let middles = ladder::halfway(tables, &ladder, |a, b| geometric(a, down(a, b)));
                midpoints(&ladder, &middles)
            }
            C::DpmSolverMultistep | C::UniPcMultistep | C::DeisMultistep => {
                chain(&ladder::exponential(class, s, tables, request))
            }
            C::DpmSolverSinglestep => {
                let ladder = ladder::exponential(class, s, tables, request);
                groups(&ladder, &orders(s, ladder.visited.len()))
            }
            C::Ipndm => chain(&ladder::ipndm(s, steps)),
            C::FlowMatchEulerDiscrete => chain(&flow::matching(class, s, request)),
            C::FlowMatchHeunDiscrete => trapezoids(&flow::matching(class, s, request)),
            C::EdmEuler | C::EdmDpmSolverMultistep => chain(&flow::edm(class, s, steps)),
            C::RePaint => repaint(tables, steps, request.resampling),
            C::ScoreSdeVe => corrected(s, steps),
        }
    }
}

/// DDPM's: given, or spread.
fn integer_times(s: &Settings, request: &Request) -> Vec<f64> {
    match &request.visits {
        Visits::Times(times) => times.clone(),
        visits => spacing::integer(s, visits.count()),
    }
}

fn by_index(tables: &Tables, times: &[f64], end: Level) -> Ladder {
    let visited = times.iter().map(|t| step(*t, tables.alpha_bars[*t as usize])).collect();
    Ladder { visited, end }
}

/// One evaluation per interval, at its start.
fn chain(ladder: &Ladder) -> Vec<Stage> {
    ladder.visited.iter().enumerate().map(|(i, at)| Stage::whole(*at, ladder.after(i))).collect()
}

/// DDPM leaves the last step without noise only where that is step 0.
fn ddpm(tables: &Tables, times: &[f64]) -> Vec<Stage> {
    let mut ladder = by_index(tables, times, Level::DATA);
    if let Some(last) = ladder.visited.last().filter(|last| last.t > 0.0) {
        ladder.end = Level::new(-1.0, 1.0, QUIET * last.sigma / (1.0 - last.alpha.powi(2)).sqrt());
    }
    chain(&ladder)
}

/// Level of `t - stride`, or the end where that is below 0.
fn stepped(s: &Settings, tables: &Tables, t: f64, stride: usize) -> Level {
    match t - stride as f64 {
        to if to >= 0.0 => step(to, tables.alpha_bars[to as usize]),
        _ if s.set_alpha_to_one => Level::DATA,
        _ => step(-1.0, tables.alpha_bars[0]),
    }
}

fn ddim(s: &Settings, tables: &Tables, times: &[f64]) -> Vec<Stage> {
    let stride = s.num_train_timesteps / times.len();
    let stage = |t: &f64| Stage::whole(step(*t, tables.alpha_bars[*t as usize]), stepped(s, tables, *t, stride));
    times.iter().map(stage).collect()
}

/// Upwards; the network is told the time x goes to.
fn inverse(s: &Settings, tables: &Tables, falling: &[f64]) -> Vec<Stage> {
    let stride = s.num_train_timesteps / falling.len();
    let last = s.num_train_timesteps as f64 - 1.0;
    let stage = |t: &f64| {
        let from = stepped(s, tables, (*t).min(last + stride as f64), stride);
        Stage::whole(Level { t: *t, ..from }, step(*t, tables.alpha_bars[*t as usize]))
    };
    falling.iter().rev().map(stage).collect()
}

/// Both ends of every interval, but only the start of the last (Heun).
fn trapezoids(ladder: &Ladder) -> Vec<Stage> {
    let interval = |i: usize| {
        let first = Stage::whole(ladder.visited[i], ladder.after(i));
        let second = Stage { at: first.to, part: 1, ..first };
        [Some(first), (i + 1 < ladder.visited.len()).then_some(second)].into_iter().flatten()
    };
    (0..ladder.visited.len()).flat_map(interval).collect()
}

/// Start and middle of every interval, but only the start of the last (KDPM2).
fn midpoints(ladder: &Ladder, middles: &[Level]) -> Vec<Stage> {
    let interval = |i: usize| {
        let whole = Stage::whole(ladder.visited[i], ladder.after(i));
        match middles.get(i) {
            Some(middle) => vec![Stage { to: *middle, ..whole }, Stage { at: *middle, part: 1, ..whole }],
            None => vec![whole],
        }
    };
    (0..ladder.visited.len()).flat_map(interval).collect()
}

/// In f32, between logarithms, as `torch.lerp` does.
fn geometric(a: f32, b: f32) -> f32 {
    let [a, b] = [a, b].map(|v| f64::from(v).ln() as f32);
    f64::from(0.5 * (a + b)).exp() as f32
}

/// Where an ancestral step of sigma aims before its noise, in f32.
fn down(from: f32, to: f32) -> f32 {
    let up = (to * to * (from * from - to * to) / (from * from)).sqrt();
    (to * to - up * up).sqrt()
}

/// Evaluations of growing order from one start each (DPM-Solver's singlestep form).
fn groups(ladder: &Ladder, orders: &[usize]) -> Vec<Stage> {
    let mut from = ladder.visited[0];
    let stage = |(i, order): (usize, &usize)| {
        let at = ladder.visited[i];
        if *order == 1 {
            from = at;
        }
        Stage { from, part: order - 1, ..Stage::whole(at, ladder.after(i)) }
    };
    orders.iter().enumerate().map(stage).collect()
}

/// The order of each step of the singlestep form; diffusers switches `lower_order_final` on where it must.
fn orders(s: &Settings, steps: usize) -> Vec<usize> {
    let (order, zero) = (s.solver_order, s.final_sigmas_type == super::FinalSigmas::Zero);
    let lower = s.lower_order_final || zero || !steps.is_multiple_of(order);
    let mut orders: Vec<usize> = (0..steps).map(|i| i % order + 1).collect();
    if lower && order > 1 && steps.is_multiple_of(order) {
        // The last group is cut in two: 1 2 1 of three, 1 1 of two.
        orders[steps - 1] = 1;
    }
    if zero {
        orders[steps - 1] = 1;
    }
    orders
}

/// Down, up again and down. The way up is one jump of the forward process, whose noise diffusers draws step by step.
fn repaint(tables: &Tables, steps: usize, resampling: Resampling) -> Vec<Stage> {
    let stride = tables.alpha_bars.len() / steps;
    let at = |k: usize| step((k * stride) as f64, tables.alpha_bars[k * stride]);
    let (mut stages, mut above, mut place): (Vec<Stage>, _, Option<Level>) = (Vec::new(), steps, None);
    for k in resampling.order(steps) {
        if k < above {
            let (at, to) = (at(k), if k == 0 { Level::DATA } else { at(k - 1) });
            let lift = place.filter(|place| *place != at).map(|from| Lift { from, scale: 1.0 });
            stages.push(Stage { lift, ..Stage::whole(at, to) });
            place = Some(to);
        }
        above = k;
    }
    stages
}

/// At each level corrections, then the step down. The network is told a sigma between the levels' own.
fn corrected(s: &Settings, steps: usize) -> Vec<Stage> {
    let (low, high) = (s.sigma_min.unwrap_or(0.01), s.sigma_max.unwrap_or(1.0));
    let logs = torch::linspace(low.ln(), high.ln(), steps);
    let sigmas: Vec<f64> = logs.into_iter().map(|l| f64::from(f64::from(l).exp() as f32)).collect();
    let interval = |t: f32| {
        let k = (t * (steps - 1) as f32) as usize;
        let told = f64::from((low * (high / low).powf(f64::from(t))) as f32);
        let at = Level::new(told, 1.0, sigmas[k]);
        let to = if k == 0 { Level::DATA } else { Level::new(-1.0, 1.0, sigmas[k - 1]) };
        let correction = move |part| Stage { part, ..Stage::whole(at, at) };
        (0..s.correct_steps).map(correction).chain([Stage { part: s.correct_steps, ..Stage::whole(at, to) }])
    };
    torch::linspace(1.0, s.sampling_eps, steps).into_iter().flat_map(interval).collect()
}

/// Runge-Kutta steps first unless they are skipped, then linear multi-step; Liu et al. (arXiv:2202.09778).
fn pndm(s: &Settings, tables: &Tables, steps: usize) -> Vec<Stage> {
    let times = spacing::integer(s, steps);
    let stride = s.num_train_timesteps / steps;
    let at = |t: f64| step(t, tables.alpha_bars[t as usize]);
    let plain = |t: &f64| Stage::whole(at(*t), stepped(s, tables, *t, stride));
    if s.skip_prk_steps {
        let mut stages: Vec<Stage> = times.iter().map(plain).collect();
        if let [first, second, ..] = times[..] {
            // The first step is taken again with the slope of its end.
            let from = at(second + stride as f64);
            stages[0] = Stage { to: stepped(s, tables, first, stride), ..stages[0] };
            stages.insert(1, Stage { at: at(second), from, to: at(second), part: 1, lift: None });
        }
        return stages;
    }
    let half = (stride / 2) as f64;
    let runge_kutta = |pair: &[f64]| {
        let (start, end) = (pair[0], pair[1]);
        let (from, middle) = (at(start), at(end + half));
        let stage = |at: Level, to: f64, part: usize| Stage {
            at,
            from,
            to: step(to, tables.alpha_bars[to as usize]),
            part,
            lift: None,
        };
        [stage(from, start - half, 0), stage(middle, end + half, 1), stage(middle, end, 2), stage(at(end), end, 3)]
    };
    let first = times.windows(2).take(3).flat_map(runge_kutta);
    first.chain(times.iter().skip(3).map(plain)).collect()
}
