//! `[train]`: every key, its default and what it accepts.
//!
//! Deliberately absent: the data set, the network and the objective, which have sections of their own.

use serde::{Deserialize, Serialize};

use difusi_core::Precision;

use crate::{LearningRateSchedule, MicroBatch, OptimizerConfig};

/// One value of `[train]` that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {got}; expected {accepted}")]
pub struct ConfigIssue {
    /// The full key, for example `train.batch_size`.
    pub key: String,
    /// What was found.
    pub got: String,
    /// What is accepted.
    pub accepted: String,
}

/// How training goes. In TOML: the section `[train]`; every key may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps in the whole run; 1 or more. Default 10000.
    pub steps: u64,
    /// Images per batch; 1 or more. Default 32.
    pub batch_size: usize,
    /// Batches whose gradients are averaged into one step; 1 or more. Default 1.
    pub accumulation: usize,
    /// Images that go through the network at once: `"auto"` or a whole number up to `batch_size`. It bounds memory and changes
    /// the result only by rounding. Default `"auto"`: as many as memory holds.
    pub micro_batch: MicroBatch,
    /// Peak learning rate; above 0. Default 1e-4.
    pub learning_rate: f64,
    /// How the learning rate falls after the warm-up. Default `{ kind = "constant" }`.
    pub learning_rate_schedule: LearningRateSchedule,
    /// Steps in which the learning rate rises linearly to its peak; 0 switches warm-up off. Default 0.
    pub warmup_steps: u64,
    /// The optimiser. Default `{ kind = "adam", beta1 = 0.9, beta2 = 0.99, eps = 1e-8 }`.
    pub optimizer: OptimizerConfig,
    /// Largest L2 norm of the gradient of one step; longer ones are scaled down to it. 0 switches clipping off. Default 1.
    pub clip: f64,
    /// Rates of the averages kept of the weights, each in [0, 1); `[]` keeps none. Default `[0.995]`.
    pub ema: Vec<f64>,
    /// Whether an average starts fast: the rate of its update `n` (from 0) is `min(rate, (1 + n) / (10 + n))`. Default true.
    pub ema_warmup: bool,
    /// Steps between updates of the averages; 1 or more. Default 1.
    pub ema_every: u64,
    /// Seed of everything random in training. Default 0.
    pub seed: u64,
    /// Number format of activations and their gradients, `"f32"` or `"bf16"`; weights, their gradients, sums, norms and losses are
    /// f32 in both. bf16 halves the memory and is there on the CPU only. Default `"f32"`.
    pub precision: Precision,
    /// Fraction of the images held out for validation, in [0, 0.5]; 0 holds out none. Default 0.
    pub validation: f64,
    /// Most images one validation looks at; of an unlimited data set exactly so many are held out. 1 or more. Default 512.
    pub validation_images: u64,
    /// Steps between validations; 0 for never. Default 1000.
    pub validation_every: u64,
    /// Steps between checkpoints; 0 for only at the end. Default 1000.
    pub save_every: u64,
    /// Steps between sample pictures; 0 for only at the end. Default 1000.
    pub sample_every: u64,
    /// Steps between evaluations: FID and KID of pictures that the first average draws (as `[sample]` says) against the images of the
    /// data, at most 10,000 of them. The numbers go to `metrics.csv` and `loss.svg`, the model with the lowest FID so far is kept as
    /// `best.safetensors`, and the last step is evaluated too. 0 for never, the only value for a classifier. Default 0.
    pub eval_every: u64,
    /// Pictures drawn and compared in an evaluation; 2 or more. FID is biased upwards for few. Default 2048.
    pub eval_images: usize,
    /// What sees features in pictures, a name that `difusi eval --features` takes: `"pixels"` (grey, 8x8), `"pixels:SIDE"`,
    /// `"inception"` (after `difusi data fetch inception`), `"inception:FILE"`, `"mnist-cnn:FILE"`, `"resnet20:FILE"`, a file of such
    /// weights, or the run folder or model file of a classifier that was trained here. Default `"pixels"`.
    pub eval_features: String,
    /// Checkpoints kept, the newest; 1 or more. Default 3.
    pub keep: usize,
    /// Whether cheap activations are computed again in the backward pass instead of being kept. Default false.
    pub checkpoint_activations: bool,
    /// Steps between rows of `metrics.csv`; 1 or more. Default 10.
    pub log_every: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch_size: 32,
            accumulation: 1,
            micro_batch: MicroBatch::Auto,
            learning_rate: 1e-4,
            learning_rate_schedule: LearningRateSchedule::Constant {},
            warmup_steps: 0,
            optimizer: OptimizerConfig::default(),
            clip: 1.0,
            ema: vec![0.995],
            ema_warmup: true,
            ema_every: 1,
            seed: 0,
            precision: Precision::F32,
            validation: 0.0,
            validation_images: 512,
            validation_every: 1000,
            save_every: 1000,
            sample_every: 1000,
            eval_every: 0,
            eval_images: 2048,
            eval_features: "pixels".to_owned(),
            keep: 3,
            checkpoint_activations: false,
            log_every: 10,
        }
    }
}

/// Keys that may differ between a run and its resumption: they do not change what a step computes. (`steps` does where the
/// learning rate falls towards the end of the run: making a run longer stretches what is left of that curve.)
pub(crate) const FREE_KEYS: &[&str] = &[
    "steps",
    "save_every",
    "sample_every",
    "eval_every",
    "eval_images",
    "eval_features",
    "keep",
    "log_every",
    "validation_every",
    "micro_batch", // decided once; the state holds the number, and it is compared there
];

impl TrainConfig {
    /// Everything that is not accepted, named by its full key; empty where all is well.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = Issues(Vec::new());
        for (key, value) in [
            ("steps", self.steps),
            ("batch_size", self.batch_size as u64),
            ("accumulation", self.accumulation as u64),
            ("ema_every", self.ema_every),
            ("validation_images", self.validation_images),
            ("keep", self.keep as u64),
            ("log_every", self.log_every),
        ] {
            issues.unless(value >= 1, key, value, "a whole number, 1 or more");
        }
        issues.unless(self.eval_images >= 2, "eval_images", self.eval_images, "a whole number, 2 or more");
        if let MicroBatch::Images(n) = self.micro_batch {
            let accepted = format!("\"auto\" or a whole number from 1 to train.batch_size ({})", self.batch_size);
            issues.unless(n >= 1 && n <= self.batch_size, "micro_batch", n, &accepted);
        }
        issues.unless(positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0");
        issues.unless(
            self.clip.is_finite() && self.clip >= 0.0,
            "clip",
            self.clip,
            "a number above 0, or 0 for no clipping",
        );
        issues.unless((0.0..=0.5).contains(&self.validation), "validation", self.validation, "a number in [0, 0.5]");
        self.check_schedule(&mut issues);
        self.check_optimizer(&mut issues);
        self.check_ema(&mut issues);
        issues.0
    }

    fn check_schedule(&self, issues: &mut Issues) {
        use LearningRateSchedule::{Constant, Cosine, Linear};
        match self.learning_rate_schedule {
            Constant {} => {}
            Cosine { final_fraction: f } | Linear { final_fraction: f } => {
                issues.unless(
                    (0.0..=1.0).contains(&f),
                    "learning_rate_schedule.final_fraction",
                    f,
                    "a number in [0, 1]",
                );
            }
        }
    }

    fn check_optimizer(&self, issues: &mut Issues) {
        let (b1, b2, e, decay) = match self.optimizer {
            OptimizerConfig::Adam { beta1, beta2, eps } => (beta1, beta2, eps, 0.0),
            OptimizerConfig::Adamw { beta1, beta2, eps, weight_decay } => (beta1, beta2, eps, weight_decay),
        };
        issues.unless((0.0..1.0).contains(&b1), "optimizer.beta1", b1, "a number in [0, 1)");
        issues.unless((0.0..1.0).contains(&b2), "optimizer.beta2", b2, "a number in [0, 1)");
        issues.unless(positive(e), "optimizer.eps", e, "a number above 0");
        issues.unless(decay.is_finite() && decay >= 0.0, "optimizer.weight_decay", decay, "a number, 0 or more");
    }

    fn check_ema(&self, issues: &mut Issues) {
        for (i, rate) in self.ema.iter().enumerate() {
            issues.unless((0.0..1.0).contains(rate), &format!("ema[{i}]"), rate, "a number in [0, 1)");
            issues.unless(
                !self.ema[..i].contains(rate),
                &format!("ema[{i}]"),
                rate,
                "rates that differ from each other",
            );
        }
    }

    /// Images that one step consumes: `batch_size * accumulation`.
    pub fn images_per_step(&self) -> u64 {
        self.batch_size as u64 * self.accumulation as u64
    }

    /// The learning rate of the step that follows `done` finished steps.
    pub fn learning_rate_at(&self, done: u64) -> f64 {
        if done < self.warmup_steps {
            return self.learning_rate * (done + 1) as f64 / self.warmup_steps as f64;
        }
        let rest = self.steps.saturating_sub(self.warmup_steps).saturating_sub(1).max(1);
        let p = ((done - self.warmup_steps) as f64 / rest as f64).min(1.0);
        self.learning_rate
            * match self.learning_rate_schedule {
                LearningRateSchedule::Constant {} => 1.0,
                LearningRateSchedule::Cosine { final_fraction: f } => {
                    f + (1.0 - f) * (1.0 + (std::f64::consts::PI * p).cos()) / 2.0
                }
                LearningRateSchedule::Linear { final_fraction: f } => 1.0 - (1.0 - f) * p,
            }
    }
}

fn positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

struct Issues(Vec<ConfigIssue>);

impl Issues {
    fn unless(&mut self, fine: bool, key: &str, got: impl ToString, accepted: &str) {
        if !fine {
            let (key, got, accepted) = (format!("train.{key}"), got.to_string(), accepted.to_owned());
            self.0.push(ConfigIssue { key, got, accepted });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<TrainConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn defaults_are_accepted_and_survive_a_round_trip() {
        let c = TrainConfig::default();
        assert_eq!(c.check(), vec![]);
        assert_eq!(parse("{}").unwrap(), c);
        assert_eq!(parse(&serde_json::to_string(&c).unwrap()).unwrap(), c);
    }

    #[test]
    fn micro_batch_is_a_word_or_a_number() {
        assert_eq!(parse(r#"{"micro_batch": "auto"}"#).unwrap().micro_batch, MicroBatch::Auto);
        assert_eq!(parse(r#"{"micro_batch": 7}"#).unwrap().micro_batch, MicroBatch::Images(7));
        for bad in [r#"{"micro_batch": "all"}"#, r#"{"micro_batch": -1}"#, r#"{"micro_batch": 1.5}"#] {
            assert!(parse(bad).unwrap_err().to_string().contains("\"auto\" or a whole number"), "{bad}");
        }
    }

    #[test]
    fn typos_are_errors_in_every_table() {
        for bad in [
            r#"{"stepz": 1}"#,
            r#"{"learning_rate_schedule": {"kind": "constant", "fraction": 0}}"#,
            r#"{"learning_rate_schedule": {"kind": "cosine", "fraction": 0}}"#,
            r#"{"learning_rate_schedule": {"kind": "linear", "fraction": 0}}"#,
            r#"{"optimizer": {"kind": "adam", "weight_decay": 0}}"#,
            r#"{"optimizer": {"kind": "adamw", "decay": 0}}"#,
        ] {
            assert!(parse(bad).unwrap_err().to_string().contains("unknown field"), "{bad}");
        }
        assert_eq!(parse(r#"{"precision": "bf16"}"#).unwrap().precision, Precision::Bf16);
        let error = parse(r#"{"precision": "f16"}"#).unwrap_err().to_string();
        assert!(error.contains("expected `f32` or `bf16`"), "{error}");
    }

    #[test]
    fn all_mistakes_come_at_once_with_key_value_and_what_is_accepted() {
        let bad = TrainConfig {
            steps: 0,
            batch_size: 4,
            micro_batch: MicroBatch::Images(5),
            learning_rate: f64::NAN,
            learning_rate_schedule: LearningRateSchedule::Cosine { final_fraction: 2.0 },
            optimizer: OptimizerConfig::Adamw { beta1: 1.0, beta2: 0.99, eps: 0.0, weight_decay: -1.0 },
            clip: -1.0,
            ema: vec![1.0, 0.9, 0.9],
            validation: 0.6,
            keep: 0,
            eval_images: 1,
            ..TrainConfig::default()
        };
        let text: Vec<String> = bad.check().iter().map(ToString::to_string).collect();
        let keys = [
            "train.steps",
            "train.keep",
            "train.eval_images",
            "train.micro_batch",
            "train.learning_rate",
            "train.clip",
            "train.validation",
            "train.learning_rate_schedule.final_fraction",
            "train.optimizer.beta1",
            "train.optimizer.eps",
            "train.optimizer.weight_decay",
            "train.ema[0]",
            "train.ema[2]",
        ];
        for key in keys {
            assert!(text.iter().any(|t| t.starts_with(&format!("`{key}`"))), "{key} not in {text:#?}");
        }
        assert_eq!(text.len(), keys.len(), "{text:#?}");
        assert_eq!(text[0], "`train.steps` is 0; expected a whole number, 1 or more");
    }

    fn curve(schedule: LearningRateSchedule) -> Vec<f64> {
        let c = TrainConfig {
            steps: 101,
            warmup_steps: 10,
            learning_rate: 2.0,
            learning_rate_schedule: schedule,
            ..TrainConfig::default()
        };
        (0..101).map(|s| c.learning_rate_at(s)).collect()
    }

    /// Warm-up rises in equal strides to the peak; the falling curves start there, end at their fraction and never rise.
    #[test]
    fn learning_rate_rises_then_falls() {
        use LearningRateSchedule::{Constant, Cosine, Linear};
        for schedule in [Constant {}, Cosine { final_fraction: 0.1 }, Linear { final_fraction: 0.1 }] {
            let lr = curve(schedule);
            for (i, v) in lr[..10].iter().enumerate() {
                assert!((v - 0.2 * (i + 1) as f64).abs() < 1e-12);
            }
            assert_eq!((lr[9], lr[10]), (2.0, 2.0));
            assert!(lr[10..].windows(2).all(|w| w[1] <= w[0]));
            let end = if schedule == (Constant {}) { 2.0 } else { 0.2 };
            assert!((lr[100] - end).abs() < 1e-12, "{schedule:?} ends at {}", lr[100]);
        }
        let middle = |s| curve(s)[55];
        assert!((middle(Cosine { final_fraction: 0.0 }) - 1.0).abs() < 1e-12);
        assert!((middle(Linear { final_fraction: 0.0 }) - 1.0).abs() < 1e-12);
    }

    /// Past the last step the curve stays where it ended.
    #[test]
    fn learning_rate_stays_at_its_end() {
        let c = TrainConfig {
            steps: 5,
            learning_rate_schedule: LearningRateSchedule::Cosine { final_fraction: 0.5 },
            ..TrainConfig::default()
        };
        assert!((c.learning_rate_at(50) - 0.5e-4).abs() < 1e-18);
    }
}
