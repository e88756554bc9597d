//! The two containers of `torch.save`, and tensors cut out of their storages.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;

use super::globals::{Storage, View};
use super::machine::{Cell, Machine, Object};
use crate::error::Fault;
use crate::tensor::element_count;
use crate::{Dtype, HostData, HostTensor};

/// The legacy container's first value, 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Version of the legacy container.
const LEGACY_PROTOCOL: i64 = 1001;
/// Longest `data.pkl` accepted, unpacked. PyTorch stores it as it is; a file packed again may hold a little more than its length.
const fn longest_pickle(file_len: u64) -> u64 {
    file_len.saturating_mul(4).saturating_add(1 << 20)
}

/// Whether bytes begin like the legacy container, in any pickle protocol.
pub(crate) fn looks_like_legacy(start: &[u8]) -> bool {
    start.first() == Some(&0x80) && start[..start.len().min(32)].windows(MAGIC.len()).any(|w| w == MAGIC)
}

/// An open file: where each storage lies, and those read so far that further tensors need.
pub(super) struct Container {
    source: Source,
    file_len: u64,
    /// Storages that more tensors look into, with how many.
    cache: HashMap<String, Vec<u8>>,
    uses: HashMap<String, usize>,
    /// Bytes of tensors made so far.
    made: u64,
}

enum Source {
    /// The archive and the folder everything in it has in front.
    Zip(Box<ZipArchive<BufReader<File>>>, String),
    /// The stream, and where each storage's bytes begin.
    Legacy(BufReader<File>, HashMap<String, u64>),
}

pub(super) fn open(path: &Path) -> Result<Container, Fault> {
    let mut file = BufReader::new(File::open(path)?);
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start)?;
    let file_len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let source = if start.starts_with(b"PK") {
        open_zip(file)?
    } else if looks_like_legacy(&start) {
        Source::Legacy(file, HashMap::new())
    } else if start.get(257..262) == Some(b"ustar") {
        return Fault::bad("it is a tar archive of PyTorch before 0.1.10; save it again with a newer PyTorch");
    } else {
        return Fault::bad("it is neither a zip archive nor a legacy pickle stream");
    };
    Ok(Container { source, file_len, cache: HashMap::new(), uses: HashMap::new(), made: 0 })
}

fn open_zip(file: BufReader<File>) -> Result<Source, Fault> {
    let mut archive = ZipArchive::new(file)?;
    let names: Vec<String> = archive.file_names().filter_map(|n| Some(n.ok()?.into_owned())).collect();
    let Some(prefix) = names.iter().find_map(|n| n.strip_suffix("data.pkl")).map(str::to_string) else {
        return Fault::bad("it is a zip archive without `data.pkl`");
    };
    if names.contains(&format!("{prefix}constants.pkl")) {
        return Fault::bad("it is a TorchScript archive; save `model.state_dict()` with torch.save instead");
    }
    if names.contains(&format!("{prefix}byteorder")) {
        let mut order = String::new();
        archive.by_name(&format!("{prefix}byteorder"))?.take(16).read_to_string(&mut order)?;
        if order != "little" {
            return Fault::bad(format!("its byte order is `{order}`; expected `little`"));
        }
    }
    Ok(Source::Zip(Box::new(archive), prefix))
}

impl Container {
    /// Interprets the pickle and counts which storages its tensors need.
    pub(super) fn unpickle(&mut self) -> Result<(Cell, Machine), Fault> {
        let mut machine = Machine::default();
        let root = match &mut self.source {
            Source::Zip(archive, prefix) => {
                let entry = archive.by_name(&format!("{prefix}data.pkl"))?;
                let mut pickle = Vec::new();
                let limit = longest_pickle(self.file_len);
                entry.take(limit.saturating_add(1)).read_to_end(&mut pickle)?;
                if pickle.len() as u64 > limit {
                    return Fault::bad("its `data.pkl` is too long");
                }
                machine.run(&mut pickle.as_slice())?
            }
            Source::Legacy(file, places) => legacy(file, self.file_len, &mut machine, places)?,
        };
        for object in &machine.arena {
            if let Object::Tensor(view) = object {
                *self.uses.entry(view.storage.key.clone()).or_default() += 1;
            }
        }
        Ok((root, machine))
    }

    /// The numbers of a tensor.
    pub(super) fn load(&mut self, view: &View) -> Result<HostTensor, Fault> {
        let count = check(view)?;
        let size = view.dtype.size();
        // Views with stride 0, and one tensor named many times, can claim any size.
        self.made = self.made.saturating_add((count * size) as u64);
        if self.made > sane(self.file_len) {
            return Fault::bad(format!("tensors of more than {} bytes in {}", sane(self.file_len), self.file_len));
        }
        let key = &view.storage.key;
        let bytes = match self.cache.remove(key) {
            Some(bytes) => bytes,
            None => self.source.read(&view.storage, self.file_len)?,
        };
        let cut = view.storage.offset.checked_add(view.offset).and_then(|start| gather(&bytes, view, start, count));
        let left = self.uses.entry(key.clone()).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            self.cache.insert(key.clone(), bytes);
        }
        let cut = cut.ok_or_else(|| Fault::Bad(format!("a tensor reaches beyond its storage `{key}`")))?;
        Ok(HostTensor { shape: view.shape.clone(), data: HostData::from_le_bytes(view.dtype, &cut) })
    }
}

/// Most bytes that a file of this length can hold in earnest: shared and expanded tensors, compressed storages.
fn sane(file_len: u64) -> u64 {
    file_len.saturating_mul(64).saturating_add(1 << 24)
}

/// How many numbers a view has, after checking that it stays inside its storage.
fn check(view: &View) -> Result<usize, Fault> {
    let outside = || {
        Fault::Bad(format!(
            "a tensor of shape {:?}, strides {:?}, offset {} reaches beyond its storage of {} numbers",
            view.shape, view.strides, view.offset, view.storage.numel
        ))
    };
    let count = element_count(&view.shape).ok_or_else(outside)?;
    count.checked_mul(view.dtype.size()).ok_or_else(outside)?;
    if count == 0 {
        return Ok(0);
    }
    let reach =
        |total: usize, (extent, stride): (&usize, &usize)| total.checked_add((extent - 1).checked_mul(*stride)?);
    let last = view.shape.iter().zip(&view.strides).try_fold(view.offset, reach);
    // An untyped storage counts bytes.
    let numel = if view.storage.dtype.is_some() { view.storage.numel } else { view.storage.numel / view.dtype.size() };
    match last {
        Some(last) if last < numel => Ok(count),
        _ => Err(outside()),
    }
}

/// The numbers of a view in row-major order, as bytes. `None` where it leaves `bytes`.
fn gather(bytes: &[u8], view: &View, start: usize, count: usize) -> Option<Vec<u8>> {
    let size = view.dtype.size();
    if count == 0 {
        return Some(Vec::new());
    }
    if contiguous(view) {
        let from = start.checked_mul(size)?;
        return bytes.get(from..from.checked_add(count * size)?).map(<[u8]>::to_vec);
    }
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0; view.shape.len()];
    let mut at = start;
    for _ in 0..count {
        let from = at.checked_mul(size)?;
        out.extend_from_slice(bytes.get(from..from.checked_add(size)?)?);
        for d in (0..index.len()).rev() {
            index[d] += 1;
            at += view.strides[d];
            if index[d] < view.shape[d] {
                break;
            }
            at -= view.strides[d] * view.shape[d];
            index[d] = 0;
        }
    }
    Some(out)
}

fn contiguous(view: &View) -> bool {
    let mut expected = 1;
    view.shape.iter().zip(&view.strides).rev().all(|(extent, stride)| {
        let fits = *extent == 1 || *stride == expected;
        expected *= extent;
        fits
    })
}

impl Source {
    /// All bytes of a storage. Their number is held against the file before memory is taken.
    fn read(&mut self, storage: &Storage, file_len: u64) -> Result<Vec<u8>, Fault> {
        let key = &storage.key;
        let size = storage.dtype.map_or(1, Dtype::size);
        let wanted = storage.numel.saturating_mul(size) as u64;
        let mut bytes = Vec::new();
        match self {
            Self::Zip(archive, prefix) => {
                let name = format!("{prefix}data/{key}");
                let entry = archive.by_name(&name).map_err(|e| Fault::Bad(format!("storage `{name}`: {e}")))?;
                if entry.size() != wanted {
                    return Fault::bad(format!("storage `{name}` has {} bytes; expected {wanted}", entry.size()));
                }
                if wanted > sane(file_len) {
                    return Fault::bad(format!("storage `{name}` claims {wanted} bytes"));
                }
                // One byte more than wanted, so that the reader meets the end and compares the checksum.
                entry.take(wanted + 1).read_to_end(&mut bytes)?;
            }
            Self::Legacy(file, places) => {
                let place =
                    places.get(key).copied().ok_or_else(|| Fault::Bad(format!("storage `{key}` is missing")))?;
                if wanted > file_len.saturating_sub(place) {
                    return Fault::bad("the file is truncated");
                }
                file.seek(SeekFrom::Start(place))?;
                file.take(wanted).read_to_end(&mut bytes)?;
            }
        }
        if bytes.len() as u64 != wanted {
            return Fault::bad(format!("storage `{key}` has {} bytes; expected {wanted}", bytes.len()));
        }
        Ok(bytes)
    }
}

/// Magic number, protocol, system, object, storage keys; then each storage as a count of 8 bytes and its numbers.
fn legacy(
    file: &mut BufReader<File>,
    file_len: u64,
    machine: &mut Machine,
    places: &mut HashMap<String, u64>,
) -> Result<Cell, Fault> {
    let magic = machine.run(file)?;
    if !matches!(machine.get(magic), Some(Object::Bytes(bytes)) if *bytes == MAGIC) {
        return Fault::bad("its magic number is wrong");
    }
    match machine.run(file)? {
        Cell::Int(LEGACY_PROTOCOL) => {}
        other => return Fault::bad(format!("its legacy protocol is {other:?}; expected {LEGACY_PROTOCOL}")),
    }
    let system = machine.run(file)?;
    check_system(machine, system)?;
    let root = machine.run(file)?;
    let keys = machine.run(file)?;
    *places = storages(file, file_len, machine, keys)?;
    Ok(root)
}

/// Where the bytes of each storage begin, held against what the pickle said of them and the file's length.
fn storages(
    file: &mut BufReader<File>,
    file_len: u64,
    machine: &Machine,
    keys: Cell,
) -> Result<HashMap<String, u64>, Fault> {
    let mut places = HashMap::new();
    let sizes: HashMap<&str, (usize, usize)> = machine
        .arena
        .iter()
        .filter_map(|object| match object {
            Object::Storage(s) => Some((s.key.as_str(), (s.numel, s.dtype.map_or(1, Dtype::size)))),
            _ => None,
        })
        .collect();
    let mut at = file.stream_position()?;
    for key in machine.items(keys)? {
        let key = machine.text(*key)?;
        let (numel, size) =
            sizes.get(key).copied().ok_or_else(|| Fault::Bad(format!("storage `{key}` is not used")))?;
        file.seek(SeekFrom::Start(at))?;
        let mut word = [0; 8];
        file.read_exact(&mut word)?;
        if u64::from_le_bytes(word) != numel as u64 {
            return Fault::bad(format!("storage `{key}` has {} numbers; expected {numel}", u64::from_le_bytes(word)));
        }
        places.insert(key.to_string(), at + 8);
        let end = numel.checked_mul(size).and_then(|n| (at + 8).checked_add(n as u64)).filter(|end| *end <= file_len);
        at = end.ok_or_else(|| Fault::Bad(format!("the file is truncated (storage `{key}`)")))?;
    }
    Ok(places)
}

/// `{'protocol_version': 1001, 'little_endian': True, 'type_sizes': {...}}`.
fn check_system(machine: &Machine, system: Cell) -> Result<(), Fault> {
    let Some(Object::Dict(pairs)) = machine.get(system) else {
        return Fault::bad("its system description is not a dictionary");
    };
    let little = pairs.iter().rev().find(|(key, _)| machine.text(*key).is_ok_and(|k| k == "little_endian"));
    match little {
        Some((_, Cell::Bool(true))) => Ok(()),
        _ => Fault::bad("it is not marked little-endian; big-endian files are not read"),
    }
}
