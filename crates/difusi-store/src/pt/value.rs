//! What a PyTorch file holds, as plain values.

use crate::error::some_names;
use crate::{HostTensor, StoreError, TensorMap};

/// A value of a PyTorch file. `T` is [`HostTensor`], or [`crate::TensorInfo`] where only the structure was read.
#[derive(Clone, Debug, PartialEq)]
pub enum PtValue<T = HostTensor> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string; also `torch.float32`, `cuda:0` and the like for element types and devices.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, or a set in the order of the file.
    List(Vec<Self>),
    /// A tuple or `torch.Size`.
    Tuple(Vec<Self>),
    /// A dictionary of any kind (`OrderedDict`, `defaultdict`) in order. Keys are usually strings, integers in optimisers.
    Dict(Vec<(Self, Self)>),
    /// A tensor or parameter.
    Tensor(T),
}

impl<T> PtValue<T> {
    /// A dictionary with string keys.
    pub fn dict<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(k, v)| (Self::Str(k.into()), v)).collect())
    }

    /// A string.
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// What Python would call its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Tensor(_) => "tensor",
        }
    }

    /// The entry of a dictionary; a key of digits also finds an integer key, and a place in a list or tuple.
    pub fn find(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(pairs) => pairs.iter().find(|(k, _)| k.is_key(key)).map(|(_, v)| v),
            Self::List(items) | Self::Tuple(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    fn is_key(&self, key: &str) -> bool {
        match self {
            Self::Str(text) => text == key,
            Self::Int(number) => key.parse() == Ok(*number),
            _ => false,
        }
    }

    /// Follows keys through nested dictionaries and lists; where a dictionary's own keys contain dots, the longest key
    /// that leads on wins: `ema.ema_model.conv.weight`. An error that lists what there is at the point of failure.
    pub fn at(&self, path: &str) -> Result<&Self, StoreError> {
        self.walk(path).ok_or_else(|| StoreError::Missing { name: path.into(), found: self.keys_text() })
    }

    fn walk(&self, path: &str) -> Option<&Self> {
        if path.is_empty() {
            return Some(self);
        }
        if let Some(value) = self.find(path) {
            return Some(value);
        }
        path.rmatch_indices('.').find_map(|(dot, _)| self.find(&path[..dot])?.walk(&path[dot + 1..]))
    }

    fn keys_text(&self) -> String {
        match self {
            Self::Dict(pairs) => {
                let names: Vec<String> = pairs.iter().map(|(k, _)| k.key_text()).collect();
                some_names(names.iter().map(String::as_str))
            }
            Self::List(items) | Self::Tuple(items) => format!("a {} of {}", self.type_name(), items.len()),
            other => format!("a {}", other.type_name()),
        }
    }

    fn key_text(&self) -> String {
        match self {
            Self::Str(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Float(number) => number.to_string(),
            other => format!("<{}>", other.type_name()),
        }
    }

    /// The pairs of a dictionary.
    pub fn as_dict(&self) -> Option<&[(Self, Self)]> {
        if let Self::Dict(pairs) = self { Some(pairs) } else { None }
    }

    /// The items of a list or tuple.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) | Self::Tuple(items) = self { Some(items) } else { None }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// A tensor.
    pub fn as_tensor(&self) -> Option<&T> {
        if let Self::Tensor(tensor) = self { Some(tensor) } else { None }
    }

    /// Calls `visit` with the dotted name of every value that is not a container, in order.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(String, &'a Self)) {
        self.visit_under(&mut String::new(), visit);
    }

    fn visit_under<'a>(&'a self, name: &mut String, visit: &mut impl FnMut(String, &'a Self)) {
        let mut down = |key: &str, value: &'a Self| {
            let length = name.len();
            if length > 0 {
                name.push('.');
            }
            name.push_str(key);
            value.visit_under(name, visit);
            name.truncate(length);
        };
        match self {
            Self::Dict(pairs) => pairs.iter().for_each(|(k, v)| down(&k.key_text(), v)),
            Self::List(items) | Self::Tuple(items) => {
                items.iter().enumerate().for_each(|(i, v)| down(&i.to_string(), v));
            }
            _ => visit(name.clone(), self),
        }
    }

    /// All tensors under their dotted names, in order.
    pub fn flatten(&self) -> Vec<(String, &T)> {
        let mut all = Vec::new();
        self.visit(&mut |name, value| {
            if let Self::Tensor(tensor) = value {
                all.push((name, tensor));
            }
        });
        all
    }
}

impl PtValue<HostTensor> {
    /// All tensors under their dotted names (`""` for a bare tensor). An error where two tensors have the same name.
    pub fn tensors(&self) -> Result<TensorMap, StoreError> {
        let mut map = TensorMap::new();
        for (name, tensor) in self.flatten() {
            if map.insert(name.clone(), tensor.clone()).is_some() {
                return Err(StoreError::Tensor { name, problem: "occurs twice".into() });
            }
        }
        Ok(map)
    }

    /// The number in an int, float, bool, or tensor of one element (PyTorch stores step counters as such).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            Self::Bool(v) => Some(f64::from(u8::from(*v))),
            Self::Tensor(t) if t.numel() == 1 => t.to_f64().first().copied(),
            _ => None,
        }
    }

    /// As [`PtValue::as_f64`] for whole numbers.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(*v),
            Self::Bool(v) => Some(i64::from(*v)),
            Self::Tensor(t) if t.numel() == 1 => t.to_i64("").ok()?.first().copied(),
            Self::Float(v) if v.fract() == 0.0 && v.abs() < 9.0e15 => Some(*v as i64),
            _ => None,
        }
    }
}

impl From<TensorMap> for PtValue<HostTensor> {
    /// A state dictionary: one flat dictionary of tensors.
    fn from(map: TensorMap) -> Self {
        Self::dict(map.into_iter().map(|(name, tensor)| (name, Self::Tensor(tensor))))
    }
}
