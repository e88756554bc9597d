//! The Python names a tensor file may use, and what each stands for. Nothing else is looked up, imported or called.

use super::machine::{Cell, Machine, Object};
use crate::Dtype;
use crate::error::Fault;

/// Most arguments of a call, and most dimensions of a tensor.
const MAX_ARGUMENTS: usize = 64;

/// A known Python name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `OrderedDict`, `dict`, `defaultdict`, `Counter`.
    Dict,
    /// `set`, `frozenset`, `list`.
    List,
    /// `tuple`, `torch.Size`.
    Tuple,
    /// `_rebuild_tensor`, `_rebuild_tensor_v2`.
    Tensor,
    /// `_rebuild_tensor_v3`: the element type is an argument.
    TensorV3,
    /// `_rebuild_parameter` and its variant with state.
    Parameter,
    /// A typed storage class.
    Storage(Dtype),
    /// `UntypedStorage`: bytes.
    Untyped,
    /// An element type as a value.
    Dtype(Dtype),
    /// `torch.device`.
    Device,
    /// `torch.strided` and the like.
    Layout,
    /// `numpy.dtype`.
    NumpyDtype,
    /// A NumPy scalar.
    NumpyScalar,
    /// `_codecs.encode`: how protocol 2 spells bytes.
    Encode,
}

impl Global {
    /// `module.name`, or `None` for anything that is not on the list.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "collections.OrderedDict" | "collections.defaultdict" | "collections.Counter" => Self::Dict,
            "builtins.dict" | "__builtin__.dict" => Self::Dict,
            "builtins.list" | "__builtin__.list" | "builtins.set" | "__builtin__.set" => Self::List,
            "builtins.frozenset" | "__builtin__.frozenset" => Self::List,
            "builtins.tuple" | "__builtin__.tuple" | "torch.Size" => Self::Tuple,
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => Self::Tensor,
            "torch._utils._rebuild_tensor_v3" => Self::TensorV3,
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => Self::Parameter,
            "torch.storage.UntypedStorage" | "torch.UntypedStorage" => Self::Untyped,
            "torch.device" => Self::Device,
            "torch.strided" => Self::Layout,
            "numpy.dtype" => Self::NumpyDtype,
            "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar" => Self::NumpyScalar,
            "_codecs.encode" => Self::Encode,
            _ => return Self::torch_type(name),
        })
    }

    /// `torch.FloatStorage`, `torch.cuda.HalfStorage`, `torch.float32`.
    fn torch_type(name: &str) -> Option<Self> {
        let name = name.strip_prefix("torch.")?;
        let class = name.strip_prefix("cuda.").or(name.strip_prefix("storage.")).unwrap_or(name);
        match Dtype::from_torch_storage(class) {
            Some(dtype) => Some(Self::Storage(dtype)),
            None => Dtype::from_torch(name).map(Self::Dtype),
        }
    }

    /// How the name appears where it is a value by itself.
    pub(super) fn value_text(self) -> Option<String> {
        match self {
            Self::Dtype(dtype) => Some(format!("torch.{dtype}")),
            Self::Layout => Some("torch.strided".into()),
            _ => None,
        }
    }
}

/// A run of numbers that tensors look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Its name in the container.
    pub(super) key: String,
    /// `None` for bytes.
    pub(super) dtype: Option<Dtype>,
    /// How many numbers.
    pub(super) numel: usize,
    /// Where a legacy view begins in the storage `key`.
    pub(super) offset: usize,
}

/// A tensor as a view of a storage. Strides count numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: Storage,
    pub(super) dtype: Dtype,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// `('storage', class, key, location, numel[, view])`, where a legacy `view` is `None` or `(key, offset, size)`.
pub(super) fn storage(machine: &mut Machine, id: Cell) -> Result<Storage, Fault> {
    if let Some(key) = machine.items(id)?.get(2) {
        machine.charge(machine.text(*key)?.len())?;
    }
    let items = machine.items(id)?;
    let [tag, class, key, _location, numel, rest @ ..] = items else {
        return Fault::bad("a storage with fewer than five fields");
    };
    if machine.text(*tag)? != "storage" {
        return Fault::bad("a persistent object that is not a storage");
    }
    let dtype = match machine.get(*class) {
        Some(Object::Global(Global::Storage(dtype))) => Some(*dtype),
        Some(Object::Global(Global::Untyped)) => None,
        _ => return Fault::bad("a storage of an unknown class"),
    };
    let mut storage = Storage { key: machine.text(*key)?.to_string(), dtype, numel: machine.index(*numel)?, offset: 0 };
    if let [view, ..] = rest
        && *view != Cell::None
    {
        let [_, offset, _size] = machine.items(*view)? else {
            return Fault::bad("a storage view without three fields");
        };
        storage.offset = machine.index(*offset)?;
    }
    Ok(storage)
}

/// `callable(*arguments)` for the names on the list.
pub(super) fn call(machine: &mut Machine, callable: Cell, arguments: Cell) -> Result<Cell, Fault> {
    let Some(Object::Global(global)) = machine.get(callable) else {
        return Fault::bad("a call of something that cannot be called");
    };
    let global = *global;
    let items = machine.items(arguments)?;
    if items.len() > MAX_ARGUMENTS {
        return Fault::bad(format!("a call with {} arguments", items.len()));
    }
    let items = items.to_vec();
    // What an argument holds may be copied into the result.
    machine.charge(items.iter().map(|item| size(machine, *item)).sum())?;
    let object = match global {
        Global::Dict => dict(machine, &items)?,
        Global::List => Object::List(sequence(machine, &items)?),
        Global::Tuple => Object::Tuple(sequence(machine, &items)?),
        Global::Tensor | Global::TensorV3 => Object::Tensor(tensor(machine, global, &items)?),
        Global::Parameter => match items.first() {
            Some(cell) if matches!(machine.get(*cell), Some(Object::Tensor(_))) => return Ok(*cell),
            _ => return Fault::bad("a parameter without a tensor"),
        },
        Global::Device => Object::Str(device(machine, &items)?),
        Global::NumpyDtype => match items.first() {
            Some(name) => Object::Str(machine.text(*name)?.to_string()),
            None => return Fault::bad("a NumPy element type without a name"),
        },
        Global::NumpyScalar => return numpy_scalar(machine, &items),
        Global::Encode => Object::Bytes(encode(machine, &items)?),
        Global::Storage(_) | Global::Untyped | Global::Dtype(_) | Global::Layout => {
            return Fault::bad("a call of a storage class or element type");
        }
    };
    Ok(machine.store(object))
}

/// How much an object holds.
fn size(machine: &Machine, cell: Cell) -> usize {
    match machine.get(cell) {
        Some(Object::List(v) | Object::Tuple(v)) => v.len(),
        Some(Object::Dict(v)) => v.len(),
        Some(Object::Str(v)) => v.len(),
        Some(Object::Storage(v)) => v.key.len(),
        _ => 0,
    }
}

/// State set on an object: known harmless cases only.
pub(super) fn build(machine: &Machine, object: Cell, state: Cell) -> Result<(), Fault> {
    match machine.get(object) {
        // OrderedDicts of modules carry `_metadata` as an attribute; NumPy element types their byte order. Neither is needed.
        Some(Object::Dict(_) | Object::Str(_)) => Ok(()),
        // A tensor with Python attributes: the numbers are what counts.
        Some(Object::Tensor(_)) if matches!(machine.get(state), Some(Object::Dict(_) | Object::Tuple(_))) => Ok(()),
        _ => Fault::bad("state is set on something that has none"),
    }
}

/// `OrderedDict()`, `OrderedDict([(k, v), ...])`, `Counter({...})`, `defaultdict(factory[, {...}])`.
fn dict(machine: &Machine, items: &[Cell]) -> Result<Object, Fault> {
    let Some(last) = items.last() else {
        return Ok(Object::Dict(Vec::new()));
    };
    match machine.get(*last) {
        Some(Object::Dict(pairs)) => Ok(Object::Dict(pairs.clone())),
        Some(Object::Global(_)) => Ok(Object::Dict(Vec::new())),
        Some(Object::List(list) | Object::Tuple(list)) => {
            let pair = |cell: &Cell| match machine.items(*cell)? {
                [key, value] => Ok((*key, *value)),
                _ => Fault::bad("a dictionary entry that is not a pair"),
            };
            Ok(Object::Dict(list.iter().map(pair).collect::<Result<_, _>>()?))
        }
        _ => Fault::bad("a dictionary made of something else"),
    }
}

fn sequence(machine: &Machine, items: &[Cell]) -> Result<Vec<Cell>, Fault> {
    match items {
        [] => Ok(Vec::new()),
        [only] => Ok(machine.items(*only)?.to_vec()),
        _ => Fault::bad("a list or tuple made of several arguments"),
    }
}

/// `(storage, offset, size, stride, ...)`; version 3 has the element type at place 6.
fn tensor(machine: &Machine, global: Global, items: &[Cell]) -> Result<View, Fault> {
    let [storage, offset, size, stride, ..] = items else {
        return Fault::bad("a tensor with fewer than four fields");
    };
    let Some(Object::Storage(storage)) = machine.get(*storage) else {
        return Fault::bad("a tensor without a storage");
    };
    let dtype = match (global, items.get(6).and_then(|c| machine.get(*c))) {
        (Global::TensorV3, Some(Object::Global(Global::Dtype(dtype)))) => Some(*dtype),
        (Global::TensorV3, _) => return Fault::bad("a tensor whose element type is not read"),
        _ => storage.dtype,
    };
    let Some(dtype) = dtype else {
        return Fault::bad("a tensor without an element type");
    };
    let numbers = |cell: Cell| machine.items(cell)?.iter().map(|c| machine.index(*c)).collect::<Result<Vec<_>, _>>();
    let (shape, strides) = (numbers(*size)?, numbers(*stride)?);
    if shape.len() != strides.len() {
        return Fault::bad(format!("a tensor with {} sizes and {} strides", shape.len(), strides.len()));
    }
    Ok(View { storage: storage.clone(), dtype, offset: machine.index(*offset)?, shape, strides })
}

fn device(machine: &Machine, items: &[Cell]) -> Result<String, Fault> {
    match items {
        [kind] => Ok(machine.text(*kind)?.to_string()),
        [kind, index] => Ok(format!("{}:{}", machine.text(*kind)?, machine.index(*index)?)),
        _ => Fault::bad("a device with neither one nor two fields"),
    }
}

/// `encode(text, 'latin1')`.
fn encode(machine: &Machine, items: &[Cell]) -> Result<Vec<u8>, Fault> {
    let text = match items {
        [text] | [text, _] => machine.text(*text)?,
        _ => return Fault::bad("an encoding with neither one nor two fields"),
    };
    text.chars().map(|c| u8::try_from(c).map_err(|_| Fault::Bad("bytes that are not Latin-1".into()))).collect()
}

/// `scalar(dtype, bytes)`, little-endian, as a plain number.
fn numpy_scalar(machine: &Machine, items: &[Cell]) -> Result<Cell, Fault> {
    use crate::dtype::Element;
    let [dtype, data] = items else {
        return Fault::bad("a NumPy scalar without two fields");
    };
    let (name, data) = (machine.text(*dtype)?, machine.get(*data));
    let (Some(dtype), Some(Object::Bytes(data))) = (Dtype::from_numpy(&format!("<{name}")), data) else {
        return Fault::bad(format!("a NumPy scalar of type `{name}`, which is not read"));
    };
    if data.len() != dtype.size() {
        return Fault::bad("a NumPy scalar of the wrong length");
    }
    Ok(match dtype {
        Dtype::F64 => Cell::Float(f64::read(data)),
        Dtype::F32 => Cell::Float(f32::read(data).into()),
        Dtype::F16 | Dtype::BF16 => Cell::Float(half::f16::read(data).as_f64()),
        Dtype::I64 => Cell::Int(i64::read(data)),
        Dtype::I32 => Cell::Int(i32::read(data).into()),
        Dtype::I16 => Cell::Int(i16::read(data).into()),
        Dtype::I8 => Cell::Int(i8::read(data).into()),
        Dtype::U64 => Cell::Float(u64::read(data).as_f64()),
        Dtype::U32 => Cell::Int(u32::read(data).into()),
        Dtype::U16 => Cell::Int(u16::read(data).into()),
        Dtype::U8 => Cell::Int(u8::read(data).into()),
        Dtype::Bool => Cell::Bool(bool::read(data)),
    })
}
