//! Run folders: who may write one, what lies in it, and which training states are there.
//!
//! ```text
//! config.toml  model.safetensors  best.safetensors  metrics.csv  loss.svg  samples.png  samples/step-000500.png  state/step-000500/
//! ```
//!
//! Deliberately absent: what a state folder contains (the trainer's business).

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::{StoreError, atomic};

/// The file whose lock says that a process writes the run, and whose presence says that the folder is one.
const MARKER: &str = ".difusi-run";
/// What [`ExistingRun::Overwrite`] deletes; anything else in the folder is the user's.
const OWNED: [&str; 10] = [
    "config.toml",
    "model.safetensors",
    "best.safetensors",
    "metrics.csv",
    "loss.svg",
    "samples.png",
    "samples.gif",
    "samples.npz",
    "samples",
    "state",
];

/// Why a folder with other files is not taken for a run.
const IN_THE_WAY: &str = "it is not empty and has no run in it; its files are left alone, choose another folder";

/// What to do where the folder already holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingRun {
    /// An error that names the folder and the flags `--resume` and `--overwrite`.
    Refuse,
    /// Delete that run's files, and only those.
    Overwrite,
}

/// Where things lie in a run folder. Reading needs no lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPaths {
    root: PathBuf,
}

/// A complete training state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    /// Optimiser steps done.
    pub step: u64,
    /// The folder.
    pub path: PathBuf,
}

impl RunPaths {
    /// An existing run, for reading. An error where the folder is absent or is not a run.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let paths = Self { root: root.into() };
        fs::read_dir(&paths.root).map_err(StoreError::io("open", &paths.root))?;
        if !paths.holds_run()? {
            return Err(StoreError::NotARun {
                path: paths.root,
                problem: "it has no config.toml of a run; expected a folder that `difusi train` wrote",
            });
        }
        Ok(paths)
    }

    /// Whether a folder is a run, without an error where it is not.
    pub fn is_run(root: &Path) -> bool {
        Self { root: root.to_path_buf() }.holds_run().unwrap_or(false)
    }

    /// A marker alone is what a process leaves that died before it wrote anything.
    fn holds_run(&self) -> Result<bool, StoreError> {
        let names = self.names()?;
        let has = |name: &str| names.iter().any(|n| n == name);
        Ok(has("config.toml") && (has(MARKER) || has("model.safetensors") || has("metrics.csv") || has("state")))
    }

    /// Names in the folder that are neither the marker nor unfinished.
    fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(StoreError::io("read", &self.root))? {
            let entry = entry.map_err(StoreError::io("read", &self.root))?;
            if !atomic::is_temporary(&entry.path()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// EMA weights with the configuration in their metadata.
    pub fn model(&self) -> PathBuf {
        self.root.join("model.safetensors")
    }

    /// The same of the step whose pictures scored best, where a run evaluates them.
    pub fn best(&self) -> PathBuf {
        self.root.join("best.safetensors")
    }

    /// One row per logged step.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// The loss curve.
    pub fn loss_plot(&self) -> PathBuf {
        self.root.join("loss.svg")
    }

    /// The final sample grid.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples.png")
    }

    /// The sample grid drawn at a step.
    pub fn samples_at(&self, step: u64) -> PathBuf {
        self.root.join("samples").join(format!("{}.png", step_name(step)))
    }

    /// The folder of training states.
    pub fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The state after a step.
    pub fn state_at(&self, step: u64) -> PathBuf {
        self.state_dir().join(step_name(step))
    }

    /// Complete states, newest first. Unfinished and foreign names are ignored.
    pub fn states(&self) -> Result<Vec<StateDir>, StoreError> {
        let folder = self.state_dir();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(StoreError::io("read", &folder)(e)),
        };
        let mut states = Vec::new();
        for entry in entries {
            let path = entry.map_err(StoreError::io("read", &folder))?.path();
            let step = path.file_name().and_then(|n| parse_step(&n.to_string_lossy()));
            let filled = || fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
            if let Some(step) = step
                && filled()
            {
                states.push(StateDir { step, path });
            }
        }
        states.sort_by_key(|s| std::cmp::Reverse(s.step));
        Ok(states)
    }
}

/// A run folder that this process writes; the lock is held until it is dropped (or the process ends, however it ends).
#[derive(Debug)]
pub struct RunDir {
    paths: RunPaths,
    _lock: File,
}

impl Deref for RunDir {
    type Target = RunPaths;

    fn deref(&self) -> &RunPaths {
        &self.paths
    }
}

impl RunDir {
    /// A new run. Its folder may be absent or empty; see [`ExistingRun`] for a folder with a run in it. A folder with
    /// anything else in it is always an error.
    pub fn create(root: impl Into<PathBuf>, existing: ExistingRun) -> Result<Self, StoreError> {
        let paths = RunPaths { root: root.into() };
        fs::create_dir_all(&paths.root).map_err(StoreError::io("create", &paths.root))?;
        let occupied = paths.names()?.iter().any(|n| n != MARKER);
        if occupied && !paths.holds_run()? {
            return Err(StoreError::NotARun { path: paths.root, problem: IN_THE_WAY });
        }
        if occupied && existing == ExistingRun::Refuse {
            return Err(StoreError::RunExists(paths.root));
        }
        let run = Self::locked(paths)?;
        if occupied {
            run.delete_owned()?;
        }
        Ok(run)
    }

    /// An existing run, to continue it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::locked(RunPaths::open(root)?)
    }

    fn locked(paths: RunPaths) -> Result<Self, StoreError> {
        let marker = paths.root.join(MARKER);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&marker)
            .map_err(StoreError::io("create", &marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::RunLocked(paths.root)),
            // Some network file systems have no locks; a run there is no worse off than without this check.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &marker)(e)),
        }
        for folder in [paths.root.clone(), paths.root.join("samples"), paths.state_dir()] {
            atomic::clean(&folder)?;
        }
        Ok(Self { paths, _lock: lock })
    }

    fn delete_owned(&self) -> Result<(), StoreError> {
        for name in OWNED {
            let path = self.root.join(name);
            match atomic::remove(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StoreError::io("remove", &path)(e)),
            }
        }
        Ok(())
    }

    /// Writes the state after `step` through `body`, which fills the folder it is given; it appears whole or not at all.
    pub fn save_state(
        &self,
        step: u64,
        body: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<PathBuf, StoreError> {
        let path = self.state_at(step);
        atomic::write_dir(&path, body)?;
        Ok(path)
    }

    /// Deletes all but the newest `count` states (at least one is kept).
    pub fn keep_last(&self, count: usize) -> Result<(), StoreError> {
        for state in self.states()?.into_iter().skip(count.max(1)) {
            fs::remove_dir_all(&state.path).map_err(StoreError::io("remove", &state.path))?;
        }
        Ok(())
    }
}

fn step_name(step: u64) -> String {
    format!("step-{step:06}")
}

fn parse_step(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(run: &RunDir) {
        atomic::write_bytes(&run.config(), b"").unwrap();
        atomic::write_bytes(&run.model(), b"").unwrap();
        atomic::write_bytes(&run.best(), b"").unwrap();
    }

    #[test]
    fn existing_runs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("runs/a");
        let run = RunDir::create(&root, ExistingRun::Refuse).unwrap();
        drop(run);
        // Died before it wrote anything: no run yet.
        let run = RunDir::create(&root, ExistingRun::Refuse).unwrap();
        fill(&run);
        fs::write(root.join("notes.txt"), "mine").unwrap();
        drop(run);
        let error = RunDir::create(&root, ExistingRun::Refuse).unwrap_err().to_string();
        assert!(error.contains("--resume") && error.contains("--overwrite") && error.contains("runs"), "{error}");
        assert!(RunDir::open(&root).is_ok() && RunPaths::is_run(&root));
        let run = RunDir::create(&root, ExistingRun::Overwrite).unwrap();
        assert!(!run.model().exists() && !run.best().exists() && root.join("notes.txt").exists());
    }

    #[test]
    fn foreign_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), "mine").unwrap();
        fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
        for existing in [ExistingRun::Refuse, ExistingRun::Overwrite] {
            let error = RunDir::create(dir.path(), existing).unwrap_err();
            assert!(matches!(error, StoreError::NotARun { .. }), "{error}");
        }
        assert!(RunDir::open(dir.path()).is_err() && RunDir::open(dir.path().join("absent")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    /// One writer at a time; a lock file without a living owner does not block.
    #[test]
    fn one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), ExistingRun::Refuse).unwrap();
        fill(&run);
        assert!(matches!(RunDir::open(dir.path()), Err(StoreError::RunLocked(_))));
        assert!(RunPaths::open(dir.path()).is_ok());
        drop(run);
        assert!(dir.path().join(MARKER).exists());
        assert!(RunDir::open(dir.path()).is_ok());
    }

    #[test]
    fn states_are_listed_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), ExistingRun::Refuse).unwrap();
        assert!(run.states().unwrap().is_empty());
        for step in [500, 1_000, 2_000_000, 10] {
            run.save_state(step, |d| atomic::write_bytes(&d.join("x"), b"x")).unwrap();
        }
        let failed = run.save_state(7, |d| {
            fs::write(d.join("half"), "x").unwrap();
            Err(StoreError::RunExists(PathBuf::new()))
        });
        assert!(failed.is_err());
        fs::create_dir(run.state_dir().join("step-000003")).unwrap();
        fs::create_dir(run.state_dir().join(".tmp-9-9-step-000004")).unwrap();
        fs::create_dir(run.state_dir().join("step-old")).unwrap();
        let steps = || run.states().unwrap().iter().map(|s| s.step).collect::<Vec<_>>();
        assert_eq!(steps(), [2_000_000, 1_000, 500, 10]);
        assert!(run.state_at(500).ends_with("state/step-000500"));
        run.keep_last(3).unwrap();
        assert_eq!(steps(), [2_000_000, 1_000, 500]);
        fill(&run);
        drop(run);
        let run = RunDir::open(dir.path()).unwrap();
        assert!(!run.state_dir().join(".tmp-9-9-step-000004").exists());
    }
}
