//! What can be wrong with a network's configuration, its weights or its inputs.

use std::fmt;

/// One value of a configuration that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigIssue {
    /// The key, as the user writes it.
    pub key: String,
    /// What stands there.
    pub value: String,
    /// What may stand there.
    pub accepted: String,
}

impl ConfigIssue {
    pub(crate) fn new(key: impl Into<String>, value: impl fmt::Debug, accepted: impl Into<String>) -> Self {
        Self { key: key.into(), value: format!("{value:?}"), accepted: accepted.into() }
    }
}

impl fmt::Display for ConfigIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}; expected {}", self.key, self.value, self.accepted)
    }
}

/// A parameter whose shape is not the network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The parameter.
    pub name: String,
    /// The shape given.
    pub found: Vec<usize>,
    /// The shape of the network's parameter.
    pub expected: Vec<usize>,
}

/// Everything that keeps a set of tensors from being the weights of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightIssues {
    /// Names that the network does not have.
    pub unknown: Vec<String>,
    /// Names that the network has and the tensors lack.
    pub missing: Vec<String>,
    /// Names given more than once.
    pub repeated: Vec<String>,
    /// Names whose shapes differ.
    pub shapes: Vec<ShapeMismatch>,
}

impl WeightIssues {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.missing.is_empty() && self.repeated.is_empty() && self.shapes.is_empty()
    }
}

impl fmt::Display for WeightIssues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("unknown", &self.unknown), ("missing", &self.missing), ("repeated", &self.repeated)];
        for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "\n  {} {what}: {}", names.len(), names.join(", "))?;
        }
        for ShapeMismatch { name, found, expected } in &self.shapes {
            write!(f, "\n  `{name}` has shape {found:?}; expected {expected:?}")?;
        }
        Ok(())
    }
}

/// Errors of this room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// Values of a configuration that are not accepted; all of them.
    #[error("the network's configuration is not usable:{}", lines(.0))]
    Config(Vec<ConfigIssue>),
    /// Tensors that are not this network's weights; every problem.
    #[error("the tensors are not this network's weights:{0}")]
    Weights(Box<WeightIssues>),
    /// No network of a known kind among the tensors.
    #[error("{0}")]
    NotFound(String),
    /// A condition that the network does not take.
    #[error("the condition is {found}; expected {expected}")]
    Cond {
        /// What was asked for.
        found: String,
        /// What the network takes.
        expected: String,
    },
    /// The inputs do not fit the network.
    #[error("`{input}` has shape {found:?}; expected {expected}")]
    Input {
        /// Which input.
        input: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// What the network takes.
        expected: String,
    },
}

fn lines(issues: &[ConfigIssue]) -> String {
    issues.iter().map(|issue| format!("\n  {issue}")).collect()
}
