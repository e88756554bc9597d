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

/// Whether the condition is one that a network of so many classes knows.
pub(super) fn check_cond(cond: &Cond, batch: usize, classes: Option<usize>) -> Result<(), NnError> {
    let (classes, labels) = match (cond, classes) {
        (Cond::None, _) => return Ok(()),
        (Cond::Label(labels), Some(classes)) => (classes, labels),
        (cond, None) => {
            let expected = "none: the network has no `classes`".into();
            return Err(NnError::Cond { found: format!("{cond:?}"), expected });
        }
        (cond, Some(_)) => return Err(NnError::Cond { found: format!("{cond:?}"), expected: "labels".into() }),
    };
    if labels.len() != batch {
        let found = format!("{} labels", labels.len());
        return Err(NnError::Cond { found, expected: format!("{batch}, one for each image") });
    }
    match labels.iter().flatten().find(|label| **label as usize >= classes) {
        Some(label) => {
            let expected = format!("labels from 0 to {}, as the network has {classes} classes", classes - 1);
            Err(NnError::Cond { found: format!("label {label}"), expected })
        }
        None => Ok(()),
    }
}
