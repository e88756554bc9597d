//! The forward process q, which turns data into noise, and its posterior: DDPM (arXiv:2006.11239) eq. 2, 4, 6, 7.

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Draw, Noise};

use crate::{Level, ProcessError, Tables};

/// x_t in closed form, eq. 4: `alpha x_0 + sigma eps`.
///
/// `x0` and standard normal `eps` are `[B, H, W, C]`; one level per image.
///
/// # Errors
/// Another number of levels than images, or shapes that differ.
pub fn q_sample(levels: &[Level], x0: Tensor<4>, eps: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
    require_levels(levels, &x0, &eps)?;
    let (signal, noise) = levels.iter().map(|l| (l.alpha, l.sigma)).unzip();
    Ok(combine((signal, x0), (noise, eps)))
}

/// One step of the chain, eq. 2: `x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps`.
///
/// `x_prev` is x_{t-1} (the data where the 0-based `t` is 0); it and standard normal `eps` are `[B, H, W, C]`.
///
/// # Errors
/// Steps outside the schedule, or shapes that differ.
pub fn q_step(tables: &Tables, x_prev: Tensor<4>, t: &[usize], eps: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
    check_pair(tables, &x_prev, t, &eps)?;
    let signal = t.iter().map(|&t| tables.alphas[t].sqrt()).collect();
    let noise = t.iter().map(|&t| tables.betas[t].sqrt()).collect();
    Ok(combine((signal, x_prev), (noise, eps)))
}

/// A Gaussian with one variance per image: its covariance is `variance[b] I`.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[B, H, W, C]`.
    pub mean: Tensor<4>,
    /// beta-tilde, one per image; 0 at the first step.
    pub variance: Vec<f64>,
    /// Its logarithm, the variance clamped to 1e-20 from below.
    pub log_variance: Vec<f64>,
}

/// q(x_{t-1} | x_t, x_0), eq. 6 and 7. `x0`, `x_t` `[B, H, W, C]`; one 0-based step per image.
///
/// # Errors
/// Steps outside the schedule, or shapes that differ.
pub fn q_posterior(tables: &Tables, x0: Tensor<4>, x_t: Tensor<4>, t: &[usize]) -> Result<Posterior, ProcessError> {
    check_pair(tables, &x0, t, &x_t)?;
    let column = |values: &[f64]| t.iter().map(|&t| values[t]).collect::<Vec<_>>();
    Ok(Posterior {
        mean: combine((column(&tables.posterior_mean_x0), x0), (column(&tables.posterior_mean_xt), x_t)),
        variance: column(&tables.posterior_variance),
        log_variance: column(&tables.posterior_log_variance),
    })
}

/// The chain x_1, x_2, .. x_T of one batch, step by step: an iterator over `[B, H, W, C]`.
///
/// Its noise is [`Draw::Forward`] of image `first_index + b` at the 0-based step, so nothing depends on the batch.
pub struct ForwardWalk<'a> {
    tables: &'a Tables,
    x: Tensor<4>,
    noise: Noise,
    first_index: u64,
    t: usize,
}

impl<'a> ForwardWalk<'a> {
    /// A walk that starts at the data `x0` `[B, H, W, C]`.
    pub fn new(tables: &'a Tables, x0: Tensor<4>, noise: Noise, first_index: u64) -> Self {
        Self { tables, x: x0, noise, first_index, t: 0 }
    }
}

impl Iterator for ForwardWalk<'_> {
    type Item = Tensor<4>;

    fn next(&mut self) -> Option<Tensor<4>> {
        let t = (self.t < self.tables.timesteps()).then_some(self.t)?;
        let batch = self.x.dims()[0];
        let eps = normal_like(&self.x, self.noise, (Draw::Forward, t as u32), self.first_index);
        self.x = q_step(self.tables, self.x.clone(), &vec![t; batch], eps).ok()?;
        self.t += 1;
        Some(self.x.clone())
    }
}

/// Standard normals in the shape and on the device of `x` `[B, H, W, C]`: image b is number `first_index + b` of the draw.
pub(crate) fn normal_like(x: &Tensor<4>, noise: Noise, draw: (Draw, u32), first_index: u64) -> Tensor<4> {
    let shape @ [b, h, w, c] = x.dims();
    let values = noise.normal(draw.0, first_index..first_index + b as u64, draw.1, h * w * c);
    Tensor::from_data(TensorData::new(values, shape), &x.device())
}

/// `a x + b y` with one factor per image. Factors 0 and 1 cost nothing and are exact.
pub(crate) fn combine((a, x): (Vec<f64>, Tensor<4>), (b, y): (Vec<f64>, Tensor<4>)) -> Tensor<4> {
    match (a.iter().all(|a| *a == 0.0), b.iter().all(|b| *b == 0.0)) {
        (true, _) => scale(y, &b),
        (_, true) => scale(x, &a),
        _ => scale(x, &a) + scale(y, &b),
    }
}

/// Image b times `factors[b]`.
fn scale(x: Tensor<4>, factors: &[f64]) -> Tensor<4> {
    match factors {
        all if all.iter().all(|f| *f == 1.0) => x,
        [first, rest @ ..] if rest.iter().all(|f| f == first) => x.mul_scalar(*first),
        _ => {
            let factors = per_image(factors, &x); // [B, 1, 1, 1]
            x * factors
        }
    }
}

/// One number per image, `[B, 1, 1, 1]`, in the number format and on the device of `like`.
pub(crate) fn per_image(values: &[f64], like: &Tensor<4>) -> Tensor<4> {
    let data = TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]);
    Tensor::from_data(data, (&like.device(), like.dtype()))
}

/// Shapes agree and there is one level per image.
pub(crate) fn require_levels(levels: &[Level], x: &Tensor<4>, y: &Tensor<4>) -> Result<(), ProcessError> {
    require_same(x, "the second tensor", y)?;
    let batch = x.dims()[0];
    if levels.len() == batch {
        return Ok(());
    }
    let expected = format!("one for each of {batch} images");
    Err(ProcessError::Shape { what: "the list of levels", found: vec![levels.len()], expected })
}

/// Shapes agree and there is one valid step per image.
pub(crate) fn check_pair(tables: &Tables, x: &Tensor<4>, t: &[usize], y: &Tensor<4>) -> Result<(), ProcessError> {
    require_same(x, "the second tensor", y)?;
    tables.require_steps(t, x.dims()[0])
}

/// `y` has the shape of `x`.
pub(crate) fn require_same(x: &Tensor<4>, what: &'static str, y: &Tensor<4>) -> Result<(), ProcessError> {
    if x.dims() == y.dims() {
        return Ok(());
    }
    Err(ProcessError::Shape { what, found: y.dims().to_vec(), expected: format!("{:?}", x.dims()) })
}
