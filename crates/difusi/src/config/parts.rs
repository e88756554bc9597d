//! The sections of a task that could be read: what is right is checked even where something else is wrong, so that every mistake
//! comes at once.

use difusi_metrics::{FeatureSource, Pixels};
use difusi_nn::{ClassifierConfig, ConfigIssue, FlowConfig, GanConfig, VaeConfig};
use difusi_process::{CondKind, DiffusionConfig, SampleConfig};
use difusi_train::TrainConfig;
use toml::{Table, Value};

use super::task::{ClassifierTask, DiffusionTask, FlowTask, GanTask, Task, VaeTask};
use super::{ConfigError, MOST_TIMESTEPS, strict};
use crate::families::{GanLoss, LatentSample, VaeLoss};
use crate::network::DiffusionNetworkConfig;

/// What `model.kind` may be.
pub(super) const MODEL_KINDS: [&str; 6] = ["unet", "adm", "vae", "gan", "flow", "classifier"];

/// The sections of each kind, in the order they are written. An unknown kind is taken for the usual one.
pub(super) fn sections(kind: &str) -> &'static [&'static str] {
    match kind {
        "vae" => &["data", "model", "vae", "train", "sample"],
        "gan" => &["data", "model", "gan", "train", "sample"],
        "flow" => &["data", "model", "train", "sample"],
        "classifier" => &["data", "model", "diffusion", "train"],
        _ => &["data", "model", "diffusion", "train", "sample"],
    }
}

/// Sections that were read; `None` where there was a mistake, or where the kind is not known.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved a few times")]
#[derive(Clone, Debug)]
pub(super) enum TaskParts {
    Diffusion {
        network: Option<DiffusionNetworkConfig>,
        diffusion: Option<DiffusionConfig>,
        sample: Option<SampleConfig>,
    },
    Vae {
        network: Option<VaeConfig>,
        loss: Option<VaeLoss>,
        sample: Option<LatentSample>,
    },
    Gan {
        network: Option<GanConfig>,
        loss: Option<GanLoss>,
        sample: Option<LatentSample>,
    },
    Flow {
        network: Option<FlowConfig>,
        sample: Option<LatentSample>,
    },
    Classifier {
        network: Option<ClassifierConfig>,
        /// Of a classifier of noisy images.
        diffusion: Option<DiffusionConfig>,
    },
}

impl TaskParts {
    /// Reads the sections of a kind; a network that says no `channels` has the data's.
    pub(super) fn read(table: &mut Table, kind: &str, channels: i64, errors: &mut Vec<ConfigError>) -> Self {
        fill(table, "channels", Value::Integer(channels));
        match kind {
            "vae" => Self::Vae {
                network: strict::section(table, "model", errors),
                loss: strict::section(table, "vae", errors),
                sample: strict::section(table, "sample", errors),
            },
            "gan" => Self::Gan {
                network: strict::section(table, "model", errors),
                loss: strict::section(table, "gan", errors),
                sample: strict::section(table, "sample", errors),
            },
            "flow" => Self::Flow {
                network: strict::section(table, "model", errors),
                sample: strict::section(table, "sample", errors),
            },
            "classifier" => {
                let network: Option<ClassifierConfig> = strict::section(table, "model", errors);
                let noisy = network.as_ref().is_none_or(|n| n.noisy);
                if !noisy && table.contains_key("diffusion") {
                    let accepted = "no such section, or model.noisy = true, whose images have the noise that it says";
                    errors.push(ConfigError::value("diffusion", "there", accepted));
                }
                let diffusion = if noisy { strict::section(table, "diffusion", errors) } else { None };
                Self::Classifier { network, diffusion }
            }
            _ => {
                let mut process_errors = Vec::new();
                let diffusion: Option<DiffusionConfig> = strict::section(table, "diffusion", &mut process_errors);
                if diffusion.as_ref().is_some_and(|d| d.variance.is_learned()) {
                    fill(table, "learned_variance", Value::Boolean(true));
                }
                let network = match kind {
                    "unet" => strict::section(table, "model", errors).map(DiffusionNetworkConfig::Unet),
                    "adm" => strict::section(table, "model", errors).map(DiffusionNetworkConfig::Adm),
                    _ => None,
                };
                errors.extend(process_errors);
                Self::Diffusion { network, diffusion, sample: strict::section(table, "sample", errors) }
            }
        }
    }

    /// All sections of a task.
    pub(super) fn of(task: &Task) -> Self {
        match task.clone() {
            Task::Diffusion(DiffusionTask { network, diffusion, sample }) => {
                Self::Diffusion { network: Some(network), diffusion: Some(diffusion), sample: Some(sample) }
            }
            Task::Vae(VaeTask { network, loss, sample }) => {
                Self::Vae { network: Some(network), loss: Some(loss), sample: Some(sample) }
            }
            Task::Gan(GanTask { network, loss, sample }) => {
                Self::Gan { network: Some(network), loss: Some(loss), sample: Some(sample) }
            }
            Task::Flow(FlowTask { network, sample }) => Self::Flow { network: Some(network), sample: Some(sample) },
            Task::Classifier(ClassifierTask { network, diffusion }) => {
                Self::Classifier { network: Some(network), diffusion }
            }
        }
    }

    /// The task, where every section could be read.
    pub(super) fn whole(self) -> Option<Task> {
        Some(match self {
            Self::Diffusion { network, diffusion, sample } => {
                Task::Diffusion(DiffusionTask { network: network?, diffusion: diffusion?, sample: sample? })
            }
            Self::Vae { network, loss, sample } => {
                Task::Vae(VaeTask { network: network?, loss: loss?, sample: sample? })
            }
            Self::Gan { network, loss, sample } => {
                Task::Gan(GanTask { network: network?, loss: loss?, sample: sample? })
            }
            Self::Flow { network, sample } => Task::Flow(FlowTask { network: network?, sample: sample? }),
            Self::Classifier { network, diffusion } => {
                let network = network?;
                if network.noisy && diffusion.is_none() {
                    return None;
                }
                Task::Classifier(ClassifierTask { network, diffusion })
            }
        })
    }

    /// Channels the network takes.
    pub(super) fn channels(&self) -> Option<usize> {
        match self {
            Self::Diffusion { network, .. } => network.as_ref().map(DiffusionNetworkConfig::channels),
            Self::Vae { network, .. } => network.as_ref().map(|n| n.channels),
            Self::Gan { network, .. } => network.as_ref().map(|n| n.channels),
            Self::Flow { network, .. } => network.as_ref().map(|n| n.channels),
            Self::Classifier { network, .. } => network.as_ref().map(|n| n.channels),
        }
    }

    /// Values out of range, and pairs that do not go together, among what is there; with `training` also those that keep it from
    /// being trained.
    pub(super) fn check(&self, training: bool) -> Vec<ConfigError> {
        let mut errors: Vec<ConfigError> = self.network_issues().into_iter().map(named).collect();
        let latent = |sample: &Option<LatentSample>| sample.as_ref().map(LatentSample::check).unwrap_or_default();
        match self {
            Self::Diffusion { network, diffusion, sample } => {
                errors.extend(check_process(diffusion.as_ref(), sample.as_ref(), training));
                if let (Some(network), Some(diffusion), true) = (network, diffusion, training) {
                    errors.extend(check_variance(network, diffusion));
                    errors.extend(check_classes(network, diffusion));
                }
            }
            Self::Vae { loss, sample, .. } => {
                errors.extend(loss.as_ref().map(VaeLoss::check).unwrap_or_default());
                errors.extend(latent(sample));
            }
            Self::Gan { sample, .. } | Self::Flow { sample, .. } => errors.extend(latent(sample)),
            Self::Classifier { diffusion, .. } => errors.extend(check_process(diffusion.as_ref(), None, training)),
        }
        errors
    }

    /// Pictures are evaluated in training where there are some, through features of a known name.
    pub(super) fn check_evaluation(&self, train: &TrainConfig) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if train.eval_every > 0 && matches!(self, Self::Classifier { .. }) {
            let accepted = "0 with model.kind = \"classifier\", which draws no pictures";
            errors.push(ConfigError::value("train.eval_every", train.eval_every, accepted));
        }
        let name = &train.eval_features;
        let known = Pixels::named(name).map_or_else(|| name.parse::<FeatureSource>().is_ok(), |found| found.is_ok());
        if !known {
            let accepted = "pixels, pixels:SIDE (1 to 64), inception, inception:FILE, mnist-cnn:FILE, resnet20:FILE or a FILE of \
                            such weights, or the RUN of a classifier";
            errors.push(ConfigError::value("train.eval_features", format!("\"{name}\""), accepted));
        }
        errors
    }

    fn network_issues(&self) -> Vec<ConfigIssue> {
        match self {
            Self::Diffusion { network, .. } => network.as_ref().map(DiffusionNetworkConfig::check),
            Self::Vae { network, .. } => network.as_ref().map(VaeConfig::check),
            Self::Gan { network, .. } => network.as_ref().map(GanConfig::check),
            Self::Flow { network, .. } => network.as_ref().map(FlowConfig::check),
            Self::Classifier { network, .. } => network.as_ref().map(ClassifierConfig::check),
        }
        .unwrap_or_default()
    }
}

/// A key of `[model]` that is not there.
fn fill(table: &mut Table, key: &str, value: Value) {
    if let Some(model) = table.get_mut("model").and_then(Value::as_table_mut) {
        model.entry(key).or_insert(value);
    }
}

fn named(e: ConfigIssue) -> ConfigError {
    ConfigError::value(format!("model.{}", e.key), e.value, e.accepted)
}

fn check_process(
    diffusion: Option<&DiffusionConfig>,
    sample: Option<&SampleConfig>,
    training: bool,
) -> Vec<ConfigError> {
    let mut errors: Vec<ConfigError> = Vec::new();
    if let Some(diffusion) = diffusion {
        errors.extend(diffusion.check().iter().map(ConfigError::message));
        if training {
            errors.extend(diffusion.check_training().iter().map(ConfigError::message));
        }
    }
    if let Some(sample) = sample {
        // Where T is not known, only its limit is.
        let timesteps = diffusion.map_or(MOST_TIMESTEPS, |d| d.timesteps);
        errors.extend(sample.check(timesteps).iter().map(ConfigError::message));
    }
    errors
}

/// A network that is told classes, and a process that tells them, go together.
fn check_classes(network: &DiffusionNetworkConfig, diffusion: &DiffusionConfig) -> Option<ConfigError> {
    let library = "no data set here has tokens; the library trains with those that it is given";
    if let Some(tokens) = network.tokens() {
        return Some(ConfigError::value("model.tokens", tokens, format!("no such key: {library}")));
    }
    if diffusion.cond == CondKind::Tokens {
        return Some(ConfigError::value("diffusion.cond", "tokens", format!("none or label: {library}")));
    }
    match (diffusion.cond, network.classes()) {
        (CondKind::Label, None) => {
            let accepted =
                "the number of classes of the data (`difusi data info DATA` tells it), with diffusion.cond = \"label\"";
            Some(ConfigError::value("model.classes", "absent", accepted))
        }
        (CondKind::None, Some(_)) => {
            Some(ConfigError::value("diffusion.cond", "none", "label, with model.classes (or no such key there)"))
        }
        (CondKind::Label, Some(_)) if !network.null_class() && diffusion.cond_dropout > 0.0 => {
            let accepted = "true (or no such key), or diffusion.cond_dropout = 0: images whose label is dropped have the class for none";
            Some(ConfigError::value("model.null_class", false, accepted))
        }
        _ => None,
    }
}

fn check_variance(network: &DiffusionNetworkConfig, diffusion: &DiffusionConfig) -> Option<ConfigError> {
    let bad = diffusion.variance.is_learned() && network.output_channels() != 2 * network.channels();
    let accepted = "true (or no such key) with diffusion.variance = \"learned_range\", and no other out_dim";
    bad.then(|| ConfigError::value("model.learned_variance", network.learned_variance(), accepted))
}
