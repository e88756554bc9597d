//! A sampling run before it runs: its network evaluations, their levels, and where x goes after each.

use crate::{Level, Process, ProcessError, Solver, ValueError, Variance, error::all_good};

/// One network evaluation, and the step that follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// What the denoiser is asked about.
    pub at: Level,
    /// Where the interval of this stage began; `at` itself in its first stage.
    pub from: Level,
    /// Where x is after the stage: the interval's end, or the place of its next evaluation.
    pub to: Level,
    /// Number of the evaluation in its interval, from 0.
    pub part: usize,
    /// Noise that is added before the evaluation.
    pub lift: Option<Lift>,
}

/// Going back up: x at `from` is noised to the stage's level by the forward process (EDM's churn, RePaint's resampling).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lift {
    /// Where x is before; no noisier than the stage.
    pub from: Level,
    /// Factor of the noise's deviation; 1 is the forward process (EDM's S_noise).
    pub scale: f64,
}

impl Stage {
    /// The only evaluation of an interval.
    pub const fn whole(at: Level, to: Level) -> Self {
        Self { at, from: at, to, part: 0, lift: None }
    }
}

/// How the numbers of an ancestral step are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// In f64.
    #[default]
    Exact,
    /// In f32 from f32 alpha-bars, as diffusers' DDPM does: beta of a jump, the difference of two numbers near 1, loses its last
    /// digits, which a thousand steps add up to 6e-5 of x.
    F32,
}

/// Network evaluations of one sampling run, from noise to data. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    stages: Vec<Stage>,
    solver: Solver,
    variance: Variance,
    rounding: Rounding,
}

impl Plan {
    /// Over `levels`, whose noise falls: the visited ones and the end (the data, or anything cleaner than the rest). Of a solver that
    /// goes from data to noise, levels whose noise rises.
    ///
    /// # Errors
    /// Fewer than two levels, levels in another order, bad solver parameters, solvers that stop between the levels.
    pub fn new(levels: &[Level], solver: Solver, variance: Variance) -> Result<Self, ProcessError> {
        Self::build(None, levels, solver, variance)
    }

    /// The same for any solver: `process` says what lies between the levels.
    ///
    /// # Errors
    /// Fewer than two levels, levels in another order, bad solver parameters.
    pub fn on(process: &Process, levels: &[Level], solver: Solver, variance: Variance) -> Result<Self, ProcessError> {
        Self::build(Some(process), levels, solver, variance)
    }

    fn build(
        process: Option<&Process>,
        levels: &[Level],
        solver: Solver,
        variance: Variance,
    ) -> Result<Self, ProcessError> {
        all_good(Self::complaints(levels, solver))?;
        Ok(Self::made_of(solver.stages(levels, process)?, solver, variance))
    }

    /// Everything wrong with these levels and this solver.
    pub(crate) fn complaints(levels: &[Level], solver: Solver) -> Vec<ValueError> {
        let mut errors = solver.check();
        if levels.len() < 2 {
            errors.push(ValueError::new("levels", format!("a list of {}", levels.len()), "at least two"));
        }
        for (i, pair) in levels.windows(2).enumerate() {
            let (good, accepted) = match solver.rises() {
                true => (falls(pair[1], pair[0]), "noise that rises"),
                false => (falls(pair[0], pair[1]), "noise that falls"),
            };
            if !good {
                let got = format!("sigma / alpha = {} after {}", pair[1].ratio(), pair[0].ratio());
                errors.push(ValueError::new(format!("levels[{}]", i + 1), got, accepted));
            }
        }
        errors
    }

    /// Of stages that were made by the solver, at least one.
    pub(crate) fn made_of(stages: Vec<Stage>, solver: Solver, variance: Variance) -> Self {
        Self { stages, solver, variance, rounding: Rounding::Exact }
    }

    /// These evaluations, each leading where it says: for grids whose steps do not join, or that do not fall (inversion). A solver
    /// whose intervals have several evaluations must find the stages it would have made itself.
    ///
    /// # Errors
    /// No stage, bad solver parameters.
    pub fn from_stages(stages: Vec<Stage>, solver: Solver, variance: Variance) -> Result<Self, ProcessError> {
        let mut errors = solver.check();
        if stages.is_empty() {
            errors.push(ValueError::new("stages", "an empty list", "at least one"));
        }
        all_good(errors)?;
        Ok(Self { stages, solver, variance, rounding: Rounding::Exact })
    }

    /// The same plan with ancestral steps computed so.
    #[must_use]
    pub fn rounded(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// The evaluations in the order they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How x moves.
    pub fn solver(&self) -> Solver {
        self.solver
    }

    /// Noise of ancestral sampling.
    pub fn variance(&self) -> Variance {
        self.variance
    }

    /// How ancestral steps are computed.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Number of network evaluations.
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        self.stages.len()
    }
}

/// Noise over signal falls; written without a division, for the level that is pure noise.
fn falls(from: Level, to: Level) -> bool {
    to.sigma * from.alpha < from.sigma * to.alpha
}
