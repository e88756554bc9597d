//! The bound against what is known exactly: sums of buckets, integrals, normal data, uniform bytes.

use std::f64::consts::{LN_2, TAU};

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{Draw, Noise};
use difusi_process::bound::{
    Bound, BoundSums, Chain, Decoder, Estimate, ImageBound, LogVariance, Reverse, Strata, bits_per_dim, bound_terms,
    normal_kl, prior_terms,
};
use difusi_process::{Denoised, Jump, Level, ProcessError, Schedule, Variance, q_posterior};

use crate::common::{check_close, linear, wavy};

/// The 256 levels.
fn bytes() -> impl Iterator<Item = f64> {
    (0..256).map(|v| f64::from(v) / 127.5 - 1.0)
}

fn tensor(values: Vec<f64>, shape: [usize; 4], dtype: DType) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), dtype))
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// All T levels of a schedule, noisiest first.
fn levels(schedule: Schedule, timesteps: usize) -> Vec<Level> {
    let tables = schedule.tables(timesteps).unwrap();
    (0..timesteps).rev().map(|t| tables.level(t).unwrap()).collect()
}

/// The 256 probabilities add up to 1 whatever the mean and width: the ends are open, nothing is counted twice.
#[test]
fn buckets_add_up_to_one() {
    for mean in [-1.0, -0.3, 0.0, 0.999, 1.4] {
        for deviation in [1e-3f64, 0.01, 0.3, 2.0, 100.0] {
            let log_variance = 2.0 * deviation.ln();
            let sum: f64 = bytes().map(|x| Decoder::Discretised.log_prob(x, mean, log_variance).exp()).sum();
            check_close(sum, 1.0, 1e-11);
        }
    }
}

/// So no decoder, whatever it predicts, spends less than 8 bits on uniform bytes on average.
#[test]
fn uniform_bytes_cost_eight_bits_at_least() {
    for (mean, deviation) in [(0.0, 0.58f64), (0.0, 1.0), (0.5, 0.2)] {
        let nats = bytes().map(|x| -Decoder::Discretised.log_prob(x, mean, 2.0 * deviation.ln())).sum::<f64>() / 256.0;
        assert!(bits_per_dim(nats, 1) > 8.0);
    }
    check_close(bits_per_dim(256f64.ln(), 1), 8.0, 1e-14);
}

/// Buckets of known shape: by numerical integration of the density from edge to edge, the inner ones from x - 1/255.
#[test]
fn buckets_are_integrals() {
    let (mean, deviation): (f64, f64) = (0.1, 0.05);
    let density = |x: f64| (-0.5 * ((x - mean) / deviation).powi(2)).exp() / (deviation * TAU.sqrt());
    for byte in [0, 100, 140, 150, 255] {
        let x = f64::from(byte) / 127.5 - 1.0;
        let low = if byte == 0 { x - 2.0 } else { x - 1.0 / 255.0 };
        let high = if byte == 255 { x + 2.0 } else { x + 1.0 / 255.0 };
        let found = Decoder::Discretised.log_prob(x, mean, 2.0 * deviation.ln()).exp();
        check_close(found, simpson(low, high, density), 1e-9);
    }
}

fn simpson(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let n = 4000;
    let h = (high - low) / f64::from(n);
    let weight = |i| if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
    (0..=n).map(|i| weight(i) * f(low + f64::from(i) * h)).sum::<f64>() * h / 3.0
}

/// KL(q || q) = 0; never negative; the closed form is the integral of q ln(q / p).
#[test]
fn divergences() {
    let log_density = |x: f64, mean: f64, v: f64| -0.5 * ((x - mean).powi(2) / v + (TAU * v).ln());
    for (difference, v, w) in [(0.0, 1.0, 1.0), (0.3, 0.2, 0.5), (-2.0, 1.5, 0.4), (0.01, 1e-4, 1.1e-4)] {
        let (v, w): (f64, f64) = (v, w);
        let closed = normal_kl(difference, v.ln(), w.ln());
        let reach = 12.0 * v.sqrt();
        let integral = simpson(-reach, reach, |x| {
            let q = log_density(x, 0.0, v);
            q.exp() * (q - log_density(x, difference, w))
        });
        check_close(closed, integral, 1e-8);
        assert!(closed >= 0.0);
    }
    for v in [1e-20f64, 1.0, 7.0] {
        assert_eq!(normal_kl(0.0, v.ln(), v.ln()), 0.0);
    }
}

/// Every image at its own jump, L_0 among them: what the formulas say number by number, the means taken from q_posterior.
#[test]
fn terms_are_sums_of_numbers() {
    let (tables, shape) = (linear(50), [4, 2, 3, 1]);
    let t = [0, 49, 1, 20];
    let jumps: Vec<Jump> = t
        .iter()
        .map(|&t| Jump {
            from: tables.level(t).unwrap(),
            to: t.checked_sub(1).map_or(Level::DATA, |s| tables.level(s).unwrap()),
        })
        .collect();
    let bytes: Vec<f64> = (0..24).map(|i| f64::from((i * 37) % 256) / 127.5 - 1.0).collect();
    for dtype in [DType::F32, DType::F64] {
        let x0 = tensor(bytes.clone(), shape, dtype);
        let estimate = x0.clone() + wavy(shape, 0.3).cast(dtype) * 0.02;
        let log_variance = wavy(shape, 1.0).cast(dtype) * 0.5 - 6.0;
        let x_t = wavy(shape, 2.0).cast(dtype);
        let truth = q_posterior(&tables, x0.clone(), x_t.clone(), &t).unwrap();
        let ours = q_posterior(&tables, estimate.clone(), x_t, &t).unwrap();
        let (means, our_means, ours_lv) = (host(truth.mean), host(ours.mean), host(log_variance.clone()));
        let reverse = Reverse { x0: estimate.clone(), log_variance: LogVariance::PerNumber(log_variance) };
        let found = host(bound_terms(x0.clone(), reverse, &jumps, Decoder::Discretised).unwrap());
        let fixed: Vec<f64> = vec![-5.0, -4.0, -6.0, -5.5];
        let reverse = Reverse { x0: estimate.clone(), log_variance: LogVariance::PerImage(fixed.clone()) };
        let found_fixed = host(bound_terms(x0, reverse, &jumps, Decoder::Discretised).unwrap());
        let estimate = host(estimate);
        for b in 0..4 {
            let cost = |i: usize, ours: f64| match t[b] {
                0 => -Decoder::Discretised.log_prob(bytes[i], estimate[i], ours),
                _ => normal_kl(our_means[i] - means[i], truth.log_variance[b], ours),
            };
            let tolerance = if dtype == DType::F64 { 1e-9 } else { 1e-4 };
            let expected: f64 = (6 * b..6 * b + 6).map(|i| cost(i, ours_lv[i])).sum();
            check_close(found[b], expected, tolerance * (1.0 + expected));
            let expected: f64 = (6 * b..6 * b + 6).map(|i| cost(i, fixed[b])).sum();
            check_close(found_fixed[b], expected, tolerance * (1.0 + expected));
        }
    }
}

#[test]
fn wrong_shapes_are_named() {
    let (x0, level) = (wavy([2, 1, 1, 1], 0.0), Level::new(3.0, 0.8, 0.6));
    let jump = Jump { from: level, to: Level::DATA };
    let reverse = |count| Reverse { x0: x0.clone(), log_variance: LogVariance::PerImage(vec![0.0; count]) };
    let says = |result: Result<Tensor<1>, ProcessError>, part: &str| {
        let e = result.err().unwrap().to_string();
        assert!(e.contains(part), "{e}");
    };
    says(bound_terms(x0.clone(), reverse(2), &[jump], Decoder::Discretised), "list of jumps");
    says(bound_terms(x0.clone(), reverse(1), &[jump; 2], Decoder::Discretised), "log-variances");
    let other = Reverse { x0: wavy([2, 1, 1, 2], 0.0), ..reverse(2) };
    says(bound_terms(x0.clone(), other, &[jump; 2], Decoder::Discretised), "estimate of x_0");
    assert!(Chain::new(&[], Variance::default()).is_err());
    let e = Chain::new(&[level, level], Variance::default()).unwrap_err().to_string();
    assert!(e.contains("noise that falls"), "{e}");
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 10), Variance::LearnedRange {}).unwrap();
    assert!(chain.log_variance(&[0, 1], None).unwrap_err().to_string().contains("learned"));
    assert!(Strata::spread(&chain, 1).unwrap_err().to_string().contains("times_per_image"));
}

/// Gradients of a batch with every kind of term are finite where predictions are as wrong as they can be, and point to x_0.
#[test]
fn gradients_are_finite_and_point_home() {
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 1000), Variance::LearnedRange {}).unwrap();
    let (positions, shape) = ([0, 1, 500, 999], [4, 2, 2, 1]);
    let jumps: Vec<Jump> = positions.iter().map(|&p| chain.jumps()[p]).collect();
    let x0 = tensor((0..16).map(|i| f64::from(i % 4 * 85) / 127.5 - 1.0).collect(), shape, DType::F32);
    let estimate = (x0.clone() + wavy(shape, 0.5) * 2.0).autodiff().require_grad();
    let fraction = (wavy(shape, 0.1) * 3.0).autodiff().require_grad();
    let log_variance = chain.log_variance(&positions, Some(fraction.clone())).unwrap();
    let reverse = Reverse { x0: estimate.clone(), log_variance };
    let terms = bound_terms(x0.clone().autodiff(), reverse, &jumps, Decoder::Discretised).unwrap();
    let gradients = terms.sum().backward();
    let by_estimate = host(estimate.grad(&gradients).unwrap());
    assert!(host(fraction.grad(&gradients).unwrap()).iter().all(|g| g.is_finite()));
    let error = host(wavy(shape, 0.5));
    for (gradient, error) in by_estimate.iter().zip(error) {
        assert!(gradient.is_finite() && gradient * error >= 0.0, "{gradient} at an error of {error}");
    }
}

/// A learned variance at its ends is the fixed one, and L_hybrid's stopped gradient reaches the variance only.
#[test]
fn learned_variance_ends_at_the_fixed_ones() {
    let steps = levels(Schedule::Cosine { s: 0.008 }, 100);
    let learned = Chain::new(&steps, Variance::LearnedRange {}).unwrap();
    let x0 = wavy([3, 2, 2, 1], 0.0);
    let positions = [1, 40, 99];
    let jumps: Vec<Jump> = positions.iter().map(|&p| learned.jumps()[p]).collect();
    for (fraction, fixed) in [(0.0, Variance::FixedSmall {}), (1.0, Variance::FixedLarge {})] {
        let fixed = Chain::new(&steps, fixed).unwrap();
        let terms = |log_variance| {
            let reverse = Reverse { x0: x0.clone() * 0.9, log_variance };
            host(bound_terms(x0.clone(), reverse, &jumps, Decoder::Discretised).unwrap())
        };
        let at_end = x0.zeros_like() + fraction;
        let found = terms(learned.log_variance(&positions, Some(at_end)).unwrap());
        let expected = terms(fixed.log_variance(&positions, None).unwrap());
        for (a, b) in found.iter().zip(&expected) {
            check_close(*a, *b, 1e-3 * b.abs() + 1e-5);
        }
    }
    let estimate = (x0.clone() * 0.9).autodiff().require_grad();
    let fraction = x0.zeros_like().autodiff().require_grad();
    let log_variance = learned.log_variance(&positions, Some(fraction.clone() + 0.5)).unwrap();
    let reverse = Reverse { x0: estimate.clone().detach(), log_variance };
    let gradients = bound_terms(x0.autodiff(), reverse, &jumps, Decoder::Discretised).unwrap().sum().backward();
    assert!(estimate.grad(&gradients).is_none() && fraction.grad(&gradients).is_some());
}

// ---- Normal data N(0, v): everything is known. ----

/// Mean squared error of the best denoiser.
fn mse(level: Level, v: f64) -> f64 {
    v * level.sigma.powi(2) / (level.alpha.powi(2) * v + level.sigma.powi(2))
}

/// The bound of the best denoiser, per number, in closed form.
fn closed_form(chain: &Chain, v: f64) -> f64 {
    let terms = chain.jumps().iter().enumerate().map(|(p, jump)| {
        let (error, ours) = (mse(jump.from, v), chain.range(p)[0]);
        match jump.to.is_data() {
            true => 0.5 * (TAU.ln() + ours + error / ours.exp()),
            false => normal_kl(jump.posterior_mean().0 * error.sqrt(), jump.posterior_variance().ln(), ours),
        }
    });
    let last = chain.start();
    terms.sum::<f64>() + normal_kl(last.alpha * v.sqrt(), 2.0 * last.sigma.ln(), 0.0)
}

fn entropy(v: f64) -> f64 {
    0.5 * (TAU * v).ln() + 0.5
}

/// With the reverse variances that normal data have, the reverse chain is exact, and the bound is the entropy plus only the
/// distance of x_T from the prior, at any number of steps.
#[test]
fn exact_reverse_chain_reaches_the_entropy() {
    for (timesteps, stride) in [(1000, 1), (1000, 97), (10, 1), (10, 9)] {
        for v in [1.0, 0.25, 3.0] {
            let steps: Vec<Level> =
                levels(Schedule::Cosine { s: 0.008 }, timesteps).into_iter().step_by(stride).collect();
            let chain = Chain::new(&steps, Variance::FixedSmall {}).unwrap();
            let exact = chain
                .jumps()
                .iter()
                .map(|jump| (jump.posterior_variance() + jump.posterior_mean().0.powi(2) * mse(jump.from, v)).ln());
            let exact: Vec<f64> = exact.collect();
            let chain = chain.with_log_variances(&exact).unwrap();
            let last = chain.start();
            let marginal = last.alpha.powi(2) * v + last.sigma.powi(2);
            let expected = entropy(v) + normal_kl(0.0, marginal.ln(), 0.0);
            check_close(closed_form(&chain, v), expected, 1e-10);
        }
    }
}

/// beta is that variance where v = 1, at every jump ("fixed large": right where the data is N(0, I)).
#[test]
fn beta_is_right_for_standard_normal_data() {
    let steps = levels(Schedule::Cosine { s: 0.008 }, 200);
    let chain = Chain::new(&steps, Variance::FixedLarge {}).unwrap();
    for (p, jump) in chain.jumps().iter().enumerate().skip(1) {
        let exact = jump.posterior_variance() + jump.posterior_mean().0.powi(2) * mse(jump.from, 1.0);
        check_close(chain.range(p)[0], exact.ln(), 1e-9);
    }
}

/// With beta-tilde the bound falls towards the entropy as 1 / T.
#[test]
fn more_steps_are_tighter() {
    let gap = |timesteps: i32| {
        // Even steps of log-SNR, so that T is the only difference.
        let level = |i: i32| {
            let ratio = (-7.0 + 14.0 * f64::from(i) / f64::from(timesteps - 1)).exp();
            Level::new(f64::from(i), 1.0 / (1.0 + ratio * ratio).sqrt(), ratio / (1.0 + ratio * ratio).sqrt())
        };
        let steps: Vec<Level> = (0..timesteps).rev().map(level).collect();
        let chain = Chain::new(&steps, Variance::FixedSmall {}).unwrap();
        let mut exact: Vec<f64> = (0..chain.len()).map(|p| chain.range(p)[0]).collect();
        exact[0] = mse(chain.jumps()[0].from, 0.25).ln(); // the decoder's variance is no matter of T
        closed_form(&chain.with_log_variances(&exact).unwrap(), 0.25) - entropy(0.25)
    };
    let gaps = [100, 200, 400, 800].map(gap);
    assert!(gaps.iter().all(|g| *g > 0.0), "{gaps:?}");
    for pair in gaps.windows(2) {
        assert!((2.0..2.15).contains(&(pair[0] / pair[1])), "{gaps:?}"); // measured 2.11, 2.05, 2.03
    }
    assert!(gaps[3] < 0.11, "{gaps:?}");
}

/// Data N(0, v), the best denoiser, `images` images of 16 numbers through the whole machinery.
fn evaluate(chain: &Chain, strata: &Strata, v: f64, images: u64) -> BoundSums {
    let noise = Noise::new(5);
    let data = noise.normal(Draw::Synthetic, 0..images, 0, 16).into_iter().map(|x| f64::from(x) * v.sqrt()).collect();
    let x0 = tensor(data, [images as usize, 4, 4, 1], DType::F32);
    let mut sums = BoundSums::new(strata, 16);
    bound(chain, strata).images(x0, 0, &best(v)).unwrap().iter().for_each(|image| sums.add(image));
    sums
}

fn bound(chain: &Chain, strata: &Strata) -> Bound {
    let (chain, strata) = (chain.clone(), strata.clone());
    Bound { chain, strata, decoder: Decoder::Continuous, prior_std: 1.0, noise: Noise::new(1), batch: 64 }
}

/// The best denoiser of data N(0, v).
fn best(v: f64) -> impl Fn(Tensor<4>, &[Level]) -> Result<Denoised, ProcessError> {
    move |x, levels| {
        let gain = levels.iter().map(|l| l.alpha * v / (l.alpha.powi(2) * v + l.sigma.powi(2))).collect();
        let gain = tensor(gain, [levels.len(), 1, 1, 1], x.dtype());
        Ok(Denoised::new(x.clone() * gain, x))
    }
}

fn within(found: Estimate, expected: f64, sigmas: f64) {
    let off = (found.mean - expected) / found.standard_error;
    assert!(off.abs() < sigmas, "{found:?} is {off} standard errors from {expected}");
}

/// The machinery finds the closed form, all terms and a stratified draw of them alike, within their error bars; fewer
/// evaluations leave wider ones.
#[test]
fn estimates_agree_with_the_closed_form() {
    let v = 0.25;
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 200), Variance::FixedSmall {}).unwrap();
    let expected = closed_form(&chain, v) / LN_2;
    let exact = evaluate(&chain, &Strata::exact(&chain), v, 30);
    within(exact.total(), expected, 4.0);
    let few = evaluate(&chain, &Strata::spread(&chain, 8).unwrap(), v, 600);
    within(few.total(), expected, 4.0);
    assert!(few.total().standard_error < 0.25, "{:?}", few.total()); // measured 0.19
    // The same through the parts.
    let report = few.report(&chain, &Strata::spread(&chain, 8).unwrap());
    let parts = report.prior.mean + report.middle.mean + report.decoder.mean;
    check_close(parts, report.total.mean, 1e-9);
    let rows: f64 = report.rows.iter().skip(1).map(|row| row.terms as f64 * row.bits.mean).sum();
    check_close(rows, report.middle.mean, 1e-9);
    assert_eq!((report.rows[0].first, report.rows[0].terms, report.rows.len()), (0.0, 1, 8));
    assert_eq!(report.rows[7].last, 199.0);
}

/// On a strided sub-sequence too.
#[test]
fn strided_chains_have_their_own_closed_form() {
    let steps: Vec<Level> = levels(Schedule::Cosine { s: 0.008 }, 100).into_iter().step_by(7).collect();
    let chain = Chain::new(&steps, Variance::FixedLarge {}).unwrap();
    within(evaluate(&chain, &Strata::exact(&chain), 0.25, 300).total(), closed_form(&chain, 0.25) / LN_2, 4.0);
}

/// Neither the batch nor the neighbours matter: image i is image i.
#[test]
fn batches_split() {
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 50), Variance::FixedSmall {}).unwrap();
    let strata = Strata::spread(&chain, 5).unwrap();
    let x0 = wavy([6, 3, 3, 1], 0.0);
    let whole = bound(&chain, &strata).images(x0.clone(), 10, &best(0.3)).unwrap();
    let odd = Bound { batch: 7, ..bound(&chain, &strata) };
    assert_eq!(odd.images(x0.clone(), 10, &best(0.3)).unwrap(), whole);
    let part = bound(&chain, &strata).images(x0.narrow(0, 4, 2), 14, &best(0.3)).unwrap();
    assert_eq!(part[..], whole[4..]);
}

/// Every position lies in one stratum; L_0 alone in the first; every time is drawn as often as any other of its stratum.
#[test]
fn strata_divide_the_chain() {
    for schedule in Schedule::examples() {
        let chain = Chain::new(&levels(schedule, 300), Variance::FixedSmall {}).unwrap();
        for count in [2, 3, 32, 299, 300, 1000] {
            let strata = Strata::spread(&chain, count).unwrap();
            assert_eq!(strata.len(), count.min(300));
            assert_eq!((strata.range(0), strata.range(strata.len() - 1).end), (0..1, 300));
            assert!(
                (1..strata.len())
                    .all(|k| strata.range(k).start == strata.range(k - 1).end && !strata.range(k).is_empty())
            );
        }
    }
    let chain = Chain::new(&levels(Schedule::Cosine { s: 0.008 }, 60), Variance::FixedSmall {}).unwrap();
    let strata = Strata::spread(&chain, 4).unwrap();
    let mut seen = [0.0; 60];
    let draws = 6000;
    (0..draws).for_each(|i| strata.draw(Noise::new(2), i).into_iter().for_each(|p| seen[p] += 1.0));
    for k in 0..4 {
        let share = draws as f64 / strata.weight(k);
        assert!(strata.range(k).all(|p| (seen[p] - share).abs() < 5.0 * share.sqrt() + 1e-9), "{k}: {seen:?}");
    }
}

/// L_T is the divergence from the prior, and 0 where nothing is left of the data.
#[test]
fn prior_is_a_divergence() {
    let x0 = wavy([2, 2, 2, 1], 0.4);
    let (last, all) = (Level::new(9.0, 0.3, 0.9), host(x0.clone()));
    let found = host(prior_terms(x0.clone(), last, 1.5));
    for b in 0..2 {
        let ln = |x: f64| 2.0 * x.ln();
        let expected: f64 = all[4 * b..4 * b + 4].iter().map(|x| normal_kl(0.3 * x, ln(0.9), ln(1.5))).sum();
        check_close(found[b], expected, 1e-5);
    }
    assert_eq!(host(prior_terms(x0, Level::new(9.0, 0.0, 1.0), 1.0)), [0.0, 0.0]);
}

/// Uniform 8-bit data cost 8 bits: with the exact posterior mean of a byte and fine steps, the bound is their entropy.
#[test]
fn uniform_bytes_cost_eight_bits() {
    let level = |i: u32| {
        let ratio = (-7.6 + 14.6 * f64::from(i) / 3999.0).exp(); // from a tenth of a bucket to nearly nothing of the data
        Level::new(f64::from(i), 1.0 / (1.0 + ratio * ratio).sqrt(), ratio / (1.0 + ratio * ratio).sqrt())
    };
    let steps: Vec<Level> = (0..4000).rev().map(level).collect();
    let chain = Chain::new(&steps, Variance::FixedSmall {}).unwrap();
    let strata = Strata::spread(&chain, 300).unwrap();
    let images = 8;
    let x0 = tensor((0..images).flat_map(|_| bytes()).collect(), [images, 16, 16, 1], DType::F32);
    let posterior_mean = |x: Tensor<4>, levels: &[Level]| {
        let dims = x.dims();
        let values = host(x.clone());
        let means = values.iter().enumerate().map(|(i, x)| mean_byte(*x, levels[i / 256])).collect();
        Ok(Denoised::new(tensor(means, dims, DType::F32), x))
    };
    let bound = Bound { decoder: Decoder::Discretised, batch: 512, ..bound(&chain, &strata) };
    let mut sums = BoundSums::new(&strata, 256);
    let all: Vec<ImageBound> = bound.images(x0, 0, &posterior_mean).unwrap();
    assert!(all.iter().all(|image| image.prior >= 0.0 && image.terms.iter().all(|term| *term >= 0.0)));
    all.iter().for_each(|image| sums.add(image));
    let found = sums.total();
    // 4000 steps of beta-tilde leave 0.03 bits (400 leave 0.3).
    assert!((found.mean - 8.03).abs() < 4.0 * found.standard_error && found.standard_error < 0.04, "{found:?}");
}

/// E(x_0 | x_t) of a uniform byte: only those within 40 standard deviations of the likeliest count.
fn mean_byte(x: f64, level: Level) -> f64 {
    let (centre, width) = (x / level.alpha, level.ratio());
    let place = |v: f64| ((v + 1.0) * 127.5).clamp(0.0, 255.0);
    let (low, high) = (place(centre - 9.0 * width).floor() as u32, place(centre + 9.0 * width).ceil() as u32);
    let nearest = place(centre).round() / 127.5 - 1.0;
    let energy = |v: f64| 0.5 * ((v - centre) / width).powi(2);
    let (sum, mass) = (low..=high).fold((0.0, 0.0), |(sum, mass), byte| {
        let v = f64::from(byte) / 127.5 - 1.0;
        let weight = (energy(nearest) - energy(v)).exp();
        (sum + weight * v, mass + weight)
    });
    sum / mass
}
