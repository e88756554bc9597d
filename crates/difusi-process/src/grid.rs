//! Which of the T trained steps sampling visits: Lin et al. (arXiv:2305.08891) table 2 for leading, linspace and trailing.

use serde::{Deserialize, Serialize};

use crate::{
    Level, Process, ProcessError, ValueError,
    choice::choice,
    error::{Checks, all_good},
};

/// How S visited steps are spread over `0..T`. `T = 10`, `S = 5` as an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Grid {
    /// Multiples of `T / S` rounded down, from 0: 8 6 4 2 0. Misses the last steps, so it starts where noise is not yet pure.
    Leading {},
    /// From T-1 to 0, rounded to the even neighbour: 9 7 4 2 0. A single step is T-1.
    Linspace {},
    /// From T-1 down by `T / S`, rounded: 9 7 5 3 1.
    Trailing {},
    /// As denoising-diffusion-pytorch's DDIM: S+1 even points from -1 to T-1 in f32, cut to integers, without the -1: 9 7 5 3 1.
    /// Differs from trailing by one where S does not divide T.
    Even {},
    /// These steps; the number of steps asked for is not used.
    Custom {
        /// 0-based, strictly falling, each below T.
        steps: Vec<usize>,
    },
}

choice! { Grid:
    Leading = "leading" true, Linspace = "linspace" true, Trailing = "trailing" true, Even = "even" true,
    Custom = "custom" false,
}

impl Default for Grid {
    /// Trailing.
    fn default() -> Self {
        Self::Trailing {}
    }
}

impl Grid {
    /// Everything wrong with visiting `steps` of `timesteps` steps.
    pub fn check(&self, timesteps: usize, steps: usize) -> Vec<ValueError> {
        let mut checks = Checks::default();
        let Self::Custom { steps: list } = self else {
            let accepted = format!("1 to {timesteps}, the number of timesteps");
            checks.require((1..=timesteps).contains(&steps), "steps", steps, accepted);
            return checks.0;
        };
        checks.require(!list.is_empty(), "grid.steps", "an empty list", "at least one step");
        let mut limit = timesteps;
        for (i, &t) in list.iter().enumerate() {
            let accepted = format!("a step below {limit}: steps fall, and the first is below the number of timesteps");
            checks.require(t < limit, &format!("grid.steps[{i}]"), t, accepted);
            limit = t;
        }
        checks.0
    }

    /// The visited steps, 0-based, strictly falling: the order of sampling.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Grid::check`] finds.
    pub fn steps(&self, timesteps: usize, steps: usize) -> Result<Vec<usize>, ProcessError> {
        all_good(self.check(timesteps, steps))?;
        let (last, count) = ((timesteps - 1) as f64, steps as f64);
        Ok(match self {
            Self::Leading {} => (0..steps).rev().map(|i| i * (timesteps / steps)).collect(),
            Self::Linspace {} if steps == 1 => vec![timesteps - 1],
            Self::Linspace {} => {
                (0..steps).rev().map(|i| (i as f64 * (last / (count - 1.0))).round_ties_even() as usize).collect()
            }
            Self::Trailing {} => {
                let end = timesteps as f64;
                let stride = end - (end - end / count); // numpy's arange rounds its stride so, which decides ties
                let at = |i: usize| (end - i as f64 * stride).round_ties_even();
                (0..steps).map(|i| (at(i) as usize).saturating_sub(1)).collect()
            }
            Self::Even {} => even(timesteps, steps),
            Self::Custom { steps } => steps.clone(),
        })
    }
}

impl Grid {
    /// The levels of a run of `steps` steps: the visited ones, then the data.
    ///
    /// # Errors
    /// [`ProcessError::Values`] with everything [`Grid::check`] finds.
    pub fn levels(&self, process: &Process, steps: usize) -> Result<Vec<Level>, ProcessError> {
        let visited = self.steps(process.timesteps(), steps)?;
        Ok(visited.into_iter().map(|t| process.level(t as f64)).chain([Level::DATA]).collect())
    }
}

/// PyTorch's `linspace(-1, T - 1, S + 1)` in f32, cut towards zero, falling, without the -1. PyTorch fills it from both ends with
/// fused multiply-adds, which decides some cuts.
fn even(timesteps: usize, steps: usize) -> Vec<usize> {
    let (start, end) = (-1.0f32, (timesteps - 1) as f32);
    let stride = (end - start) / steps as f32;
    let at = |i: usize| match i < steps.div_ceil(2) {
        true => stride.mul_add(i as f32, start),
        false => (-stride).mul_add((steps - i) as f32, end),
    };
    (1..=steps).rev().map(|i| at(i) as usize).collect()
}
