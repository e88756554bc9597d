//! Named tensors in a fixed order: what every container of weights reads to.

use burn::tensor::TensorData;
use indexmap::IndexMap;

use crate::error::{StoreError, some_names};
use crate::{Dtype, HostTensor};

/// What a file says about a tensor without its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Full name.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
}

/// Named tensors in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorMap {
    tensors: IndexMap<String, HostTensor>,
}

impl TensorMap {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor at the end; one of that name is replaced in its place.
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) -> Option<HostTensor> {
        self.tensors.insert(name.into(), tensor)
    }

    /// The tensor of that name.
    pub fn find(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    /// The tensor of that name, or an error that lists what there is.
    pub fn get(&self, name: &str) -> Result<&HostTensor, StoreError> {
        self.find(name).ok_or_else(|| self.missing(name))
    }

    /// Takes a tensor out, keeping the order of the others, or an error that lists what there is.
    pub fn take(&mut self, name: &str) -> Result<HostTensor, StoreError> {
        self.tensors.shift_remove(name).ok_or_else(|| self.missing(name))
    }

    /// The numbers of a tensor as f32 after checking its shape.
    pub fn get_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, StoreError> {
        let tensor = self.get(name)?;
        if tensor.shape != shape {
            let problem = format!("has shape {:?}; expected {shape:?}", tensor.shape);
            return Err(StoreError::Tensor { name: name.into(), problem });
        }
        Ok(tensor.to_f32())
    }

    fn missing(&self, name: &str) -> StoreError {
        StoreError::Missing { name: name.into(), found: some_names(self.tensors.keys().map(String::as_str)) }
    }

    /// Names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HostTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// How many tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// How many numbers in all.
    pub fn numel(&self) -> usize {
        self.tensors.values().map(HostTensor::numel).sum()
    }

    /// The tensors whose names start with `prefix`, without it. `""` gives all.
    pub fn under(&self, prefix: &str) -> Self {
        self.iter().filter_map(|(n, t)| Some((n.strip_prefix(prefix)?.to_string(), t.clone()))).collect()
    }

    /// New names; tensors for which `rename` gives `None` are left out.
    pub fn renamed(self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        self.tensors.into_iter().filter_map(|(n, t)| Some((rename(&n)?, t))).collect()
    }

    /// What [`crate::inspect`] lists.
    pub fn infos(&self) -> Vec<TensorInfo> {
        self.iter().map(|(n, t)| TensorInfo { name: n.into(), shape: t.shape.clone(), dtype: t.dtype() }).collect()
    }

    /// Adds a burn tensor's data; errors name the tensor.
    pub fn insert_data(&mut self, name: &str, data: &TensorData) -> Result<(), StoreError> {
        let tensor = HostTensor::from_tensor_data(data).map_err(|e| match e {
            StoreError::Tensor { problem, .. } => StoreError::Tensor { name: name.into(), problem },
            other => other,
        })?;
        self.insert(name, tensor);
        Ok(())
    }
}

impl FromIterator<(String, HostTensor)> for TensorMap {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor)>>(iter: I) -> Self {
        Self { tensors: iter.into_iter().collect() }
    }
}

impl IntoIterator for TensorMap {
    type Item = (String, HostTensor);
    type IntoIter = indexmap::map::IntoIter<String, HostTensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_say_what_there_is() {
        let mut map = TensorMap::new();
        map.insert("a", HostTensor::scalar_i64(3));
        assert!(map.get("b").unwrap_err().to_string().contains("`a`"));
        assert!(map.get_f32("a", &[2]).unwrap_err().to_string().contains("expected [2]"));
        assert_eq!(map.get("a").unwrap().to_i64("a").unwrap(), [3]);
        assert!(map.take("a").is_ok() && map.take("a").unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn prefixes_and_new_names() {
        let map: TensorMap =
            ["m.b", "m.a", "x"].map(|n| (n.to_string(), HostTensor::scalar_i64(1))).into_iter().collect();
        assert!(map.under("m.").names().eq(["b", "a"]));
        assert!(map.clone().renamed(|n| n.strip_prefix("m.").map(|n| format!("w.{n}"))).names().eq(["w.b", "w.a"]));
        assert_eq!((map.len(), map.numel()), (3, 3));
    }
}
