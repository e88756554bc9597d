//! One term of the bound: the cost, in nats, of the jump from x_t to x_s. DDPM (arXiv:2006.11239) eq. 5: `L_vlb = L_T + sum of
//! L_{t-1} + L_0`, all three added, `L_0 = -ln p(x_0 | x_1)`.
//!
//! Both means of `KL(q(x_s | x_t, x_0) || p(x_s | x_t))` are `a x_0 + b x_t` with the same a and b (eq. 7), once of the true and once
//! of the estimated x_0, so x_t cancels and the term needs the estimate only: every prediction, thresholded or not, comes as one.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::{
    Decoder,
    normal::{variance_gap, variance_gap_tensor},
};
use crate::{
    Jump, Level, ProcessError,
    forward::{per_image, require_same},
};

/// ln of the variance of p(x_s | x_t).
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one per evaluation, never stored")]
pub enum LogVariance {
    /// One number per image.
    PerImage(Vec<f64>),
    /// One for every number, `[B, H, W, C]`: learned.
    PerNumber(Tensor<4>),
}

/// What the reverse model says about x_s.
#[derive(Clone, Debug)]
pub struct Reverse {
    /// Estimate of x_0, `[B, H, W, C]`. Detached, it gives the bound's gradient to the variance alone (L_hybrid).
    pub x0: Tensor<4>,
    /// ln of the variance.
    pub log_variance: LogVariance,
}

/// The term of every image, `[B]`, in nats (not per dimension): L_{t-1} as a divergence, or L_0 by `decoder` where the jump ends at
/// the data. `x0` `[B, H, W, C]`; one jump per image, in any mixture.
///
/// Gradients flow to the estimate and to a tensor of variances and are finite in the tails. The order of sums is fixed.
///
/// # Errors
/// Shapes that differ; another number of jumps or variances than images.
pub fn bound_terms(
    x0: Tensor<4>,
    reverse: Reverse,
    jumps: &[Jump],
    decoder: Decoder,
) -> Result<Tensor<1>, ProcessError> {
    require_same(&x0, "the estimate of x_0", &reverse.x0)?;
    let batch = x0.dims()[0];
    let count = match &reverse.log_variance {
        LogVariance::PerImage(values) => values.len(),
        LogVariance::PerNumber(values) => require_same(&x0, "the log-variance", values).map(|()| batch)?,
    };
    for (what, found) in [("the list of jumps", jumps.len()), ("the list of log-variances", count)] {
        if found != batch {
            let expected = format!("one for each of {batch} images");
            return Err(ProcessError::Shape { what, found: vec![found], expected });
        }
    }
    let (last, inner): (Vec<usize>, Vec<usize>) = (0..batch).partition(|&b| jumps[b].to.is_data());
    if last.is_empty() {
        return Ok(divergences(x0, reverse, jumps));
    }
    if inner.is_empty() {
        return Ok(decoded(x0, reverse, decoder));
    }
    let jumps: Vec<Jump> = inner.iter().map(|&b| jumps[b]).collect();
    let parts = Tensor::cat(
        vec![
            decoded(rows(&x0, &last), reverse.rows(&last), decoder),
            divergences(rows(&x0, &inner), reverse.rows(&inner), &jumps),
        ],
        0,
    );
    let mut place = vec![0; batch];
    last.iter().chain(&inner).enumerate().for_each(|(at, &b)| place[b] = at);
    let indices = index(&place, &parts);
    Ok(parts.select(0, indices))
}

/// L_T of every image, `[B]`, in nats: `KL(q(x_T | x_0) || N(0, prior_std^2))`. `x0` `[B, H, W, C]`.
pub fn prior_terms(x0: Tensor<4>, last: Level, prior_std: f64) -> Tensor<1> {
    let (numbers, variance) = (per_row(&x0) as f64, prior_std * prior_std);
    let gap = variance_gap(variance.ln() - 2.0 * last.sigma.ln());
    image_sums(x0.square()) * (0.5 * last.alpha.powi(2) / variance) + 0.5 * gap * numbers
}

impl Reverse {
    /// Of these images only.
    fn rows(&self, which: &[usize]) -> Self {
        let log_variance = match &self.log_variance {
            LogVariance::PerImage(values) => LogVariance::PerImage(which.iter().map(|&b| values[b]).collect()),
            LogVariance::PerNumber(values) => LogVariance::PerNumber(rows(values, which)),
        };
        Self { x0: rows(&self.x0, which), log_variance }
    }
}

/// L_{t-1}: of each number half of `ln(v_p / v_q) + v_q / v_p - 1 + a^2 (x_0 - estimate)^2 / v_p`.
fn divergences(x0: Tensor<4>, reverse: Reverse, jumps: &[Jump]) -> Tensor<1> {
    let numbers = per_row(&x0) as f64;
    let posterior: Vec<f64> = jumps.iter().map(|jump| jump.posterior_variance().ln()).collect();
    let log_factor: Vec<f64> = jumps.iter().map(|jump| 2.0 * jump.posterior_mean().0.ln()).collect();
    let squares = (x0 - reverse.x0).square();
    match reverse.log_variance {
        LogVariance::PerImage(ours) => {
            let (factors, gaps): (Vec<f64>, Vec<f64>) = (0..jumps.len())
                .map(|b| {
                    let gap = variance_gap(ours[b] - posterior[b]);
                    (0.5 * (log_factor[b] - ours[b]).exp(), 0.5 * numbers * gap)
                })
                .unzip();
            let sums = image_sums(squares);
            sums.clone() * per_image_1(&factors, &sums) + per_image_1(&gaps, &sums)
        }
        LogVariance::PerNumber(ours) => {
            let gap = variance_gap_tensor(ours.clone() - per_image(&posterior, &ours));
            let factor = (per_image(&log_factor, &ours) - ours).exp();
            image_sums(gap + squares * factor) * 0.5
        }
    }
}

/// L_0: the posterior mean onto the data is the estimate itself.
fn decoded(x0: Tensor<4>, reverse: Reverse, decoder: Decoder) -> Tensor<1> {
    let log_variance = match reverse.log_variance {
        LogVariance::PerImage(values) => per_image(&values, &x0).expand(x0.dims()),
        LogVariance::PerNumber(values) => values,
    };
    image_sums(decoder.log_prob_each(x0, reverse.x0, log_variance)).neg()
}

/// The sum of each image's numbers, `[B, H, W, C]` -> `[B]`, in a fixed order.
pub(crate) fn image_sums(x: Tensor<4>) -> Tensor<1> {
    let ([b, ..], numbers) = (x.dims(), per_row(&x));
    let rows = x.reshape([b, numbers]);
    match rows.dtype() {
        DType::F64 => rows.sum_dim(1).reshape([b]), // for tests; the kernel sums in f64 but returns f32
        _ => difusi_ops::row_sums(rows),
    }
}

/// H W C.
fn per_row(x: &Tensor<4>) -> usize {
    let [_, h, w, c] = x.dims();
    h * w * c
}

fn rows(x: &Tensor<4>, which: &[usize]) -> Tensor<4> {
    x.clone().select(0, index(which, x))
}

fn index<const D: usize>(which: &[usize], like: &Tensor<D>) -> Tensor<1, Int> {
    let values: Vec<i64> = which.iter().map(|&i| i as i64).collect();
    Tensor::from_data(TensorData::new(values, [which.len()]), &like.device())
}

/// `[B]` in the number format and on the device of `like`.
fn per_image_1(values: &[f64], like: &Tensor<1>) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), (&like.device(), like.dtype()))
}
