//! The command line of `bench-peers`.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};

/// How to call it.
const USAGE: &str = "cargo xtask bench-peers --python PATH [--threads 2] [--rounds 2] [--steps 11] \
                     [--only small|large] [--binary PATH]; PATH is a Python with torch and denoising-diffusion-pytorch";

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A Python with torch and denoising-diffusion-pytorch.
    pub python: PathBuf,
    /// CPU threads of both sides.
    pub threads: usize,
    /// How often every variant of PyTorch is run.
    pub rounds: usize,
    /// Measured steps of each run.
    pub steps: usize,
    /// Only this network.
    pub only: Option<String>,
    /// A release binary that is there already.
    pub binary: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after `bench-peers`.
    ///
    /// # Errors
    /// Unknown arguments, bad values, no `--python`.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { python: PathBuf::new(), threads: 2, rounds: 2, steps: 11, only: None, binary: None };
        let mut arguments = arguments.into_iter();
        while let Some(key) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{key} has no value: {USAGE}"));
            match key.as_str() {
                "--python" => options.python = value()?.into(),
                "--binary" => options.binary = Some(value()?.into()),
                "--threads" => options.threads = number(&key, &value()?, 1)?,
                "--rounds" => options.rounds = number(&key, &value()?, 1)?,
                "--steps" => options.steps = number(&key, &value()?, 7)?,
                "--only" => match value()? {
                    name if ["small", "large"].contains(&name.as_str()) => options.only = Some(name),
                    name => bail!("--only is {name}; expected small or large"),
                },
                _ => bail!("{key} is not known: {USAGE}"),
            }
        }
        if options.python.as_os_str().is_empty() {
            bail!("--python is missing: {USAGE}");
        }
        Ok(options)
    }
}

fn number(key: &str, text: &str, least: usize) -> anyhow::Result<usize> {
    match usize::from_str(text) {
        Ok(n) if n >= least => Ok(n),
        _ => bail!("{key} is {text}; expected a whole number, {least} or more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(str::to_owned)).map_err(|e| e.to_string())
    }

    #[test]
    fn arguments_are_read() {
        let found = parse("--python venv/bin/python --rounds 3 --only large").unwrap();
        assert_eq!((found.python, found.rounds, found.threads, found.steps), ("venv/bin/python".into(), 3, 2, 11));
        assert_eq!((found.only.as_deref(), found.binary), (Some("large"), None));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("", "--python is missing"),
            ("--python", "--python has no value"),
            ("--python p --steps 3", "--steps is 3; expected a whole number, 7 or more"),
            ("--python p --threads x", "--threads is x"),
            ("--python p --only huge", "expected small or large"),
            ("--pyton p", "--pyton is not known"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
