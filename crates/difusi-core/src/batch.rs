//! What flows from a dataset to an objective, and what a picture is asked to be.

use std::ops::Range;

use burn::tensor::Tensor;

/// What images are conditioned on; one entry per image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cond {
    /// Nothing: what networks without a condition receive. A network with one takes it for the null condition.
    #[default]
    None,
    /// Class labels, 0-based; `None` is the null condition, which a network learns from the images whose label was dropped.
    Label(Vec<Option<u32>>),
}

impl Cond {
    /// A label for each image.
    pub fn labels(labels: impl IntoIterator<Item = u32>) -> Self {
        Self::Label(labels.into_iter().map(Some).collect())
    }

    /// How many images it is for; `None` where it is for any number.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Label(labels) => Some(labels.len()),
        }
    }

    /// The null condition, of as many images.
    #[must_use]
    pub fn null(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Label(labels) => Self::Label(vec![None; labels.len()]),
        }
    }

    /// Of these images alone.
    #[must_use]
    pub fn narrow(&self, images: Range<usize>) -> Self {
        match self {
            Self::None => Self::None,
            Self::Label(labels) => {
                let end = images.end.min(labels.len());
                Self::Label(labels[images.start.min(end)..end].to_vec())
            }
        }
    }

    /// Of the images of both, in order; `None` where they are conditions of different kinds.
    pub fn concat(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::None, Self::None) => Some(Self::None),
            (Self::Label(a), Self::Label(b)) => Some(Self::Label([a.as_slice(), b].concat())),
            _ => None,
        }
    }
}

/// Images and their condition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[B, H, W, C]` in `[-1, 1]`.
    pub x: Tensor<4>,
    /// What each image is conditioned on.
    pub cond: Cond,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_values() {
        let some = Cond::labels([3, 1, 4]);
        assert_eq!((some.count(), Cond::None.count()), (Some(3), None));
        assert_eq!(some.narrow(1..9), Cond::labels([1, 4]));
        assert_eq!(some.narrow(5..9), Cond::labels([]));
        assert_eq!(some.concat(&some.null()), Some(Cond::Label(vec![Some(3), Some(1), Some(4), None, None, None])));
        assert_eq!((some.concat(&Cond::None), Cond::None.concat(&Cond::None)), (None, Some(Cond::None)));
    }
}
