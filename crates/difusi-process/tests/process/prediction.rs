//! Parameterisations, and the weights that make their losses comparable.

use difusi_process::{Prediction, Schedule, Weighting, q_posterior, q_sample};

use crate::common::{check_all_close, check_close, linear, values, wavy};

/// x_0 and eps follow from the target, for every prediction, schedule and time, the first step included.
#[test]
fn prediction_inverts_target() {
    for schedule in Schedule::examples() {
        let tables = schedule.tables(100).unwrap();
        for p in Prediction::ALL {
            for t in [0, 1, 50, 98] {
                let (x0, eps, level) = (0.3, -1.7, tables.level(t).unwrap());
                let x_t = level.alpha * x0 + level.sigma * eps;
                let out = p.target_at(&tables, t, x0, eps).unwrap();
                check_close(p.to_x0_at(&tables, t, out, x_t).unwrap(), x0, 1e-9);
                check_close(p.to_eps_at(&tables, t, out, x_t).unwrap(), eps, 1e-9);
            }
        }
    }
}

/// The tensor versions do the same, each image at its own step.
#[test]
fn tensors_agree_with_scalars() {
    let (tables, shape, t) = (linear(100), [3, 2, 2, 2], [0, 40, 90]);
    let (x0, eps) = (wavy(shape, 0.0), wavy(shape, 1.0));
    let x_t = q_sample(&tables, x0.clone(), &t, eps.clone()).unwrap();
    for p in Prediction::ALL {
        let out = p.target(&tables, &t, x0.clone(), eps.clone()).unwrap();
        let (found, x, e) = (values(out.clone()), values(x0.clone()), values(eps.clone()));
        for i in 0..found.len() {
            let expected = p.target_at(&tables, t[i / 8], x[i].into(), e[i].into()).unwrap();
            check_close(found[i].into(), expected, 1e-6);
        }
        let back = p.to_x0(&tables, &t, out.clone(), x_t.clone()).unwrap();
        check_all_close(p.name(), &values(back), &x, 2e-4);
        let back = p.to_eps(&tables, &t, out, x_t.clone()).unwrap();
        check_all_close(p.name(), &values(back), &e, 2e-4);
    }
}

/// The posterior mean's target is the mean of the posterior; at the first step it is x_0.
#[test]
fn posterior_mean_is_the_posteriors() {
    let (tables, shape, t) = (linear(100), [3, 2, 2, 1], [0, 40, 90]);
    let (x0, eps) = (wavy(shape, 0.0), wavy(shape, 1.0));
    let x_t = q_sample(&tables, x0.clone(), &t, eps.clone()).unwrap();
    let target = values(Prediction::PosteriorMean.target(&tables, &t, x0.clone(), eps).unwrap());
    check_all_close("mean", &target, &values(q_posterior(&tables, x0.clone(), x_t, &t).unwrap().mean), 1e-6);
    check_all_close("first", &target[..4], &values(x0)[..4], 1e-6);
}

/// Names, the alias, and no unknown name.
#[test]
fn names_parse() {
    for p in Prediction::ALL {
        assert_eq!(serde_json::from_str::<Prediction>(&format!("\"{}\"", p.name())).unwrap(), p);
        assert_eq!(serde_json::to_string(&p).unwrap(), format!("\"{}\"", p.name()));
    }
    assert_eq!(serde_json::from_str::<Prediction>("\"sample\"").unwrap(), Prediction::X0);
    let error = serde_json::from_str::<Prediction>("\"epsilom\"").unwrap_err().to_string();
    assert!(error.contains("velocity"), "{error}");
}

/// A weighted error means the same whatever the network outputs: SNR (or min(SNR, gamma)) times the error of x_0.
#[test]
fn weights_agree_across_predictions() {
    let tables = linear(100);
    for t in [0, 3, 50, 99] {
        let (x_t, out, wrong) = (0.2, 0.5, 0.51);
        for (weighting, expected) in
            [(Weighting::Snr {}, tables.snr[t]), (Weighting::MinSnr { gamma: 2.0 }, tables.snr[t].min(2.0))]
        {
            for p in Prediction::ALL {
                let x0 = |out| p.to_x0_at(&tables, t, out, x_t).unwrap();
                let weighted = weighting.weight(p, &tables, t).unwrap() * (wrong - out) * (wrong - out);
                let scale = expected * (x0(wrong) - x0(out)).powi(2);
                check_close(weighted / scale, 1.0, 1e-6);
            }
        }
        check_close(Weighting::Snr {}.weight(Prediction::Epsilon, &tables, t).unwrap(), 1.0, 1e-9);
        let v = Weighting::Snr {}.weight(Prediction::Velocity, &tables, t).unwrap();
        check_close(v, tables.snr[t] / (tables.snr[t] + 1.0), 1e-9);
        assert_eq!(Weighting::Simple {}.weight(Prediction::X0, &tables, t).unwrap(), 1.0);
    }
}
