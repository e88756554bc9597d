//! What differs between two configs in what decides a run's weights.
//!
//! Deliberately absent: `[train]`, whose own rules the trainer knows, and `[sample]`, which decides no weight.

use toml::{Table, Value};

use super::{ConfigError, ConfigErrors, RunConfig};

impl RunConfig {
    /// Checks that `self` may go on with a run of `old`: the same data (but for its place), network and process.
    ///
    /// # Errors
    /// Every key that differs, with both values.
    pub(crate) fn check_resumes(&self, old: &Self) -> Result<(), ConfigErrors> {
        let table = |c: &Self| Table::try_from(c).map_err(ConfigError::message);
        let (mut new, mut old) = (table(self)?, table(old)?);
        let mut errors = Vec::new();
        for section in ["data", "model", "diffusion", "vae", "gan"] {
            let take = |t: &mut Table| t.remove(section).unwrap_or_else(|| Value::Table(Table::new()));
            differences(section, &take(&mut new), &take(&mut old), &mut errors);
        }
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }
}

fn differences(key: &str, new: &Value, old: &Value, errors: &mut Vec<ConfigError>) {
    if new == old || key == "data.path" {
        return;
    }
    let (Value::Table(a), Value::Table(b)) = (new, old) else {
        let accepted = format!("{old}, as the run was started with; leave it, or start another run with --out");
        errors.push(ConfigError::value(key, new, accepted));
        return;
    };
    let absent = Value::String("absent".to_owned());
    let keys = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k)));
    for k in keys {
        let of = |t: &Table| t.get(k).cloned().unwrap_or_else(|| absent.clone());
        differences(&format!("{key}.{k}"), &of(a), &of(b), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn what_decides_weights_may_not_change() {
        let text = presets::get("folder").unwrap();
        let with = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
            RunConfig::parse_with(text, &sets).unwrap()
        };
        let old = with(&[]);
        assert_eq!(with(&["sample.steps=7", "data.path=elsewhere", "train.steps=9"]).check_resumes(&old), Ok(()));
        let new = with(&["diffusion.loss=l1", "model.dropout=0.1", "data.flip=true", "diffusion.schedule.kind=linear"]);
        let said = new.check_resumes(&old).unwrap_err().to_string();
        for key in ["diffusion.loss", "model.dropout", "data.flip", "diffusion.schedule"] {
            assert!(said.contains(key), "{key}: {said}");
        }
    }
}
