//! NumPy's `.npy` (one array) and `.npz` (a zip of them): numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
//!
//! Read: little-endian floats, integers and booleans in C or Fortran order; written: C order. Deliberately absent: object
//! arrays (they are pickles) and structured types.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::Fault;
use crate::map::{TensorInfo, TensorMap};
use crate::npz::read_npz_named;
use crate::tensor::{HostData, HostTensor, element_count};
use crate::{Dtype, Picture, StoreError, atomic, read_safetensors};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header accepted.
const MAX_HEADER: usize = 1 << 20;

/// Reads an array; Fortran order is turned into row-major.
pub fn read_npy(path: &Path) -> Result<HostTensor, StoreError> {
    let open = || {
        let file = File::open(path)?;
        let limit = file.metadata()?.len();
        parse(&mut BufReader::new(file), limit)
    };
    open().map_err(Fault::at(path, "npy"))
}

/// Shape and element type of an array; the name is the file's stem.
pub(crate) fn npy_info(path: &Path) -> Result<TensorInfo, StoreError> {
    let open = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut input = BufReader::new(file);
        let Header { dtype, shape, .. } = parse_header(&mut input)?;
        let left = size.saturating_sub(input.stream_position()?);
        match element_count(&shape).and_then(|n| n.checked_mul(dtype.size())).filter(|n| *n as u64 == left) {
            Some(_) => Ok((dtype, shape)),
            None => Fault::bad(format!("shape {shape:?} of {dtype} does not fit the {left} bytes after its header")),
        }
    };
    let (dtype, shape) = open().map_err(Fault::at(path, "npy"))?;
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(TensorInfo { name, shape, dtype })
}

/// Writes an array atomically. An error for bfloat16, which NumPy lacks.
pub fn write_npy(path: &Path, tensor: &HostTensor) -> Result<(), StoreError> {
    let header = header("", tensor)?;
    atomic::write(path, |out| {
        out.write_all(&header)?;
        tensor.data.write_le(out)
    })
}

/// Reads all arrays of an archive, in its order, without `.npy` in their names.
pub fn read_npz(path: &Path) -> Result<TensorMap, StoreError> {
    Ok(read_npz_named(path, &|_| true)?.0)
}

/// Writes arrays atomically, deflated, as `numpy.savez_compressed` does.
pub fn write_npz(path: &Path, tensors: &TensorMap) -> Result<(), StoreError> {
    let headers: Vec<Vec<u8>> = tensors.iter().map(|(name, t)| header(name, t)).collect::<Result<_, _>>()?;
    atomic::write(path, |out| {
        let mut zip = ZipWriter::new(out);
        for ((name, tensor), header) in tensors.iter().zip(&headers) {
            let large = tensor.numel() * tensor.dtype().size() >= u32::MAX as usize;
            let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Deflated).large_file(large);
            zip.start_file(format!("{name}.npy"), options)?;
            zip.write_all(header)?;
            tensor.data.write_le(&mut zip)?;
        }
        zip.finish()?;
        io::Result::Ok(())
    })
}

/// Writes pictures of one size as `arr_0`, u8 `[N, H, W, C]`: what evaluation suites read.
pub fn write_npz_pictures(path: &Path, pictures: &[Picture]) -> Result<(), StoreError> {
    let Some(first) = pictures.first() else {
        return Err(StoreError::Value { what: "number of pictures".into(), got: "0".into(), accepted: "at least one" });
    };
    let mut data = Vec::with_capacity(pictures.len() * first.pixels().len());
    for picture in pictures {
        first.check_same(picture)?;
        data.extend_from_slice(picture.pixels());
    }
    let shape = [pictures.len(), first.height(), first.width(), first.channels()];
    let map = [("arr_0".to_string(), HostTensor::new(shape, HostData::U8(data))?)].into_iter().collect();
    write_npz(path, &map)
}

/// One tensor from a `.npy`, or the tensor `key` from a `.npz` or safetensors file, by the file's content.
pub fn read_tensor_file(path: &Path, key: &str) -> Result<HostTensor, StoreError> {
    let mut start = Vec::new();
    let mut read = || File::open(path)?.take(8).read_to_end(&mut start);
    read().map_err(StoreError::io("read", path))?;
    if looks_like(&start) {
        read_npy(path)
    } else if start.starts_with(b"PK") {
        read_npz(path)?.take(key)
    } else {
        read_safetensors(path)?.tensors.take(key)
    }
}

/// Whether bytes begin like an array.
pub(crate) fn looks_like(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

pub(crate) struct Header {
    pub(crate) dtype: Dtype,
    pub(crate) fortran: bool,
    pub(crate) shape: Vec<usize>,
}

/// Reads an array of at most `limit` bytes.
pub(crate) fn parse(input: &mut impl Read, limit: u64) -> Result<HostTensor, Fault> {
    let Header { dtype, fortran, shape } = parse_header(input)?;
    let len = element_count(&shape).and_then(|n| n.checked_mul(dtype.size())).filter(|n| *n as u64 <= limit);
    let Some(len) = len else {
        return Fault::bad(format!("shape {shape:?} of {dtype} is larger than the file"));
    };
    let mut bytes = Vec::new();
    input.take(len as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() != len {
        let found = if bytes.len() > len { "more".into() } else { bytes.len().to_string() };
        return Fault::bad(format!("shape {shape:?} of {dtype} needs {len} bytes, the file has {found}"));
    }
    if fortran {
        bytes = row_major(&bytes, &shape, dtype.size());
    }
    Ok(HostTensor { shape, data: HostData::from_le_bytes(dtype, &bytes) })
}

/// From first-index-fastest to last-index-fastest.
fn row_major(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new(); // the other extents may be of any size then
    }
    let mut strides = vec![size; shape.len()];
    for d in 1..shape.len() {
        strides[d] = strides[d - 1] * shape[d - 1];
    }
    let mut out = Vec::with_capacity(bytes.len());
    for i in 0..bytes.len() / size {
        let (mut rest, mut at) = (i, 0);
        for d in (0..shape.len()).rev() {
            at += rest % shape[d] * strides[d];
            rest /= shape[d];
        }
        out.extend_from_slice(&bytes[at..at + size]);
    }
    out
}

pub(crate) fn parse_header(input: &mut impl Read) -> Result<Header, Fault> {
    let mut start = [0; 8];
    input.read_exact(&mut start)?;
    if !looks_like(&start) {
        return Fault::bad("it does not begin with \\x93NUMPY");
    }
    let mut word = [0; 4];
    let width = match start[6] {
        1 => 2,
        2 | 3 => 4,
        other => return Fault::bad(format!("format version {other}; accepted are 1, 2 and 3")),
    };
    input.read_exact(&mut word[..width])?;
    let len = u32::from_le_bytes(word) as usize;
    if len > MAX_HEADER {
        return Fault::bad(format!("a header of {len} bytes; at most {MAX_HEADER} are accepted"));
    }
    let mut raw = vec![0; len];
    input.read_exact(&mut raw)?;
    let text = String::from_utf8(raw).map_err(|_| Fault::Bad("its header is not text".into()))?;
    parse_dict(&text)
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_dict(text: &str) -> Result<Header, Fault> {
    let value = |key: &str| -> Option<&str> {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let (_, rest) = quoted.iter().find_map(|q| text.split_once(q.as_str()))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let bad = |what: &str| Fault::Bad(format!("its header has no valid `{what}`: {}", text.trim()));
    let descr = value("descr").ok_or_else(|| bad("descr"))?;
    let quote = descr.chars().next().filter(|c| "'\"".contains(*c)).ok_or_else(|| bad("descr"))?;
    let descr = descr[1..].split(quote).next().unwrap_or("");
    let dtype = Dtype::from_numpy(descr).ok_or_else(|| {
        Fault::Bad(format!("element type `{descr}`; accepted are little-endian floats, integers and booleans"))
    })?;
    let fortran = match value("fortran_order") {
        Some(v) if v.starts_with("True") => true,
        Some(v) if v.starts_with("False") => false,
        _ => return Err(bad("fortran_order")),
    };
    let inside = value("shape").and_then(|v| v.strip_prefix('(')?.split_once(')')).ok_or_else(|| bad("shape"))?.0;
    let extents = inside.split(',').map(str::trim).filter(|s| !s.is_empty());
    let shape = extents.map(|s| s.parse().ok()).collect::<Option<Vec<usize>>>().ok_or_else(|| bad("shape"))?;
    Ok(Header { dtype, fortran, shape })
}

fn header(name: &str, tensor: &HostTensor) -> Result<Vec<u8>, StoreError> {
    tensor.check(name)?;
    let Some(descr) = tensor.dtype().numpy_descr() else {
        return Err(StoreError::Tensor { name: name.into(), problem: "is bfloat16, which NumPy has not".into() });
    };
    let shape: String = tensor.shape.iter().map(|d| format!("{d}, ")).collect();
    // A tuple of one keeps its comma, longer ones lose the last.
    let shape = if tensor.shape.len() == 1 { shape.trim_end() } else { shape.trim_end_matches(", ") };
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let total = (10 + dict.len() + 1).next_multiple_of(64);
    dict.extend(std::iter::repeat_n(' ', total - 10 - dict.len() - 1));
    dict.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((dict.len() as u16).to_le_bytes());
    out.extend(dict.as_bytes());
    Ok(out)
}
