//! What the solvers of k-diffusion's family share: straight steps in sigma / alpha, churn, the ancestral split.
//!
//! In the coordinates `x / alpha` and `rho = sigma / alpha` the probability-flow ODE is `d(x / alpha) / d rho = eps` (Karras et al.,
//! arXiv:2206.00364, eq. 1 with s = 1; DDIM, arXiv:2010.02502, eq. 14).

use super::{Churn, Moment, sum::Sum};
use crate::{Level, Lift, Process, Stage, ValueError};

/// Where an ODE step ends: at the alpha of a level, with this much noise. Ancestral steps end below their level.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) alpha: f64,
    pub(super) ratio: f64,
}

impl From<Level> for Target {
    fn from(level: Level) -> Self {
        Self { alpha: level.alpha, ratio: level.ratio() }
    }
}

/// From the interval's start to `target` along the mean of several estimates' eps: each `(weight, how many evaluations ago)`,
/// weights that sum to 1. Written around the estimate at the start, which needs no division by alpha.
pub(super) fn along<'a>(now: &Moment<'a>, target: Target, terms: &[(f64, usize)]) -> Sum<'a> {
    let start = now.ago(now.stage().part).unwrap_or(now.now());
    let straight = Sum::default().step((target.alpha, target.alpha * target.ratio), start);
    terms.iter().fold(straight, |sum, &(weight, back)| match now.ago(back) {
        Some(said) if !std::ptr::eq(said, start) => {
            let by = weight * target.alpha * (target.ratio - start.at.ratio());
            sum.eps(by, said).eps(-by, start)
        }
        _ => sum,
    })
}

/// Whether both lie on the straight line of flow matching.
pub(super) fn is_straight(from: Level, to: Level) -> bool {
    [from, to].iter().all(|level| (level.alpha + level.sigma - 1.0).abs() < 1e-12)
}

/// `(down, up)` of an interval: a deterministic step to `rho = down`, then noise of deviation `up` (both of x / alpha) make
/// `rho' ` of its end: `up = eta rho' sqrt(1 - (rho' / rho)^2)`, at most `rho'`, and `down^2 + up^2 = rho'^2`. eta = 1 is DDPM's
/// posterior with its smaller variance.
pub(super) fn split(from: Level, to: Level, eta: f64) -> (f64, f64) {
    let fall = to.sigma * from.alpha / (to.alpha * from.sigma); // 0 from pure noise
    let end = to.ratio();
    let up = end * (eta * (1.0 - fall * fall).max(0.0).sqrt()).min(1.0);
    ((end * end - up * up).max(0.0).sqrt(), up)
}

/// Levels between the visited ones, which only the process knows.
#[derive(Clone, Copy)]
pub(super) struct Between<'a>(pub(super) Option<&'a Process>);

impl<'a> Between<'a> {
    fn process(self) -> Result<&'a Process, ValueError> {
        let accepted = "a solver that only stops at the given levels; the others need the process too: Plan::on";
        self.0.ok_or_else(|| ValueError::new("solver", "one that stops between levels", accepted))
    }

    /// The level with this sigma / alpha.
    pub(super) fn ratio(self, ratio: f64) -> Result<Level, ValueError> {
        Ok(self.process()?.level_at_ratio(ratio))
    }

    /// The level half-way in time.
    pub(super) fn half_time(self, from: Level, to: Level) -> Result<Level, ValueError> {
        Ok(self.process()?.level_of_time(0.5 * (from.t + to.t)))
    }
}

/// The first evaluation of an interval, raised where the churn says so; `count` intervals in all.
pub(super) fn first(pair: (Level, Level), churn: Churn, count: usize, between: Between) -> Result<Stage, ValueError> {
    let (from, to) = pair;
    let ratio = from.ratio();
    if churn.is_off() || !ratio.is_finite() || ratio < churn.s_min || ratio > churn.s_max {
        return Ok(Stage::whole(from, to));
    }
    let gamma = (churn.s_churn / count as f64).min(std::f64::consts::SQRT_2 - 1.0);
    let at = between.ratio(ratio * (1.0 + gamma))?;
    Ok(Stage { lift: Some(Lift { from, scale: churn.s_noise }), ..Stage::whole(at, to) })
}

/// Whether a second evaluation makes sense: not onto the data, where there is nothing to see, nor from pure noise, from where every
/// step is infinitely long in rho.
pub(super) fn has_inside(from: Level, to: Level) -> bool {
    from.alpha > 0.0 && !to.is_data()
}
