//! Choices within a solver. Names are those of diffusers' configs where it has them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::error::Checks;

/// Which eps DDIM goes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpsSource {
    /// That of the thresholded x_0, as denoising-diffusion-pytorch and GLIDE have it (diffusers' `use_clipped_model_output`).
    #[default]
    Thresholded,
    /// The network's own, whatever the threshold did to x_0: diffusers' default.
    Network,
}

/// What time the network is told on the way from data to noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InverseTime {
    /// That of the interval's noisier end, so that it is never asked about the data: diffusers'.
    #[default]
    Destination,
    /// That of x itself: DDIM (arXiv:2010.02502) eq. 14.
    Origin,
}

/// EDM's added noise (arXiv:2206.00364, algorithm 2): before an interval, sigma / alpha grows by the factor `1 + gamma`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Churn {
    /// `gamma = min(s_churn / N, sqrt(2) - 1)` with N intervals; at least 0. Default 0: none.
    pub s_churn: f64,
    /// Smallest sigma / alpha that is raised, at least 0. Default 0.
    pub s_min: f64,
    /// Largest that is raised, at least `s_min`. Default no limit.
    #[serde(skip_serializing_if = "is_infinite")]
    pub s_max: f64,
    /// Factor of the new noise's deviation, at least 0. Default 1.
    pub s_noise: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_infinite(value: &f64) -> bool {
    value.is_infinite()
}

impl Default for Churn {
    fn default() -> Self {
        Self { s_churn: 0.0, s_min: 0.0, s_max: f64::INFINITY, s_noise: 1.0 }
    }
}

impl Churn {
    /// Whether nothing is added.
    pub fn is_off(&self) -> bool {
        self.s_churn == 0.0
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        for (key, value) in [("s_churn", self.s_churn), ("s_min", self.s_min), ("s_noise", self.s_noise)] {
            let good = value >= 0.0 && value.is_finite();
            checks.require(good, &format!("solver.churn.{key}"), value, "a number of at least 0");
        }
        let accepted = "a number of at least `s_min`";
        checks.require(self.s_max >= self.s_min, "solver.churn.s_max", self.s_max, accepted);
    }
}

/// What DPM-Solver integrates, and whether it adds noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DpmAlgorithm {
    /// eps, the ODE: DPM-Solver (arXiv:2206.00927).
    #[serde(rename = "dpmsolver")]
    DpmSolver,
    /// x_0, the ODE: DPM-Solver++ (arXiv:2211.01095).
    #[default]
    #[serde(rename = "dpmsolver++")]
    DpmSolverPp,
    /// eps, the reverse SDE. Unstable where steps are long.
    #[serde(rename = "sde-dpmsolver")]
    SdeDpmSolver,
    /// x_0, the reverse SDE.
    #[serde(rename = "sde-dpmsolver++")]
    SdeDpmSolverPp,
}

/// How the slope enters a second-order step of DPM-Solver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DpmKind {
    /// As if the estimate half-way counted for the whole interval.
    #[default]
    Midpoint,
    /// By the exact integral of a straight line.
    Heun,
}

/// The curvature term of third-order steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curvature {
    /// The exact integral of a parabola: third order.
    #[default]
    Exact,
    /// As in the code that was published with DPM-Solver and in diffusers: multi-step, half of that, which leaves the order at two;
    /// with noise also a constant of the wrong sign, so that a parabola of x_0 is not followed at all.
    Published,
}

/// B(h) of UniPC (arXiv:2302.04867), which counts where one difference is weighed alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnipcKind {
    /// `B(h) = h`.
    Bh1,
    /// `B(h) = e^h - 1`.
    #[default]
    Bh2,
}

/// How PNDM gets its first estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PndmWarmup {
    /// Heun's method once, then growing orders: diffusers' `skip_prk_steps`, Stable Diffusion's PLMS. One evaluation more than steps.
    #[default]
    Plms,
    /// Runge and Kutta's method over the first three intervals, four evaluations each: the paper's.
    RungeKutta,
}

/// What PNDM takes its means of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PndmMean {
    /// eps: the paper's.
    #[default]
    Eps,
    /// The velocities of different levels, turned into an eps where the step starts: diffusers' with `v_prediction`. First order only,
    /// since a velocity belongs to its level.
    Velocity,
}

/// What iPNDM makes of an evaluation at pure noise, where eps is x itself and x / alpha is infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpndmStart {
    /// Steps along its x_0 and leaves its eps out of later means.
    #[default]
    Estimate,
    /// Scales the noise, as if x_0 were 0, and counts its eps in later means: diffusers'.
    Noise,
}

/// Largest number in a [`StepSet`], exclusive.
const STEP_LIMIT: usize = 128;

/// A set of step numbers below 128; a list in configs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepSet(u128);

impl StepSet {
    /// Of these numbers, from 0; `None` if one is 128 or above.
    pub fn of(steps: &[usize]) -> Option<Self> {
        let bit = |set: u128, step: &usize| (*step < STEP_LIMIT).then(|| set | 1 << step);
        steps.iter().try_fold(0, bit).map(Self)
    }

    /// Whether the step is in it.
    pub fn contains(self, step: usize) -> bool {
        step < STEP_LIMIT && self.0 >> step & 1 == 1
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

impl Serialize for StepSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..STEP_LIMIT).filter(|step| self.contains(*step)))
    }
}

impl<'de> Deserialize<'de> for StepSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let steps = Vec::<usize>::deserialize(deserializer)?;
        Self::of(&steps)
            .ok_or_else(|| D::Error::custom(format!("steps are {steps:?}; expected numbers below {STEP_LIMIT}")))
    }
}
