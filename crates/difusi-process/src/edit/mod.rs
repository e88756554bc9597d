//! Editing pictures with a model that was never trained to: everything here is a plan or a constraint around the one sampling loop.
//!
//! | what | how | source |
//! |---|---|---|
//! | picture to picture | start at a noised picture, [`last_steps`] | SDEdit (arXiv:2108.01073) |
//! | inpainting, colourising, sharpening | the known part is put back before each evaluation, [`Keep`] | Song et al. (arXiv:2011.13456) section 5; ILVR (arXiv:2108.02938) |
//! | the same, in harmony with the rest | go up again and down again, [`Resampling`] | RePaint (arXiv:2201.09865) |
//! | between pictures | run the probability-flow ODE backwards, [`Plan::inversion`], and [`crate::slerp`] | DDIM (arXiv:2010.02502) section 5.4 |
//!
//! Deliberately absent: files, colour spaces, networks made for editing.

mod known;
mod resample;

pub use known::{Keep, Known};
pub use resample::Resampling;

use crate::{Choice, Level, Plan, ProcessError, Solver, Stage, ValueError, Variance, error::all_good};

/// The part of a run's `levels` (the visited ones and the end) that is left where it starts at a picture instead of noise: the last
/// `int(steps strength)` steps, as diffusers counts them. Noise the picture to the first of them and go on from there.
/// `strength` is in (0, 1]: small keeps the picture, 1 replaces it.
///
/// # Errors
/// A strength outside (0, 1], or one that leaves no step.
pub fn last_steps(levels: &[Level], strength: f64) -> Result<&[Level], ProcessError> {
    if !(strength > 0.0 && strength <= 1.0) {
        return Err(ValueError::new("strength", strength, "a number in (0, 1]").into());
    }
    let steps = levels.len().saturating_sub(1);
    let kept = ((steps as f64 * strength) as usize).min(steps);
    if kept == 0 {
        let accepted =
            format!("at least {:.4}: with {steps} steps less leaves none of them", 1.0 / steps.max(1) as f64);
        return Err(ValueError::new("strength", strength, accepted).into());
    }
    Ok(&levels[steps - kept..])
}

impl Plan {
    /// From a picture to its noise: the probability-flow ODE backwards, through the visited ones of a run's falling `levels`. The picture
    /// stands at the cleanest of them, which is the data but for a noise that nobody sees; the plan's last x is the noise that the
    /// same solver turns into the picture again, exactly in the limit of many steps.
    ///
    /// # Errors
    /// Fewer than two visited levels, levels that do not fall, a solver that is random or cannot run backwards.
    pub fn inversion(levels: &[Level], solver: Solver, variance: Variance) -> Result<Self, ProcessError> {
        let mut errors = Self::complaints(levels, solver);
        let backwards = match solver {
            Solver::Ddim { eta, .. } => eta == 0.0,
            Solver::Euler { churn } | Solver::Heun { churn } => churn.is_off(),
            _ => false,
        };
        if !backwards {
            errors.push(ValueError::new(
                "solver",
                solver.kind(),
                "ddim with eta = 0, euler or heun without churn, to run backwards",
            ));
        }
        let rising: Vec<Level> = levels.iter().rev().copied().filter(|level| !level.is_data()).collect();
        if rising.len() < 2 {
            errors.push(ValueError::new("steps", rising.len(), "at least 2, to run backwards"));
        }
        all_good(errors)?;
        Ok(Self::made_of(solver.stages(&rising, None)?, solver, variance))
    }
}

/// Appends the stages of another descent: x is noised from where it stands to where that begins.
fn append(stages: &mut Vec<Stage>, mut more: Vec<Stage>) {
    if let (Some(before), Some(first)) = (stages.last(), more.first_mut()) {
        let scale = first.lift.map_or(1.0, |lift| lift.scale);
        first.lift = Some(crate::Lift { from: before.to, scale });
    }
    stages.append(&mut more);
}
