//! `RunConfig`: one experiment, from TOML to a typed, checked value.
//!
//! A preset is exactly such a file. Unknown keys, wrong types and bad values are reported all at once, each with its key, what
//! was found and what is accepted. Deliberately absent: defaults of single keys (each room documents its own).

mod compare;
mod error;
mod parts;
mod strict;
mod task;

use difusi_data::DataConfig;
use difusi_process::{DiffusionConfig, SampleConfig};
use difusi_train::TrainConfig;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use toml::{Table, Value};

use crate::families::LatentSample;
pub use error::{ConfigError, ConfigErrors};
use parts::{MODEL_KINDS, TaskParts, sections};
pub(crate) use task::StoredTask;
pub use task::{ClassifierTask, DiffusionTask, Drawing, FlowTask, GanTask, ModelConfig, Task, VaeTask};

/// The largest T.
const MOST_TIMESTEPS: usize = 1_000_000;

/// One experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// What to learn from.
    pub data: DataConfig,
    /// What to train: the network, what it is trained for, how it draws.
    pub task: Task,
    /// How to train.
    pub train: TrainConfig,
}

/// The sections, in the order they are written.
impl Serialize for RunConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("data", &self.data)?;
        self.task.serialize_model(&mut map)?;
        map.serialize_entry("train", &self.train)?;
        self.task.serialize_sample(&mut map)?;
        map.end()
    }
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

    /// Reads a config whose `[data]` section is replaced by `data`, then with overrides.
    ///
    /// # Errors
    /// Every mistake in the text and the overrides.
    pub(crate) fn parse_with_data(text: &str, data: &DataConfig, overrides: &[String]) -> Result<Self, ConfigErrors> {
        let mut table = parse_table(text)?;
        table.insert("data".to_owned(), Value::try_from(data).map_err(ConfigError::message)?);
        apply(&mut table, overrides)?;
        Self::from_table(table)
    }

    fn from_table(mut table: Table) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut kinds = Vec::new();
        let data_kind = take_kind(&mut table, "data", &DATA_KINDS, &mut kinds);
        let model_kind = take_kind(&mut table, "model", &MODEL_KINDS, &mut kinds);
        check_sections(&table, &model_kind, &mut errors);
        errors.extend(kinds);
        let data = data_section(&table, &data_kind, &mut errors);
        // Where [data] is wrong, its channels are unknown; that is no second mistake.
        let channels = data.as_ref().map_or(1, |d| i64::try_from(d.channels()).unwrap_or(i64::MAX));
        let task = TaskParts::read(&mut table, &model_kind, channels, &mut errors);
        let train: Option<TrainConfig> = strict::section(&table, "train", &mut errors);
        errors.extend(check(data.as_ref(), &task, train.as_ref()));
        match (data, task.whole(), train) {
            (Some(data), Some(task), Some(train)) if errors.is_empty() => Ok(Self { data, task, train }),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// Every value that is out of its range, and every two that do not go together.
    ///
    /// # Errors
    /// All of them.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let errors = check(Some(&self.data), &TaskParts::of(&self.task), Some(&self.train));
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

/// Values out of range, and pairs that do not go together, among what is there.
fn check(data: Option<&DataConfig>, task: &TaskParts, train: Option<&TrainConfig>) -> Vec<ConfigError> {
    let mut errors: Vec<ConfigError> = Vec::new();
    if let Some(data) = data {
        errors.extend(data.check().iter().map(ConfigError::message));
    }
    errors.extend(task.check(true));
    if let Some(train) = train {
        errors.extend(train.check().iter().map(ConfigError::message));
        errors.extend(task.check_evaluation(train));
    }
    if let (Some(data), Some(channels)) = (data, task.channels())
        && data.channels() != channels
    {
        let accepted = format!("{}, the channels of the data (or no such key)", data.channels());
        errors.push(ConfigError::value("model.channels", channels, accepted));
    }
    errors
}

/// Notes sections that nobody knows, and those of other kinds.
fn check_sections(table: &Table, kind: &str, errors: &mut Vec<ConfigError>) {
    let own = sections(kind);
    let known: Vec<String> = own.iter().map(ToString::to_string).collect();
    for key in table.keys().filter(|k| !own.contains(&k.as_str())) {
        let other = MODEL_KINDS.iter().find(|kind| sections(kind).contains(&key.as_str()));
        errors.push(match other {
            Some(other) => ConfigError::message(format!(
                "`{key}` is a section of model.kind = \"{other}\"; accepted with model.kind = \"{kind}\": {}",
                known.join(", ")
            )),
            None => ConfigError::unknown(key, key, &known),
        });
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

/// The `[sample]` section `base` of a model that draws from a latent, with `key=value` overrides (`temperature=0.7`).
///
/// # Errors
/// Every mistake in the overrides.
pub fn override_latent(base: &LatentSample, overrides: &[String]) -> Result<LatentSample, ConfigErrors> {
    let mut table = Table::new();
    table.insert("sample".into(), Value::try_from(base).map_err(ConfigError::message)?);
    let overrides: Vec<String> = overrides.iter().map(|o| format!("sample.{o}")).collect();
    apply(&mut table, &overrides)?;
    let mut errors = Vec::new();
    match strict::section::<LatentSample>(&table, "sample", &mut errors) {
        Some(sample) => {
            errors.extend(sample.check());
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

fn data_section(table: &Table, kind: &str, errors: &mut Vec<ConfigError>) -> Option<DataConfig> {
    match kind {
        "digits" => strict::section(table, "data", errors).map(DataConfig::Digits),
        "idx" => strict::section(table, "data", errors).map(DataConfig::Idx),
        "cifar10" => strict::section(table, "data", errors).map(DataConfig::Cifar10),
        "folder" => strict::section(table, "data", errors).map(DataConfig::Folder),
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
