//! Values of `[diffusion]` that do not go together, named by the key to change.

use crate::{
    Choice, DiffusionConfig, Loss, Prediction, Schedule, TimeDistribution, ValueError, Variance, Weighting,
    error::Checks,
};

impl DiffusionConfig {
    /// Pairs that have no meaning, whatever is done with them.
    pub(crate) fn check_pairs(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        if self.zero_terminal_snr {
            let accepted = "a prediction from which x_0 follows at alpha = 0 (velocity, x0 or posterior_mean), with zero_terminal_snr";
            let determined = !matches!(self.prediction, Prediction::Epsilon {} | Prediction::Score {});
            checks.require(determined, "prediction", self.prediction.kind(), accepted);
            let fixed = self.schedule.is_discrete() && !self.is_learned();
            let accepted = format!("false with the {} schedule", self.schedule.kind());
            checks.require(fixed, "zero_terminal_snr", true, accepted);
        }
        if !self.schedule.is_discrete() {
            self.check_continuous(&mut checks);
        }
        let edm = matches!(self.schedule, Schedule::Edm { .. });
        let accepted =
            format!("another distribution of times with the {} schedule; it is of edm", self.schedule.kind());
        let log_normal = matches!(self.times, TimeDistribution::LogNormal { .. });
        checks.require(edm || !log_normal, "times", self.times.kind(), accepted);
        let logit_normal = matches!(self.times, TimeDistribution::LogitNormal { .. });
        checks.require(
            !(edm && logit_normal),
            "times",
            self.times.kind(),
            "uniform, stratified or log_normal with edm",
        );
        checks.0
    }

    /// What needs steps with betas.
    fn check_continuous(&self, checks: &mut Checks) {
        let accepted = |what: &str| format!("{what} with the {} schedule, which has no betas", self.schedule.kind());
        let mean = self.prediction == Prediction::PosteriorMean {};
        checks.require(!mean, "prediction", self.prediction.kind(), accepted("another prediction"));
        checks.require(!self.loss.is_bound(), "loss", self.loss.kind(), accepted("l1, l2 or huber"));
        let mean = self.weighting == Weighting::PosteriorMean {};
        checks.require(!mean, "weighting", self.weighting.kind(), accepted("another weighting"));
        checks.require(!self.variance.is_learned(), "variance", self.variance.kind(), accepted("a fixed variance"));
        let adapted = matches!(self.times, TimeDistribution::LossSecondMoment { .. });
        checks.require(!adapted, "times", self.times.kind(), accepted("another distribution of times"));
    }

    /// Pairs that cannot be trained, with keys that start with `diffusion.`. A model with them may still be sampled from.
    pub fn check_training(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        let learned = self.variance.is_learned();
        let accepted = "hybrid or vlb with variance = \"learned_range\", which l1, l2 and huber do not train";
        checks.require(!learned || self.loss.is_bound(), "loss", self.loss.kind(), accepted);
        if let Loss::Hybrid { .. } = self.loss {
            checks.require(learned, "variance", self.variance.kind(), "learned_range with loss = \"hybrid\"");
        }
        let whole = self.loss == Loss::Vlb {} && self.weighting != Weighting::Simple {};
        checks.require(!whole, "weighting", self.weighting.kind(), "simple with loss = \"vlb\", which has its weights");
        let bound = self.loss.is_bound() || self.weighting == Weighting::Vlb {};
        let accepted = "uniform, stratified or loss_second_moment, with which the mean loss is the bound";
        checks.require(!bound || self.times.is_unbiased(), "times", self.times.kind(), accepted);
        if self.is_learned() {
            self.check_learned(&mut checks);
        }
        checks.0.into_iter().map(|e| e.under("diffusion")).collect()
    }

    /// A learned schedule has one loss: the bound of eps.
    fn check_learned(&self, checks: &mut Checks) {
        let eps = self.prediction == Prediction::Epsilon {};
        checks.require(eps, "prediction", self.prediction.kind(), "epsilon with a learned schedule");
        checks.require(self.loss == Loss::L2 {}, "loss", self.loss.kind(), "l2 with a learned schedule");
        let vlb = self.weighting == Weighting::Vlb {};
        checks.require(vlb, "weighting", self.weighting.kind(), "vlb, by which a schedule is learned");
        let even = matches!(self.times, TimeDistribution::Uniform {} | TimeDistribution::Stratified {});
        checks.require(even, "times", self.times.kind(), "uniform or stratified with a learned schedule");
        let fixed = matches!(self.variance, Variance::FixedSmall {} | Variance::FixedLarge {});
        checks.require(fixed, "variance", self.variance.kind(), "a fixed variance with a learned schedule");
        checks.require(self.offset_noise == 0.0, "offset_noise", self.offset_noise, "0 with a learned schedule");
        checks.require(self.timesteps >= 2, "timesteps", self.timesteps, "2 or more with a learned schedule");
    }

    /// Whether the schedule is trained with the network.
    pub fn is_learned(&self) -> bool {
        matches!(self.schedule, Schedule::Learned { .. })
    }
}
