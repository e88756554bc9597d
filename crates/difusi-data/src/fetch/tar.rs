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
    let right = |f: &str| std::fs::metadata(dest.join(FOLDER).join(f)).is_ok_and(|m| m.len() == SIZE);
    FILES.iter().all(|f| right(f))
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
    let sum: u64 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A ustar entry.
    fn entry(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut h = vec![0; BLOCK];
        h[..name.len()].copy_from_slice(name.as_bytes());
        h[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
        h[148..156].fill(b' ');
        h[156] = kind;
        let sum: u64 = h.iter().map(|b| u64::from(*b)).sum();
        h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        h.extend(body);
        h.resize(h.len() + padding(body.len() as u64) as usize, 0);
        h
    }

    fn archive(dir: &Path, entries: &[Vec<u8>]) -> std::path::PathBuf {
        let path = dir.join("a.tar.gz");
        let file = File::create(&path).unwrap();
        let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gz.write_all(&[entries.concat(), vec![0; 2 * BLOCK]].concat()).unwrap();
        gz.finish().unwrap();
        path
    }

    fn all_six() -> Vec<Vec<u8>> {
        let body = |i: usize| vec![i as u8; 700];
        FILES.iter().enumerate().map(|(i, f)| entry(&format!("cifar-10-batches-bin/{f}"), b'0', &body(i))).collect()
    }

    /// Only the six files are taken, wherever the archive says they belong; nothing else is written anywhere.
    #[test]
    fn takes_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut entries = vec![
            entry("cifar-10-batches-bin/", b'5', &[]),
            entry("../../evil.bin", b'0', b"x"),
            entry("../test_batch.bin", b'2', &[]),
            entry("cifar-10-batches-bin/readme.html", b'0', &[1; 1000]),
        ];
        entries.extend(all_six());
        let dest = dir.path().join("d");
        assert_eq!(unpack_sized(&archive(dir.path(), &entries), &dest, 700).unwrap(), 6);
        let mut found: Vec<_> = std::fs::read_dir(dest.join(FOLDER)).unwrap().map(|e| e.unwrap().file_name()).collect();
        found.sort();
        assert_eq!(found, FILES);
        assert_eq!(std::fs::read(dest.join(FOLDER).join("data_batch_3.bin")).unwrap(), vec![2; 700]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn wrong_archives() {
        let dir = tempfile::tempdir().unwrap();
        let error = |entries: &[Vec<u8>], size| {
            unpack_sized(&archive(dir.path(), entries), &dir.path().join("d"), size).unwrap_err().to_string()
        };
        assert!(error(&all_six()[1..], 700).contains("content is without data_batch_1.bin"));
        assert!(error(&all_six(), 701).contains("size of data_batch_1.bin in it is 700; expected 701"));
        let mut damaged = all_six();
        damaged[2][0] ^= 1;
        assert!(error(&damaged, 700).contains("tar header is corrupt"));
        let path = archive(dir.path(), &all_six());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(unpack_sized(&path, &dir.path().join("e"), 700).is_err());
    }
}
