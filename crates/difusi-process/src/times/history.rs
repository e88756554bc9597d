//! The last losses of every step: what `loss_second_moment` draws by (Nichol & Dhariwal, arXiv:2102.09672, section 3.3).
//!
//! Deliberately absent: when it is updated (once per optimiser step, by the objective), where it is stored.

/// The last losses of every step.
#[derive(Clone, Debug, PartialEq)]
pub struct LossHistory {
    history: usize,
    /// `[T * history]`.
    losses: Vec<f32>,
    /// Losses that a step has seen; once it has `history`, it stays in `history..2 history`, which says what is overwritten next.
    counts: Vec<u32>,
}

impl LossHistory {
    /// Of `timesteps` steps, `history` losses each; nothing seen.
    pub fn new(timesteps: usize, history: usize) -> Self {
        Self { history, losses: vec![0.0; timesteps * history], counts: vec![0; timesteps] }
    }

    /// One more loss, not divided by how often its step is drawn. Steps that there are not, and losses that are not finite, are left
    /// out.
    pub fn push(&mut self, t: usize, loss: f32) {
        let Some(count) = self.counts.get_mut(t).filter(|_| loss.is_finite()) else { return };
        let seen = *count as usize;
        self.losses[t * self.history + seen % self.history] = loss;
        *count = if seen + 1 == 2 * self.history { self.history } else { seen + 1 } as u32;
    }

    /// Losses and counts, for a checkpoint.
    pub fn state(&self) -> (Vec<f32>, Vec<f32>) {
        (self.losses.clone(), self.counts.iter().map(|c| *c as f32).collect())
    }

    /// Takes back what [`LossHistory::state`] gave; `None` where it is of another shape.
    #[must_use]
    pub fn with_state(self, losses: Vec<f32>, counts: &[f32]) -> Option<Self> {
        let good = |c: &f32| *c >= 0.0 && *c < (2 * self.history) as f32 && c.fract() == 0.0;
        let same = losses.len() == self.losses.len() && counts.len() == self.counts.len();
        let counts = (same && counts.iter().all(good)).then(|| counts.iter().map(|c| *c as u32).collect());
        counts.map(|counts| Self { losses, counts, ..self })
    }

    /// `p_t` in proportion to the root of the mean square of the losses, mixed with a share of uniform times; `None` until every step
    /// has all its losses.
    pub(super) fn distribution(&self, uniform_prob: f64) -> Option<Adapted> {
        if self.counts.iter().any(|c| (*c as usize) < self.history) {
            return None;
        }
        let square = |l: &f32| f64::from(*l) * f64::from(*l);
        let root = |of: &[f32]| (of.iter().map(square).sum::<f64>() / self.history as f64).sqrt();
        let roots: Vec<f64> = self.losses.chunks(self.history).map(root).collect();
        let (sum, timesteps) = (roots.iter().sum::<f64>(), roots.len() as f64);
        let share = |root: &f64| if sum > 0.0 { root / sum } else { 1.0 / timesteps };
        let p: Vec<f64> = roots.iter().map(|r| (1.0 - uniform_prob) * share(r) + uniform_prob / timesteps).collect();
        let cumulative = p
            .iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        Some(Adapted { p, cumulative })
    }
}

/// A distribution over steps.
pub(super) struct Adapted {
    p: Vec<f64>,
    cumulative: Vec<f64>,
}

impl Adapted {
    /// The step of a uniform number, and `1 / (T p)`.
    pub(super) fn draw(&self, uniform: f64) -> (usize, f64) {
        let last = self.p.len() - 1;
        let t = self.cumulative.partition_point(|c| *c <= uniform * self.cumulative[last]).min(last);
        (t, 1.0 / (self.p.len() as f64 * self.p[t]))
    }
}
