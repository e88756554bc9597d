//! What every U-Net asks of its inputs.

use difusi_core::{Cond, ImageSize, Inputs};

use crate::error::{ConfigIssue, NnError};

/// Whether a network of so many stages takes images of this size; `key` is what the user calls it.
pub(super) fn check_size(key: &str, size: ImageSize, stages: usize) -> Option<ConfigIssue> {
    let halvings = stages.saturating_sub(1);
    let factor = factor(stages);
    let fits = |side: usize| side > 0 && side.is_multiple_of(factor);
    (!(fits(size.height) && fits(size.width))).then(|| {
        let accepted =
            format!("a height and a width divisible by {factor} (`dim_mults` halves the image {halvings} times)");
        ConfigIssue { key: key.to_owned(), value: size.to_string(), accepted }
    })
}

fn factor(stages: usize) -> usize {
    1 << stages.saturating_sub(1).min(usize::BITS as usize - 1)
}

/// Channels, divisible height and width, one time per image.
pub(super) fn check_images(inputs: &Inputs, channels: usize, stages: usize) -> Result<(), NnError> {
    let [batch, height, width, found] = inputs.x.dims();
    let issue =
        |input, found: &[usize], expected: String| Err(NnError::Input { input, found: found.to_vec(), expected });
    if check_size("size", ImageSize { height, width }, stages).is_some() || found != channels || batch == 0 {
        let factor = factor(stages);
        let expected = format!("[B, H, W, {channels}], H and W divisible by {factor} (on disk [B, {channels}, H, W])");
        return issue("x", &inputs.x.dims(), expected);
    }
    if inputs.t.dims() != [batch] {
        return issue("t", &inputs.t.dims(), format!("[{batch}], one time per image"));
    }
    Ok(())
}

/// The conditions that a network knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Knows {
    /// How many classes.
    pub(super) classes: Option<usize>,
    /// The width of a token.
    pub(super) tokens: Option<usize>,
}

/// Whether the condition is one that the network knows.
pub(super) fn check_cond(cond: &Cond, batch: usize, knows: Knows) -> Result<(), NnError> {
    for part in cond.parts() {
        let wrong = |found: String, expected: String| Err(NnError::Cond { found, expected });
        if part.count().is_some_and(|count| count != batch) {
            return wrong(part.name(), format!("{batch}, one for each image"));
        }
        match part {
            Cond::Label(labels) => check_labels(labels, knows.classes)?,
            Cond::Tokens(tokens) => {
                let [_, _, width] = tokens.states().dims();
                match knows.tokens {
                    Some(expected) if expected == width => {}
                    Some(expected) => return wrong(part.name(), format!("[B, L, {expected}]")),
                    None => return wrong(part.name(), "none: the network has no `tokens`".into()),
                }
            }
            other => return wrong(other.name(), "labels or tokens: the network knows no others".into()),
        }
    }
    Ok(())
}

fn check_labels(labels: &[Option<u32>], classes: Option<usize>) -> Result<(), NnError> {
    let Some(classes) = classes else {
        let expected = "none: the network has no `classes`".into();
        return Err(NnError::Cond { found: format!("{} labels", labels.len()), expected });
    };
    match labels.iter().flatten().find(|label| **label as usize >= classes) {
        Some(label) => {
            let expected = format!("labels from 0 to {}, as the network has {classes} classes", classes - 1);
            Err(NnError::Cond { found: format!("label {label}"), expected })
        }
        None => Ok(()),
    }
}
