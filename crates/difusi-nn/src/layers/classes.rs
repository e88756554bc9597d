//! Class labels to vectors, with a learned row for "no label" (Ho & Salimans, arXiv:2207.12598): a table, then two linear maps.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::Init;

/// A row per class.
#[derive(Module, Debug)]
pub struct Embedding {
    weight: Param<Tensor<2>>,
}

impl Embedding {
    /// `count` rows of `width` standard normal numbers.
    pub fn new(init: &Init<'_>, [count, width]: [usize; 2]) -> Self {
        Self { weight: init.at("weight").normal([count, width], true) }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The rows of `labels`, that of no label being `null` `[width]`: `[B, width]`. Panics on labels that have no row.
    ///
    /// A product with rows of zeros and a one: exact, and its gradient is summed in the order of the images.
    pub fn forward(&self, labels: &[Option<u32>], null: Tensor<1>) -> Tensor<2> {
        let table = Tensor::cat(vec![self.weight.val(), null.unsqueeze()], 0); // [count + 1, width]
        let picks = one_hot(labels, self.count(), &table.device());
        difusi_ops::linear(picks, table.transpose(), None)
    }
}

impl Embedding {
    /// The rows of these numbers, `[B, width]`; zeros for `None`. Panics on numbers that have no row.
    pub fn rows(&self, numbers: &[Option<usize>]) -> Tensor<2> {
        let table = self.weight.val(); // [count, width]
        let (count, mut picks) = (self.count(), vec![0.0_f32; numbers.len() * self.count()]);
        for (i, row) in numbers.iter().enumerate().filter_map(|(i, row)| Some((i, (*row)?))) {
            assert!(row < count, "row {row} of {count}");
            picks[i * count + row] = 1.0;
        }
        let picks = Tensor::from_data(TensorData::new(picks, [numbers.len(), count]), &table.device());
        difusi_ops::linear(picks, table.transpose(), None)
    }
}

/// `[B, count + 1]`; no label is the last column.
fn one_hot(labels: &[Option<u32>], count: usize, device: &Device) -> Tensor<2> {
    let mut rows = vec![0.0_f32; labels.len() * (count + 1)];
    for (i, label) in labels.iter().enumerate() {
        let column = label.map_or(count, |label| label as usize);
        assert!(column < count || label.is_none(), "label {column} of {count} classes");
        rows[i * (count + 1) + column] = 1.0;
    }
    // On a device with autodiff the product is followed, this constant is not.
    Tensor::from_data(TensorData::new(rows, [labels.len(), count + 1]), device)
}
