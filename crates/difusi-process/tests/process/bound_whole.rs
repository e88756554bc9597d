//! The whole bound against what is known exactly: normal data, uniform bytes; strata and batches.

use std::f64::consts::{LN_2, TAU};

use burn::tensor::{DType, Tensor};
use difusi_core::{Draw, Noise};
use difusi_process::bound::{Bound, BoundSums, Chain, Decoder, Estimate, ImageBound, Strata, normal_kl};
use difusi_process::{Denoised, Level, ProcessError, Schedule, Variance};

use crate::bound::{bytes, host, levels, tensor};
use crate::common::{check_close, wavy};

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
