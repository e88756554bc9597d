//! The forward process and its posterior.

use difusi_core::{Draw, Noise};
use difusi_process::{ForwardWalk, mix, q_posterior, q_sample, q_step, slerp};

use crate::common::{check_all_close, check_close, filled, linear, moments, tensor, values, wavy};

/// Step by step and closed form agree in distribution, with each other and with N(sqrt(ab) x0, 1 - ab).
#[test]
fn steps_agree_with_closed_form() {
    let (tables, shape, x0) = (linear(50), [16, 32, 32, 2], 0.6f32);
    let mut walked = ForwardWalk::new(&tables, filled(x0, shape), Noise::new(3), 0);
    let tolerance = 5.0 / (32_768.0f64).sqrt();
    let mut last = 0;
    for t in [0, 10, 49] {
        let (mean, var) = moments(&values(walked.by_ref().nth(t - last).unwrap()));
        last = t + 1;
        let eps = tensor(Noise::new(4).normal(Draw::Forward, 0..16, t as u32, 2048), shape);
        let closed = moments(&values(q_sample(&tables.levels(&[t; 16]).unwrap(), filled(x0, shape), eps).unwrap()));
        let level = tables.level(t).unwrap();
        let exact = (level.alpha * f64::from(x0), level.sigma.powi(2));
        for (mean, var) in [(mean, var), closed] {
            check_close(mean, exact.0, tolerance * level.sigma);
            check_close(var, exact.1, 1.5 * tolerance * exact.1);
        }
    }
    assert!(walked.next().is_none(), "the walk ends at x_T");
}

/// One step from the data is the closed form at the first step; each image has its own step.
#[test]
fn first_step_is_closed_form() {
    let (tables, shape) = (linear(100), [3, 2, 2, 3]);
    let (x0, eps) = (wavy(shape, 0.0), wavy(shape, 1.0));
    let closed = values(q_sample(&tables.levels(&[0, 0, 0]).unwrap(), x0.clone(), eps.clone()).unwrap());
    check_all_close("x_1", &values(q_step(&tables, x0.clone(), &[0; 3], eps.clone()).unwrap()), &closed, 1e-6);
    let mixed = values(q_sample(&tables.levels(&[5, 0, 99]).unwrap(), x0.clone(), eps.clone()).unwrap());
    assert_eq!(mixed[12..24], closed[12..24]);
    for (image, t) in [(0, 5), (2, 99)] {
        let alone = values(q_sample(&tables.levels(&[t; 3]).unwrap(), x0.clone(), eps.clone()).unwrap());
        assert_eq!(mixed[12 * image..12 * image + 12], alone[12 * image..12 * image + 12]);
    }
}

/// "x_t = x_{t-1} + eps" would explode: here unit variance stays unit variance.
#[test]
fn unit_variance_stays() {
    let (tables, shape) = (linear(50), [4, 32, 32, 2]);
    let x0 = tensor(Noise::new(1).normal(Draw::Init, 0..4, 0, 2048), shape);
    for x in ForwardWalk::new(&tables, x0, Noise::new(2), 0).step_by(10) {
        check_close(moments(&values(x)).1, 1.0, 0.08);
    }
}

/// The posterior is Bayes' rule: q(x_t | z) q(z | x_0), normalised numerically over z.
#[test]
fn posterior_is_bayes() {
    let tables = linear(50);
    for t in [1, 7, 25, 49] {
        let (x0, x_t) = (0.4, -0.9);
        let density = |z: f64| {
            let forward = (x_t - tables.alphas[t].sqrt() * z).powi(2) / tables.betas[t];
            let prior = (z - tables.alpha_bars_prev[t].sqrt() * x0).powi(2) / (1.0 - tables.alpha_bars_prev[t]);
            (-0.5 * (forward + prior)).exp()
        };
        let grid: Vec<f64> = (-80_000..80_000).map(|i| f64::from(i) * 1e-4).collect();
        let mass: f64 = grid.iter().map(|z| density(*z)).sum();
        let mean = grid.iter().map(|z| z * density(*z)).sum::<f64>() / mass;
        let variance = grid.iter().map(|z| (z - mean).powi(2) * density(*z)).sum::<f64>() / mass;
        let shape = [1, 1, 1, 1];
        let ours = q_posterior(&tables, filled(x0 as f32, shape), filled(x_t as f32, shape), &[t]).unwrap();
        check_close(f64::from(values(ours.mean)[0]), mean, 1e-6);
        check_close(ours.variance[0], variance, 1e-9);
        check_close(ours.log_variance[0], variance.ln(), 1e-7);
    }
}

/// Merging two steps: alpha_t (1 - alpha_{t-1}) + (1 - alpha_t) = 1 - alpha_t alpha_{t-1}.
#[test]
fn two_steps_merge() {
    let tables = linear(50);
    for t in 2..50 {
        let (a, b) = (tables.alphas[t - 1], tables.alphas[t]);
        let merged = 1.0 - tables.alpha_bars[t] / tables.alpha_bars[t - 2];
        check_close(b * (1.0 - a) + (1.0 - b), merged, 1e-14);
    }
}

#[test]
fn wrong_calls_are_errors() {
    let tables = linear(50);
    let (x, small) = (wavy([2, 2, 2, 1], 0.0), wavy([2, 2, 1, 1], 0.0));
    let error = tables.levels(&[0, 50]).unwrap_err().to_string();
    assert_eq!(error, "step t is 50; expected 0..=49 (the schedule has 50 steps)");
    let error = q_sample(&tables.levels(&[0]).unwrap(), x.clone(), x.clone()).unwrap_err().to_string();
    assert_eq!(error, "the list of levels has shape [1]; expected one for each of 2 images");
    assert!(q_step(&tables, x, &[0, 1], small).is_err());
}

/// Slerp: ends at its ends, keeps length, halves the angle; a vector with itself stays.
#[test]
fn slerp_walks_a_great_circle() {
    let (a, b) = (tensor(vec![3.0, 0.0, 0.0, 1.0], [2, 1, 1, 2]), tensor(vec![0.0, 3.0, 0.0, 1.0], [2, 1, 1, 2]));
    check_all_close("start", &values(slerp(a.clone(), b.clone(), 0.0).unwrap()), &values(a.clone()), 1e-6);
    check_all_close("end", &values(slerp(a.clone(), b.clone(), 1.0).unwrap()), &values(b.clone()), 1e-6);
    let half = values(slerp(a, b, 0.5).unwrap());
    let r = 3.0 * std::f32::consts::FRAC_1_SQRT_2;
    check_all_close("middle", &half, &[r, r, 0.0, 1.0], 1e-6);
    let noise = |seed| tensor(Noise::new(seed).normal(Draw::Init, 0..2, 0, 3072), [2, 32, 32, 3]);
    check_close(moments(&values(slerp(noise(0), noise(1), 0.3).unwrap())).1, 1.0, 0.1);
}

/// Mixing with the same noise keeps its variance; lambda picks the picture.
#[test]
fn mixing_interpolates() {
    let (tables, shape) = (linear(50), [1, 2, 2, 1]);
    let (a, b, eps) = (wavy(shape, 0.0), wavy(shape, 2.0), wavy(shape, 4.0));
    let level = tables.level(20).unwrap();
    let at = |x| values(q_sample(&tables.levels(&[20]).unwrap(), x, eps.clone()).unwrap());
    let mixed = |lambda| values(mix(level, [a.clone(), eps.clone()], [b.clone(), eps.clone()], lambda).unwrap());
    check_all_close("0", &mixed(0.0), &at(a.clone()), 1e-6);
    check_all_close("1", &mixed(1.0), &at(b.clone()), 1e-6);
    check_all_close("half", &mixed(0.5), &at((a.clone() + b.clone()) * 0.5), 1e-6);
}
