//! Between two pictures: mixing their noised versions (DDPM, arXiv:2006.11239, section 4.3) and turning one initial noise into
//! another (spherical interpolation, Shoemake 1985; used by DDIM, arXiv:2010.02502, section 5.3).

use burn::tensor::Tensor;

use crate::{Level, ProcessError, forward::combine, forward::require_same, q_sample};

/// `(1 - lambda) x_t + lambda x'_t`, where both pictures are noised to `level`; denoise from there with a plan that starts
/// at it. Everything is `[B, H, W, C]`; `x1`, `x2` are `[picture, noise]`.
///
/// DDPM gives both the same noise, which keeps its variance; denoising-diffusion-pytorch draws them apart, and then starts at
/// `t - 1`.
///
/// # Errors
/// Shapes that differ.
pub fn mix(
    level: Level,
    [x1, eps1]: [Tensor<4>; 2],
    [x2, eps2]: [Tensor<4>; 2],
    lambda: f64,
) -> Result<Tensor<4>, ProcessError> {
    require_same(&x1, "the second picture", &x2)?;
    let levels = vec![level; x1.dims()[0]];
    let a = q_sample(&levels, x1, eps1)?;
    let b = q_sample(&levels, x2, eps2)?;
    Ok(a * (1.0 - lambda) + b * lambda)
}

/// Below this angle (radians) the great circle is a straight line to f32.
const STRAIGHT: f64 = 1e-4;

/// Along the great circle from `a` (lambda = 0) to `b` (lambda = 1), for each image on its own: noise stays as long as noise is.
/// `[B, H, W, C]` twice -> the same shape. Opposite or zero vectors have no circle and are mixed linearly.
///
/// # Errors
/// Shapes that differ, or a device that cannot be read.
pub fn slerp(a: Tensor<4>, b: Tensor<4>, lambda: f64) -> Result<Tensor<4>, ProcessError> {
    require_same(&a, "the second noise", &b)?;
    let [_, h, w, c] = a.dims();
    let (va, vb) = (a.clone().try_into_vec_as::<f32>()?, b.clone().try_into_vec_as::<f32>()?);
    let rows = va.chunks(h * w * c).zip(vb.chunks(h * w * c));
    let (from, to) = rows.map(|(a, b)| circle_factors(a, b, lambda)).unzip();
    Ok(combine((from, a), (to, b)))
}

/// Factors of both ends.
fn circle_factors(a: &[f32], b: &[f32], lambda: f64) -> (f64, f64) {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    if !(STRAIGHT..=std::f64::consts::PI - STRAIGHT).contains(&angle) {
        return (1.0 - lambda, lambda); // also where a vector is zero and the angle is NaN
    }
    (((1.0 - lambda) * angle).sin() / angle.sin(), (lambda * angle).sin() / angle.sin())
}
