//! The six files of CIFAR-10 out of its archive (POSIX ustar). Only files with the expected names and the published size
//! are taken, by their last name part: no path of the archive is ever followed. Deliberately absent: everything else in tar.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use crate::DataError;

const BLOCK: usize = 512;
/// Size of each file: 10,000 records.
const SIZE: u64 = 10_000 * crate::cifar::RECORD as u64;
const FOLDER: &str = "cifar-10-batches-bin";
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// Whether all six files are there with their size.
pub(super) fn is_unpacked(dest: &Path) -> bool {
    let right = |f: &&str| std::fs::metadata(dest.join(FOLDER).join(f)).is_ok_and(|m| m.len() == SIZE);
    FILES.iter().all(|f| right(&f))
}

/// Unpacks the six files to `dest/cifar-10-batches-bin`; each appears whole or not at all.
pub(super) fn unpack(archive: &Path, dest: &Path) -> Result<usize, DataError> {
    unpack_sized(archive, dest, SIZE)
}

fn unpack_sized(archive: &Path, dest: &Path, size: u64) -> Result<usize, DataError> {
    let folder = dest.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(DataError::io("create", &folder))?;
    let file = File::open(archive).map_err(DataError::io("read", archive))?;
    let mut tar = GzDecoder::new(BufReader::new(file));
    let mut taken = Vec::new();
    while let Some(header) = next_header(&mut tar, archive)? {
        let name = header.name.rsplit('/').next().unwrap_or_default();
        let known = FILES.iter().find(|f| **f == name && header.regular);
        let mut body = tar.by_ref().take(header.size);
        let Some(name) = known.filter(|n| !taken.contains(n)) else {
            skip(&mut body, header.size, archive)?;
            skip(&mut tar, padding(header.size), archive)?;
            continue;
        };
        if header.size != size {
            return Err(DataError::format(archive, &format!("size of {name} in it"), header.size, size));
        }
        write_whole(&mut body, &folder.join(name), header.size, archive)?;
        skip(&mut tar, padding(header.size), archive)?;
        taken.push(name);
    }
    match FILES.iter().find(|f| !taken.contains(f)) {
        Some(f) => Err(DataError::format(archive, "content", format!("without {f}"), FILES.join(", "))),
        None => Ok(taken.len()),
    }
}

struct Header {
    name: String,
    size: u64,
    regular: bool,
}

const fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// The next header; `None` at the end.
fn next_header(tar: &mut impl Read, archive: &Path) -> Result<Option<Header>, DataError> {
    let mut block = [0; BLOCK];
    tar.read_exact(&mut block).map_err(|_| DataError::format(archive, "archive", "cut", "a whole tar.gz"))?;
    if block.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    let text = |field: &[u8]| -> String {
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).trim().to_string()
    };
    let octal = |field: &[u8]| u64::from_str_radix(&text(field), 8).ok();
    let sum: u64 = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    let size = octal(&block[124..136]).filter(|s| *s <= 1 << 32);
    match (octal(&block[148..156]) == Some(sum), size) {
        (true, Some(size)) => {
            Ok(Some(Header { name: text(&block[..100]), size, regular: matches!(block[156], b'0' | 0) }))
        }
        _ => Err(DataError::format(archive, "tar header", "corrupt", "a ustar archive")),
    }
}

fn skip(tar: &mut impl Read, bytes: u64, archive: &Path) -> Result<(), DataError> {
    match std::io::copy(&mut tar.take(bytes), &mut std::io::sink()) {
        Ok(n) if n == bytes => Ok(()),
        _ => Err(DataError::format(archive, "archive", "cut", "a whole tar.gz")),
    }
}

fn write_whole(body: &mut impl Read, target: &Path, size: u64, archive: &Path) -> Result<(), DataError> {
    let part = target.with_extension("bin.part");
    let mut out = File::create(&part).map_err(DataError::io("write", &part))?;
    let n = std::io::copy(body, &mut out).map_err(DataError::io("unpack to", &part))?;
    if n != size {
        return Err(DataError::format(archive, "archive", "cut", "a whole tar.gz"));
    }
    out.sync_all().map_err(DataError::io("write", &part))?;
    std::fs::rename(&part, target).map_err(DataError::io("write", target))
}
