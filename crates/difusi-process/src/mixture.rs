//! Data whose score is known exactly: mixtures of Gaussians, and the perfect denoiser for them.
//!
//! With x_0 from a mixture of `N(m_k, S_k)` and `x_t = alpha x_0 + sigma eps`, x_t is the mixture of
//! `N(alpha m_k, alpha^2 S_k + sigma^2 I)`, and x_0 given x_t is a mixture again (Bishop, Pattern Recognition and Machine Learning,
//! section 2.3.3). Solvers, bounds and pictures are held against it. All of it is tensor arithmetic, so that gradients flow
//! through; in f64 tensors it is exact to rounding. Deliberately absent: fitting one to data.

use std::f64::consts::PI;

use burn::tensor::{Tensor, TensorData, activation::softmax};
use difusi_core::{Cond, Draw, Noise};

use crate::{
    Denoise, Denoised, Level, ProcessError,
    error::{Checks, all_good},
};

/// One Gaussian of a [`Mixture`].
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its share, above 0; shares are scaled to sum to 1.
    pub weight: f64,
    /// Its mean; as many numbers as an image of the data has.
    pub mean: Vec<f64>,
    /// Standard deviations along its axes, each above 0.
    pub deviations: Vec<f64>,
    /// Radians by which the first two axes are turned, from the first coordinate towards the second.
    pub angle: f64,
}

/// Data that is a mixture of Gaussians. An image is one sample: its `H W C` numbers are the coordinates, 2 for a picture `[1, 1, 2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    components: Vec<Component>,
}

impl Mixture {
    /// # Errors
    /// No components, none of the coordinates, components of different lengths, weights or deviations that are not above 0.
    pub fn new(mut components: Vec<Component>) -> Result<Self, ProcessError> {
        let mut checks = Checks::default();
        let dims = components.first().map_or(0, |c| c.mean.len());
        checks.require(dims > 0, "components", components.len(), "at least one, with at least one coordinate");
        for (k, c) in components.iter().enumerate() {
            let key = |name: &str| format!("components[{k}].{name}");
            let positive = |v: f64| v > 0.0 && v.is_finite();
            checks.require(positive(c.weight), &key("weight"), c.weight, "a number above 0");
            let same = c.mean.len() == dims && c.mean.iter().all(|v| v.is_finite());
            checks.require(same, &key("mean"), &c.mean, format!("{dims} finite numbers, as the first"));
            let good = c.deviations.len() == dims && c.deviations.iter().all(|v| positive(*v));
            checks.require(good, &key("deviations"), &c.deviations, format!("{dims} numbers above 0"));
            let angle = c.angle.is_finite() && (dims > 1 || c.angle == 0.0);
            checks.require(angle, &key("angle"), c.angle, "a finite number; 0 with a single coordinate");
        }
        all_good(checks.0)?;
        let total: f64 = components.iter().map(|c| c.weight).sum();
        components.iter_mut().for_each(|c| c.weight /= total);
        Ok(Self { components })
    }

    /// Three Gaussians in the plane, round and stretched: what the tests and the pictures use.
    pub fn planar() -> Self {
        let part = |weight, mean: [f64; 2], deviations: [f64; 2], angle| Component {
            weight,
            mean: mean.to_vec(),
            deviations: deviations.to_vec(),
            angle,
        };
        let components = vec![
            part(0.5, [-0.8, -0.4], [0.4, 0.15], 0.6),
            part(0.3, [0.9, 0.5], [0.25, 0.25], 0.0),
            part(0.2, [0.5, -1.0], [0.3, 0.2], -0.9),
        ];
        Self { components }
    }

    /// The Gaussians; their weights sum to 1.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Coordinates of a sample.
    pub fn dims(&self) -> usize {
        self.components[0].mean.len()
    }

    /// `count` samples of x at `level`, numbered from `first`: `count * dims` numbers, sample after sample.
    pub fn draw(&self, level: Level, noise: Noise, (first, count): (u64, usize)) -> Vec<f64> {
        (first..first + count as u64).flat_map(|i| self.draw_one(level, noise, i)).collect()
    }

    fn draw_one(&self, level: Level, noise: Noise, number: u64) -> Vec<f64> {
        let mut stream = noise.stream(Draw::Target, number, 0);
        let mut left = stream.uniform();
        let chosen = self.components.iter().find(|c| {
            left -= c.weight;
            left < 0.0
        });
        let c = chosen.unwrap_or(&self.components[self.components.len() - 1]);
        let mut along: Vec<f64> = c.deviations.iter().map(|s| s * f64::from(stream.normal())).collect();
        if let [x, y, ..] = &mut along[..] {
            let (sin, cos) = c.angle.sin_cos();
            (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
        }
        let noised = |(x, m): (f64, f64)| level.alpha * (x + m) + level.sigma * f64::from(stream.normal());
        along.into_iter().zip(c.mean.iter().copied()).map(noised).collect()
    }

    /// Mean of the data, coordinate by coordinate.
    pub fn mean(&self) -> Vec<f64> {
        let at = |i| self.components.iter().map(|c| c.weight * c.mean[i]).sum();
        (0..self.dims()).map(at).collect()
    }

    /// Covariance of the data, row by row.
    pub fn covariance(&self) -> Vec<Vec<f64>> {
        let (dims, mean) = (self.dims(), self.mean());
        let own = |c: &Component, i: usize, j: usize| -> f64 {
            let axes = axes(c);
            (0..dims).map(|k| axes[i * dims + k] * axes[j * dims + k] * c.deviations[k].powi(2)).sum()
        };
        let between = |c: &Component, i: usize, j: usize| (c.mean[i] - mean[i]) * (c.mean[j] - mean[j]);
        let at = |i, j| self.components.iter().map(|c| c.weight * (own(c, i, j) + between(c, i, j))).sum();
        (0..dims).map(|i| (0..dims).map(|j| at(i, j)).collect()).collect()
    }

    /// Natural logarithm of the density of `x` `[B, H, W, C]` at `level`, `[B]`.
    ///
    /// # Errors
    /// Images with another number of coordinates.
    pub fn log_density(&self, x: &Tensor<4>, level: Level) -> Result<Tensor<1>, ProcessError> {
        let (logs, _) = self.at(x, level)?;
        let top = logs.clone().detach().max_dim(1);
        let sum = (logs - top.clone()).exp().sum_dim(1).log() + top;
        Ok(sum.reshape([x.dims()[0]]))
    }

    /// Gradient of the log-density of `x` `[B, H, W, C]` at `level`, in the same shape.
    ///
    /// # Errors
    /// Images with another number of coordinates.
    pub fn score(&self, x: &Tensor<4>, level: Level) -> Result<Tensor<4>, ProcessError> {
        Ok(self.average(x, level, |_, variance| (-1.0 / variance, 0.0))?.reshape(x.dims()))
    }

    /// Which component each of `x` `[B, H, W, C]` at `level` came from: probabilities `[B, K]`.
    ///
    /// # Errors
    /// Images with another number of coordinates.
    pub fn shares(&self, x: &Tensor<4>, level: Level) -> Result<Tensor<2>, ProcessError> {
        Ok(softmax(self.at(x, level)?.0, 1))
    }

    /// Sum over the components of share times `(a y along its axes) + b m_k`, where `(a, b)` follow from an axis' deviation and its
    /// variance at `level`; `[B, D]`.
    fn average(
        &self,
        x: &Tensor<4>,
        level: Level,
        factors: impl Fn(f64, f64) -> (f64, f64),
    ) -> Result<Tensor<2>, ProcessError> {
        let (logs, along) = self.at(x, level)?;
        let shares = softmax(logs, 1);
        let mut sum = None;
        for (k, (c, y)) in self.components.iter().zip(along).enumerate() {
            let dims = self.dims();
            let (a, b): (Vec<f64>, Vec<f64>) = c.deviations.iter().map(|s| factors(*s, variance(*s, level))).unzip();
            let turned = (y * like(&a, [1, dims], x)).matmul(like(&axes(c), [dims, dims], x).transpose());
            let offset: Vec<f64> = c.mean.iter().zip(b).map(|(m, b)| m * b).collect();
            let part = (turned + like(&offset, [1, dims], x)) * shares.clone().narrow(1, k, 1);
            sum = Some(sum.map_or(part.clone(), |sum: Tensor<2>| sum + part));
        }
        sum.ok_or_else(|| shape_error(x, self.dims()))
    }

    /// Logarithms of weight times density of each component, `[B, K]`, and `x - alpha m_k` along its axes, each `[B, D]`.
    fn at(&self, x: &Tensor<4>, level: Level) -> Result<(Tensor<2>, Vec<Tensor<2>>), ProcessError> {
        let ([b, h, w, c], dims) = (x.dims(), self.dims());
        if h * w * c != dims {
            return Err(shape_error(x, dims));
        }
        let flat = x.clone().reshape([b, dims]);
        let of = |c: &Component| {
            let mean: Vec<f64> = c.mean.iter().map(|m| level.alpha * m).collect();
            let variances: Vec<f64> = c.deviations.iter().map(|s| variance(*s, level)).collect();
            let y = (flat.clone() - like(&mean, [1, dims], x)).matmul(like(&axes(c), [dims, dims], x));
            let inverse: Vec<f64> = variances.iter().map(|v| -0.5 / v).collect();
            let constant = c.weight.ln() - 0.5 * variances.iter().map(|v| (2.0 * PI * v).ln()).sum::<f64>();
            let log = (y.clone() * y.clone() * like(&inverse, [1, dims], x)).sum_dim(1) + constant;
            (log, y)
        };
        let (logs, along): (Vec<_>, Vec<_>) = self.components.iter().map(of).unzip();
        Ok((Tensor::cat(logs, 1), along))
    }
}

impl Denoise for Mixture {
    /// `E[x_0 | x_t]` and the eps that belongs to it.
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        let gain = |s: f64, variance: f64| (level.alpha * s * s / variance, 1.0);
        let x0 = self.average(&x_t, level, gain)?.reshape(x_t.dims());
        let eps = self.score(&x_t, level)? * -level.sigma;
        Ok(Denoised::new(x0, eps))
    }
}

/// Of x at `level` along an axis of deviation `s`.
fn variance(s: f64, level: Level) -> f64 {
    (level.alpha * s).powi(2) + level.sigma.powi(2)
}

/// The axes of a component as the columns of a matrix, row by row.
fn axes(c: &Component) -> Vec<f64> {
    let dims = c.mean.len();
    let mut axes: Vec<f64> = (0..dims * dims).map(|i| if i % (dims + 1) == 0 { 1.0 } else { 0.0 }).collect();
    if dims > 1 {
        let (sin, cos) = c.angle.sin_cos();
        (axes[0], axes[1], axes[dims], axes[dims + 1]) = (cos, -sin, sin, cos);
    }
    axes
}

/// In the number format and on the device of `x`.
fn like(values: &[f64], shape: [usize; 2], x: &Tensor<4>) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&x.device(), x.dtype()))
}

fn shape_error(x: &Tensor<4>, dims: usize) -> ProcessError {
    let expected = format!("images of {dims} numbers, the mixture's coordinates");
    ProcessError::Shape { what: "a sample of the mixture", found: x.dims().to_vec(), expected }
}
