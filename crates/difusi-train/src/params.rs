//! A burn module seen as named tensors in the module's order, and as one flat vector of its trainable weights.
//!
//! Names are the module's field paths joined by dots; variants of an `enum` do not appear in them. Deliberately absent: files,
//! and other frameworks' names.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::TrainError;

/// The float tensors of a module, in its order.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) entries: Vec<Entry>,
    /// Number of trainable weights.
    pub(crate) len: usize,
}

/// One float tensor of a module.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// Where it lies among the trainable weights; `None` for buffers and frozen weights.
    pub(crate) trained: Option<Range<usize>>,
}

/// Named values of tensors.
pub(crate) type Values = BTreeMap<String, Vec<f32>>;

impl Layout {
    /// The layout of `model`, its trainable weights as one vector, and the rest by name.
    pub(crate) fn read<M: Module>(model: &M) -> Result<(Self, Vec<f32>, Values), TrainError> {
        let mut reader = Reader::default();
        model.visit(&mut reader);
        match reader.error {
            Some(e) => Err(e),
            None => Ok((Self { entries: reader.entries, len: reader.weights.len() }, reader.weights, reader.rest)),
        }
    }

    /// The trainable tensors.
    pub(crate) fn trained(&self) -> impl Iterator<Item = (&Entry, Range<usize>)> {
        self.entries.iter().filter_map(|e| e.trained.clone().map(|r| (e, r)))
    }

    /// The first trainable tensor with a value in `flat` that is not finite.
    pub(crate) fn first_bad(&self, flat: &[f32]) -> Option<&str> {
        self.trained().find(|(_, r)| has_bad(&flat[r.clone()])).map(|(e, _)| e.name.as_str())
    }
}

pub(crate) fn has_bad(values: &[f32]) -> bool {
    values.iter().any(|v| !v.is_finite())
}

/// The values of a tensor, in order.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>, name: &str) -> Result<Vec<f32>, TrainError> {
    data(tensor, name).map(|data| slice(&data).to_vec())
}

/// The values of what [`data`] has read.
pub(crate) fn slice(data: &TensorData) -> &[f32] {
    data.as_slice().unwrap_or_default()
}

/// The memory of a tensor of f32, without a copy where nothing else holds it.
pub(crate) fn data<const D: usize>(tensor: Tensor<D>, name: &str) -> Result<TensorData, TrainError> {
    let fail = |message: String| TrainError::Read { name: name.to_owned(), message };
    let data = tensor.try_into_data().map_err(|e| fail(format!("{e:?}")))?;
    data.as_slice::<f32>().map_err(|e| fail(format!("{e:?}")))?;
    Ok(data)
}

#[derive(Default)]
struct Reader {
    path: Vec<Option<String>>,
    entries: Vec<Entry>,
    weights: Vec<f32>,
    rest: Values,
    error: Option<TrainError>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".");
        let tensor = param.val();
        let (shape, trains) = (tensor.dims().to_vec(), tensor.is_require_grad());
        match values(tensor, &name) {
            Err(e) => self.error = self.error.take().or(Some(e)),
            Ok(v) if trains => {
                let start = self.weights.len();
                self.weights.extend(v);
                self.entries.push(Entry { name, shape, trained: Some(start..self.weights.len()) });
            }
            Ok(v) => {
                self.rest.insert(name.clone(), v);
                self.entries.push(Entry { name, shape, trained: None });
            }
        }
    }
}

/// Puts values into a module.
pub(crate) struct Fill<'a> {
    pub(crate) layout: &'a Layout,
    /// Where the new tensors live; on an autodiff device the trainable ones require gradients.
    pub(crate) device: &'a Device,
    pub(crate) values: Trained<'a>,
    /// The other values; those not named here stay as they are.
    pub(crate) rest: Option<&'a Values>,
}

/// New trainable weights.
pub(crate) enum Trained<'a> {
    /// To be copied from one vector.
    Flat(&'a [f32]),
    /// Each tensor's own, in order.
    Own(std::vec::IntoIter<Vec<f32>>),
}

impl Fill<'_> {
    /// The module with these values.
    pub(crate) fn apply<M: Module>(self, model: M) -> M {
        model.map(&mut Filler { fill: self, next: 0 })
    }
}

struct Filler<'a> {
    fill: Fill<'a>,
    next: usize,
}

impl ModuleMapper for Filler<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Fill { layout, device, values, rest } = &mut self.fill;
        let entry = &layout.entries[self.next];
        self.next += 1;
        let new = |v: Vec<f32>| Tensor::<D>::from_data(TensorData::new(v, entry.shape.clone()), *device);
        match &entry.trained {
            Some(range) => param.map(|_| {
                let tensor = new(match values {
                    Trained::Flat(values) => values[range.clone()].to_vec(),
                    Trained::Own(values) => values.next().unwrap_or_default(),
                });
                if device.is_autodiff() { tensor.require_grad() } else { tensor }
            }),
            None => match rest.and_then(|r| r.get(&entry.name)) {
                Some(v) => param.map(|_| new(v.clone())),
                None => param,
            },
        }
    }
}

/// `model` ready to be trained on `device` (an autodiff device, possibly recomputing activations): every parameter lives there
/// with its own graph, training flags are on.
pub(crate) fn to_training<M: Module>(model: M, device: &Device) -> Result<(M, Layout, Vec<f32>), TrainError> {
    let model = model.train();
    let (layout, weights, rest) = Layout::read(&model)?;
    let plain = device.clone().inner().autodiff();
    let model = if device.gradient_checkpointing_strategy() == plain.gradient_checkpointing_strategy() {
        model
    } else {
        // Bare tensors inside the module keep the strategy they were made with, and two strategies do not mix:
        // `valid` makes them plain constants, then the flags that it switched off are set again.
        let mut flags = Flags::default();
        model.visit(&mut flags);
        model.valid().map(&mut flags)
    };
    let model = Fill { layout: &layout, device, values: Trained::Flat(&weights), rest: Some(&rest) }.apply(model);
    Ok((model, layout, weights))
}

#[derive(Default)]
struct Flags {
    seen: Vec<bool>,
    next: usize,
}

impl ModuleVisitor for Flags {
    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.seen.push(flag.is_enabled());
    }
}

impl ModuleMapper for Flags {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.next += 1;
        flag.with_value(self.seen[self.next - 1])
    }
}
