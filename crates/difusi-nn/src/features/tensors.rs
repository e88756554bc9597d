//! Weights by name, as a network asks for them while it is built; what does not fit is collected instead of stopping at the first.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_ops::{Activation, ConvSpec, FixedConv};

use crate::error::{NnError, ShapeMismatch, WeightIssues};
use crate::{ParamInfo, Weight};

/// Counters of training that PyTorch's batch norms carry along.
const COUNTER: &str = "num_batches_tracked";

/// The tensors of a file, or, for [`parameters`], only what a network asks for.
pub(super) struct Tensors<'a> {
    given: Option<BTreeMap<String, Weight>>,
    asked: Vec<ParamInfo>,
    issues: WeightIssues,
    device: &'a Device,
}

/// A factor and a summand per channel: a batch norm with its statistics fixed.
pub(super) struct Affine {
    pub(super) factor: Vec<f64>,
    pub(super) summand: Vec<f64>,
}

/// Builds a network from weights; those whose names `ignore` holds are not looked at.
pub(super) fn build<T>(
    weights: impl IntoIterator<Item = Weight>,
    device: &Device,
    ignore: fn(&str) -> bool,
    make: impl FnOnce(&mut Tensors<'_>) -> T,
) -> Result<T, NnError> {
    let (mut given, mut issues) = (BTreeMap::new(), WeightIssues::default());
    for weight in weights.into_iter().filter(|w| !w.name.ends_with(COUNTER) && !ignore(&w.name)) {
        if given.contains_key(&weight.name) {
            issues.repeated.push(weight.name);
        } else {
            given.insert(weight.name.clone(), weight);
        }
    }
    let mut tensors = Tensors { given: Some(given), asked: Vec::new(), issues, device };
    let network = make(&mut tensors);
    let mut issues = tensors.issues;
    issues.unknown = tensors.given.unwrap_or_default().into_keys().collect();
    if issues.is_empty() { Ok(network) } else { Err(NnError::Weights(Box::new(issues))) }
}

/// Names and shapes of all that `make` asks for, in its order.
pub(super) fn parameters<T>(make: impl FnOnce(&mut Tensors<'_>) -> T) -> Vec<ParamInfo> {
    let device = Device::flex();
    let mut tensors = Tensors { given: None, asked: Vec::new(), issues: WeightIssues::default(), device: &device };
    drop(make(&mut tensors));
    tensors.asked
}

impl Tensors<'_> {
    /// The values of a tensor; zeros where it is missing or has another shape, which is an issue.
    pub(super) fn take(&mut self, name: String, shape: &[usize]) -> Vec<f32> {
        let zeros = || vec![0.0; shape.iter().product()];
        self.asked.push(ParamInfo { name: name.clone(), shape: shape.to_vec() });
        let Some(given) = &mut self.given else { return zeros() };
        match given.remove(&name) {
            Some(weight) if weight.shape == shape => weight.values,
            Some(weight) => {
                self.issues.shapes.push(ShapeMismatch { name, found: weight.shape, expected: shape.to_vec() });
                zeros()
            }
            None => {
                self.issues.missing.push(name);
                zeros()
            }
        }
    }

    /// The batch norm `name` over `channels`.
    pub(super) fn batch_norm(&mut self, name: &str, channels: usize, epsilon: f64) -> Affine {
        let mut part = |part: &str| self.take(format!("{name}.{part}"), &[channels]);
        let [gain, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(&mut part);
        let factor: Vec<f64> =
            gain.iter().zip(&variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + epsilon).sqrt()).collect();
        let summand =
            bias.iter().zip(&mean).zip(&factor).map(|((b, m), f)| f64::from(*b) - f64::from(*m) * f).collect();
        Affine { factor, summand }
    }

    /// A convolution of `[out, in, kh, kw]` without a bias, and the batch norm after it, as one.
    pub(super) fn normed_conv(
        &mut self,
        [conv, norm]: [&str; 2],
        shape: [usize; 4],
        (spec, activation): (ConvSpec, Activation),
        epsilon: f64,
    ) -> FixedConv {
        let mut weight = self.take(format!("{conv}.weight"), &shape);
        let Affine { factor, summand } = self.batch_norm(norm, shape[0], epsilon);
        let each = shape[1..].iter().product();
        for (filter, factor) in weight.chunks_exact_mut(each).zip(&factor) {
            filter.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
        }
        let bias = summand.iter().map(|&b| b as f32).collect();
        FixedConv::new(self.tensor(weight, shape), self.tensor(bias, [shape[0]]), spec, activation)
    }

    /// A convolution of `[out, in, kh, kw]` with a bias.
    pub(super) fn conv(&mut self, name: &str, shape: [usize; 4], how: (ConvSpec, Activation)) -> FixedConv {
        let weight = self.take(format!("{name}.weight"), &shape);
        let bias = self.take(format!("{name}.bias"), &[shape[0]]);
        FixedConv::new(self.tensor(weight, shape), self.tensor(bias, [shape[0]]), how.0, how.1)
    }

    /// Values on the network's device.
    pub(super) fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }
}
