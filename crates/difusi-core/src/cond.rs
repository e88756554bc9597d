//! What a picture is asked to be. A condition is a value: a network says which kinds it knows, everything between the data and the network
//! passes it on.

use std::ops::Range;

use burn::tensor::Tensor;

/// What images are conditioned on; one entry per image.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Cond {
    /// Nothing: what networks without a condition receive. A network with one takes it for the null condition.
    #[default]
    None,
    /// Class labels, 0-based; `None` is the null condition, which a network learns from the images whose label was dropped.
    Label(Vec<Option<u32>>),
    /// Token sequences, as of a text; the null condition is a sequence whose tokens are all hidden.
    Tokens(Tokens),
    /// Other pictures, `[B, H, W, C]` in `[-1, 1]`, as smaller ones that are to be enlarged. It is never dropped: guidance leads to what is
    /// asked of a picture, and keeps what it is made from.
    Image(Tensor<4>),
    /// Several of the others, each of another kind.
    Several(Vec<Cond>),
}

/// A sequence of vectors for each image.
#[derive(Clone, Debug)]
pub struct Tokens {
    states: Tensor<3>,
    mask: Vec<bool>,
}

impl Tokens {
    /// `states` `[B, L, D]`, of which the tokens whose `mask` `[B * L]` is false are padding, which nobody sees. `None` where the two do
    /// not fit or there are no tokens.
    pub fn new(states: Tensor<3>, mask: Vec<bool>) -> Option<Self> {
        let [batch, length, _] = states.dims();
        (length > 0 && mask.len() == batch * length).then_some(Self { states, mask })
    }

    /// `[B, L, D]`.
    pub fn states(&self) -> &Tensor<3> {
        &self.states
    }

    /// Which tokens are seen, `[B * L]`.
    pub fn mask(&self) -> &[bool] {
        &self.mask
    }

    /// With the tokens of some images hidden.
    fn without(&self, hidden: impl Fn(usize) -> bool) -> Self {
        let length = self.states.dims()[1];
        let mask = self.mask.iter().enumerate().map(|(i, seen)| *seen && !hidden(i / length)).collect();
        Self { states: self.states.clone(), mask }
    }

    fn narrow(&self, Range { start, end }: Range<usize>) -> Self {
        let length = self.states.dims()[1];
        let mask = self.mask[start * length..end * length].to_vec();
        Self { states: self.states.clone().narrow(0, start, end - start), mask }
    }

    /// The shorter sequences are padded.
    fn concat(&self, other: &Self) -> Option<Self> {
        let [a, b] = [self.states.dims(), other.states.dims()];
        let length = a[1].max(b[1]);
        let padded = |tokens: &Self| {
            let [batch, own, width] = tokens.states.dims();
            let rows = tokens.mask.chunks(own);
            let mask: Vec<bool> =
                rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(false, length - own))).collect();
            let mut parts = vec![tokens.states.clone()];
            if own < length {
                parts.push(Tensor::zeros([batch, length - own, width], &tokens.states.device()));
            }
            (Tensor::cat(parts, 1), mask)
        };
        let ((left, mut mask), (right, more)) = (padded(self), padded(other));
        mask.extend(more);
        (a[2] == b[2]).then(|| Self { states: Tensor::cat(vec![left, right], 0), mask })
    }
}

impl Cond {
    /// A label for each image.
    pub fn labels(labels: impl IntoIterator<Item = u32>) -> Self {
        Self::Label(labels.into_iter().map(Some).collect())
    }

    /// The single conditions it is made of.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::None => Vec::new(),
            Self::Several(all) => all.iter().flat_map(Self::parts).collect(),
            one => vec![one],
        }
    }

    /// The labels among it.
    pub fn label(&self) -> Option<&[Option<u32>]> {
        self.parts()
            .into_iter()
            .find_map(|part| if let Self::Label(labels) = part { Some(labels.as_slice()) } else { None })
    }

    /// The tokens among it.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.parts().into_iter().find_map(|part| if let Self::Tokens(tokens) = part { Some(tokens) } else { None })
    }

    /// The pictures among it.
    pub fn image(&self) -> Option<&Tensor<4>> {
        self.parts().into_iter().find_map(|part| if let Self::Image(image) = part { Some(image) } else { None })
    }

    /// How many images it is for; `None` where it is for any number.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Label(labels) => Some(labels.len()),
            Self::Tokens(tokens) => Some(tokens.states.dims()[0]),
            Self::Image(image) => Some(image.dims()[0]),
            Self::Several(all) => all.iter().find_map(Self::count),
        }
    }

    /// What it is, in words, for errors.
    pub fn name(&self) -> String {
        match self {
            Self::None => "nothing".into(),
            Self::Label(labels) => format!("{} labels", labels.len()),
            Self::Tokens(tokens) => format!("tokens {:?}", tokens.states.dims()),
            Self::Image(image) => format!("images {:?}", image.dims()),
            Self::Several(all) => all.iter().map(Self::name).collect::<Vec<_>>().join(" and "),
        }
    }

    /// The null condition, of as many images.
    #[must_use]
    pub fn null(&self) -> Self {
        self.dropped(&|_| true)
    }

    /// With the null condition for the images that `drops` says.
    #[must_use]
    pub fn dropped(&self, drops: &dyn Fn(usize) -> bool) -> Self {
        match self {
            Self::Label(labels) => {
                Self::Label(labels.iter().enumerate().map(|(i, label)| label.filter(|_| !drops(i))).collect())
            }
            Self::Tokens(tokens) => Self::Tokens(tokens.without(drops)),
            Self::Several(all) => Self::Several(all.iter().map(|one| one.dropped(drops)).collect()),
            Self::None | Self::Image(_) => self.clone(),
        }
    }

    /// Of these images alone.
    #[must_use]
    pub fn narrow(&self, images: Range<usize>) -> Self {
        let count = self.count().unwrap_or_default();
        let end = images.end.min(count);
        let range = images.start.min(end)..end;
        match self {
            Self::None => Self::None,
            Self::Label(labels) => Self::Label(labels[range].to_vec()),
            Self::Tokens(tokens) => Self::Tokens(tokens.narrow(range)),
            Self::Image(image) => Self::Image(image.clone().narrow(0, range.start, range.len())),
            Self::Several(all) => Self::Several(all.iter().map(|one| one.narrow(images.clone())).collect()),
        }
    }

    /// Of the images of both, in order; `None` where they are conditions of different kinds or widths.
    pub fn concat(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::None, Self::None) => Some(Self::None),
            (Self::Label(a), Self::Label(b)) => Some(Self::Label([a.as_slice(), b].concat())),
            (Self::Tokens(a), Self::Tokens(b)) => a.concat(b).map(Self::Tokens),
            (Self::Image(a), Self::Image(b)) if a.dims()[1..] == b.dims()[1..] => {
                Some(Self::Image(Tensor::cat(vec![a.clone(), b.clone()], 0)))
            }
            (Self::Several(a), Self::Several(b)) if a.len() == b.len() => {
                a.iter().zip(b).map(|(a, b)| a.concat(b)).collect::<Option<_>>().map(Self::Several)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn tokens(values: &[f32], [batch, length]: [usize; 2], mask: &[bool]) -> Cond {
        let width = values.len() / (batch * length);
        let states = Tensor::from_data(TensorData::new(values.to_vec(), [batch, length, width]), &Device::flex());
        Cond::Tokens(Tokens::new(states, mask.to_vec()).unwrap())
    }

    fn mask(cond: &Cond) -> Vec<bool> {
        cond.tokens().unwrap().mask().to_vec()
    }

    #[test]
    fn labels() {
        let some = Cond::labels([3, 1, 4]);
        assert_eq!((some.count(), Cond::None.count()), (Some(3), None));
        assert_eq!(some.narrow(1..9).label().unwrap(), [Some(1), Some(4)]);
        assert!(some.narrow(5..9).label().unwrap().is_empty());
        let both = some.concat(&some.null()).unwrap();
        assert_eq!(both.label().unwrap(), [Some(3), Some(1), Some(4), None, None, None]);
        assert_eq!(some.dropped(&|i| i == 1).label().unwrap(), [Some(3), None, Some(4)]);
        assert!(some.concat(&Cond::None).is_none() && Cond::None.concat(&Cond::None).is_some());
    }

    #[test]
    fn tokens_are_padded_and_hidden() {
        let short = tokens(&[1.0, 2.0], [2, 1], &[true; 2]);
        let long = tokens(&[3.0, 4.0], [1, 2], &[true, false]);
        let both = short.concat(&long).unwrap();
        assert_eq!(mask(&both), [true, false, true, false, true, false]);
        let values: Vec<f32> = both.tokens().unwrap().states().to_data().iter::<f32>().collect();
        assert_eq!(values, [1.0, 0.0, 2.0, 0.0, 3.0, 4.0]);
        assert_eq!(mask(&both.dropped(&|i| i == 2)), [true, false, true, false, false, false]);
        assert_eq!(mask(&both.null()), [false; 6]);
        assert_eq!(mask(&both.narrow(1..3)), [true, false, true, false]);
        assert!(short.concat(&tokens(&[0.0; 4], [1, 2], &[true; 2])).is_none()); // of another width
        let states = |dims: [usize; 3]| Tensor::zeros(dims, &Device::flex());
        assert!(Tokens::new(states([2, 3, 4]), vec![true; 5]).is_none());
    }

    /// What a picture is made from stays; what is asked of it is dropped.
    #[test]
    fn several_at_once() {
        let image = Cond::Image(Tensor::ones([2, 4, 4, 3], &Device::flex()));
        let all = Cond::Several(vec![Cond::labels([5, 6]), image.clone(), tokens(&[1.0, 2.0], [2, 1], &[true; 2])]);
        assert_eq!(all.count(), Some(2));
        let none = all.null();
        assert_eq!((none.label().unwrap(), mask(&none)), ([None, None].as_slice(), vec![false; 2]));
        assert_eq!(none.image().unwrap().clone().sum().into_scalar::<f32>(), 96.0);
        let four = all.concat(&none).unwrap();
        assert_eq!((four.count(), four.image().unwrap().dims()), (Some(4), [4, 4, 4, 3]));
        assert_eq!(four.narrow(1..3).label().unwrap(), [Some(6), None]);
        assert!(all.concat(&image).is_none());
        assert_eq!(all.name(), "2 labels and images [2, 4, 4, 3] and tokens [2, 1, 1]");
    }
}
