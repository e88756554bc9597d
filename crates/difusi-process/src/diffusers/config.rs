//! `scheduler_config.json`: text in, text out. Opening files is not this crate's.
//!
//! As diffusers has it: keys that a file leaves out take the class's default; keys that belong to another class are kept and
//! written back (Stable Diffusion's own files are full of them), so that the class can be changed later
//! ([`SchedulerConfig::with_class`]). Python's JSON knows bare `Infinity`, `-Infinity` and `NaN`.

use serde_json::{Map, Value};

use super::{Algorithm, SchedulerClass, Settings, SolverType, check};
use crate::{ProcessError, ValueError, error::all_good};

/// The version whose behaviour this module has, and which it writes.
pub const DIFFUSERS_VERSION: &str = "0.42.1";

/// A scheduler of diffusers: its class and the values of its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    class: SchedulerClass,
    settings: Settings,
    given: Map<String, Value>,
}

/// A config and what a person should know about the file it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the file says.
    pub config: SchedulerConfig,
    /// Keys that nobody knows, and values that were replaced as diffusers replaces them.
    pub notes: Vec<String>,
}

impl SchedulerConfig {
    /// A class with its defaults.
    pub fn new(class: SchedulerClass) -> Self {
        Self { class, settings: Settings::of(class), given: Map::new() }
    }

    /// Reads the text of a `scheduler_config.json`.
    ///
    /// # Errors
    /// Text that is not a JSON object, a class that is not known (the error lists the known ones), all bad values with their keys.
    pub fn from_json(text: &str) -> Result<Loaded, ProcessError> {
        let value: Value =
            serde_json::from_str(&quote_infinities(text)).map_err(|e| bad("scheduler_config.json", e, "JSON"))?;
        let Value::Object(mut given) = value else {
            return Err(bad("scheduler_config.json", "not an object", "a JSON object with `_class_name`"));
        };
        let known = || SchedulerClass::ALL.map(SchedulerClass::name).join(", ");
        let name = match given.shift_remove("_class_name") {
            Some(Value::String(name)) => name,
            Some(other) => return Err(bad("_class_name", other, format!("one of {}", known()))),
            None => return Err(bad("_class_name", "missing", format!("one of {}", known()))),
        };
        let class =
            SchedulerClass::named(&name).ok_or_else(|| bad("_class_name", &name, format!("one of {}", known())))?;
        given.retain(|key, _| !key.starts_with('_'));
        let (config, mut notes) = Self::build(class, given)?;
        if name != class.name() {
            notes.insert(0, format!("`_class_name` is {name}; read as {class}"));
        }
        Ok(Loaded { config, notes })
    }

    /// The same values for another class, as diffusers' `OtherScheduler.from_config(this.config)`: keys that were given and that the
    /// other class has are taken over, its own defaults fill the rest.
    ///
    /// # Errors
    /// Values that the other class does not accept.
    pub fn with_class(&self, class: SchedulerClass) -> Result<Loaded, ProcessError> {
        let (config, notes) = Self::build(class, self.given.clone())?;
        Ok(Loaded { config, notes })
    }

    /// The same scheduler with one key changed: `value` is JSON (`0.5`, `true`, `"karras"`).
    ///
    /// # Errors
    /// A key that the class does not have, a value that it does not accept.
    pub fn with(&self, key: &str, value: impl Into<Value>) -> Result<Self, ProcessError> {
        if !self.class.keys().contains(&key) {
            let accepted = format!("a key of {}: {}", self.class, self.class.keys().join(", "));
            return Err(bad(key, "not known", accepted));
        }
        let mut given = self.given.clone();
        given.insert(key.to_string(), value.into());
        Ok(Self::build(self.class, given)?.0)
    }

    fn build(class: SchedulerClass, given: Map<String, Value>) -> Result<(Self, Vec<String>), ProcessError> {
        let (mut settings, mut notes, mut errors) = (Settings::of(class), Vec::new(), Vec::new());
        let mut unknown = Vec::new();
        for (key, value) in &given {
            if !Settings::KEYS.contains(&key.as_str()) {
                unknown.push(format!("`{key}`"));
            } else if class.keys().contains(&key.as_str())
                && let Err(accepted) = settings.set(key, value)
            {
                errors.push(ValueError::new(key.as_str(), value, accepted));
            }
        }
        if !unknown.is_empty() {
            notes.push(format!("ignored, since no scheduler has it: {}", unknown.join(", ")));
        }
        all_good(errors)?;
        substitute(class, &mut settings, &mut notes);
        all_good(check::check(class, &settings))?;
        Ok((Self { class, settings, given }, notes))
    }

    /// Which scheduler.
    pub fn class(&self) -> SchedulerClass {
        self.class
    }

    /// The values of its keys.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The text of `scheduler_config.json`, as diffusers' `save_config` writes it: all keys of the class and those that were given
    /// besides, sorted.
    pub fn to_json(&self) -> String {
        let mut all: std::collections::BTreeMap<&str, Value> =
            self.given.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        let own = self.class.keys().iter().filter_map(|key| Some((*key, self.settings.get(key)?)));
        all.extend(own);
        all.insert("_class_name", self.class.name().into());
        all.insert("_diffusers_version", DIFFUSERS_VERSION.into());
        let lines: Vec<String> = all.iter().map(|(key, value)| format!("  \"{key}\": {}", indented(value))).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }
}

/// What a class puts in the place of the words of other classes.
fn substitute(class: SchedulerClass, s: &mut Settings, notes: &mut Vec<String>) {
    use SchedulerClass as C;
    let (algorithm, kind) = (s.algorithm_type, s.solver_type);
    match class {
        C::DpmSolverMultistep | C::DpmSolverSinglestep | C::EdmDpmSolverMultistep => {
            if algorithm == Algorithm::Deis {
                s.algorithm_type = Algorithm::DpmSolverPp;
            }
            if !matches!(kind, SolverType::Midpoint | SolverType::Heun) {
                s.solver_type = SolverType::Midpoint;
            }
        }
        C::DeisMultistep => {
            if matches!(algorithm, Algorithm::DpmSolver | Algorithm::DpmSolverPp) {
                s.algorithm_type = Algorithm::Deis;
            }
            s.solver_type = SolverType::LogRho;
        }
        C::UniPcMultistep if !matches!(kind, SolverType::Bh1 | SolverType::Bh2) => s.solver_type = SolverType::Bh2,
        _ => {}
    }
    for key in ["algorithm_type", "solver_type"] {
        let mut before = s.clone();
        (before.algorithm_type, before.solver_type) = (algorithm, kind);
        let [was, now] = [before.get(key), s.get(key)].map(Option::unwrap_or_default);
        if was != now {
            notes
                .push(format!("`{key}` is {was}, which {class} does not have; {now} takes its place, as in diffusers"));
        }
    }
}

fn bad(key: &str, got: impl std::fmt::Display, accepted: impl Into<String>) -> ProcessError {
    ProcessError::Values(vec![ValueError::new(key, got, accepted)])
}

/// A value on lines of two more blanks, infinities as Python writes them.
fn indented(value: &Value) -> String {
    match value {
        Value::String(s) if matches!(s.as_str(), "Infinity" | "-Infinity") => s.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default().replace('\n', "\n  "),
    }
}

/// Python's bare words for what JSON lacks, as text.
fn quote_infinities(text: &str) -> String {
    let (mut out, mut rest, mut inside) = (String::with_capacity(text.len()), text, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|w| !inside && rest.starts_with(w));
        let taken = match (word, c) {
            (Some(word), _) => {
                out.push_str(&format!("\"{word}\""));
                word.len()
            }
            (None, '\\') if inside => {
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..length]);
                length
            }
            (None, c) => {
                inside ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}
