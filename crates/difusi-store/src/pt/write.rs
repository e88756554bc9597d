//! Writing `torch.save`'s zip container, so that `torch.load(weights_only=True)` opens it.

use std::io::{self, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::PtValue;
use crate::{HostTensor, StoreError, atomic};

/// Folder of everything in the archive.
const ROOT: &str = "archive";

/// Writes a file atomically. Equal values give equal bytes. Errors: a tensor whose shape does not hold its numbers, or of a
/// type without a PyTorch storage class (`uint16`, `uint32`, `uint64`).
pub fn write(path: &Path, value: &PtValue<HostTensor>) -> Result<(), StoreError> {
    for (name, tensor) in value.flatten() {
        tensor.check(&name)?;
        if tensor.dtype().torch_storage().is_none() {
            let problem = format!("is {}; PyTorch files take float, int64 and smaller, uint8 or bool", tensor.dtype());
            return Err(StoreError::Tensor { name, problem });
        }
    }
    let mut pickler = Pickler { out: vec![0x80, 2], storages: Vec::new() };
    pickler.value(value);
    pickler.out.push(b'.');
    let Pickler { out: pickle, storages } = pickler;
    atomic::write(path, |out| {
        let mut zip = ZipWriter::new(out);
        let stored = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored);
        for (name, bytes) in [("data.pkl", pickle.as_slice()), ("byteorder", b"little"), ("version", b"3\n")] {
            zip.start_file(format!("{ROOT}/{name}"), stored)?;
            zip.write_all(bytes)?;
        }
        for (i, tensor) in storages.iter().enumerate() {
            let large = tensor.numel() * tensor.dtype().size() >= u32::MAX as usize;
            zip.start_file(format!("{ROOT}/data/{i}"), stored.large_file(large))?;
            tensor.data.write_le(&mut zip)?;
        }
        zip.finish()?;
        io::Result::Ok(())
    })
}

/// Pickle protocol 2 without a memo.
struct Pickler<'a> {
    out: Vec<u8>,
    storages: Vec<&'a HostTensor>,
}

impl<'a> Pickler<'a> {
    fn value(&mut self, value: &'a PtValue<HostTensor>) {
        match value {
            PtValue::None => self.out.push(b'N'),
            PtValue::Bool(v) => self.out.push(if *v { 0x88 } else { 0x89 }),
            PtValue::Int(v) => self.int(*v),
            PtValue::Float(v) => {
                self.out.push(b'G');
                self.out.extend(v.to_be_bytes());
            }
            PtValue::Str(text) => self.text(text),
            PtValue::Bytes(bytes) => {
                self.global("_codecs", "encode");
                self.text(&bytes.iter().map(|b| char::from(*b)).collect::<String>());
                self.text("latin1");
                self.out.extend([0x86, b'R']);
            }
            PtValue::List(items) => {
                self.out.extend(b"](");
                items.iter().for_each(|item| self.value(item));
                self.out.push(b'e');
            }
            PtValue::Tuple(items) => {
                self.out.push(b'(');
                items.iter().for_each(|item| self.value(item));
                self.out.push(b't');
            }
            PtValue::Dict(pairs) => {
                self.out.extend(b"}(");
                for (key, value) in pairs {
                    self.value(key);
                    self.value(value);
                }
                self.out.push(b'u');
            }
            PtValue::Tensor(tensor) => self.tensor(tensor),
        }
    }

    fn int(&mut self, v: i64) {
        if let Ok(small) = i32::try_from(v) {
            self.out.push(b'J');
            self.out.extend(small.to_le_bytes());
        } else {
            self.out.extend([0x8a, 8]);
            self.out.extend(v.to_le_bytes());
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'X');
        self.out.extend((text.len() as u32).to_le_bytes());
        self.out.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.out.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    fn ints(&mut self, values: impl IntoIterator<Item = usize>) {
        self.out.push(b'(');
        values.into_iter().for_each(|v| self.int(v as i64));
        self.out.push(b't');
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
    fn tensor(&mut self, tensor: &'a HostTensor) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.out.extend(b"((");
        self.text("storage");
        self.global("torch", tensor.dtype().torch_storage().unwrap_or(""));
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.int(tensor.numel() as i64);
        self.out.extend(b"tQ");
        self.int(0);
        self.ints(tensor.shape.iter().copied());
        self.ints(strides(&tensor.shape));
        self.out.push(0x89);
        self.global("collections", "OrderedDict");
        self.out.extend(b")RtR");
        self.storages.push(tensor);
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1);
    }
    strides
}
