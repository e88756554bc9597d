//! Tensors on the host, as files hold them.
//!
//! Deliberately absent: arithmetic, devices, any knowledge of what a name means.

use burn::tensor::{BoolStore, DType, TensorData};
use half::{bf16, f16};

use crate::StoreError;
use crate::dtype::{Dtype, Element};

/// The numbers of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the Dtype of its name")]
pub enum HostData {
    F64(Vec<f64>),
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I16(Vec<i16>),
    I8(Vec<i8>),
    U64(Vec<u64>),
    U32(Vec<u32>),
    U16(Vec<u16>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
}

/// Runs an expression on the vector inside, whatever its type.
macro_rules! each {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            HostData::F64($v) => $body,
            HostData::F32($v) => $body,
            HostData::F16($v) => $body,
            HostData::BF16($v) => $body,
            HostData::I64($v) => $body,
            HostData::I32($v) => $body,
            HostData::I16($v) => $body,
            HostData::I8($v) => $body,
            HostData::U64($v) => $body,
            HostData::U32($v) => $body,
            HostData::U16($v) => $body,
            HostData::U8($v) => $body,
            HostData::Bool($v) => $body,
        }
    };
}

fn parse<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::read).collect()
}

impl HostData {
    /// Little-endian bytes; a remainder shorter than one number is ignored.
    pub(crate) fn from_le_bytes(dtype: Dtype, bytes: &[u8]) -> Self {
        match dtype {
            Dtype::F64 => Self::F64(parse(bytes)),
            Dtype::F32 => Self::F32(parse(bytes)),
            Dtype::F16 => Self::F16(parse(bytes)),
            Dtype::BF16 => Self::BF16(parse(bytes)),
            Dtype::I64 => Self::I64(parse(bytes)),
            Dtype::I32 => Self::I32(parse(bytes)),
            Dtype::I16 => Self::I16(parse(bytes)),
            Dtype::I8 => Self::I8(parse(bytes)),
            Dtype::U64 => Self::U64(parse(bytes)),
            Dtype::U32 => Self::U32(parse(bytes)),
            Dtype::U16 => Self::U16(parse(bytes)),
            Dtype::U8 => Self::U8(bytes.to_vec()),
            Dtype::Bool => Self::Bool(parse(bytes)),
        }
    }

    /// Writes the numbers little-endian, in pieces of at most 64 KiB.
    pub(crate) fn write_le(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(1 << 16);
        each!(self, v => {
            for part in v.chunks(1 << 13) {
                buffer.clear();
                for x in part {
                    x.put(&mut buffer);
                }
                out.write_all(&buffer)?;
            }
        });
        Ok(())
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F64(_) => Dtype::F64,
            Self::F32(_) => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::BF16(_) => Dtype::BF16,
            Self::I64(_) => Dtype::I64,
            Self::I32(_) => Dtype::I32,
            Self::I16(_) => Dtype::I16,
            Self::I8(_) => Dtype::I8,
            Self::U64(_) => Dtype::U64,
            Self::U32(_) => Dtype::U32,
            Self::U16(_) => Dtype::U16,
            Self::U8(_) => Dtype::U8,
            Self::Bool(_) => Dtype::Bool,
        }
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor on the host: `shape`, and row-major `data` with as many numbers as the shape says.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Extents; empty for a scalar.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: HostData,
}

impl HostTensor {
    /// Checks that the shape and the data agree.
    pub fn new(shape: impl Into<Vec<usize>>, data: HostData) -> Result<Self, StoreError> {
        let tensor = Self { shape: shape.into(), data };
        tensor.check("")?;
        Ok(tensor)
    }

    /// Checks that the shape and the data agree; `name` is for the message.
    pub(crate) fn check(&self, name: &str) -> Result<(), StoreError> {
        if element_count(&self.shape) == Some(self.data.len()) {
            return Ok(());
        }
        let problem = format!("shape {:?} does not hold its {} numbers", self.shape, self.data.len());
        Err(StoreError::Tensor { name: name.into(), problem })
    }

    /// An f32 tensor.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, StoreError> {
        Self::new(shape, HostData::F32(data))
    }

    /// A scalar i64, as PyTorch stores step counters.
    pub fn scalar_i64(value: i64) -> Self {
        Self { shape: Vec::new(), data: HostData::I64(vec![value]) }
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.data.dtype()
    }

    /// How many numbers.
    pub fn numel(&self) -> usize {
        self.data.len()
    }

    /// All numbers as f32, rounded to nearest where f32 is narrower.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            HostData::F32(v) => v.clone(),
            data => each!(data, v => v.iter().map(|x| x.as_f64() as f32).collect()),
        }
    }

    /// As [`HostTensor::to_f32`], without a copy where the numbers are f32 already.
    pub fn into_f32(self) -> Vec<f32> {
        match self.data {
            HostData::F32(v) => v,
            _ => self.to_f32(),
        }
    }

    /// All numbers as f64; 64-bit integers beyond 2^53 are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        each!(&self.data, v => v.iter().map(|x| x.as_f64()).collect())
    }

    /// All numbers as i64, for labels and steps. An error where one is not a whole number.
    pub fn to_i64(&self, name: &str) -> Result<Vec<i64>, StoreError> {
        if let HostData::I64(v) = &self.data {
            return Ok(v.clone());
        }
        let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 9.0e15).then_some(x as i64);
        self.to_f64()
            .into_iter()
            .map(|x| {
                whole(x).ok_or_else(|| StoreError::Tensor {
                    name: name.into(),
                    problem: format!("holds {x}; expected whole numbers"),
                })
            })
            .collect()
    }

    /// To burn, with the element type kept.
    pub fn into_tensor_data(self) -> TensorData {
        let shape = self.shape;
        each!(self.data, v => TensorData::new(v, shape))
    }

    /// From burn. An error for quantised data, which no container here holds.
    pub fn from_tensor_data(data: &TensorData) -> Result<Self, StoreError> {
        let shape = data.shape().to_vec();
        let bytes = data.as_bytes();
        let dtype = match data.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 | DType::Flex32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            DType::I32 => Dtype::I32,
            DType::I16 => Dtype::I16,
            DType::I8 => Dtype::I8,
            DType::U64 => Dtype::U64,
            DType::U32 => Dtype::U32,
            DType::U16 => Dtype::U16,
            DType::U8 => Dtype::U8,
            DType::Bool(BoolStore::Native | BoolStore::U8) => Dtype::Bool,
            DType::Bool(BoolStore::U32) => {
                return Self::new(shape, HostData::Bool(bytes.chunks_exact(4).map(|b| b != [0; 4]).collect()));
            }
            DType::QFloat(_) => {
                let problem = "is quantised; expected plain numbers".to_string();
                return Err(StoreError::Tensor { name: String::new(), problem });
            }
        };
        // burn keeps host memory in native order; a big-endian host would need a swap here.
        Self::new(shape, HostData::from_le_bytes(dtype, bytes))
    }
}

/// Product of the extents; `None` where it overflows.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    // A zero extent makes the product 0 whatever the others are; checked_mul in order could overflow before meeting it.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element type survives the trip through burn.
    #[test]
    fn burn_round_trip() {
        for dtype in Dtype::ALL {
            let bytes: Vec<u8> = (0..6 * dtype.size()).map(|i| (i % 2) as u8).collect();
            let tensor = HostTensor::new([2, 3], HostData::from_le_bytes(dtype, &bytes)).unwrap();
            let back = HostTensor::from_tensor_data(&tensor.clone().into_tensor_data()).unwrap();
            assert_eq!(back, tensor, "{dtype}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        let error = HostTensor::f32([2, 3], vec![0.0; 5]).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains('5'), "{error}");
        assert_eq!(element_count(&[usize::MAX, 2]), None);
        assert_eq!(element_count(&[usize::MAX, 2, 0]), Some(0));
        assert!(HostTensor::f32([1], vec![0.5]).unwrap().to_i64("t").is_err());
    }
}
