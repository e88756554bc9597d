//! Element types and their names in the containers that store them.

use half::{bf16, f16};

/// The type of a tensor's numbers. Booleans take one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE 16-bit float.
    F16,
    /// bfloat16.
    BF16,
    /// Signed 64-bit.
    I64,
    /// Signed 32-bit.
    I32,
    /// Signed 16-bit.
    I16,
    /// Signed 8-bit.
    I8,
    /// Unsigned 64-bit.
    U64,
    /// Unsigned 32-bit.
    U32,
    /// Unsigned 16-bit.
    U16,
    /// Unsigned 8-bit.
    U8,
    /// True or false, one byte each.
    Bool,
}

/// (type, bytes, safetensors, PyTorch dtype, PyTorch storage class or "" where there is none, NumPy descriptor or "").
type Row = (Dtype, usize, &'static str, &'static str, &'static str, &'static str);

const TABLE: [Row; 13] = [
    (Dtype::F64, 8, "F64", "float64", "DoubleStorage", "<f8"),
    (Dtype::F32, 4, "F32", "float32", "FloatStorage", "<f4"),
    (Dtype::F16, 2, "F16", "float16", "HalfStorage", "<f2"),
    (Dtype::BF16, 2, "BF16", "bfloat16", "BFloat16Storage", ""),
    (Dtype::I64, 8, "I64", "int64", "LongStorage", "<i8"),
    (Dtype::I32, 4, "I32", "int32", "IntStorage", "<i4"),
    (Dtype::I16, 2, "I16", "int16", "ShortStorage", "<i2"),
    (Dtype::I8, 1, "I8", "int8", "CharStorage", "|i1"),
    (Dtype::U64, 8, "U64", "uint64", "", "<u8"),
    (Dtype::U32, 4, "U32", "uint32", "", "<u4"),
    (Dtype::U16, 2, "U16", "uint16", "", "<u2"),
    (Dtype::U8, 1, "U8", "uint8", "ByteStorage", "|u1"),
    (Dtype::Bool, 1, "BOOL", "bool", "BoolStorage", "|b1"),
];

impl Dtype {
    /// Every element type.
    pub const ALL: [Self; 13] = {
        let mut all = [Self::F64; 13];
        let mut i = 0;
        while i < 13 {
            all[i] = TABLE[i].0;
            i += 1;
        }
        all
    };

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Bytes per number.
    pub fn size(self) -> usize {
        self.row().1
    }

    /// Name in a safetensors header.
    pub fn safetensors_name(self) -> &'static str {
        self.row().2
    }

    /// Name in PyTorch, without `torch.`; also what [`std::fmt::Display`] prints.
    pub fn torch_name(self) -> &'static str {
        self.row().3
    }

    /// Name of the PyTorch storage class, where there is a typed one.
    pub(crate) fn torch_storage(self) -> Option<&'static str> {
        Some(self.row().4).filter(|s| !s.is_empty())
    }

    /// Little-endian NumPy descriptor, where NumPy has the type.
    pub(crate) fn numpy_descr(self) -> Option<&'static str> {
        Some(self.row().5).filter(|s| !s.is_empty())
    }

    fn find(matches: impl Fn(&Row) -> bool) -> Option<Self> {
        TABLE.iter().find(|row| matches(row)).map(|row| row.0)
    }

    pub(crate) fn from_safetensors(name: &str) -> Option<Self> {
        Self::find(|row| row.2 == name)
    }

    /// Also knows PyTorch's other names (`float`, `half`, `long`, ...).
    pub(crate) fn from_torch(name: &str) -> Option<Self> {
        let name = match name {
            "double" => "float64",
            "float" => "float32",
            "half" => "float16",
            "long" => "int64",
            "int" => "int32",
            "short" => "int16",
            other => other,
        };
        Self::find(|row| row.3 == name)
    }

    pub(crate) fn from_torch_storage(class: &str) -> Option<Self> {
        Self::find(|row| !row.4.is_empty() && row.4 == class)
    }

    /// `<f4`, `=f4`, `|u1`, and one-byte types with any byte order.
    pub(crate) fn from_numpy(descr: &str) -> Option<Self> {
        let order = descr.get(..1)?;
        let kind = descr.get(1..)?;
        Self::find(|row| row.5.get(1..) == Some(kind) && ("<=".contains(order) || row.1 == 1))
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.torch_name())
    }
}

/// A number as it lies in a file: little-endian.
pub(crate) trait Element: Copy {
    /// Reads one number; `bytes` has its size.
    fn read(bytes: &[u8]) -> Self;
    /// Appends one number.
    fn put(self, out: &mut Vec<u8>);
    /// The nearest `f64`.
    fn as_f64(self) -> f64;
}

macro_rules! elements {
    ($($t:ty: $to:expr),* $(,)?) => {$(
        impl Element for $t {
            fn read(bytes: &[u8]) -> Self {
                let mut word = [0; size_of::<Self>()];
                word.copy_from_slice(bytes);
                Self::from_le_bytes(word)
            }
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn as_f64(self) -> f64 {
                let to: fn($t) -> f64 = $to;
                to(self)
            }
        }
    )*};
}

elements! {
    f64: |v| v, f32: f64::from, f16: f64::from, bf16: f64::from,
    i64: |v| v as f64, i32: f64::from, i16: f64::from, i8: f64::from,
    u64: |v| v as f64, u32: f64::from, u16: f64::from, u8: f64::from,
}

impl Element for bool {
    fn read(bytes: &[u8]) -> Self {
        bytes.iter().any(|b| *b != 0)
    }
    fn put(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
    fn as_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is in the order of the enum, and every name finds its type again.
    #[test]
    fn names_invert() {
        for (i, dtype) in Dtype::ALL.into_iter().enumerate() {
            assert_eq!(dtype as usize, i);
            assert_eq!(Dtype::from_safetensors(dtype.safetensors_name()), Some(dtype));
            assert_eq!(Dtype::from_torch(dtype.torch_name()), Some(dtype));
            if let Some(descr) = dtype.numpy_descr() {
                assert_eq!(Dtype::from_numpy(descr), Some(dtype));
            }
            if let Some(class) = dtype.torch_storage() {
                assert_eq!(Dtype::from_torch_storage(class), Some(dtype));
            }
        }
        assert_eq!(Dtype::from_numpy(">f4"), None);
        assert_eq!(Dtype::from_numpy("é"), None);
        assert_eq!(Dtype::from_numpy(""), None);
    }
}
