//! A sampling run before it runs: the visited steps, their levels, and the three numbers of every transition.

use crate::{Grid, Jump, Level, ProcessError, Solver, Tables, Transition, Variance};

/// One step of a plan: where it stands and how it moves on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedStep {
    /// What the denoiser is asked about.
    pub level: Level,
    /// The 0-based step it moves to; `None` is the data.
    pub next: Option<usize>,
    /// How it moves there.
    pub transition: Transition,
}

/// Steps of one sampling run, from noise to data. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<PlannedStep>,
}

impl Plan {
    /// Visits `times` (0-based, strictly falling: [`Grid::steps`]) and then the data.
    ///
    /// # Errors
    /// An empty or unordered list, steps outside the schedule, bad solver parameters.
    pub fn new(tables: &Tables, times: &[usize], solver: Solver, variance: Variance) -> Result<Self, ProcessError> {
        let grid = Grid::Custom { steps: times.to_vec() };
        let errors = [grid.check(tables.timesteps(), times.len()), solver.check()].concat();
        crate::error::all_good(errors)?;
        let following = times.iter().skip(1).copied().map(Some).chain([None]);
        let steps = times.iter().zip(following).map(|(&t, next)| {
            let jump = Jump { from: tables.alpha_bar(Some(t))?, to: tables.alpha_bar(next)? };
            Ok(PlannedStep { level: tables.level(t)?, next, transition: solver.transition(jump, variance) })
        });
        Ok(Self { steps: steps.collect::<Result<_, ProcessError>>()? })
    }

    /// The steps in the order they run.
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// Number of network evaluations.
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        self.steps.len()
    }
}
