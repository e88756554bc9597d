//! Parameterisations, and the weights that make their losses comparable.

use difusi_process::{
    Choice, Diffusion, DiffusionConfig, Jump, Level, Prediction, Process, Schedule, Weighting, q_posterior, q_sample,
};

use crate::common::{check_all_close, check_close, linear, values, wavy};

fn at((a, b): (f64, f64), x: f64, y: f64) -> f64 {
    a * x + b * y
}

/// x_0 and eps follow from the target, for every prediction, schedule and time, the first step included.
#[test]
fn prediction_inverts_target() {
    for schedule in Schedule::examples() {
        let tables = schedule.tables(100).unwrap();
        for p in Prediction::ALL {
            for t in [0, 1, 50, 98] {
                let (x0, eps, level) = (0.3, -1.7, tables.level(t).unwrap());
                let x_t = level.alpha * x0 + level.sigma * eps;
                let out = at(p.target_factors(level), x0, eps);
                check_close(at(p.x0_factors(level), out, x_t), x0, 1e-9);
                check_close(at(p.eps_factors(level), out, x_t), eps, 1e-9);
            }
        }
    }
}

/// The tensor versions do the same, each image at its own step.
#[test]
fn tensors_agree_with_scalars() {
    let (levels, shape) = (linear(100).levels(&[0, 40, 90]).unwrap(), [3, 2, 2, 2]);
    let (x0, eps) = (wavy(shape, 0.0), wavy(shape, 1.0));
    let x_t = q_sample(&levels, x0.clone(), eps.clone()).unwrap();
    for p in Prediction::ALL {
        let out = p.target(&levels, x0.clone(), eps.clone()).unwrap();
        let (found, x, e) = (values(out.clone()), values(x0.clone()), values(eps.clone()));
        for i in 0..found.len() {
            let expected = at(p.target_factors(levels[i / 8]), x[i].into(), e[i].into());
            check_close(found[i].into(), expected, 1e-6 * expected.abs().max(1.0));
        }
        let back = p.to_x0(&levels, out.clone(), x_t.clone()).unwrap();
        check_all_close(p.kind(), &values(back), &x, 2e-4);
        let back = p.to_eps(&levels, out, x_t.clone()).unwrap();
        check_all_close(p.kind(), &values(back), &e, 2e-4);
    }
}

/// The posterior mean's target is the mean of the posterior; at the first step it is x_0.
#[test]
fn posterior_mean_is_the_posteriors() {
    let (tables, shape, t) = (linear(100), [3, 2, 2, 1], [0, 40, 90]);
    let levels = tables.levels(&t).unwrap();
    let (x0, eps) = (wavy(shape, 0.0), wavy(shape, 1.0));
    let x_t = q_sample(&levels, x0.clone(), eps.clone()).unwrap();
    let target = values(Prediction::PosteriorMean {}.target(&levels, x0.clone(), eps).unwrap());
    check_all_close("mean", &target, &values(q_posterior(&tables, x0.clone(), x_t, &t).unwrap().mean), 1e-6);
    check_all_close("first", &target[..4], &values(x0)[..4], 1e-6);
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Key {
    #[serde(with = "difusi_process::choice")]
    prediction: Prediction,
}

/// Names, the alias, parameters, and no unknown name.
#[test]
fn names_parse() {
    let read = |value: &str| serde_json::from_str::<Key>(&format!("{{\"prediction\":{value}}}"));
    for p in Prediction::ALL {
        let written = serde_json::to_string(&Key { prediction: p }).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&written).unwrap().prediction, p);
        assert_eq!(read(&format!("\"{}\"", p.kind())).unwrap().prediction, p);
    }
    assert_eq!(read("\"sample\"").unwrap().prediction, Prediction::X0 {});
    let edm = read(r#"{"kind":"edm","sigma_data":0.6}"#).unwrap().prediction;
    assert_eq!(edm, Prediction::Edm { sigma_data: 0.6 });
    let error = read("\"epsilom\"").unwrap_err().to_string();
    assert!(error.contains("velocity"), "{error}");
}

fn weight(weighting: Weighting, prediction: Prediction, level: Level, process: Process) -> f64 {
    let d = DiffusionConfig { weighting, prediction, ..DiffusionConfig::default() }.build().unwrap();
    Diffusion { process, ..d }.weight(level)
}

/// A weighted error means the same whatever the network outputs: SNR (or min(SNR, gamma)) times the error of x_0.
#[test]
fn weights_agree_across_predictions() {
    let tables = linear(100);
    let weight = |weighting, prediction, level| weight(weighting, prediction, level, Process::Discrete(tables.clone()));
    for level in tables.levels(&[0, 3, 50, 99]).unwrap() {
        let (x_t, out, wrong, snr) = (0.2, 0.5, 0.51, level.snr());
        for (weighting, expected) in [(Weighting::Snr {}, snr), (Weighting::MinSnr { gamma: 2.0 }, snr.min(2.0))] {
            for p in Prediction::ALL {
                let x0 = |out| at(p.x0_factors(level), out, x_t);
                let weighted = weight(weighting, p, level) * (wrong - out) * (wrong - out);
                let scale = expected * (x0(wrong) - x0(out)).powi(2);
                check_close(weighted / scale, 1.0, 1e-6);
            }
        }
        check_close(weight(Weighting::Snr {}, Prediction::Epsilon {}, level), 1.0, 1e-9);
        check_close(weight(Weighting::Snr {}, Prediction::Velocity {}, level), snr / (snr + 1.0), 1e-9);
        assert_eq!(weight(Weighting::Simple {}, Prediction::X0 {}, level), 1.0);
    }
}

/// EDM's network sees and is asked for unit variance at every level; its `simple` loss weighs as `c_out^-2` on x_0.
#[test]
fn edm_has_unit_variance() {
    let sigma_data = 0.4;
    let edm = Prediction::Edm { sigma_data };
    for level in [Level::new(0.0, 1.0, 0.002), Level::new(0.0, 1.0, 80.0), Level::new(0.0, 0.6, 0.8)] {
        let variance = |(a, b): (f64, f64)| (a * sigma_data).powi(2) + b * b;
        check_close(variance(edm.target_factors(level)), 1.0, 1e-12);
        let seen = edm.input_scale(level).powi(2) * variance((level.alpha, level.sigma));
        check_close(seen, 1.0, 1e-12);
        let (s, total) = (level.ratio(), sigma_data.powi(2) + level.ratio().powi(2));
        check_close(edm.squared_gain(level), total / (s * sigma_data).powi(2), 1e-6 * edm.squared_gain(level));
    }
}

/// The `vlb` weight over T is the KL of the step's two posteriors, `c_0^2 / (2 beta-tilde)` per squared error of x_0 (DDPM eq. 8), and
/// finite at the first step.
#[test]
fn the_vlb_weight_is_the_bound() {
    let process = Process::Discrete(linear(100));
    for t in 1..100 {
        let level = process.level(f64::from(t));
        let jump = Jump { from: level, to: process.level(f64::from(t - 1)) };
        let kl = jump.posterior_mean().0.powi(2) / (2.0 * jump.posterior_variance());
        check_close(weight(Weighting::Vlb {}, Prediction::X0 {}, level, process.clone()) / (100.0 * kl), 1.0, 1e-9);
    }
    let first = process.bound_weight(process.level(0.0));
    assert!(first > process.bound_weight(process.level(1.0)) && first < 100.0 / 1e-4, "{first}");
}

/// Where log-SNR is a straight line the bound weighs every eps alike, as `simple` does.
#[test]
fn epsilon_is_the_bound_where_log_snr_is_straight() {
    let process = Schedule::LogSnr { gamma_min: -13.3, gamma_max: 5.0 }.process(1000).unwrap();
    let at = |t: usize| weight(Weighting::Vlb {}, Prediction::Epsilon {}, process.level(t as f64), process.clone());
    for t in [1, 2, 500, 999] {
        check_close(at(t), 500.0 * ((18.3f64 / 999.0).exp() - 1.0), 1e-5);
    }
    assert!(at(0) > 0.0 && at(0) < 500.0);
}

/// In a continuous process the bound's weight is the slope of the SNR over the time that is uniform.
#[test]
fn the_bound_weight_is_the_slope() {
    let flow = |shift| Process::Flow { shift, timesteps: 50 };
    for process in [flow(1.0), flow(3.0), Process::Edm { sigma_min: 0.002, sigma_max: 80.0, timesteps: 50 }] {
        for u in [0.5, 7.0, 31.3, 48.5] {
            let (low, high) = (process.level(u - 1e-5), process.level(u + 1e-5));
            let slope = (low.snr() - high.snr()) / 2e-5;
            check_close(process.bound_weight(process.level(u)) / (25.0 * slope), 1.0, 1e-6);
        }
    }
}
