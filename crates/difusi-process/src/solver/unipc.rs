//! UniPC (arXiv:2302.04867): a predictor of order p like DPM-Solver's, and a corrector that uses the next evaluation, which has to be
//! made anyway, to raise the order by one.
//!
//! The corrected x differs from the predicted one only by what the polynomial with the new estimate integrates to (UniC), less what
//! the one without it did (UniP), so no state is kept: x_c = x_p + UniC - UniP. With more than one difference the paper's B(h)
//! cancels; alone, a difference is weighed with B(h) / 2.

use burn::tensor::Tensor;

use super::{DpmAlgorithm, Estimate, Moment, StepSet, UnipcKind, exponential::Leap, polynomial::z_phi, sum::Sum};

/// Its choices.
#[derive(Clone, Copy)]
pub(super) struct Unipc {
    pub(super) order: usize,
    pub(super) kind: UnipcKind,
    pub(super) predict_x0: bool,
    pub(super) lower_order_final: bool,
    /// Steps after which nothing is corrected; `None` corrects none.
    pub(super) uncorrected: Option<StepSet>,
}

impl Unipc {
    fn algorithm(self) -> DpmAlgorithm {
        if self.predict_x0 { DpmAlgorithm::DpmSolverPp } else { DpmAlgorithm::DpmSolver }
    }

    /// Estimates that the predictor of stage `index` uses, newest first; `skip` evaluations were made since.
    fn known<'a>(self, now: &Moment<'a>, skip: usize) -> Vec<&'a Estimate> {
        let index = now.index - skip;
        let left = now.stages.len() - index;
        let order = match now.stages[index].to.is_data() {
            true => 1,
            false if self.lower_order_final => self.order.min(left),
            false => self.order,
        };
        now.history(skip, order)
    }

    /// `B(h) / 2` times h: the weight of a single difference.
    fn alone(self, leap: &Leap) -> f64 {
        let b = match self.kind {
            UnipcKind::Bh1 => leap.z(),
            UnipcKind::Bh2 => z_phi(1, leap.z()),
        };
        0.5 * b * leap.h()
    }

    /// What the predictor's powers integrate to.
    fn moments(self, leap: &Leap, count: usize) -> Vec<f64> {
        if count == 1 { vec![self.alone(leap)] } else { leap.moments(count) }
    }
}

pub(super) fn step(by: Unipc, now: &Moment) -> Tensor<4> {
    let (stage, said) = (now.stage(), now.now());
    let corrected = corrected(by, now);
    let leap = Leap::new(by.algorithm(), stage.at, stage.to);
    let known = by.known(now, 0);
    let mut sum = leap.first(said);
    if let Some(x) = &corrected {
        sum = sum.with(leap.kept(), x).with(-leap.kept(), &said.x);
    }
    let moments = by.moments(&leap, known.len() - 1);
    leap.bend(sum, (1.0, said), &known[1..], &moments).total()
}

/// UniC on the x that was evaluated; `None` where it is left as it is.
fn corrected(by: Unipc, now: &Moment) -> Option<Tensor<4>> {
    let (stage, said) = (now.stage(), now.now());
    let before = now.index.checked_sub(1)?;
    let wanted = by.uncorrected.is_some_and(|steps| !steps.contains(before));
    let newest = now.ago(1).filter(|_| wanted && stage.lift.is_none())?;
    let leap = Leap::new(by.algorithm(), newest.at, said.at);
    if !leap.h().is_finite() {
        return None; // the step from pure noise
    }
    let known = by.known(now, 1);
    let others = &known[1..];
    let predictor =
        leap.bend(Sum::default().with(1.0, &said.x), (-1.0, newest), others, &by.moments(&leap, others.len()));
    let with_new = [others, &[said]].concat();
    let moments = by.moments(&leap, with_new.len());
    Some(leap.bend(predictor, (1.0, newest), &with_new, &moments).total())
}
