//! Checksums of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::DataError;
use crate::named::Checksum;

/// The hash that a checksum is compared with, of a file, in lower-case hex.
pub(super) fn of_file(path: &Path, kind: Checksum) -> Result<String, DataError> {
    match kind {
        Checksum::Md5(_) => hash::<Md5>(path),
        Checksum::Sha256(_) => hash::<Sha256>(path),
    }
}

fn hash<D: Digest>(path: &Path) -> Result<String, DataError> {
    let mut file = File::open(path).map_err(DataError::io("read", path))?;
    let (mut digest, mut buffer) = (D::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(DataError::io("read", path))? {
            0 => return Ok(digest.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// Whether a file has the checksum, or one that begins with it; the error is (found, expected).
pub(super) fn check(path: &Path, expected: Checksum) -> Result<Result<(), (String, &'static str)>, DataError> {
    let found = of_file(path, expected)?;
    let (Checksum::Md5(wanted) | Checksum::Sha256(wanted)) = expected;
    Ok(if found.starts_with(wanted) { Ok(()) } else { Err((found, wanted)) })
}
