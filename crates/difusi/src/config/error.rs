//! What is wrong with a config, all of it at once.

use std::fmt;

/// One mistake: the key, what was found there, what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    /// `key` holds `got`, which is not `accepted`.
    pub fn value(key: impl fmt::Display, got: impl fmt::Display, accepted: impl fmt::Display) -> Self {
        Self { message: format!("`{key}` is {got}; expected {accepted}") }
    }

    /// `key` is not known; the nearest of `known` is offered.
    pub fn unknown(key: impl fmt::Display, field: &str, known: &[String]) -> Self {
        let near = known.iter().filter(|k| strsim::jaro_winkler(k, field) > 0.8);
        let near = near.max_by(|a, b| strsim::jaro_winkler(a, field).total_cmp(&strsim::jaro_winkler(b, field)));
        let hint = near.map(|k| format!(" (did you mean `{k}`?)")).unwrap_or_default();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Self { message: format!("`{key}` is not a known key{hint}; accepted here: {known}") }
    }

    /// `key` has to be given.
    pub fn missing(key: impl fmt::Display) -> Self {
        Self { message: format!("`{key}` is missing") }
    }

    /// Any other sentence that names its key.
    pub fn message(message: impl fmt::Display) -> Self {
        Self { message: message.to_string() }
    }
}

/// Every mistake of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} mistakes in the config:", many.len())?;
                many.iter().try_for_each(|e| write!(f, "\n  {e}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(e: ConfigError) -> Self {
        Self(vec![e])
    }
}
