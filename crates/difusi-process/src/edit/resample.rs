//! Resampling: RePaint (Lugmayr et al., arXiv:2201.09865) section 4.2 and algorithm 1.
//!
//! A sampler that only has the known part put back makes the rest fit its own past, not what stands beside it. So x is noised again and
//! brought down again, several times over. The order of steps is that of diffusers' RePaintScheduler, which is the list of the
//! paper's code without its last entry, read as evaluations. Where the paper's algorithm 1 scales the known part's noise by a
//! variance, and where diffusers strides over several steps when it noises by one, both are slips: here each is the forward process.

use crate::{
    Level, Plan, Process, ProcessError, Solver, ValueError, Variance, edit::append, error::Checks, error::all_good,
};

/// How far and how often to go up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// Steps that a jump goes up, at least 1; jumps start where x has come down to a multiple of it. The paper's j, 10.
    pub jump_length: usize,
    /// How often each stretch is come down, at least 1, which is once and plain. The paper's r, 10.
    pub jump_n_sample: usize,
}

impl Default for Resampling {
    /// The paper's 10 and 10.
    fn default() -> Self {
        Self { jump_length: 10, jump_n_sample: 10 }
    }
}

impl Resampling {
    /// Everything wrong with the parameters.
    pub fn check(self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        checks.require(self.jump_length > 0, "jump_length", self.jump_length, "at least 1");
        checks.require(self.jump_n_sample > 0, "jump_n_sample", self.jump_n_sample, "at least 1");
        checks.0
    }

    /// Visited steps in order, counted so that the last one before the data is 0: a step lower than the one before is evaluated,
    /// one that is higher is only passed, on the way up.
    pub fn order(self, steps: usize) -> Vec<usize> {
        let (length, mut order) = (self.jump_length.max(1), Vec::new());
        let mut left: Vec<usize> = (0..steps)
            .map(|t| if t % length == 0 && t + length < steps { self.jump_n_sample.saturating_sub(1) } else { 0 })
            .collect();
        let mut above = steps;
        while above > 0 {
            let t = above - 1;
            order.push(t);
            above = t;
            if left[t] > 0 {
                left[t] -= 1;
                order.extend(t + 1..=t + length);
                above = t + length;
            }
        }
        order
    }

    /// Stretches of consecutive evaluations, `(first, last)` in the numbers of [`Resampling::order`], `first >= last`.
    fn descents(self, steps: usize) -> Vec<(usize, usize)> {
        let (mut descents, mut above) = (Vec::<(usize, usize)>::new(), steps);
        let mut joined = false;
        for t in self.order(steps) {
            let down = t < above;
            match descents.last_mut() {
                Some(last) if down && joined => last.1 = t,
                _ if down => descents.push((t, t)),
                _ => {}
            }
            (above, joined) = (t, down);
        }
        descents
    }

    /// The plan of a run over falling `levels` (the visited ones and the end) that goes up again and again.
    ///
    /// # Errors
    /// As [`Plan::new`], and parameters out of range.
    pub fn plan(self, levels: &[Level], solver: Solver, variance: Variance) -> Result<Plan, ProcessError> {
        self.build(None, levels, (solver, variance))
    }

    /// The same for any solver: `process` says what lies between the levels.
    ///
    /// # Errors
    /// As [`Plan::on`], and parameters out of range.
    pub fn plan_on(
        self,
        process: &Process,
        levels: &[Level],
        (solver, variance): (Solver, Variance),
    ) -> Result<Plan, ProcessError> {
        self.build(Some(process), levels, (solver, variance))
    }

    fn build(
        self,
        process: Option<&Process>,
        levels: &[Level],
        (solver, variance): (Solver, Variance),
    ) -> Result<Plan, ProcessError> {
        all_good([self.check(), Plan::complaints(levels, solver)].concat())?;
        let (steps, mut stages) = (levels.len() - 1, Vec::new());
        for (first, last) in self.descents(steps) {
            append(&mut stages, solver.stages(&levels[steps - 1 - first..=steps - last], process)?);
        }
        Ok(Plan::made_of(stages, solver, variance))
    }
}
