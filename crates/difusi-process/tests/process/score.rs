//! Scores, the process as an SDE, Langevin dynamics and what is built on them, against exact answers.

use burn::tensor::{DType, Device, Tensor};
use difusi_core::{Cond, Noise};
use difusi_process::{
    Denoise, Denoised, Diffusion, DiffusionConfig, Grid, Level, NoiseSource, Norms, Plan, Prediction, Predictor,
    Process, ProcessError, Solver, StepSize, Variance, Weighting,
    mixture::Mixture,
    sample,
    score::{langevin, score, tweedie},
};

use crate::common::{Golden, check_close, golden_noise, linear, moments, tensor64, values, values64};

fn processes() -> [Process; 5] {
    [
        Process::Discrete(linear(100)),
        Process::Ve { sigma_min: 0.01, sigma_max: 10.0, timesteps: 100 },
        Process::Edm { sigma_min: 0.02, sigma_max: 8.0, timesteps: 100 },
        Process::SubVp { beta_min: 0.1, beta_max: 20.0, timesteps: 100 },
        Process::Flow { shift: 2.0, timesteps: 100 },
    ]
}

/// Whatever the network predicts, the score is -eps / sigma, x_0 and the score say the same, and the mixture's is its own.
#[test]
fn scores_follow_from_every_prediction() {
    for process in processes() {
        for u in [0.0, 30.0, 70.5, 98.0] {
            let level = process.level(u);
            for prediction in Prediction::ALL {
                if matches!((prediction, &process), (Prediction::PosteriorMean {}, p) if p.tables().is_err()) {
                    continue;
                }
                let (x0, eps) = (0.3, -1.7);
                let (a, b) = prediction.target_factors(level);
                let (s, x) = prediction.score_factors(level);
                let found = s * (a * x0 + b * eps) + x * (level.alpha * x0 + level.sigma * eps);
                check_close(found * level.sigma, -eps, 1e-9);
            }
            let mixture = Mixture::planar();
            let x_t = tensor64(mixture.draw(level, Noise::new(1), (0, 10)), 2);
            let said = mixture.denoise(x_t.clone(), level, &Cond::None).unwrap();
            let exact = mixture.score(&x_t, level).unwrap();
            let found = said.score(&x_t, level).unwrap();
            let same = |a: Tensor<4>, b: Tensor<4>| {
                values64(a).iter().zip(values64(b)).for_each(|(a, b)| check_close(*a, b, 1e-9 * b.abs().max(1.0)));
            };
            same(score(&x_t, &said.x0, level).unwrap(), exact.clone());
            same(found, exact.clone());
            same(tweedie(&x_t, &exact, level).unwrap(), said.x0);
        }
    }
}

/// A score network with the weighting of NCSN, sigma^2, learns eps.
#[test]
fn the_score_is_weighted_by_its_variance() {
    for process in processes() {
        let level = process.level(40.0);
        let d = DiffusionConfig {
            weighting: Weighting::Snr {},
            prediction: Prediction::Score {},
            ..DiffusionConfig::default()
        };
        let weight = Diffusion { process, ..d.build().unwrap() }.weight(level);
        check_close(weight, level.sigma.powi(2), 1e-12 * weight);
    }
}

/// f and g^2 are the slopes they are named after.
#[test]
fn rates_are_slopes() {
    let h = 1e-5;
    for process in processes() {
        for u in [0.5, 1.3, 20.7, 50.5, 97.9] {
            let (rates, before, after) = (process.rates(u), process.level(u - h), process.level(u + h));
            let drift = (after.alpha.ln() - before.alpha.ln()) / (2.0 * h);
            let sigma = process.level(u).sigma;
            let squared = (after.sigma.powi(2) - before.sigma.powi(2)) / (2.0 * h) - 2.0 * drift * sigma * sigma;
            check_close(rates.drift, drift, 1e-7);
            check_close(rates.diffusion_squared, squared, 1e-6 * squared.max(1.0));
            if process.tables().is_err() {
                let level = process.level(u); // the bound's weight is half the slope of the SNR, g^2 SNR / sigma^2
                let slope = level.snr() * rates.diffusion_squared / level.sigma.powi(2);
                check_close(process.bound_weight(level), 50.0 * slope, 1e-9 * slope);
            }
        }
    }
    // Within its steps the VP SDE has g^2 = -2 f, and over a step they integrate to beta: of the first, from the data, exactly.
    let tables = linear(100);
    let process = Process::Discrete(tables.clone());
    let steps = 1000;
    for t in [0, 1, 50, 99] {
        let middle = |i: usize| process.rates(t as f64 - 1.0 + (i as f64 + 0.5) / f64::from(steps));
        let total = (0..steps as usize).map(|i| middle(i).drift).sum::<f64>() / f64::from(steps);
        check_close((2.0 * total).exp(), tables.alphas[t], 1e-7);
        check_close(process.rates(t as f64 - 0.3).diffusion_squared, -2.0 * process.rates(t as f64 - 0.3).drift, 1e-15);
    }
}

/// Euler-Maruyama on the forward SDE from a point has mean alpha and variance sigma^2, to first order in the step.
#[test]
fn the_sde_has_the_marginals() {
    let unit = |x: f64, z: f64| (tensor64(vec![x], 1), tensor64(vec![z], 1));
    let error = |process: &Process, from: f64, parts: usize| {
        let (start, end, du) = (process.level(from), process.level(98.0), 1.0 / parts as f64);
        let (mut mean, mut variance) = (start.alpha, start.sigma.powi(2));
        for i in 0..(98 - from as usize) * parts {
            let rates = process.rates(from + (i as f64 + 0.5) * du);
            let factor = |(x, z)| values64(rates.forward_step(x, z, du).unwrap())[0];
            let (keep, spread) = (factor(unit(1.0, 0.0)), factor(unit(0.0, 1.0)));
            (mean, variance) = (keep * mean, keep * keep * variance + spread * spread);
        }
        (mean - end.alpha).abs() + (variance / end.sigma.powi(2) - 1.0).abs()
    };
    for process in processes() {
        let errors = [2, 4, 8].map(|parts| error(&process, 0.0, parts));
        assert!(
            errors[2] < 0.06 && errors[2] <= 0.6 * errors[1] && errors[1] <= 0.6 * errors[0],
            "{process:?}: {errors:?}"
        );
    }
}

/// For data N(0, s^2) the probability-flow ODE is solved by x proportional to the deviation of x_t.
#[test]
fn the_flow_keeps_quantiles() {
    let (s, h) = (0.7, 1e-5);
    for process in processes() {
        for u in [3.5, 40.2, 90.7] {
            let deviation = |u: f64| (process.level(u).alpha * s).hypot(process.level(u).sigma);
            let x = 1.3 * deviation(u);
            let score = -x / deviation(u).powi(2);
            let (x, score) = (tensor64(vec![x], 1), tensor64(vec![score], 1));
            let found = values64(process.rates(u).flow(x.clone(), score.clone()).unwrap())[0];
            check_close(found, 1.3 * (deviation(u + h) - deviation(u - h)) / (2.0 * h), 1e-6);
            // Half of the score's part is missing against the reverse SDE, whose noise makes up for it.
            let drift = values64(process.rates(u).reverse_drift(x.clone(), score).unwrap())[0];
            let own = process.rates(u).drift * values64(x)[0];
            check_close(drift - own, 2.0 * (found - own), 1e-9);
        }
    }
}

/// A level is the same by time and by its ratio.
#[test]
fn levels_of_sub_vp_and_ve_are_found_by_ratio() {
    for process in processes() {
        for u in [0.0, 7.0, 50.0, 98.0] {
            let (level, found) = (process.level(u), process.level_at_ratio(process.level(u).ratio()));
            check_close(found.t, level.t, 1e-9 * level.t.abs().max(1.0));
            check_close(found.alpha, level.alpha, 1e-12);
            check_close(found.sigma, level.sigma, 1e-9);
        }
    }
    let sub = Process::SubVp { beta_min: 0.1, beta_max: 20.0, timesteps: 1000 };
    let last = sub.level(999.0);
    check_close(last.sigma, 1.0 - last.alpha.powi(2), 1e-15);
    check_close(last.alpha.ln(), -0.25 * 19.9 - 0.05, 1e-12);
    assert_eq!(last.t, 999.0);
    assert_eq!(Process::Ve { sigma_min: 0.01, sigma_max: 50.0, timesteps: 9 }.level(8.0).t, 50.0);
}

/// The stationary variance of Langevin dynamics on N(0, s^2) is s^2 / (1 - epsilon / (2 s^2)), and each image goes its own way.
#[test]
fn langevin_is_stationary_where_it_should_be() {
    let (s, epsilon) = (0.8f64, 0.1);
    let move_by = |x: f64, z: f64| {
        let x = tensor64(vec![x, x], 1);
        let score = x.clone() / -(s * s);
        values64(langevin(x, score, tensor64(vec![z, z], 1), &[epsilon, 0.0]).unwrap())
    };
    let (keep, spread) = (move_by(1.0, 0.0), move_by(0.0, 1.0));
    let variance = (0..200).fold(5.0, |v, _| keep[0] * keep[0] * v + spread[0] * spread[0]);
    check_close(variance, s * s / (1.0 - epsilon / (2.0 * s * s)), 1e-12);
    assert_eq!((keep[1], spread[1]), (1.0, 0.0));
    let error = langevin(tensor64(vec![0.0], 1), tensor64(vec![0.0], 1), tensor64(vec![0.0], 1), &[]).unwrap_err();
    assert_eq!(error.to_string(), "the list of step sizes has shape [0]; expected one for each of 1 images");
}

fn normal(count: usize, seed: u64) -> Tensor<4> {
    let x = NoiseSource::counter(seed, 0).initial([count, 1, 1, 2], &Device::flex()).unwrap();
    x.cast(DType::F64)
}

/// Largest difference of the means and covariances of points and a mixture at a level.
fn moment_error(x: &[f64], mixture: &Mixture, level: Level) -> f64 {
    let (mean, cov) = (mixture.mean(), mixture.covariance());
    let average = |f: &dyn Fn(&[f64]) -> f64| x.chunks(2).map(f).sum::<f64>() / (x.len() / 2) as f64;
    let mut worst = 0.0f64;
    for i in 0..2 {
        let center = |i: usize| level.alpha * mean[i];
        worst = worst.max((average(&|v| v[i]) - center(i)).abs());
        for j in 0..2 {
            let expected = level.alpha.powi(2) * cov[i][j] + if i == j { level.sigma.powi(2) } else { 0.0 };
            worst = worst.max((average(&|v| (v[i] - center(i)) * (v[j] - center(j))) - expected).abs());
        }
    }
    worst
}

/// Langevin dynamics at one level ends in the mixture there, wherever it began; annealed, in the mixture itself.
#[test]
fn langevin_samples_the_mixture() {
    let (mixture, level, count) = (Mixture::planar(), Level::new(0.0, 0.8, 0.4), 4000);
    let mut x = normal(count, 1) * 2.0 + 1.0;
    for i in 0..500 {
        let score = mixture.score(&x, level).unwrap();
        x = langevin(x, score, normal(count, 100 + i), &vec![0.02; count]).unwrap();
    }
    let error = moment_error(&values64(x), &mixture, level);
    assert!(error < 0.06, "{error}");
    let process = Process::Ve { sigma_min: 0.02, sigma_max: 6.0, timesteps: 12 };
    let solver = Solver::Langevin { steps: 40, step_size: StepSize::default() };
    let x = values64(drawn(&process, 12, solver, count));
    let error = moment_error(&x, &mixture, Level::DATA);
    assert!(error < 0.06, "{error}");
}

/// The mixture's samples after a run from pure noise.
fn drawn(process: &Process, steps: usize, solver: Solver, count: usize) -> Tensor<4> {
    let levels = Grid::Linspace {}.levels(process, steps).unwrap();
    let plan = Plan::new(&levels, solver, Variance::FixedLarge {}).unwrap();
    let start = normal(count, 5) * levels[0].sigma;
    sample(&Mixture::planar(), &plan, start, NoiseSource::counter(6, 0), Cond::None).unwrap()
}

/// Energy distance to fresh samples of the mixture (Székely & Rizzo 2013), unbiased.
fn distance(x: &[f64]) -> f64 {
    let y = Mixture::planar().draw(Level::DATA, Noise::new(77), (0, x.len() / 2));
    let mean = |a: &[f64], b: &[f64]| {
        let gap = |p: &[f64]| b.chunks(2).map(|q| (p[0] - q[0]).hypot(p[1] - q[1])).sum::<f64>();
        a.chunks(2).map(gap).sum::<f64>()
    };
    let n = x.len() as f64 / 2.0;
    2.0 * mean(x, &y) / (n * n) - (mean(x, x) + mean(&y, &y)) / (n * (n - 1.0))
}

const PREDICTORS: [Predictor; 3] =
    [Predictor::EulerMaruyama {}, Predictor::ReverseDiffusion {}, Predictor::Ancestral {}];

/// Every discretisation of the reverse SDE of every process converges to the data.
#[test]
fn the_reverse_sde_reaches_the_data() {
    for process in processes() {
        for predictor in PREDICTORS {
            let process = match process.clone() {
                Process::Flow { .. } if predictor == (Predictor::EulerMaruyama {}) => continue, // starts at pure noise
                other => other,
            };
            let error = |steps| distance(&values64(drawn(&process, steps, Solver::ReverseSde { predictor }, 1200)));
            let (coarse, fine) = (error(10), error(100));
            assert!(fine < 0.01 && fine < 0.5 * coarse, "{process:?} {predictor:?}: {coarse} {fine}");
        }
    }
}

/// At the same grid, corrections bring the samples closer to the data than the predictor alone. With two numbers to an image norms
/// are taken over the batch: an image's own would be anything.
#[test]
fn corrections_improve_on_the_predictor() {
    let process = Process::Ve { sigma_min: 0.01, sigma_max: 10.0, timesteps: 100 };
    for predictor in PREDICTORS {
        let alone = distance(&values64(drawn(&process, 12, Solver::ReverseSde { predictor }, 2000)));
        let solver = |correct| Solver::PredictorCorrector { predictor, snr: 0.3, correct, norms: Norms::Batch };
        let found = [0, 1, 4].map(|correct| distance(&values64(drawn(&process, 12, solver(correct), 2000))));
        assert_eq!(found[0], alone);
        assert!(found[1] < 0.85 * alone && found[2] < 0.5 * alone, "{predictor:?}: {alone} {found:?}");
    }
}

/// Independent numbers of N(0.2, 0.5^2).
struct Gaussian;

impl Denoise for Gaussian {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        let gain = level.alpha * 0.25 / (level.alpha.powi(2) * 0.25 + level.sigma.powi(2));
        Ok(Denoised::from_x0((x_t.clone() - level.alpha * 0.2) * gain + 0.2, x_t, level))
    }
}

/// The same for images, each by its own norms, in a VP and a VE process.
#[test]
fn corrections_improve_images() {
    for process in [Process::Discrete(linear(100)), processes()[1].clone()] {
        let levels = Grid::Trailing {}.levels(&process, 10).unwrap();
        let error = |correct| {
            let solver =
                Solver::PredictorCorrector { predictor: Predictor::default(), snr: 0.16, correct, norms: Norms::Image };
            let plan = Plan::new(&levels, solver, Variance::FixedSmall {}).unwrap();
            let source = NoiseSource::counter(1, 0);
            let start = source.clone().initial([4, 16, 16, 3], &Device::flex()).unwrap() * levels[0].sigma;
            let x = values(sample(&Gaussian, &plan, start, source, Cond::None).unwrap());
            (moments(&x).1.sqrt() - 0.5).abs()
        };
        let found = [0, 1, 4].map(error);
        assert!(found[1] < 0.85 * found[0] && found[2] < 0.6 * found[0], "{found:?}");
    }
}

/// Where its drift is infinite Euler-Maruyama says so.
#[test]
fn euler_maruyama_does_not_start_at_pure_noise() {
    let process = Process::Flow { shift: 1.0, timesteps: 10 };
    let levels = Grid::Linspace {}.levels(&process, 5).unwrap();
    let solver = Solver::ReverseSde { predictor: Predictor::EulerMaruyama {} };
    let plan = Plan::new(&levels, solver, Variance::FixedSmall {}).unwrap();
    let error = sample(&Mixture::planar(), &plan, normal(1, 0), NoiseSource::counter(0, 0), Cond::None).unwrap_err();
    assert!(error.to_string().contains("`solver.predictor` is euler_maruyama"), "{error}");
}

/// The stages: moves stay at their level; only the last of a level leaves it, and only x_0 reaches the data.
#[test]
fn stages_stay_and_fall() {
    let levels = [Level::new(2.0, 1.0, 3.0), Level::new(1.0, 1.0, 1.0), Level::DATA];
    let stages = |solver| {
        let plan = Plan::new(&levels, solver, Variance::FixedSmall {}).unwrap();
        plan.stages().iter().map(|s| (s.at.t, s.to.t, s.part)).collect::<Vec<_>>()
    };
    let langevin = Solver::Langevin { steps: 2, step_size: StepSize::Fixed { epsilon: 0.1 } };
    assert_eq!(stages(langevin), [(2.0, 2.0, 0), (2.0, 1.0, 1), (1.0, 1.0, 0), (1.0, 1.0, 1), (1.0, -1.0, 2)]);
    let corrected: Solver = serde_json::from_str(r#"{"kind": "predictor_corrector"}"#).unwrap();
    assert_eq!(stages(corrected), [(2.0, 2.0, 0), (2.0, 1.0, 1), (1.0, 1.0, 0), (1.0, -1.0, 1)]);
    let bad: Solver = serde_json::from_str(
        r#"{"kind": "langevin", "steps": 0, "step_size": {"kind": "snr", "snr": -1.0, "norms": "batch"}}"#,
    )
    .unwrap();
    let keys: Vec<String> = bad.check().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["solver.steps", "solver.step_size.snr"]);
    assert!(serde_json::from_str::<Solver>(r#"{"kind": "predictor_corrector", "snrr": 1}"#).is_err());
}

/// Pictures do not depend on their batch, unless the batch's norms are asked for.
#[test]
fn corrections_split_with_the_batch() {
    let process = Process::Discrete(linear(100));
    let levels = Grid::Linspace {}.levels(&process, 6).unwrap();
    let run = |norms, first: usize, count: usize| {
        let solver = Solver::PredictorCorrector { predictor: Predictor::default(), snr: 0.16, correct: 2, norms };
        let plan = Plan::new(&levels, solver, Variance::FixedSmall {}).unwrap();
        let start = normal(5, 5).narrow(0, first, count);
        let source = NoiseSource::counter(6, first as u64);
        values64(sample(&Mixture::planar(), &plan, start, source, Cond::None).unwrap())
    };
    for (norms, same) in [(Norms::Image, true), (Norms::Batch, false)] {
        let parts = [run(norms, 0, 2), run(norms, 2, 3)].concat();
        assert_eq!(run(norms, 0, 5) == parts, same);
    }
}

/// The score of the golden runs: pulled towards 0 from sigma.
struct Pulled(std::cell::RefCell<Vec<f64>>);

impl Denoise for Pulled {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        let sigma = self.0.borrow_mut().remove(0);
        let score = (x_t.clone() + x_t.clone().sin() * 0.3) * (-1.0 / (sigma * sigma + 0.25));
        Ok(Denoised::from_x0(tweedie(&x_t, &score, level)?, x_t, level))
    }
}

/// ScoreSdeVeScheduler: corrections, then a prediction at every sigma. Its `sigmas`, which its network sees, differ from the discrete
/// ones that it steps with; its last step adds noise, which its pipeline, and the golden run, leave away.
#[test]
fn predictor_corrector_is_diffusers() {
    let golden = Golden::open("schedulers.safetensors");
    let runs = [("sde-ve", 50.0f64, 1, 0.15), ("sde-ve-2", 20.0, 2, 0.1)];
    for (name, sigma_max, correct, snr) in runs {
        let sigmas = golden.get(&format!("{name}/sigmas")).1;
        let seen = golden.get(&format!("{name}/timesteps")).1;
        let seen = seen.iter().map(|t| 0.01 * (sigma_max / 0.01).powf(f64::from(*t)));
        let seen = seen.flat_map(|s| std::iter::repeat_n(s, correct + 1)).collect();
        let levels = sigmas.iter().rev().map(|s| Level::new(f64::from(*s), 1.0, f64::from(*s)));
        let levels: Vec<Level> = levels.chain([Level::DATA]).collect();
        let norms = Norms::Batch;
        let solver = Solver::PredictorCorrector { predictor: Predictor::default(), snr, correct, norms };
        let plan = Plan::new(&levels, solver, Variance::FixedSmall {}).unwrap();
        let noise = |step: i32, draw: usize| golden_noise(step, draw);
        let given = (0..sigmas.len() as i32).flat_map(|i| (0..=correct).map(move |draw| noise(i, draw)));
        let source = NoiseSource::given(given.collect());
        let denoiser = Pulled(std::cell::RefCell::new(seen));
        let start = golden_noise(-1, 0) * sigma_max;
        let sampler = difusi_process::Sampler::new(&denoiser, &plan, start, source, Cond::None);
        let steps: Vec<_> = sampler.map(|s| s.unwrap().x).skip(correct).step_by(correct + 1).collect();
        let expected = golden.get(&format!("{name}/x"));
        let each = expected.1.len() / sigmas.len();
        for (found, expected) in steps.into_iter().zip(expected.1.chunks(each)) {
            // What f32 loses at the largest noise stays in x, which is that much smaller later.
            let largest = expected.iter().fold(0.0, |a: f64, b| a.max(f64::from(b.abs())));
            let tolerance = 1e-5 * largest.max(0.1 * sigma_max);
            for (found, expected) in values64(found.permute([0, 3, 1, 2])).iter().zip(expected) {
                check_close(*found, f64::from(*expected), tolerance);
            }
        }
    }
}
