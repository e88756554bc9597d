//! Which times are trained.

use difusi_core::{Batch, Cond, Noise};
use difusi_process::{Diffusion, DiffusionConfig, LossHistory, Position, Schedule, TimeDistribution};

use crate::common::{check_close, wavy};

fn diffusion(timesteps: usize, schedule: Schedule, times: TimeDistribution) -> Diffusion {
    DiffusionConfig { timesteps, schedule, times, ..DiffusionConfig::default() }.build().unwrap()
}

/// (time, importance) of images `first..first + count` of a run whose steps have `per_step` images.
fn drawn(d: &Diffusion, first: u64, count: usize, per_step: u64, history: Option<&LossHistory>) -> Vec<(f64, f64)> {
    let batch = Batch { x: wavy([count, 1, 1, 1], 0.0), cond: Cond::None };
    let at = Position { step: first / per_step, images_seen: first, images_per_step: per_step };
    let inputs = d.draw_by(batch, Noise::new(5), at, history);
    inputs.levels.iter().map(|l| l.t).zip(inputs.importance).collect()
}

/// Stratified: a step with T images has each time once, however it is cut; steps differ.
#[test]
fn stratified_times_cover() {
    let d = diffusion(10, Schedule::default(), TimeDistribution::Stratified {});
    let whole = drawn(&d, 30, 10, 10, None);
    assert_eq!(whole, [drawn(&d, 30, 4, 10, None), drawn(&d, 34, 6, 10, None)].concat());
    let mut steps: Vec<usize> = whole.iter().map(|(t, _)| *t as usize).collect();
    assert_ne!(steps, drawn(&d, 40, 10, 10, None).iter().map(|(t, _)| *t as usize).collect::<Vec<_>>());
    steps.sort_unstable();
    assert_eq!(steps, (0..10).collect::<Vec<_>>());
    // Two images a step: t uniform over many steps, and the two always half the way apart.
    let mut counts = [0; 10];
    for step in 0..2000 {
        let pair = drawn(&d, 2 * step, 2, 2, None);
        assert_eq!((pair[0].0 - pair[1].0).abs(), 5.0);
        pair.iter().for_each(|(t, _)| counts[*t as usize] += 1);
    }
    assert!(counts.iter().all(|n| (320..480).contains(n)), "{counts:?}");
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
}

/// EDM's ln sigma is normal (the network sees a quarter of it); the logit of rectified flow's time is.
#[test]
fn normal_times_are_normal() {
    let edm = Schedule::Edm { sigma_min: 0.002, sigma_max: 80.0 };
    let d = diffusion(1000, edm, TimeDistribution::LogNormal { mean: -1.2, std: 1.2 });
    let ln: Vec<f64> = drawn(&d, 0, 4000, 4000, None).iter().map(|(t, _)| 4.0 * t).collect();
    let (mean, std) = mean_and_deviation(&ln);
    check_close(mean, -1.2, 0.06);
    check_close(std, 1.2, 0.05);
    let d = diffusion(1000, Schedule::Flow { shift: 1.0 }, TimeDistribution::LogitNormal { mean: 0.5, std: 0.8 });
    let logits: Vec<f64> = drawn(&d, 0, 4000, 4000, None).iter().map(|(t, _)| t / 1000.0).collect();
    let (mean, std) = mean_and_deviation(&logits.iter().map(|s| (s / (1.0 - s)).ln()).collect::<Vec<_>>());
    check_close(mean, 0.5, 0.05);
    check_close(std, 0.8, 0.04);
    let whole = diffusion(50, Schedule::default(), TimeDistribution::LogitNormal { mean: 0.0, std: 1.0 });
    assert!(drawn(&whole, 0, 500, 500, None).iter().all(|(t, _)| t.fract() == 0.0 && *t < 50.0));
}

/// Uniform times of a continuous process lie anywhere between its ends; those of a shifted flow are shifted.
#[test]
fn continuous_times_are_uniform() {
    let d = diffusion(1000, Schedule::Flow { shift: 1.0 }, TimeDistribution::Uniform {});
    let s: Vec<f64> = drawn(&d, 0, 4000, 4000, None).iter().map(|(t, _)| t / 1000.0).collect();
    let (mean, std) = mean_and_deviation(&s);
    check_close(mean, 0.5, 0.02);
    check_close(std, 1.0 / 12f64.sqrt(), 0.01);
    assert!(s.iter().any(|s| (s * 1000.0).fract() > 0.01));
    let edm = Schedule::Edm { sigma_min: 0.01, sigma_max: 10.0 };
    let d = diffusion(1000, edm, TimeDistribution::Stratified {});
    let quarter = drawn(&d, 0, 1000, 1000, None);
    assert!(quarter.iter().all(|(t, _)| (0.01f64.ln()..=10f64.ln()).contains(&(4.0 * t))));
}

fn full(timesteps: usize, loss: impl Fn(usize) -> f32) -> LossHistory {
    let mut history = LossHistory::new(timesteps, 3);
    for t in 0..timesteps {
        (0..3).for_each(|_| history.push(t, loss(t)));
    }
    history
}

/// Uniform until every step has its losses; then p_t follows their root mean square, and `1 / (T p_t)` makes up for it.
#[test]
fn times_follow_the_second_moment() {
    let d = diffusion(5, Schedule::default(), TimeDistribution::LossSecondMoment { history: 3, uniform_prob: 0.1 });
    let plain = diffusion(5, Schedule::default(), TimeDistribution::Uniform {});
    let mut cold = full(5, |_| 1.0);
    let (losses, mut counts) = cold.state();
    counts[2] = 2.0;
    cold = cold.with_state(losses, &counts).unwrap();
    assert_eq!(drawn(&d, 0, 50, 50, Some(&cold)), drawn(&plain, 0, 50, 50, None));
    assert_eq!(drawn(&d, 0, 50, 50, None), drawn(&plain, 0, 50, 50, None));

    let warm = full(5, |t| [1.0, 2.0, 3.0, 4.0, 10.0][t]);
    let all = drawn(&d, 0, 20000, 20000, Some(&warm));
    let mut sums = [0.0; 5];
    for (t, importance) in &all {
        let t = *t as usize;
        let p = 0.9 * [1.0, 2.0, 3.0, 4.0, 10.0][t] / 20.0 + 0.1 / 5.0;
        check_close(*importance, 1.0 / (5.0 * p), 1e-12);
        sums[t] += importance / 20000.0;
    }
    sums.iter().for_each(|sum| check_close(*sum, 0.2, 0.02));
}

/// The oldest loss goes; states come back; other shapes and losses that are not finite are refused.
#[test]
fn histories_remember_the_last() {
    let mut history = full(2, |_| 1.0);
    for loss in [5.0, 6.0, 7.0, f32::NAN] {
        history.push(1, loss);
    }
    history.push(9, 1.0);
    assert_eq!(history, {
        let mut other = full(2, |t| if t == 0 { 1.0 } else { 9.0 });
        [5.0, 6.0, 7.0].into_iter().for_each(|loss| other.push(1, loss));
        other
    });
    let (losses, counts) = history.state();
    let same = LossHistory::new(2, 3).with_state(losses.clone(), &counts);
    assert_eq!(same.as_ref(), Some(&history));
    assert!(LossHistory::new(2, 4).with_state(losses.clone(), &counts).is_none());
    assert!(LossHistory::new(2, 3).with_state(losses, &[0.5, 7.0]).is_none());
}

#[test]
fn bad_times_are_named() {
    let keys = |times: TimeDistribution| times.check().into_iter().map(|e| e.key).collect::<Vec<_>>();
    let bad = TimeDistribution::LossSecondMoment { history: 0, uniform_prob: 0.0 };
    assert_eq!(keys(bad), ["times.history", "times.uniform_prob"]);
    assert_eq!(keys(TimeDistribution::LogNormal { mean: f64::NAN, std: 0.0 }), ["times.mean", "times.std"]);
    assert!(TimeDistribution::examples().into_iter().all(|t| t.check().is_empty()));
}
