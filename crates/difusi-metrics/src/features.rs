//! Features that are kept: rows of equal length.

use crate::MetricsError;

/// `[N, D]` features, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Features<'a> {
    /// `values` `[N * D]`.
    ///
    /// # Errors
    /// No feature, or no whole number of rows.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self, MetricsError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            let accepted = format!("whole rows of {dim}, at least 1");
            return Err(MetricsError::value("the features", format!("{} numbers", values.len()), accepted));
        }
        Ok(Self { values, dim })
    }

    /// N.
    pub fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// `[N * D]`.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// `[D]`; empty beyond the last.
    pub fn row(&self, index: usize) -> &'a [f32] {
        self.values.get(index * self.dim..(index + 1) * self.dim).unwrap_or_default()
    }

    /// The first `count` rows, or as many as there are.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        Self { values: &self.values[..count.min(self.count()) * self.dim], dim: self.dim }
    }

    /// Both have the same number of features.
    ///
    /// # Errors
    /// Where not.
    pub(crate) fn same_dim(&self, other: &Self) -> Result<(), MetricsError> {
        if self.dim == other.dim {
            return Ok(());
        }
        let accepted = format!("{}, as of the pictures", self.dim);
        Err(MetricsError::value("the number of features of the reference", other.dim, accepted))
    }
}
