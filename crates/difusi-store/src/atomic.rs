//! Files and folders that appear whole or not at all: written under a temporary name in the same folder, synced, renamed.
//!
//! A crash leaves at most a `.tmp-...` name behind, which readers ignore and [`clean`] removes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::StoreError;

/// What unfinished names start with.
const PREFIX: &str = ".tmp-";

/// What a writer function receives: buffered, seekable.
pub type Out = BufWriter<File>;

/// Writes a file through `body`: to a temporary file in the same folder, then fsync, rename, fsync of the folder. On any
/// failure the temporary file is removed and what was at `path` before is untouched. Missing parent folders are created.
/// Something at `path` that is not a regular file (`/dev/stdout`, a pipe) is written directly.
pub fn write<T>(path: &Path, body: impl FnOnce(&mut Out) -> io::Result<T>) -> Result<T, StoreError> {
    write_inner(path, body).map_err(StoreError::io("write", path))
}

fn write_inner<T>(path: &Path, body: impl FnOnce(&mut Out) -> io::Result<T>) -> io::Result<T> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
        Ok(meta) if !meta.is_file() => {
            let mut out = BufWriter::new(File::options().write(true).open(path)?);
            let value = body(&mut out)?;
            out.flush()?;
            return Ok(value);
        }
        _ => {}
    }
    let parent = parent_of(path);
    fs::create_dir_all(&parent)?;
    let temp = Temp(Some(temp_name(path)?));
    let mut out = BufWriter::new(File::create_new(temp.path())?);
    let value = body(&mut out)?;
    out.flush()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    fs::rename(temp.path(), path)?;
    temp.keep();
    sync_dir(&parent)?;
    Ok(value)
}

/// Writes bytes; see [`write()`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write(path, |out| out.write_all(bytes))
}

/// Fills a folder through `body` (which receives the temporary folder's path) and renames it to `path` once everything in
/// it is on the disk. A folder that was there before is replaced, and kept where `body` fails.
pub fn write_dir<T>(path: &Path, body: impl FnOnce(&Path) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let parent = parent_of(path);
    fs::create_dir_all(&parent).map_err(StoreError::io("create", &parent))?;
    let temp = Temp(Some(temp_name(path).map_err(StoreError::io("write", path))?));
    fs::create_dir(temp.path()).map_err(StoreError::io("create", temp.path()))?;
    let value = body(temp.path())?;
    replace_dir(&temp, path, &parent).map_err(StoreError::io("write", path))?;
    temp.keep();
    Ok(value)
}

fn replace_dir(temp: &Temp, path: &Path, parent: &Path) -> io::Result<()> {
    sync_tree(temp.path())?;
    // The old folder steps aside first: a rename cannot replace a folder that is not empty.
    let old = Temp(Some(temp_name(path)?));
    match fs::rename(path, old.path()) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    if let Err(e) = fs::rename(temp.path(), path) {
        // Put the old one back; where it never existed this fails harmlessly.
        let _ = fs::rename(old.path(), path);
        return Err(e);
    }
    sync_dir(parent)
}

/// Removes what interrupted writes left in `folder` (not in folders below it). A folder that is absent is clean.
///
/// Call it only where no other process writes: a run folder under its lock.
pub fn clean(folder: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StoreError::io("read", folder)(e)),
    };
    for entry in entries {
        let path = entry.map_err(StoreError::io("read", folder))?.path();
        if is_temporary(&path) {
            remove(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether this is the name of something unfinished.
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Removes a file or a whole folder; a symbolic link itself, not what it points to.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// A temporary name that is removed unless kept.
struct Temp(Option<PathBuf>);

impl Temp {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing can be reported from here; a leftover is harmless and cleaned next time.
            let _ = remove(path);
        }
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn temp_name(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?
        .to_string_lossy();
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(parent_of(path).join(format!("{PREFIX}{}-{unique}-{name}", std::process::id())))
}

fn sync_dir(path: &Path) -> io::Result<()> {
    // Only Unix can open and sync a folder; elsewhere the rename alone has to do.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut v: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        v.sort();
        v
    }

    /// A writer that fails (or panics) half-way leaves the old file and nothing else.
    #[test]
    fn failure_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_bytes(&path, b"old").unwrap();
        let error = write(&path, |out| {
            out.write_all(&[7; 100_000])?;
            Err::<(), _>(io::Error::other("disk full"))
        });
        assert!(error.unwrap_err().to_string().contains("disk full"));
        let caught = std::panic::catch_unwind(|| write(&path, |_| -> io::Result<()> { panic!("bug") }));
        assert!(caught.is_err());
        assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"old".to_vec(), vec!["f".to_string()]));
        write_bytes(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn folders_appear_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/state");
        let fill = |text: &'static str, fail: bool| {
            write_dir(&path, |tmp| {
                fs::create_dir(tmp.join("sub")).unwrap();
                write_bytes(&tmp.join("sub/a"), text.as_bytes())?;
                if fail { Err(StoreError::RunExists(PathBuf::new())) } else { Ok(()) }
            })
        };
        assert!(fill("one", true).is_err());
        assert!(!path.exists());
        fill("two", false).unwrap();
        assert!(fill("three", true).is_err());
        assert_eq!(fs::read(path.join("sub/a")).unwrap(), b"two");
        fill("four", false).unwrap();
        assert_eq!(fs::read(path.join("sub/a")).unwrap(), b"four");
        assert_eq!(names(path.parent().unwrap()), ["state"]);
    }

    #[test]
    fn leftovers_are_cleaned() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".tmp-1-0-state")).unwrap();
        fs::write(dir.path().join(".tmp-1-0-state/x"), "x").unwrap();
        fs::write(dir.path().join(".tmp-1-1-f"), "x").unwrap();
        fs::write(dir.path().join("kept"), "x").unwrap();
        clean(dir.path()).unwrap();
        clean(&dir.path().join("absent")).unwrap();
        assert_eq!(names(dir.path()), ["kept"]);
    }

    #[test]
    fn impossible_places_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_bytes(dir.path(), b"").unwrap_err().to_string().contains("folder"));
        fs::write(dir.path().join("file"), "x").unwrap();
        let error = write_bytes(&dir.path().join("file/below"), b"").unwrap_err().to_string();
        assert!(error.contains("below"), "{error}");
    }
}
