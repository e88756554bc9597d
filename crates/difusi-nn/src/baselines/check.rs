//! What the configurations of networks that halve an image between stages share.

use difusi_core::ImageSize;

use crate::error::ConfigIssue;

/// Widths `dim * dim_mults[i]`, outermost first; between two stages the image is halved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pyramid<'a> {
    pub(crate) dim: usize,
    pub(crate) dim_mults: &'a [usize],
    pub(crate) channels: usize,
}

pub(crate) const WIDTHS: std::ops::RangeInclusive<usize> = 1..=65_536;

impl Pyramid<'_> {
    /// Widths, outermost first.
    pub(crate) fn widths(&self) -> Vec<usize> {
        self.dim_mults.iter().map(|mult| self.dim * mult).collect()
    }

    /// What height and width must be divisible by.
    pub(crate) fn factor(&self) -> usize {
        1 << self.dim_mults.len().saturating_sub(1).min(usize::BITS as usize - 1)
    }

    /// Height and width on the innermost stage.
    pub(crate) fn innermost(&self, size: ImageSize) -> ImageSize {
        ImageSize { height: size.height / self.factor(), width: size.width / self.factor() }
    }

    /// Values of the images of all stages, for one image: `sum H_i W_i C_i`.
    pub(crate) fn activations(&self, size: ImageSize) -> usize {
        let stage = |(i, width): (usize, usize)| (size.pixels() >> (2 * i)) * width;
        self.widths().into_iter().enumerate().map(stage).sum()
    }

    pub(crate) fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = vec![];
        for (key, width) in [("dim", self.dim), ("channels", self.channels)] {
            issues.extend(check_width(key, width));
        }
        if !(1..=16).contains(&self.dim_mults.len()) || self.dim_mults.iter().any(|m| !(1..=1024).contains(m)) {
            let accepted = "a list of 1 to 16 whole numbers, each from 1 to 1024";
            issues.push(ConfigIssue::new("dim_mults", self.dim_mults, accepted));
        }
        issues
    }

    pub(crate) fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        let halvings = self.dim_mults.len().saturating_sub(1);
        check_divisible(key, size, self.factor(), &format!("`dim_mults` halves the image {halvings} times"))
    }
}

/// A width from 1 to 65536.
pub(crate) fn check_width(key: &str, width: usize) -> Option<ConfigIssue> {
    (!WIDTHS.contains(&width)).then(|| ConfigIssue::new(key, width, "a whole number from 1 to 65536"))
}

/// A size whose sides are divisible by `factor`, `because`.
pub(crate) fn check_divisible(key: &str, size: ImageSize, factor: usize, because: &str) -> Option<ConfigIssue> {
    let fits = |side: usize| side > 0 && side.is_multiple_of(factor);
    (!(fits(size.height) && fits(size.width))).then(|| ConfigIssue {
        key: key.to_owned(),
        value: size.to_string(),
        accepted: format!("a height and a width divisible by {factor} ({because})"),
    })
}
