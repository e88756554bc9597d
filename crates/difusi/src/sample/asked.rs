//! What pictures are asked to be: labels, nothing in particular, or what is usual for the model.

use std::ops::Range;

use difusi_core::Cond;
use difusi_process::Guidance;

use crate::config::DiffusionTask;
use crate::{Error, Task};

/// What the pictures of a job are asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Each class in turn where the model knows classes, else nothing.
    #[default]
    Usual,
    /// Nothing: the null condition of a model that knows classes.
    Nothing,
    /// These classes in turn, 0-based: picture i is asked to be the label `i` modulo their number.
    Labels(Vec<u32>),
}

impl Asked {
    /// The labels, checked against the model, or against the classifier that leads it and knows `led` classes; `None` where nothing is
    /// asked.
    ///
    /// # Errors
    /// Labels of a model that knows none, or that it does not have; no label where the network must have one; guidance without a condition,
    /// or away from no label with a model that never learned to do without; a classifier that is asked for nothing.
    pub(super) fn labels(
        &self,
        task: &DiffusionTask,
        guidance: &Guidance,
        led: Option<usize>,
        negative: Option<u32>,
    ) -> Result<Option<Vec<u32>>, Error> {
        let classes = task.network.classes().or(led);
        let labels = match (self, classes) {
            (Self::Nothing, _) | (Self::Usual, None) => None,
            (Self::Usual, Some(classes)) => Some((0..classes as u32).collect()),
            (Self::Labels(labels), Some(classes)) => {
                for label in labels {
                    check_label(*label, classes)?;
                }
                Some(labels.clone()).filter(|l| !l.is_empty())
            }
            (Self::Labels(_), None) => {
                let accepted = "no labels: this model was trained without (diffusion.cond = \"label\"), and no classifier leads it";
                return Err(Error::value("the label", "given", accepted));
            }
        };
        if let Some(negative) = negative {
            check_negative(negative, task, guidance)?;
        }
        if labels.is_none() && task.network.classes().is_some() && !task.network.null_class() {
            return Err(Error::value("the label", "none", "a class: the network has none that stands for no class"));
        }
        if !guidance.is_off() {
            check_guidance(task, labels.is_some(), negative.is_some())?;
        }
        if led.is_some() && labels.is_none() {
            return Err(Error::value("the label", "none", "a class for the classifier to lead to"));
        }
        Ok(labels)
    }

    /// How many different things are asked.
    pub fn count(&self, task: &Task) -> usize {
        match (self, task) {
            (Self::Labels(labels), _) => labels.len().max(1),
            (Self::Usual, Task::Diffusion(task)) => task.network.classes().unwrap_or(1),
            _ => 1,
        }
    }
}

/// A label that the model knows.
///
/// # Errors
/// Another one.
fn check_label(label: u32, classes: usize) -> Result<(), Error> {
    if (label as usize) < classes {
        return Ok(());
    }
    let accepted = format!("0 to {}: the model knows {classes} classes", classes.saturating_sub(1));
    Err(Error::value("the label", label, accepted))
}

/// A class to lead away from.
fn check_negative(negative: u32, task: &DiffusionTask, guidance: &Guidance) -> Result<(), Error> {
    match (task.network.classes(), guidance) {
        (None, _) => Err(Error::value("the negative label", negative, "none: this model was trained without labels")),
        (Some(_), Guidance::None {}) => {
            let accepted = "none without guidance, which would lead away from it (--guidance 2)";
            Err(Error::value("the negative label", negative, accepted))
        }
        (Some(classes), _) => check_label(negative, classes),
    }
}

/// With a negative label the network is never asked without one.
fn check_guidance(task: &DiffusionTask, asked: bool, negative: bool) -> Result<(), Error> {
    if task.network.classes().is_none() {
        let accepted = "no guidance: this model was trained without a condition (diffusion.cond = \"label\")";
        return Err(Error::value("sample.guidance", "on", accepted));
    }
    if task.diffusion.cond_dropout == 0.0 && !negative {
        let accepted = "no guidance: this model was trained with diffusion.cond_dropout = 0, so it never learned to draw without a \
                        label, which guidance compares with (or a negative label to compare with)";
        return Err(Error::value("sample.guidance", "on", accepted));
    }
    if !asked {
        return Err(Error::value("sample.guidance", "on", "a label to be led to, or no guidance"));
    }
    Ok(())
}

/// The condition of pictures `range`.
pub(super) fn cond(labels: Option<&[u32]>, range: Range<usize>) -> Cond {
    match labels {
        Some(labels) => Cond::labels(range.map(|i| labels[i % labels.len()])),
        None => Cond::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunConfig;

    fn task(more: &[&str]) -> DiffusionTask {
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        let config = RunConfig::parse_with(crate::presets::get("digits").unwrap(), &more).unwrap();
        let Task::Diffusion(task) = config.task else { panic!("a diffusion model") };
        task
    }

    #[test]
    fn labels_are_checked_and_taken_in_turn() {
        let plain = task(&[]);
        let classes = task(&["model.classes=10", "diffusion.cond=label"]);
        let undropped = task(&["model.classes=10", "diffusion.cond=label", "diffusion.cond_dropout=0"]);
        let (off, on) = (Guidance::default(), Guidance::scale(3.0));
        assert_eq!(Asked::Usual.labels(&plain, &off, None, None).unwrap(), None);
        assert_eq!(Asked::Usual.labels(&classes, &on, None, None).unwrap().unwrap().len(), 10);
        assert_eq!(Asked::Nothing.labels(&classes, &off, None, None).unwrap(), None);
        let asked = Asked::Labels(vec![3, 9]);
        let some = asked.labels(&classes, &on, None, None).unwrap();
        assert_eq!(cond(some.as_deref(), 1..4).label().unwrap(), [Some(9), Some(3), Some(9)]);
        let said = |asked: Asked, task: &DiffusionTask, guidance| {
            asked.labels(task, guidance, None, None).unwrap_err().to_string()
        };
        assert!(said(Asked::Labels(vec![10]), &classes, &off).contains("the label is 10; expected 0 to 9"));
        assert!(said(Asked::Labels(vec![1]), &plain, &off).contains("trained without"));
        assert_eq!(Asked::Labels(vec![6]).labels(&plain, &off, Some(7), None).unwrap(), Some(vec![6]));
        assert_eq!(Asked::Usual.labels(&plain, &off, Some(7), None).unwrap().unwrap().len(), 7);
        assert!(Asked::Labels(vec![7]).labels(&plain, &off, Some(7), None).is_err());
        assert!(Asked::Nothing.labels(&plain, &off, Some(7), None).unwrap_err().to_string().contains("to lead to"));
        assert!(said(Asked::Usual, &plain, &on).contains("without a condition"));
        assert!(said(Asked::Usual, &undropped, &on).contains("cond_dropout = 0"));
        assert!(said(Asked::Nothing, &classes, &on).contains("a label to be led to"));
        assert!(Asked::Usual.labels(&undropped, &Guidance::scale(1.0), None, None).is_ok());
        assert!(Asked::Usual.labels(&undropped, &on, None, Some(9)).is_ok());
        for (task, guidance, negative, part) in
            [(&undropped, &on, 10, "0 to 9"), (&plain, &off, 1, "without labels"), (&classes, &off, 1, "--guidance 2")]
        {
            let e = Asked::Usual.labels(task, guidance, None, Some(negative)).unwrap_err().to_string();
            assert!(e.contains(part), "{e}");
        }
    }
}
