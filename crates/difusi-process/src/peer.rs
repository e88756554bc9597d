//! The arguments of denoising-diffusion-pytorch's `GaussianDiffusion` (version 2.3.4) and what they are here.
//!
//! The training-only argument that is not offered here (immiscible diffusion) is read, and reported as a note: a model trained
//! with it samples like any other.

use serde::{Deserialize, Serialize};

use crate::{
    DiffusionConfig, Grid, Loss, Prediction, SampleConfig, Schedule, Solver, Threshold, TimeDistribution, ValueError,
    Variance, Weighting, choice::Choice, error::Checks,
};

/// `GaussianDiffusion`'s arguments under its own names, with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianDiffusion {
    /// Side, or `[height, width]`. It has no default there; here its absence leaves the choice to the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<PeerSize>,
    /// T. Default 1000.
    pub timesteps: usize,
    /// Steps of sampling; all T, ancestral, when absent; DDIM when below T.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_timesteps: Option<usize>,
    /// Default `pred_v`.
    pub objective: Objective,
    /// Default `sigmoid`.
    pub beta_schedule: BetaSchedule,
    /// Parameters of the schedule.
    pub schedule_fn_kwargs: ScheduleArguments,
    /// DDIM's eta. Default 0.
    pub ddim_sampling_eta: f64,
    /// Whether data comes in `[0, 1]` and is scaled to `[-1, 1]` inside. Default true.
    pub auto_normalize: bool,
    /// Training only. Default 0.
    pub offset_noise_strength: f64,
    /// Whether the loss weight is clipped. Default false.
    pub min_snr_loss_weight: bool,
    /// Where it is clipped. Default 5.
    pub min_snr_gamma: f64,
    /// Training only; not offered here. Default false.
    pub immiscible: bool,
}

impl Default for GaussianDiffusion {
    fn default() -> Self {
        Self {
            image_size: None,
            timesteps: 1000,
            sampling_timesteps: None,
            objective: Objective::PredV,
            beta_schedule: BetaSchedule::Sigmoid,
            schedule_fn_kwargs: ScheduleArguments::default(),
            ddim_sampling_eta: 0.0,
            auto_normalize: true,
            offset_noise_strength: 0.0,
            min_snr_loss_weight: false,
            min_snr_gamma: 5.0,
            immiscible: false,
        }
    }
}

/// A side, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PeerSize {
    /// A square.
    Side(usize),
    /// `[height, width]`.
    Sides([usize; 2]),
}

impl PeerSize {
    /// `[height, width]`.
    pub const fn sides(self) -> [usize; 2] {
        match self {
            Self::Side(side) => [side, side],
            Self::Sides(sides) => sides,
        }
    }
}

/// What its network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The noise.
    PredNoise,
    /// The data.
    PredX0,
    /// The velocity.
    PredV,
}

/// Its schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// 1e-4..0.02 times 1000 / T.
    Linear,
    /// Nichol & Dhariwal.
    Cosine,
    /// Jabri et al.
    Sigmoid,
}

/// Parameters of its schedules; each schedule takes its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleArguments {
    /// Of `cosine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<f64>,
    /// Of `sigmoid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// Of `sigmoid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Of `sigmoid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// Of `sigmoid`; the peer accepts it and does not use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamp_min: Option<f64>,
}

/// A translated value, and what got lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated<T> {
    /// The translation.
    pub value: T,
    /// What has no counterpart, for a person to read. Sampling the model is not affected, except where the note says so.
    pub notes: Vec<String>,
}

impl GaussianDiffusion {
    /// Everything wrong; keys are the peer's.
    pub fn check(&self) -> Vec<ValueError> {
        let mut checks = Checks::default();
        let steps = self.sampling_timesteps.unwrap_or(self.timesteps);
        let accepted = format!("1 to {}, the timesteps", self.timesteps);
        checks.require((1..=self.timesteps).contains(&steps), "sampling_timesteps", steps, accepted);
        let eta = self.ddim_sampling_eta;
        checks.require((0.0..=1.0).contains(&eta), "ddim_sampling_eta", eta, "a number in [0, 1]");
        let strength = self.offset_noise_strength;
        checks.require((0.0..=10.0).contains(&strength), "offset_noise_strength", strength, "a number in [0, 10]");
        let gamma = self.min_snr_gamma;
        checks.require(gamma > 0.0 && gamma.is_finite(), "min_snr_gamma", gamma, "a number above 0");
        let given = self.schedule_fn_kwargs;
        let (cosine, sigmoid) =
            (self.beta_schedule == BetaSchedule::Cosine, self.beta_schedule == BetaSchedule::Sigmoid);
        let keys = [("s", given.s, cosine), ("start", given.start, sigmoid), ("end", given.end, sigmoid)];
        for (key, value, taken) in
            keys.into_iter().chain([("tau", given.tau, sigmoid), ("clamp_min", given.clamp_min, sigmoid)])
        {
            let key = format!("schedule_fn_kwargs.{key}");
            checks.require(value.is_none() || taken, &key, value, "no such key with this beta_schedule");
        }
        let renamed = |e: ValueError| ValueError { key: e.key.replace("schedule.", "schedule_fn_kwargs."), ..e };
        checks.0.extend(self.schedule().check(self.timesteps).into_iter().map(renamed));
        checks.0
    }

    fn schedule(&self) -> Schedule {
        let given = self.schedule_fn_kwargs;
        match self.beta_schedule {
            BetaSchedule::Linear => Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: true },
            BetaSchedule::Cosine => Schedule::Cosine { s: given.s.unwrap_or(0.008) },
            BetaSchedule::Sigmoid => Schedule::Sigmoid {
                start: given.start.unwrap_or(-3.0),
                end: given.end.unwrap_or(3.0),
                tau: given.tau.unwrap_or(1.0),
            },
        }
    }

    /// The same process here.
    pub fn diffusion(&self) -> Translated<DiffusionConfig> {
        let value = DiffusionConfig {
            timesteps: self.timesteps,
            schedule: self.schedule(),
            prediction: match self.objective {
                Objective::PredNoise => Prediction::Epsilon {},
                Objective::PredX0 => Prediction::X0 {},
                Objective::PredV => Prediction::Velocity {},
            },
            loss: Loss::L2 {},
            weighting: match self.min_snr_loss_weight {
                true => Weighting::MinSnr { gamma: self.min_snr_gamma },
                false => Weighting::Snr {},
            },
            variance: Variance::FixedSmall {},
            offset_noise: self.offset_noise_strength,
            ..DiffusionConfig::default()
        };
        let mut notes = Vec::new();
        if self.immiscible {
            notes.push("immiscible is not offered here; further training goes without it".to_owned());
        }
        Translated { value, notes }
    }

    /// Sampling as the peer's `sample` does it: DDIM below T steps, ancestral with all of them.
    pub fn sample(&self) -> SampleConfig {
        let steps = self.sampling_timesteps.unwrap_or(self.timesteps);
        let solver = match steps < self.timesteps {
            true => Solver::ddim(self.ddim_sampling_eta),
            false => Solver::Ancestral {},
        };
        SampleConfig { solver, grid: Grid::Even {}, steps, threshold: Threshold::Static {}, ..SampleConfig::default() }
    }

    /// Our process in the peer's arguments.
    ///
    /// # Errors
    /// A schedule or prediction that the peer does not have: its samples would be wrong.
    pub fn from_ours(ours: &DiffusionConfig, sample: &SampleConfig) -> Result<Translated<Self>, Vec<ValueError>> {
        let mut checks = Checks::default();
        let mut peer = Self { timesteps: ours.timesteps, offset_noise_strength: ours.offset_noise, ..Self::default() };
        let schedule = peer_schedule(&ours.schedule, ours.timesteps);
        let accepted = "linear 1e-4..0.02 times 1000 / T, cosine or sigmoid, which denoising-diffusion-pytorch has";
        checks.require(schedule.is_some(), "diffusion.schedule", &ours.schedule, accepted);
        let accepted = "false: denoising-diffusion-pytorch does not rescale";
        checks.require(!ours.zero_terminal_snr, "diffusion.zero_terminal_snr", true, accepted);
        let accepted = "a fixed variance: denoising-diffusion-pytorch's GaussianDiffusion learns none";
        checks.require(!ours.variance.is_learned(), "diffusion.variance", ours.variance.kind(), accepted);
        (peer.beta_schedule, peer.schedule_fn_kwargs) =
            schedule.unwrap_or((peer.beta_schedule, peer.schedule_fn_kwargs));
        match ours.prediction {
            Prediction::Epsilon {} => peer.objective = Objective::PredNoise,
            Prediction::X0 {} => peer.objective = Objective::PredX0,
            Prediction::Velocity {} => peer.objective = Objective::PredV,
            other => checks.require(false, "diffusion.prediction", other.kind(), "epsilon, x0 or velocity"),
        }
        if !checks.0.is_empty() {
            return Err(checks.0);
        }
        let mut notes = peer.take_training(ours);
        notes.extend(peer.take_sampling(ours, sample));
        Ok(Translated { value: peer, notes })
    }

    /// Takes over loss and weighting where the peer has them.
    fn take_training(&mut self, ours: &DiffusionConfig) -> Vec<String> {
        let mut notes = Vec::new();
        match ours.weighting {
            Weighting::MinSnr { gamma } => (self.min_snr_loss_weight, self.min_snr_gamma) = (true, gamma),
            Weighting::Simple {} if ours.prediction != Prediction::Epsilon {} => notes.push(
                "the peer weights the loss by SNR on x0 where this model was trained with simple weighting".to_owned(),
            ),
            Weighting::Simple {} | Weighting::Snr {} => {}
            Weighting::Vlb {} | Weighting::P2 { .. } | Weighting::PosteriorMean {} => {
                let kind = ours.weighting.kind();
                notes.push(format!("the peer weights the loss by SNR where this model was trained with {kind}"));
            }
        }
        if ours.times != (TimeDistribution::Uniform {}) {
            notes.push(format!("the peer trains uniform times; this model was trained with {}", ours.times.kind()));
        }
        if ours.loss != (Loss::L2 {}) {
            notes.push(format!("the peer trains with l2 only; this model was trained with {}", ours.loss.kind()));
        }
        notes
    }

    /// Takes over solver, grid and steps where the peer has them.
    fn take_sampling(&mut self, ours: &DiffusionConfig, sample: &SampleConfig) -> Vec<String> {
        let all = sample.steps == ours.timesteps;
        if let Solver::Ddim { eta, .. } = sample.solver {
            (self.sampling_timesteps, self.ddim_sampling_eta) = (Some(sample.steps), eta);
        }
        let same = match sample.solver {
            Solver::Ddim { .. } => !all,
            Solver::Ancestral {} => all && ours.variance == Variance::FixedSmall {},
            _ => false,
        };
        let grids = [&sample.grid, &Grid::Even {}].map(|g| g.steps(ours.timesteps, sample.steps).ok());
        let mut notes = Vec::new();
        if !same || grids[0] != grids[1] || sample.threshold != (Threshold::Static {}) {
            notes.push(
                "the peer samples with clipping, either DDIM on fewer than T even steps or ancestral with fixed_small on all \
                 of them, so its pictures differ from the ones sampled here"
                    .to_owned(),
            );
        }
        notes
    }
}

fn peer_schedule(ours: &Schedule, timesteps: usize) -> Option<(BetaSchedule, ScheduleArguments)> {
    let none = ScheduleArguments::default();
    match *ours {
        Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale } if rescale || timesteps == 1000 => {
            Some((BetaSchedule::Linear, none))
        }
        Schedule::Cosine { s } => Some((BetaSchedule::Cosine, ScheduleArguments { s: Some(s), ..none })),
        Schedule::Sigmoid { start, end, tau } => {
            let given = ScheduleArguments { start: Some(start), end: Some(end), tau: Some(tau), ..none };
            Some((BetaSchedule::Sigmoid, given))
        }
        _ => None,
    }
}
