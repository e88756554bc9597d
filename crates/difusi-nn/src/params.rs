//! The parameters of any burn module as named arrays, in and out.
//!
//! A parameter's name is its path through the module's fields, joined by dots. The networks here are laid out so that this
//! path is the name their peer gives the tensor on disk, and a parameter has in memory the shape it has on disk. So nothing
//! is renamed or transposed between a file and a network. Variants of a derived `enum` do not appear in a name.
//!
//! Deliberately absent: files (difusi-store), integer and boolean parameters (no network here has any).

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::error::{NnError, ShapeMismatch, WeightIssues};

/// Name and shape of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamInfo {
    /// Dotted path, which is the name on disk.
    pub name: String,
    /// Shape in memory and on disk.
    pub shape: Vec<usize>,
}

impl ParamInfo {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A named array of `f32`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Name on disk.
    pub name: String,
    /// Shape; its product is the number of values.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Vec<f32>,
}

/// Names and shapes of all float parameters, in the module's order. Allocates no weights.
pub fn named_parameters<M: Module>(module: &M) -> Vec<ParamInfo> {
    let mut list = Infos::default();
    module.visit(&mut list);
    list.infos
}

/// Names of the parameters that training leaves as they are, in the module's order.
pub fn frozen_parameters<M: Module>(module: &M) -> Vec<String> {
    let mut list = Frozen::default();
    module.visit(&mut list);
    list.names
}

/// All float parameters as `f32`, in the module's order.
pub fn export<M: Module>(module: &M) -> Vec<Weight> {
    let mut list = Values::default();
    module.visit(&mut list);
    list.weights
}

/// The module with the values of `weights`, on the device it is on. All names and shapes must be the module's own, each
/// once: the error lists every one that is unknown, missing, repeated or of another shape, and then nothing was changed.
pub fn import<M: Module>(module: M, weights: impl IntoIterator<Item = Weight>) -> Result<M, NnError> {
    let mut issues = WeightIssues::default();
    let mut by_name = BTreeMap::new();
    for weight in weights {
        if by_name.contains_key(&weight.name) {
            issues.repeated.push(weight.name);
        } else {
            by_name.insert(weight.name.clone(), weight);
        }
    }
    let shapes: Vec<_> = by_name.values().map(|w| (w.name.clone(), w.shape.clone())).collect();
    let found = compare(&named_parameters(&module), &shapes);
    let issues = WeightIssues { repeated: issues.repeated, ..found };
    if issues.is_empty() {
        return Ok(module.map(&mut Setter { path: Path::default(), weights: by_name }));
    }
    Err(NnError::Weights(Box::new(issues)))
}

/// What keeps tensors of these names and shapes from being the given parameters. (`repeated` stays empty.)
pub fn compare(parameters: &[ParamInfo], tensors: &[(String, Vec<usize>)]) -> WeightIssues {
    let given: BTreeMap<_, _> = tensors.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    let known: BTreeMap<_, _> = parameters.iter().map(|p| (p.name.as_str(), &p.shape)).collect();
    let mut issues = WeightIssues::default();
    for p in parameters {
        match given.get(p.name.as_str()) {
            None => issues.missing.push(p.name.clone()),
            Some(shape) if **shape != p.shape => issues.shapes.push(ShapeMismatch {
                name: p.name.clone(),
                found: (*shape).clone(),
                expected: p.shape.clone(),
            }),
            Some(_) => {}
        }
    }
    issues.unknown = tensors.iter().filter(|t| !known.contains_key(t.0.as_str())).map(|t| t.0.clone()).collect();
    issues
}

/// Where a traversal stands.
#[derive(Default)]
struct Path(Vec<Option<String>>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        self.0.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
    };
}

#[derive(Default)]
struct Infos {
    path: Path,
    infos: Vec<ParamInfo>,
}

impl ModuleVisitor for Infos {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.infos.push(ParamInfo { name: self.path.name(), shape: param.lazy_shape().to_vec() });
    }
}

#[derive(Default)]
struct Frozen {
    path: Path,
    names: Vec<String>,
}

impl ModuleVisitor for Frozen {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        // Off an autodiff device only `train` shows what is configured.
        let trains = match value.is_autodiff() {
            true => value.is_require_grad(),
            false => Module::train(param.clone()).val().is_require_grad(),
        };
        if !trains {
            self.names.push(self.path.name());
        }
    }
}

#[derive(Default)]
struct Values {
    path: Path,
    weights: Vec<Weight>,
}

impl ModuleVisitor for Values {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        let values = tensor.into_data().iter::<f32>().collect();
        self.weights.push(Weight { name: self.path.name(), shape, values });
    }
}

struct Setter {
    path: Path,
    weights: BTreeMap<String, Weight>,
}

impl ModuleMapper for Setter {
    follow_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.remove(&self.path.name()) else { return param };
        let (id, device) = (param.id, param.lazy_device());
        let tensor = Tensor::from_data(TensorData::new(weight.values, weight.shape), &device);
        param.transform_for_load(tensor, id)
    }
}
