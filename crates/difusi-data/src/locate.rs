//! Where data lies: `--data`, then the path in the config, `$DIFUSI_DATA`, the cache that `difusi data fetch` fills.

use std::path::{Path, PathBuf};

use crate::{DataError, NamedSet, NamedWeights};

/// The places where data may lie. A value, so that tests need no environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// `--data PATH`: the data itself, or a folder with a sub-folder of the set's name. Nothing else is looked at when given.
    pub data: Option<PathBuf>,
    /// `$DIFUSI_DATA`: a folder of data sets.
    pub root: Option<PathBuf>,
    /// The cache that `difusi data fetch` fills: one folder per named set.
    pub cache: Option<PathBuf>,
}

impl Search {
    /// Reads `$DIFUSI_DATA` and finds the cache: `$XDG_CACHE_HOME/difusi/data` or `~/.cache/difusi/data`; on Windows
    /// `%LOCALAPPDATA%\difusi\data`.
    pub fn from_env() -> Self {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = if cfg!(windows) {
            var("LOCALAPPDATA")
        } else {
            var("XDG_CACHE_HOME").filter(|p| p.is_absolute()).or_else(|| var("HOME").map(|h| h.join(".cache")))
        };
        Self { data: None, root: var("DIFUSI_DATA"), cache: base.map(|b| b.join("difusi").join("data")) }
    }

    /// Where `difusi data fetch` puts a named set; `None` on a machine without a home folder.
    pub fn cache_of(&self, set: NamedSet) -> Option<PathBuf> {
        self.cache.as_ref().map(|c| c.join(set.name()))
    }

    /// Where `difusi data fetch` puts weights; `None` on a machine without a home folder.
    pub fn cache_of_weights(&self, weights: NamedWeights) -> Option<PathBuf> {
        self.cache.as_ref().map(|c| c.join(weights.name()))
    }

    /// The file of published weights: in `$DIFUSI_DATA` or its folder of that name, or in the cache.
    ///
    /// # Errors
    /// [`DataError::NotFound`] names the places and the command that fetches it.
    pub fn weights(&self, weights: NamedWeights) -> Result<PathBuf, DataError> {
        let below = |root: &PathBuf| [root.join(weights.name()), root.clone()];
        let folders = self.root.iter().flat_map(below).chain(self.cache_of_weights(weights));
        let files: Vec<PathBuf> = folders.map(|f| f.join(weights.file_name())).collect();
        match files.iter().find(|f| f.is_file()) {
            Some(file) => Ok(file.clone()),
            None => Err(DataError::NotFound {
                what: format!("weights `{weights}`"),
                looked: files.iter().map(|f| f.display().to_string()).collect(),
                hint: format!("run `difusi data fetch {weights}`, or name a file: `{weights}:FILE`"),
            }),
        }
    }

    /// The first place for which `holds` is true. `what` names the data in the error, `files` what a place must have.
    pub(crate) fn locate(&self, path: &Path, wanted: Wanted<'_>, holds: impl Fn(&Path) -> bool) -> Found {
        let places = self.places(path);
        if let Some(found) = places.iter().find(|p| holds(p)) {
            return Ok(found.clone());
        }
        let mut looked: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        if self.data.is_none() && self.root.is_none() {
            looked.push("$DIFUSI_DATA (not set)".into());
        }
        let fetch = match named(path) {
            Some(set) => format!("run `difusi data fetch {set}`, or "),
            None => String::new(),
        };
        let hint = format!("{fetch}pass `--data PATH` with {}", wanted.files);
        Err(DataError::NotFound { what: wanted.what.to_string(), looked, hint })
    }

    fn places(&self, path: &Path) -> Vec<PathBuf> {
        let below = |root: &Path| -> Vec<PathBuf> {
            match named(path) {
                Some(set) => set.folders().iter().map(|f| root.join(f)).chain([root.to_path_buf()]).collect(),
                None => vec![root.join(path)],
            }
        };
        if let Some(data) = &self.data {
            return match named(path) {
                Some(_) => below(data),
                None => vec![data.clone()],
            };
        }
        let mut places = vec![path.to_path_buf()];
        places.extend(self.root.iter().flat_map(|r| below(r)));
        places.extend(named(path).and_then(|set| self.cache_of(set)));
        places
    }
}

type Found = Result<PathBuf, DataError>;

/// Words for [`Search::locate`]'s error.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) what: &'a str,
    pub(crate) files: &'a str,
}

/// The named set that a config's path stands for.
pub(crate) fn named(path: &Path) -> Option<NamedSet> {
    path.to_str().and_then(|s| s.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> = Wanted { what: "the data set `mnist`", files: "a folder with x" };

    fn search(at: &Path) -> Search {
        Search { data: None, root: Some(at.join("root")), cache: Some(at.join("cache")) }
    }

    /// Each place is found, earlier ones win, `--data` shuts out the rest.
    #[test]
    fn order() {
        let dir = tempfile::tempdir().unwrap();
        let holds = |p: &Path| p.join("x").is_file();
        let put = |p: &str| {
            std::fs::create_dir_all(dir.path().join(p)).unwrap();
            std::fs::write(dir.path().join(p).join("x"), "").unwrap();
        };
        let s = search(dir.path());
        let find = |s: &Search| s.locate(Path::new("mnist"), WANTED, holds);
        put("cache/mnist");
        assert_eq!(find(&s).unwrap(), dir.path().join("cache/mnist"));
        put("root");
        assert_eq!(find(&s).unwrap(), dir.path().join("root"));
        put("root/MNIST/raw");
        assert_eq!(find(&s).unwrap(), dir.path().join("root/MNIST/raw"));
        put("given");
        let with = |p: &str| Search { data: Some(dir.path().join(p)), ..s.clone() };
        assert_eq!(find(&with("given")).unwrap(), dir.path().join("given"));
        put("given/mnist");
        assert_eq!(find(&with("given")).unwrap(), dir.path().join("given/mnist"));
        assert!(find(&with("empty")).is_err());
    }

    #[test]
    fn weights_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (s, which) = (search(dir.path()), NamedWeights::Inception);
        let e = s.weights(which).unwrap_err().to_string();
        assert!(e.contains("`difusi data fetch inception`") && e.contains("cache"), "{e}");
        for place in ["cache/inception", "root", "root/inception"] {
            std::fs::create_dir_all(dir.path().join(place)).unwrap();
            let file = dir.path().join(place).join(which.file_name());
            std::fs::write(&file, "").unwrap();
            assert_eq!(s.weights(which).unwrap(), file);
        }
    }

    #[test]
    fn nowhere_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let e = search(dir.path()).locate(Path::new("fashion-mnist"), WANTED, |_| false).unwrap_err().to_string();
        for part in ["cache", "root", "`difusi data fetch fashion-mnist`", "`--data PATH`"] {
            assert!(e.contains(part), "{e}");
        }
        let e = Search::default().locate(Path::new("mnist"), WANTED, |_| false).unwrap_err().to_string();
        assert!(e.contains("$DIFUSI_DATA (not set)"), "{e}");
    }
}
