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
    /// Labels of a model that knows none, or that it does not have; guidance without a condition, or of a model that never learned to do
    /// without one; a classifier that is asked for nothing.
    pub(super) fn labels(
        &self,
        task: &DiffusionTask,
        guidance: &Guidance,
        led: Option<usize>,
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
        if !guidance.is_off() {
            check_guidance(task, labels.is_some())?;
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
pub(super) fn check_label(label: u32, classes: usize) -> Result<(), Error> {
    if (label as usize) < classes {
        return Ok(());
    }
    let accepted = format!("0 to {}: the model knows {classes} classes", classes.saturating_sub(1));
    Err(Error::value("the label", label, accepted))
}

fn check_guidance(task: &DiffusionTask, asked: bool) -> Result<(), Error> {
    if task.network.classes().is_none() {
        let accepted = "no guidance: this model was trained without a condition (diffusion.cond = \"label\")";
        return Err(Error::value("sample.guidance", "on", accepted));
    }
    if task.diffusion.cond_dropout == 0.0 {
        let accepted = "no guidance: this model was trained with diffusion.cond_dropout = 0, so it never learned to draw without a \
                        label, which guidance compares with";
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
        assert_eq!(Asked::Usual.labels(&plain, &off, None).unwrap(), None);
        assert_eq!(Asked::Usual.labels(&classes, &on, None).unwrap().unwrap().len(), 10);
        assert_eq!(Asked::Nothing.labels(&classes, &off, None).unwrap(), None);
        let asked = Asked::Labels(vec![3, 9]);
        assert_eq!(cond(asked.labels(&classes, &on, None).unwrap().as_deref(), 1..4), Cond::labels([9, 3, 9]));
        let said =
            |asked: Asked, task: &DiffusionTask, guidance| asked.labels(task, guidance, None).unwrap_err().to_string();
        assert!(said(Asked::Labels(vec![10]), &classes, &off).contains("the label is 10; expected 0 to 9"));
        assert!(said(Asked::Labels(vec![1]), &plain, &off).contains("trained without"));
        assert_eq!(Asked::Labels(vec![6]).labels(&plain, &off, Some(7)).unwrap(), Some(vec![6]));
        assert_eq!(Asked::Usual.labels(&plain, &off, Some(7)).unwrap().unwrap().len(), 7);
        assert!(Asked::Labels(vec![7]).labels(&plain, &off, Some(7)).is_err());
        assert!(Asked::Nothing.labels(&plain, &off, Some(7)).unwrap_err().to_string().contains("to lead to"));
        assert!(said(Asked::Usual, &plain, &on).contains("without a condition"));
        assert!(said(Asked::Usual, &undropped, &on).contains("cond_dropout = 0"));
        assert!(said(Asked::Nothing, &classes, &on).contains("a label to be led to"));
        assert!(Asked::Usual.labels(&undropped, &Guidance::scale(1.0), None).is_ok());
    }
}
