//! `scheduler_config.json` of diffusers as a file: what [`difusi_process::diffusers`] reads and writes as text.

use std::path::{Path, PathBuf};

use difusi_process::diffusers::{Loaded, SchedulerConfig};
use difusi_store::{atomic::write_bytes, read_text};

use crate::Error;

/// Where a pipeline's folder keeps it.
const PLACES: [&str; 2] = ["scheduler/scheduler_config.json", "scheduler_config.json"];

/// Reads a `scheduler_config.json`: the file itself, the folder it lies in, or the folder of a whole pipeline. The notes name what
/// nobody knows of its keys.
///
/// # Errors
/// A file that is not there, an unknown class (the error lists the known ones), bad values with their keys.
pub fn read_scheduler(path: &Path) -> Result<Loaded, Error> {
    let path = file_of(path);
    SchedulerConfig::from_json(&read_text(&path)?).map_err(|source| Error::Scheduler { path, source })
}

/// Writes one, whole or not at all, as diffusers' `save_config` does; a folder gets a file of the usual name.
///
/// # Errors
/// A place that cannot be written to.
pub fn write_scheduler(path: &Path, config: &SchedulerConfig) -> Result<(), Error> {
    let path = if path.is_dir() { path.join(PLACES[1]) } else { path.to_path_buf() };
    Ok(write_bytes(&path, config.to_json().as_bytes())?)
}

fn file_of(path: &Path) -> PathBuf {
    let inside = PLACES.iter().map(|place| path.join(place)).find(|file| file.is_file());
    match inside {
        Some(file) => file,
        None if path.is_dir() => path.join(PLACES[1]),
        None => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use difusi_process::diffusers::SchedulerClass;

    use super::*;

    #[test]
    fn files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let config = SchedulerConfig::new(SchedulerClass::DpmSolverMultistep).with("use_karras_sigmas", true).unwrap();
        write_scheduler(folder.path(), &config).unwrap();
        let file = folder.path().join("scheduler_config.json");
        for path in [folder.path(), &file] {
            let loaded = read_scheduler(path).unwrap();
            assert_eq!((loaded.config.settings(), loaded.notes.len()), (config.settings(), 0));
        }
        // A pipeline's own comes first.
        let inner = folder.path().join("scheduler");
        std::fs::create_dir(&inner).unwrap();
        write_scheduler(&inner, &SchedulerConfig::new(SchedulerClass::Ddim)).unwrap();
        assert_eq!(read_scheduler(folder.path()).unwrap().config.class(), SchedulerClass::Ddim);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read_scheduler(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("scheduler_config.json"), "{missing}");
        let file = folder.path().join("odd.json");
        std::fs::write(&file, "{\"_class_name\": \"OddScheduler\"}").unwrap();
        let found = read_scheduler(&file).unwrap_err().to_string();
        assert!(found.contains("odd.json") && found.contains("OddScheduler; expected one of DDPMScheduler"), "{found}");
    }
}
