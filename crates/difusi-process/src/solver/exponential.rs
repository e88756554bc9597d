//! Exponential integrators in lambda = ln(alpha / sigma): what DPM-Solver, DPM-Solver++, DEIS and UniPC share.
//!
//! Exactly, with `h = lambda' - lambda` over an interval,
//! `x' = sigma' / sigma x + alpha' int_0^h e^{d - h} x_0 dd` (DPM-Solver++, arXiv:2211.01095, eq. 8) and
//! `x' = alpha' / alpha x - sigma' int_0^h e^{h - d} eps dd` (DPM-Solver, arXiv:2206.00927, eq. 3.4), d being how far lambda went; the
//! reverse SDE has `e^{2 (d - h)}` and twice as much of it, and noise. A polynomial in d through estimates turns each integral into
//! `z phi_k(z)` (see [`super::polynomial`]) with z = -h, h, -2 h or h.

use burn::tensor::Tensor;

use super::{
    DpmAlgorithm, DpmKind, Estimate, Noises,
    polynomial::{factorial, weights, z_phi},
    sum::Sum,
};
use crate::{Level, ProcessError};

/// From one level to a cleaner one.
#[derive(Clone, Copy)]
pub(super) struct Leap {
    algorithm: DpmAlgorithm,
    from: Level,
    to: Level,
}

impl Leap {
    /// What estimates eps falls back to x_0, of which nothing is infinite, where it starts at pure noise or ends at the data.
    pub(super) fn new(algorithm: DpmAlgorithm, from: Level, to: Level) -> Self {
        let finite = from.alpha > 0.0 && !to.is_data();
        let algorithm = match algorithm {
            DpmAlgorithm::DpmSolver if !finite => DpmAlgorithm::DpmSolverPp,
            DpmAlgorithm::SdeDpmSolver if !finite => DpmAlgorithm::SdeDpmSolverPp,
            other => other,
        };
        Self { algorithm, from, to }
    }

    /// `lambda' - lambda`; infinite onto the data and from pure noise.
    pub(super) fn h(&self) -> f64 {
        self.to.lambda() - self.from.lambda()
    }

    /// `e^{-h}`, without logarithms.
    fn fall(&self) -> f64 {
        self.to.sigma * self.from.alpha / (self.to.alpha * self.from.sigma)
    }

    /// Argument of the phi functions.
    pub(super) fn z(&self) -> f64 {
        match self.algorithm {
            DpmAlgorithm::DpmSolverPp => -self.h(),
            DpmAlgorithm::DpmSolver | DpmAlgorithm::SdeDpmSolver => self.h(),
            DpmAlgorithm::SdeDpmSolverPp => -2.0 * self.h(),
        }
    }

    /// Whether the estimates are of x_0; of eps otherwise.
    fn of_x0(&self) -> bool {
        matches!(self.algorithm, DpmAlgorithm::DpmSolverPp | DpmAlgorithm::SdeDpmSolverPp)
    }

    /// Factor of the integral.
    fn scale(&self) -> f64 {
        match self.algorithm {
            DpmAlgorithm::DpmSolverPp | DpmAlgorithm::SdeDpmSolverPp => -self.to.alpha,
            DpmAlgorithm::DpmSolver => -self.to.sigma,
            DpmAlgorithm::SdeDpmSolver => -2.0 * self.to.sigma,
        }
    }

    /// Factor of x.
    pub(super) fn kept(&self) -> f64 {
        match self.algorithm {
            DpmAlgorithm::DpmSolverPp => self.to.sigma / self.from.sigma,
            DpmAlgorithm::SdeDpmSolverPp => self.to.sigma / self.from.sigma * self.fall(),
            DpmAlgorithm::DpmSolver | DpmAlgorithm::SdeDpmSolver => self.to.alpha / self.from.alpha,
        }
    }

    /// What powers of d integrate to, over the constant: `moments[j - 1] = j! z phi_{j+1}(z) h^j`.
    pub(super) fn moments(&self, count: usize) -> Vec<f64> {
        (1..=count).map(|j| factorial(j) * z_phi(j + 1, self.z()) * self.h().powi(j as i32)).collect()
    }

    /// The first of them as a second-order step of this kind has it.
    pub(super) fn slope(&self, kind: DpmKind) -> f64 {
        match kind {
            DpmKind::Midpoint => 0.5 * z_phi(1, self.z()) * self.h(),
            DpmKind::Heun => z_phi(2, self.z()) * self.h(),
        }
    }

    /// Whether it is the SDE of x_0.
    pub(super) fn is_noisy_x0(&self) -> bool {
        self.algorithm == DpmAlgorithm::SdeDpmSolverPp
    }

    /// The step with a constant estimate: DDIM where nothing is noisy.
    pub(super) fn first<'a>(&self, said: &'a Estimate) -> Sum<'a> {
        let (alpha, sigma) = (self.to.alpha, self.to.sigma);
        match self.algorithm {
            DpmAlgorithm::DpmSolver | DpmAlgorithm::DpmSolverPp => Sum::default().step((alpha, sigma), said),
            DpmAlgorithm::SdeDpmSolverPp => {
                let fall = self.fall();
                Sum::default().with(self.kept(), &said.x).with(alpha * (1.0 - fall * fall), &said.x0)
            }
            DpmAlgorithm::SdeDpmSolver => Sum::default().step((alpha, 2.0 * sigma - sigma / self.fall()), said),
        }
    }

    /// `factor` times the integral of the polynomial through `m_0 - m_0 = 0` and the other estimates' `m_k - m_0`.
    pub(super) fn bend<'a>(
        &self,
        sum: Sum<'a>,
        (factor, newest): (f64, &'a Estimate),
        others: &[&'a Estimate],
        moments: &[f64],
    ) -> Sum<'a> {
        let nodes: Vec<f64> = others.iter().map(|said| said.at.lambda() - newest.at.lambda()).collect();
        weights(&nodes, moments).into_iter().zip(others).fold(sum, |sum, (weight, other)| {
            let by = factor * self.scale() * weight;
            match self.of_x0() {
                true => sum.with(by, &other.x0).with(-by, &newest.x0),
                false => sum.eps(by, other).eps(-by, newest),
            }
        })
    }

    /// `x` with this step's noise: `sigma' sqrt(1 - e^{-2 h})` of it for x_0, `sigma' sqrt(e^{2 h} - 1)` for eps.
    pub(super) fn noised(&self, x: Tensor<4>, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
        let fall = self.fall();
        let deviation = match self.algorithm {
            DpmAlgorithm::SdeDpmSolverPp => self.to.sigma * (1.0 - fall * fall).max(0.0).sqrt(),
            DpmAlgorithm::SdeDpmSolver => self.to.sigma * (1.0 / (fall * fall) - 1.0).max(0.0).sqrt(),
            DpmAlgorithm::DpmSolver | DpmAlgorithm::DpmSolverPp => return Ok(x),
        };
        match deviation {
            0.0 => Ok(x),
            deviation => Ok(noises.normal(&x)? * deviation + x),
        }
    }
}
