//! `RunConfig`: one experiment, from TOML to a typed, checked value.
//!
//! A preset is exactly such a file. Unknown keys, wrong types and bad values are reported all at once, each with its key, what
//! was found and what is accepted. Deliberately absent: defaults of single keys (each room documents its own).

mod compare;
mod error;
mod strict;

use difusi_data::DataConfig;
use difusi_nn::UnetConfig;
use difusi_process::{DiffusionConfig, SampleConfig};
use difusi_train::TrainConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use error::{ConfigError, ConfigErrors};

/// The sections of a config, in the order they are written.
const SECTIONS: [&str; 5] = ["data", "model", "diffusion", "train", "sample"];

/// The largest T.
const MOST_TIMESTEPS: usize = 1_000_000;

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// What to learn from.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The process: schedule, prediction, loss.
    pub diffusion: DiffusionConfig,
    /// How to train.
    pub train: TrainConfig,
    /// How to sample.
    pub sample: SampleConfig,
}

/// The network; `kind` chooses the family, each with strict keys of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelConfig {
    /// The U-Net of denoising-diffusion-pytorch.
    Unet(UnetConfig),
}

impl RunConfig {
    /// Reads a config.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        Self::parse_with(text, &[])
    }

    /// Reads a config with `key=value` overrides (`train.steps=200`); values are TOML, or else taken as strings.
    ///
    /// # Errors
    /// Every mistake in the text and the overrides.
    pub fn parse_with(text: &str, overrides: &[String]) -> Result<Self, ConfigErrors> {
        let mut table = parse_table(text)?;
        apply(&mut table, overrides)?;
        Self::from_table(table)
    }

    fn from_table(mut table: Table) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let known: Vec<String> = SECTIONS.iter().map(ToString::to_string).collect();
        for key in table.keys().filter(|k| !SECTIONS.contains(&k.as_str())) {
            errors.push(ConfigError::unknown(key, key, &known));
        }
        table.retain(|key, _| SECTIONS.contains(&key));
        let data_kind = take_kind(&mut table, "data", &DATA_KINDS, &mut errors);
        let model_kind = take_kind(&mut table, "model", &MODEL_KINDS, &mut errors);
        let data = data_section(&table, &data_kind, &mut errors);
        // Where [data] is wrong, its channels are unknown; that is no second mistake.
        let channels = data.as_ref().map_or(1, |d| i64::try_from(d.channels()).unwrap_or(i64::MAX));
        let mut process_errors = Vec::new();
        let diffusion: Option<DiffusionConfig> = strict::section(&table, "diffusion", &mut process_errors);
        let learned = diffusion.as_ref().is_some_and(|d| d.variance.is_learned());
        let model = table.get_mut("model").and_then(Value::as_table_mut);
        if let Some(model) = model {
            model.entry("channels").or_insert(Value::Integer(channels));
            if learned {
                model.entry("learned_variance").or_insert(Value::Boolean(true));
            }
        }
        let model = model_section(&table, &model_kind, &mut errors);
        errors.extend(process_errors);
        let train = strict::section(&table, "train", &mut errors);
        let sample = strict::section(&table, "sample", &mut errors);
        let parts = Parts {
            data: data.as_ref(),
            model: model.as_ref(),
            diffusion: diffusion.as_ref(),
            train: train.as_ref(),
            sample: sample.as_ref(),
        };
        errors.extend(parts.check());
        match (data, model, diffusion, train, sample) {
            (Some(data), Some(model), Some(diffusion), Some(train), Some(sample)) if errors.is_empty() => {
                Ok(Self { data, model, diffusion, train, sample })
            }
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// Every value that is out of its range, and every two that do not go together.
    ///
    /// # Errors
    /// All of them.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let Self { data, model, diffusion, train, sample } = self;
        let (data, model, diffusion) = (Some(data), Some(model), Some(diffusion));
        let errors = Parts { data, model, diffusion, train: Some(train), sample: Some(sample) }.check();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }

    /// The config as TOML, every key written out.
    ///
    /// # Errors
    /// A value TOML cannot hold (a number above `i64::MAX`).
    pub fn to_toml(&self) -> Result<String, ConfigErrors> {
        toml::to_string(self)
            .map_err(|e| ConfigError::message(format!("the config cannot be written as TOML: {e}")).into())
    }
}

/// The sections that could be read.
struct Parts<'a> {
    data: Option<&'a DataConfig>,
    model: Option<&'a ModelConfig>,
    diffusion: Option<&'a DiffusionConfig>,
    train: Option<&'a TrainConfig>,
    sample: Option<&'a SampleConfig>,
}

impl Parts<'_> {
    /// Values out of range, and pairs that do not go together, among what is there.
    fn check(&self) -> Vec<ConfigError> {
        let mut errors: Vec<ConfigError> = Vec::new();
        if let Some(data) = self.data {
            errors.extend(data.check().iter().map(ConfigError::message));
        }
        if let Some(ModelConfig::Unet(unet)) = self.model {
            let named = |e: difusi_nn::ConfigIssue| ConfigError::value(format!("model.{}", e.key), e.value, e.accepted);
            errors.extend(unet.check().into_iter().map(named));
        }
        if let Some(diffusion) = self.diffusion {
            errors.extend(diffusion.check().iter().map(ConfigError::message));
            errors.extend(diffusion.check_training().iter().map(ConfigError::message));
        }
        if let Some(train) = self.train {
            errors.extend(train.check().iter().map(ConfigError::message));
        }
        if let Some(sample) = self.sample {
            // Where T is not known, only its limit is.
            let timesteps = self.diffusion.map_or(MOST_TIMESTEPS, |d| d.timesteps);
            errors.extend(sample.check(timesteps).iter().map(ConfigError::message));
        }
        if let (Some(data), Some(model)) = (self.data, self.model)
            && data.channels() != model.channels()
        {
            let accepted = format!("{}, the channels of the data (or no such key)", data.channels());
            errors.push(ConfigError::value("model.channels", model.channels(), accepted));
        }
        if let (Some(ModelConfig::Unet(unet)), Some(diffusion)) = (self.model, self.diffusion)
            && diffusion.variance.is_learned()
            && unet.output_channels() != 2 * unet.channels
        {
            let accepted = "true (or no such key) with diffusion.variance = \"learned_range\", and no other out_dim";
            errors.push(ConfigError::value("model.learned_variance", unet.learned_variance, accepted));
        }
        errors
    }
}

impl ModelConfig {
    /// Image channels the network takes.
    pub fn channels(&self) -> usize {
        let Self::Unet(unet) = self;
        unet.channels
    }
}

/// A schedule as typed: a kind (`linear`) or a TOML table (`{kind = "linear", beta_end = 0.02}`), checked at `timesteps` steps.
///
/// # Errors
/// Every mistake in it.
pub fn parse_schedule(text: &str, timesteps: usize) -> Result<difusi_process::Schedule, ConfigErrors> {
    let mut table = Table::new();
    apply(&mut table, &[format!("schedule={text}"), format!("timesteps={timesteps}")])?;
    let config: DiffusionConfig = strict_value(table, "")?;
    let errors: Vec<ConfigError> = config.check().iter().map(ConfigError::message).collect();
    if errors.is_empty() { Ok(config.schedule) } else { Err(ConfigErrors(errors)) }
}

/// The `[sample]` section `base` with `key=value` overrides (`solver.eta=0.5`), checked against `timesteps`.
///
/// # Errors
/// Every mistake in the overrides.
pub fn override_sample(
    base: &SampleConfig,
    overrides: &[String],
    timesteps: usize,
) -> Result<SampleConfig, ConfigErrors> {
    let mut table = Table::new();
    table.insert("sample".into(), Value::try_from(base).map_err(ConfigError::message)?);
    let overrides: Vec<String> = overrides.iter().map(|o| format!("sample.{o}")).collect();
    apply(&mut table, &overrides)?;
    let mut errors = Vec::new();
    match strict::section::<SampleConfig>(&table, "sample", &mut errors) {
        Some(sample) => {
            errors.extend(sample.check(timesteps).iter().map(ConfigError::message));
            if errors.is_empty() { Ok(sample) } else { Err(ConfigErrors(errors)) }
        }
        None => Err(ConfigErrors(errors)),
    }
}

/// A strict value of any config type from a TOML table; `name` is what errors call its root.
pub(crate) fn strict_value<T: serde::de::DeserializeOwned>(table: Table, name: &str) -> Result<T, ConfigErrors> {
    let mut errors = Vec::new();
    let value = match name {
        "" => strict::section(&table, "", &mut errors),
        name => strict::section(&Table::from_iter([(name.to_owned(), Value::Table(table))]), name, &mut errors),
    };
    value.ok_or(ConfigErrors(errors))
}

/// Takes `kind` out of a section whose kinds have keys of their own; notes an error where it is absent or unknown. The section is
/// then read as what its kind says, so that an error names the very key (serde's tagged enums lose it).
fn take_kind(table: &mut Table, section: &str, kinds: &[&str], errors: &mut Vec<ConfigError>) -> String {
    let kind = table.get_mut(section).and_then(Value::as_table_mut).and_then(|t| t.remove("kind"));
    match &kind {
        Some(Value::String(kind)) if kinds.contains(&kind.as_str()) => return kind.clone(),
        _ => {}
    }
    let got = kind.map_or_else(|| "absent".to_owned(), |k| k.to_string());
    errors.push(ConfigError::value(format!("{section}.kind"), got, format!("one of {}", kinds.join(", "))));
    String::new()
}

const DATA_KINDS: [&str; 4] = ["digits", "idx", "cifar10", "folder"];
const MODEL_KINDS: [&str; 1] = ["unet"];

fn data_section(table: &Table, kind: &str, errors: &mut Vec<ConfigError>) -> Option<DataConfig> {
    match kind {
        "digits" => strict::section(table, "data", errors).map(DataConfig::Digits),
        "idx" => strict::section(table, "data", errors).map(DataConfig::Idx),
        "cifar10" => strict::section(table, "data", errors).map(DataConfig::Cifar10),
        "folder" => strict::section(table, "data", errors).map(DataConfig::Folder),
        _ => None,
    }
}

fn model_section(table: &Table, kind: &str, errors: &mut Vec<ConfigError>) -> Option<ModelConfig> {
    match kind {
        "unet" => strict::section(table, "model", errors).map(ModelConfig::Unet),
        _ => None,
    }
}

/// TOML text to a table.
pub(crate) fn parse_table(text: &str) -> Result<Table, ConfigErrors> {
    text.parse::<Table>()
        .map_err(|e| ConfigError::message(format!("not valid TOML: {}", e.to_string().trim_end())).into())
}

/// Sets `a.b.c=value` in a table.
fn apply(table: &mut Table, overrides: &[String]) -> Result<(), ConfigErrors> {
    let mut errors = Vec::new();
    for text in overrides {
        let Some((key, value)) = text.split_once('=') else {
            errors.push(ConfigError::message(format!(
                "`--set {text}` has no `=`; expected KEY=VALUE, as in train.steps=200"
            )));
            continue;
        };
        let value = format!("v = {}", value.trim()).parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        let value = value.unwrap_or_else(|| Value::String(text.split_once('=').map_or("", |p| p.1).trim().to_owned()));
        if let Err(e) = set(table, key.trim(), value) {
            errors.push(e);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<(), ConfigError> {
    let parts: Vec<&str> = key.split('.').collect();
    let Some((last, above)) = parts.split_last().filter(|_| parts.iter().all(|p| !p.is_empty())) else {
        return Err(ConfigError::value(key, "not a key", "section.name, as in train.steps"));
    };
    let mut here = table;
    for part in above {
        let next = here.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        // `schedule = "linear"` is short for `{ kind = "linear" }`.
        if let Value::String(kind) = next {
            let kind = ("kind".to_owned(), Value::String(std::mem::take(kind)));
            *next = Value::Table(Table::from_iter([kind]));
        }
        let found = next.to_string();
        let Value::Table(table) = next else {
            return Err(ConfigError::value(key, found, "a key of a table"));
        };
        here = table;
    }
    // Another kind has other keys: the old kind's are dropped.
    if *last == "kind" && here.get("kind") != Some(&value) {
        here.clear();
    }
    here.insert((*last).to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
