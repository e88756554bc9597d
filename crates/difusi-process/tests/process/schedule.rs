//! Schedules and tables.

use difusi_process::{Choice, Schedule, Tables};

use crate::common::check_close;

const LENGTHS: [usize; 7] = [1, 2, 3, 10, 100, 1000, 4000];

/// Every schedule at every length, custom lists included.
fn every() -> Vec<(String, Tables)> {
    let mut all = Vec::new();
    for timesteps in LENGTHS {
        let alpha_bars = (0..timesteps).map(|t| 0.9 * 0.99f64.powi(t as i32)).collect();
        let custom = [
            Schedule::CustomBetas { betas: (0..timesteps).map(|t| 0.01 + 0.01 * (t as f64 / 4000.0)).collect() },
            Schedule::CustomAlphaBars { alpha_bars },
        ];
        for schedule in Schedule::examples().into_iter().chain(custom) {
            all.push((format!("{} at T = {timesteps}", schedule.kind()), schedule.tables(timesteps).unwrap()));
        }
    }
    all
}

/// SNR strictly falls; a schedule that divides integers (as candle's cosine does) has most betas 0 and fails here.
#[test]
fn snr_strictly_falls() {
    for (name, tables) in every() {
        assert!(tables.snr.windows(2).all(|w| w[0] > w[1]), "{name}");
        assert!(tables.betas.iter().all(|b| *b > 0.0 && *b < 1.0), "{name}");
        assert!(tables.snr.iter().chain(&tables.posterior_log_variance).all(|v| v.is_finite()), "{name}");
    }
}

/// Variance preserving: alpha^2 + sigma^2 = 1, and alpha-bar_t is the product up to t, not to T.
#[test]
fn levels_preserve_variance() {
    for (name, tables) in every() {
        let mut product = 1.0;
        for t in 0..tables.timesteps() {
            let level = tables.level(t).unwrap();
            check_close(level.alpha.powi(2) + level.sigma.powi(2), 1.0, 1e-14);
            check_close(level.snr() / tables.snr[t], 1.0, 1e-9);
            assert_eq!(tables.alpha_bars_prev[t], product, "{name}");
            product *= 1.0 - tables.betas[t];
            assert_eq!(tables.alpha_bars[t], product, "{name}");
        }
        assert!(tables.level(tables.timesteps()).is_err());
    }
}

/// beta-tilde_1 = 0 with a clamped logarithm; the posterior mean there is x_0; beta-tilde is below beta.
#[test]
fn posterior_at_the_first_step() {
    for (name, tables) in every() {
        assert_eq!(tables.posterior_variance[0], 0.0, "{name}");
        check_close(tables.posterior_log_variance[0], 1e-20f64.ln(), 1e-12);
        check_close(tables.posterior_mean_x0[0], 1.0, 1e-9);
        assert_eq!(tables.posterior_mean_xt[0], 0.0, "{name}");
        for t in 1..tables.timesteps() {
            assert!(tables.posterior_variance[t] > 0.0 && tables.posterior_variance[t] <= tables.betas[t], "{name}");
            check_close(tables.posterior_log_variance[t].exp() / tables.posterior_variance[t], 1.0, 1e-12);
        }
    }
}

/// The default linear schedule is Ho et al.'s: beta_T = 0.02, not 0.2, ending at alpha-bar 4e-5.
#[test]
fn linear_is_ddpm() {
    let tables = Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false }.tables(1000).unwrap();
    check_close(tables.betas[0], 1e-4, 1e-18);
    check_close(tables.betas[999], 0.02, 1e-16);
    check_close(tables.alpha_bars[999], 4.0e-5, 1e-6);
    let rescaled = Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: true };
    assert_eq!(rescaled.tables(1000).unwrap(), tables);
    check_close(rescaled.tables(250).unwrap().betas[249], 0.08, 1e-15);
    let message = rescaled.tables(10).unwrap_err().to_string();
    assert!(message.contains("`schedule.rescale` is true; expected false with 10 timesteps"), "{message}");
}

/// Cosine follows its formula until the last betas are clipped; custom lists are taken as they are.
#[test]
fn alpha_bar_schedules_follow_their_curve() {
    let tables = Schedule::Cosine { s: 0.008 }.tables(1000).unwrap();
    let f = |v: f64| ((v + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    for t in [0, 17, 500, 998] {
        check_close(tables.alpha_bars[t], f((t + 1) as f64 / 1000.0) / f(0.0), 1e-12);
    }
    assert_eq!(tables.betas[999], 0.999);

    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let tables = Schedule::Sigmoid { start: -2.0, end: 3.0, tau: 0.7 }.tables(100).unwrap();
    let g = |v: f64| {
        (logistic(3.0 / 0.7) - logistic((-2.0 + 5.0 * v) / 0.7)) / (logistic(3.0 / 0.7) - logistic(-2.0 / 0.7))
    };
    check_close(tables.alpha_bars[49], g(0.5), 1e-12);

    let list = vec![0.9, 0.5, 0.1];
    let tables = Schedule::CustomAlphaBars { alpha_bars: list.clone() }.tables(3).unwrap();
    tables.alpha_bars.iter().zip(list).for_each(|(a, b)| check_close(*a, b, 1e-15));
    assert_eq!(Schedule::CustomBetas { betas: vec![0.1, 0.2] }.tables(2).unwrap().betas, [0.1, 0.2]);
}

/// Minus log-SNR is a straight line between its ends, and its precision survives where alpha-bar is nearly 1.
#[test]
fn log_snr_is_straight() {
    let tables = Schedule::LogSnr { gamma_min: -13.3, gamma_max: 5.0 }.tables(100).unwrap();
    for t in 0..100 {
        let level = tables.level(t).unwrap();
        check_close(-2.0 * level.lambda(), -13.3 + 18.3 * t as f64 / 99.0, 1e-8);
    }
    let keys = |gamma_min, gamma_max| Schedule::LogSnr { gamma_min, gamma_max }.check(100).pop().map(|e| e.key);
    assert_eq!(keys(1.0, 1.0).as_deref(), Some("schedule.gamma_max"));
    assert_eq!(keys(f64::NAN, 1.0).as_deref(), Some("schedule.gamma_max"));
    assert_eq!(keys(-40.0, 1.0).as_deref(), Some("schedule.gamma_min"));
}

/// tanh(x) = 2 logistic(2 x) - 1.
#[test]
fn tanh_is_a_steeper_sigmoid() {
    let tanh = Schedule::BetaTanh { beta_start: 1e-4, beta_end: 0.02, range: 2.0 }.tables(50).unwrap();
    let sigmoid = Schedule::BetaSigmoid { beta_start: 1e-4, beta_end: 0.02, range: 4.0 }.tables(50).unwrap();
    tanh.betas.iter().zip(&sigmoid.betas).for_each(|(a, b)| check_close(*a, *b, 1e-15));
}

/// Geometric 1e-4..0.02 ends at 0.023 and is warned about; linear is not.
#[test]
fn warns_when_signal_is_left() {
    let warnings = |kind: &str, timesteps| {
        let schedule = Schedule::examples().into_iter().find(|s| s.kind() == kind).unwrap();
        let tables = schedule.tables(timesteps).unwrap();
        (*tables.alpha_bars.last().unwrap(), tables.warnings())
    };
    let (last, text) = warnings("geometric", 1000);
    check_close(last, 0.023, 5e-4);
    assert!(text.len() == 1 && text[0].contains("2.28e-2"), "{text:?}");
    for quiet in ["linear", "cosine", "sigmoid", "quadratic", "constant"] {
        assert!(warnings(quiet, 1000).1.is_empty(), "{quiet}");
    }
    assert_eq!(warnings("linear", 100).1.len(), 1, "unscaled linear needs about a thousand steps");
}

/// All bad values at once, each with its key, its value and what is accepted.
#[test]
fn bad_values_are_named_together() {
    let wrong = Schedule::BetaSigmoid { beta_start: -1.0, beta_end: 1.2, range: f64::NAN };
    let text: Vec<String> = wrong.check(0).iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "`timesteps` is 0; expected 1 to 1000000",
            "`schedule.beta_start` is -1.0; expected a number in (0, 1)",
            "`schedule.beta_end` is 1.2; expected a number in (0, 1), at least `beta_start`",
            "`schedule.range` is NaN; expected a number in (0, 100]",
        ]
    );
    let keys = |s: Schedule, n| s.check(n).into_iter().map(|e| e.key).collect::<Vec<_>>();
    assert_eq!(keys(Schedule::Cosine { s: 1.5 }, 10), ["schedule.s"]);
    assert_eq!(keys(Schedule::Sigmoid { start: 1.0, end: 1.0, tau: 0.0 }, 10), ["schedule.tau", "schedule.end"]);
    assert_eq!(keys(Schedule::CustomBetas { betas: vec![0.1, 1.0] }, 3), ["schedule.betas", "schedule.betas[1]"]);
    assert_eq!(keys(Schedule::CustomAlphaBars { alpha_bars: vec![0.9, 0.9] }, 2), ["schedule.alpha_bars[1]"]);
    assert_eq!(keys(Schedule::Geometric { beta_start: 0.1, beta_end: 0.01 }, 2), ["schedule.beta_end"]);
    let saturated = Schedule::Sigmoid { start: -3.0, end: 3.0, tau: 0.001 };
    assert_eq!(keys(saturated, 10), ["schedule"]);
    let error = Schedule::Constant { beta: 0.5 }.tables(1000).unwrap_err().to_string();
    assert!(error.contains("ends at alpha-bar") && error.contains("fewer timesteps"), "{error}");
}
