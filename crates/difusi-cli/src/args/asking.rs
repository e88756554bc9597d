//! What a person asks a model with a condition for.

use std::path::PathBuf;

use clap::Args;
use difusi::{Asked, Device, Guide, Model, OpenModel};

use crate::usage::usage;

#[derive(Clone, Debug, Args)]
pub(crate) struct AskArgs {
    /// Class to draw (3), several in turn (0..9, both ends included, or 0,3,5), or none for no class in particular. Default: each class in
    /// turn, of a model that was trained with labels.
    #[arg(long, visible_alias = "labels", value_name = "LABELS")]
    pub(crate) label: Option<String>,

    /// How strongly pictures are led to their label: uncond + SCALE (cond - uncond), so 1 is off and 0 ignores it (Imagen's w; the w of
    /// Ho and Salimans is SCALE - 1). Default: the model's. `--set guidance.rescale=0.7`, `guidance.interval=[LOW,HIGH]` and
    /// `guidance.kind=cfg_pp` (scales from 0 to 1) change how.
    #[arg(long, value_name = "SCALE", value_delimiter = ',', allow_negative_numbers = true)]
    pub(crate) guidance: Vec<f64>,

    /// Lead to the label by this classifier of noisy images (a run of `difusi train mnist-noisy-classifier`, its model file, or
    /// a checkpoint of guided-diffusion's); the model
    /// itself need not know labels.
    #[arg(long, value_name = "RUN")]
    pub(crate) classifier: Option<PathBuf>,

    /// For a classifier of guided-diffusion: a JSON or TOML file `{ "classifier": {...}, "diffusion": {...} }` in its scripts' argument names.
    #[arg(long, value_name = "FILE", requires = "classifier")]
    pub(crate) classifier_config: Option<PathBuf>,

    /// With `--classifier`, what the gradient of log p(label | x_t) is multiplied by: 0 is off, 1 is Bayes' rule, more exaggerates.
    #[arg(long, value_name = "SCALE", default_value_t = 1.0, requires = "classifier", allow_negative_numbers = true)]
    pub(crate) classifier_scale: f64,

    /// Class that guidance leads away from, instead of from pictures of any class.
    #[arg(long, value_name = "LABEL")]
    pub(crate) negative: Option<u32>,
}

impl AskArgs {
    /// What was asked, as the sampler takes it.
    pub(crate) fn asked(&self) -> anyhow::Result<(Asked, Option<u32>)> {
        let asked = match self.label.as_deref() {
            None => Asked::Usual,
            Some("none") => Asked::Nothing,
            Some(text) => Asked::Labels(labels(text)?),
        };
        Ok((asked, self.negative))
    }

    /// The classifier that leads, where one is named.
    pub(crate) fn guide(&self, model: &Model, device: &Device) -> anyhow::Result<Option<Guide>> {
        let Some(path) = &self.classifier else { return Ok(None) };
        let open = OpenModel { config: self.classifier_config.clone(), ..OpenModel::new(path) };
        let classifier = open.open(device)?;
        Ok(Some(Guide::new(&classifier, model, self.classifier_scale, device)?))
    }

    /// Overrides of `[sample]` as typed, and what a scale of guidance stands for: its kind before them, where they say none.
    pub(crate) fn overrides(scale: Option<f64>, typed: &[String]) -> Vec<String> {
        let Some(scale) = scale else { return typed.to_vec() };
        let says_kind = |o: &String| ["guidance.kind", "guidance="].iter().any(|key| o.trim_start().starts_with(key));
        let kind = (!typed.iter().any(says_kind)).then(|| "guidance.kind=cfg".to_owned());
        kind.into_iter().chain(typed.iter().cloned()).chain([format!("guidance.scale={scale:?}")]).collect()
    }
}

/// `3`, `0,3,5`, `0..9` and any mixture of them.
fn labels(text: &str) -> anyhow::Result<Vec<u32>> {
    let wrong = || {
        usage(format!(
            "--label is {text}; expected a class (3), classes (0,3,5), a range with both ends (0..9), or none"
        ))
    };
    let mut labels = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.split_once("..") {
            Some((first, last)) => {
                let (first, last): (u32, u32) =
                    (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
                if first > last || last - first > 100_000 {
                    return Err(wrong());
                }
                labels.extend(first..=last);
            }
            None => labels.push(part.parse().map_err(|_| wrong())?),
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers_lists_and_ranges() {
        assert_eq!(labels("3").unwrap(), [3]);
        assert_eq!(labels("0..3, 7").unwrap(), [0, 1, 2, 3, 7]);
        for bad in ["", "x", "3..1", "-1", "1..", "0..4000000000"] {
            assert!(labels(bad).unwrap_err().to_string().contains("0..9"), "{bad}");
        }
    }

    #[test]
    fn scales_are_overrides() {
        assert_eq!(AskArgs::overrides(Some(2.0), &[]), ["guidance.kind=cfg", "guidance.scale=2.0"]);
        let typed = ["guidance.kind=cfg_pp".to_owned()];
        assert_eq!(AskArgs::overrides(Some(0.5), &typed), ["guidance.kind=cfg_pp", "guidance.scale=0.5"]);
        let typed = ["guidance.rescale=0.7".to_owned()];
        let all = ["guidance.kind=cfg", "guidance.rescale=0.7", "guidance.scale=2.0"];
        assert_eq!(AskArgs::overrides(Some(2.0), &typed), all);
        assert_eq!(AskArgs::overrides(None, &typed), typed);
    }
}
