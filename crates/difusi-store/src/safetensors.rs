//! The safetensors container: an 8-byte length, a JSON header, the tensors' bytes without gaps
//! (<https://github.com/huggingface/safetensors#format>).
//!
//! Equal inputs give equal bytes: header entries stand in the map's order, metadata sorted, data by falling element size.
//! Deliberately absent: memory mapping (it needs `unsafe`) and element types no network here uses (8-bit floats).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::dtype::Dtype;
use crate::error::Fault;
use crate::map::{TensorInfo, TensorMap};
use crate::tensor::{HostData, HostTensor, element_count};
use crate::{StoreError, atomic};

const FORMAT: &str = "safetensors";
/// Longest header accepted, as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

/// A file's contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SafeTensorsFile {
    /// Tensors in the order of the header.
    pub tensors: TensorMap,
    /// Free text.
    pub metadata: BTreeMap<String, String>,
}

/// What a file says about its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SafeTensorsHeader {
    /// Tensors in the order of the header.
    pub tensors: Vec<TensorInfo>,
    /// Free text.
    pub metadata: BTreeMap<String, String>,
}

/// Reads a whole file. Errors name the file and, where one is at fault, the tensor.
pub fn read_safetensors(path: &Path) -> Result<SafeTensorsFile, StoreError> {
    let open = || -> Result<SafeTensorsFile, Fault> {
        let mut file = BufReader::new(File::open(path)?);
        let header = parse_header(&mut file)?;
        let mut tensors: Vec<Option<(String, HostTensor)>> = vec![None; header.entries.len()];
        // Data lie in another order than the header lists them; read forwards.
        for i in header.by_offset() {
            let Entry { info, begin, end } = &header.entries[i];
            file.seek(SeekFrom::Start(header.data_start + begin))?;
            let data = read_data(&mut file, info.dtype, (end - begin) as usize)?;
            tensors[i] = Some((info.name.clone(), HostTensor { shape: info.shape.clone(), data }));
        }
        Ok(SafeTensorsFile { tensors: tensors.into_iter().flatten().collect(), metadata: header.metadata })
    };
    open().map_err(Fault::at(path, FORMAT))
}

/// Reads the header only: names, shapes, element types, metadata. The offsets are checked against the file's length.
pub fn read_header(path: &Path) -> Result<SafeTensorsHeader, StoreError> {
    let open = || -> Result<SafeTensorsHeader, Fault> {
        let header = parse_header(&mut BufReader::new(File::open(path)?))?;
        let tensors = header.entries.into_iter().map(|e| e.info).collect();
        Ok(SafeTensorsHeader { tensors, metadata: header.metadata })
    };
    open().map_err(Fault::at(path, FORMAT))
}

/// Reads `len` bytes (a multiple of the element size, already checked against the file's length) as numbers.
fn read_data(file: &mut impl Read, dtype: Dtype, len: usize) -> Result<HostData, Fault> {
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes)?;
    Ok(HostData::from_le_bytes(dtype, &bytes))
}

struct Entry {
    info: TensorInfo,
    begin: u64,
    end: u64,
}

struct Header {
    entries: Vec<Entry>,
    metadata: BTreeMap<String, String>,
    data_start: u64,
}

impl Header {
    fn by_offset(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|i| (self.entries[*i].begin, self.entries[*i].end));
        order
    }

    /// The data must cover the rest of the file without gaps or overlaps.
    fn check_cover(&self, data_len: u64) -> Result<(), Fault> {
        let mut at = 0;
        for i in self.by_offset() {
            let Entry { info, begin, end } = &self.entries[i];
            if *begin != at {
                return Fault::bad(format!(
                    "tensor `{}` begins at byte {begin} of the data, where byte {at} was expected (overlap or gap)",
                    info.name
                ));
            }
            at = *end;
        }
        if at > data_len {
            return Fault::bad(format!("the file is truncated: {data_len} bytes of data, {at} expected"));
        }
        if at < data_len {
            return Fault::bad(format!("{} bytes follow the last tensor", data_len - at));
        }
        Ok(())
    }
}

fn parse_header(file: &mut (impl Read + Seek)) -> Result<Header, Fault> {
    let file_len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut word = [0; 8];
    file.read_exact(&mut word)?;
    let len = u64::from_le_bytes(word);
    if len > MAX_HEADER {
        return Fault::bad(format!("its header would have {len} bytes; at most {MAX_HEADER} are accepted"));
    }
    if len > file_len - 8 {
        return Fault::bad(format!("the file is truncated: the header has {len} bytes, {} follow", file_len - 8));
    }
    let mut json = vec![0; len as usize];
    file.read_exact(&mut json)?;
    let text = std::str::from_utf8(&json).map_err(|_| Fault::Bad("its header is not UTF-8".into()))?;
    if !text.starts_with('{') {
        return Fault::bad("its header does not start with `{`");
    }
    let Pairs(pairs) = serde_json::from_str(text).map_err(|e| Fault::Bad(format!("its header: {e}")))?;
    let mut header =
        Header { entries: Vec::with_capacity(pairs.len()), metadata: BTreeMap::new(), data_start: 8 + len };
    for (name, value) in pairs {
        if name == METADATA {
            header.metadata = parse_metadata(value)?;
        } else {
            header.entries.push(parse_entry(name, &value)?);
        }
    }
    header.check_cover(file_len - header.data_start)?;
    Ok(header)
}

fn parse_metadata(value: Value) -> Result<BTreeMap<String, String>, Fault> {
    let Value::Object(map) = value else {
        return Fault::bad("its `__metadata__` is not an object");
    };
    map.into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            other => Fault::bad(format!("its metadata `{key}` is {other}; expected a string")),
        })
        .collect()
}

fn parse_entry(name: String, value: &Value) -> Result<Entry, Fault> {
    let bad = |problem: String| Fault::Bad(format!("tensor `{name}` {problem}"));
    let dtype_name = value["dtype"].as_str().ok_or_else(|| bad("has no `dtype`".into()))?;
    let dtype = Dtype::from_safetensors(dtype_name).ok_or_else(|| {
        let accepted: Vec<_> = Dtype::ALL.iter().map(|d| d.safetensors_name()).collect();
        bad(format!("has dtype `{dtype_name}`; accepted are {}", accepted.join(", ")))
    })?;
    let numbers = |key: &str| -> Option<Vec<u64>> { value[key].as_array()?.iter().map(Value::as_u64).collect() };
    let shape: Vec<usize> = numbers("shape")
        .and_then(|v| v.into_iter().map(|d| usize::try_from(d).ok()).collect())
        .ok_or_else(|| bad("has no valid `shape`".into()))?;
    let offsets = numbers("data_offsets").ok_or_else(|| bad("has no valid `data_offsets`".into()))?;
    let [begin, end] = offsets[..] else {
        return Err(bad(format!("has data_offsets {offsets:?}; expected two numbers")));
    };
    let expected = element_count(&shape).and_then(|n| n.checked_mul(dtype.size()));
    if end.checked_sub(begin) != expected.map(|n| n as u64) {
        return Err(bad(format!("has data_offsets [{begin}, {end}], which do not fit {dtype} of shape {shape:?}")));
    }
    Ok(Entry { info: TensorInfo { name, shape, dtype }, begin, end })
}

/// A JSON object in order, with repeated keys refused (`serde_json::Map` would silently keep the last).
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let (mut pairs, mut seen) = (Vec::new(), HashSet::new());
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!("tensor `{name}` occurs twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// Writes a file atomically. An error where a tensor's shape does not hold its numbers or is called `__metadata__`.
pub fn write_safetensors(
    path: &Path,
    tensors: &TensorMap,
    metadata: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    for (name, tensor) in tensors.iter() {
        tensor.check(name)?;
        if name == METADATA {
            let problem = "has a name that safetensors keeps for metadata".into();
            return Err(StoreError::Tensor { name: name.into(), problem });
        }
    }
    let all: Vec<(&str, &HostTensor)> = tensors.iter().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    // Falling element size keeps every tensor aligned, which zero-copy readers need.
    order.sort_by_key(|i| std::cmp::Reverse(all[*i].1.dtype().size()));
    let header = header_json(&all, &order, metadata);
    atomic::write(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        order.iter().try_for_each(|i| all[*i].1.data.write_le(out))
    })
}

fn header_json(all: &[(&str, &HostTensor)], order: &[usize], metadata: &BTreeMap<String, String>) -> String {
    let mut offsets = vec![[0; 2]; all.len()];
    let mut at = 0;
    for i in order {
        let tensor = all[*i].1;
        let end = at + tensor.numel() * tensor.dtype().size();
        offsets[*i] = [at, end];
        at = end;
    }
    let quote = |text: &str| Value::from(text).to_string();
    let mut parts = Vec::with_capacity(all.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<String> = metadata.iter().map(|(k, v)| format!("{}:{}", quote(k), quote(v))).collect();
        parts.push(format!("\"{METADATA}\":{{{}}}", pairs.join(",")));
    }
    for ((name, tensor), [begin, end]) in all.iter().zip(offsets) {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let mut part = quote(name);
        let dtype = tensor.dtype().safetensors_name();
        // Writing to a String cannot fail.
        let _ =
            write!(part, ":{{\"dtype\":\"{dtype}\",\"shape\":[{}],\"data_offsets\":[{begin},{end}]}}", shape.join(","));
        parts.push(part);
    }
    let mut json = format!("{{{}}}", parts.join(","));
    // Spaces up to a multiple of 8, so that the data begin aligned.
    json.extend(std::iter::repeat_n(' ', json.len().next_multiple_of(8) - json.len()));
    json
}

/// Whether bytes look like the beginning of such a file.
pub(crate) fn looks_like(start: &[u8]) -> bool {
    let Some((word, rest)) = start.split_first_chunk::<8>() else {
        return false;
    };
    (2..=MAX_HEADER).contains(&u64::from_le_bytes(*word)) && rest.first() == Some(&b'{')
}
