//! Parts of an `.npz`: some arrays by name, what there is without reading it, and one array row by row, for archives that are larger
//! than memory.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use crate::StoreError;
use crate::error::{Fault, some_names};
use crate::map::{TensorInfo, TensorMap};
use crate::npy::{Header, parse, parse_header};
use crate::tensor::{HostData, HostTensor, element_count};

/// Deflate packs at most a thousandfold.
const DEFLATE: u64 = 1_100;

type Archive = ZipArchive<BufReader<File>>;

/// The name of an array: without `.npy`.
fn array_name(entry: &ZipFile<'_, BufReader<File>>) -> Result<String, Fault> {
    let full = entry.name()?.into_owned();
    Ok(full.strip_suffix(".npy").map_or(full.clone(), str::to_owned))
}

fn named<T>(name: &str, found: Result<T, Fault>) -> Result<T, Fault> {
    found.map_err(|fault| match fault {
        Fault::Bad(problem) => Fault::Bad(format!("array `{name}`: {problem}")),
        other => other,
    })
}

/// Reads the arrays for whose names `wanted` holds, in the archive's order, and the names of all.
///
/// # Errors
/// A file that is no npz; a wanted array that is damaged.
pub fn read_npz_named(path: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<(TensorMap, Vec<String>), StoreError> {
    let open = || {
        let file = File::open(path)?;
        // The limit is on all arrays together, since entries may share their bytes.
        let mut left = file.metadata()?.len().saturating_mul(DEFLATE);
        let mut archive: Archive = ZipArchive::new(BufReader::new(file))?;
        let (mut map, mut names) = (TensorMap::new(), Vec::new());
        for i in 0..archive.len() {
            let mut entry = archive.by_index(i)?;
            let name = array_name(&entry)?;
            if wanted(&name) {
                let tensor = named(&name, parse(&mut entry, left))?;
                left = left.saturating_sub((tensor.numel() * tensor.dtype().size()) as u64);
                map.insert(&name, tensor);
            }
            names.push(name);
        }
        Ok((map, names))
    };
    open().map_err(Fault::at(path, "npz"))
}

/// Names, shapes and types of all arrays; their numbers are not read.
///
/// # Errors
/// A file that is no npz; an array whose header is damaged.
pub fn npz_infos(path: &Path) -> Result<Vec<TensorInfo>, StoreError> {
    let open = || {
        let mut archive: Archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
        let mut infos = Vec::new();
        for i in 0..archive.len() {
            let mut entry = archive.by_index(i)?;
            let name = array_name(&entry)?;
            let Header { dtype, shape, .. } = named(&name, parse_header(&mut entry))?;
            infos.push(TensorInfo { name, shape, dtype });
        }
        Ok(infos)
    };
    open().map_err(Fault::at(path, "npz"))
}

/// Passes the array `name` to `body` in pieces of `rows` along its first extent (the last piece may be shorter), until there is no more
/// or `body` answers false. Only one piece is in memory.
///
/// # Errors
/// A file that is no npz, has no such array or a damaged one, or one in Fortran order; what `body` returns.
pub fn read_npz_rows<E: From<StoreError>>(
    path: &Path,
    name: &str,
    rows: usize,
    body: &mut dyn FnMut(HostTensor) -> Result<bool, E>,
) -> Result<(), E> {
    let at = |fault| Fault::at(path, "npz")(fault);
    let file = File::open(path).map_err(|e| at(e.into()))?;
    let mut archive: Archive = ZipArchive::new(BufReader::new(file)).map_err(|e| at(e.into()))?;
    let index = find(&mut archive, name).map_err(at)?.map_err(|found| {
        let missing = some_names(found.iter().map(String::as_str));
        StoreError::Missing { name: format!("{name} in {}", path.display()), found: missing }
    })?;
    let mut entry = archive.by_index(index).map_err(|e| at(e.into()))?;
    let (header, one) = named(name, streamable(&mut entry)).map_err(at)?;
    let mut left = header.shape[0];
    while left > 0 {
        let now = left.min(rows.max(1));
        let mut bytes = Vec::new();
        (&mut entry).take((now * one) as u64).read_to_end(&mut bytes).map_err(|e| at(e.into()))?;
        if bytes.len() != now * one {
            let read = header.shape[0] - left + bytes.len() / one.max(1);
            let problem = format!("array `{name}`: shape {:?} but only {read} rows", header.shape);
            return Err(at(Fault::Bad(problem)).into());
        }
        let shape = [&[now], &header.shape[1..]].concat();
        left -= now;
        if !body(HostTensor { shape, data: HostData::from_le_bytes(header.dtype, &bytes) })? {
            break;
        }
    }
    Ok(())
}

/// Its number, or the names of all.
fn find(archive: &mut Archive, name: &str) -> Result<Result<usize, Vec<String>>, Fault> {
    let mut names = Vec::new();
    for i in 0..archive.len() {
        let found = array_name(&archive.by_index(i)?)?;
        if found == name {
            return Ok(Ok(i));
        }
        names.push(found);
    }
    Ok(Err(names))
}

/// The header of an array that can be read row by row, and the bytes of a row.
fn streamable(entry: &mut impl Read) -> Result<(Header, usize), Fault> {
    let header = parse_header(entry)?;
    let shape = &header.shape;
    if shape.is_empty() || (header.fortran && shape.len() > 1) {
        let order = if header.fortran { "Fortran" } else { "C" };
        return Fault::bad(format!("shape {shape:?} in {order} order; expected rows in C order"));
    }
    match element_count(&shape[1..]).and_then(|n| n.checked_mul(header.dtype.size())).filter(|n| *n < 1 << 31) {
        Some(one) => Ok((header, one)),
        None => Fault::bad(format!("rows of shape {:?} are too large", &shape[1..])),
    }
}
