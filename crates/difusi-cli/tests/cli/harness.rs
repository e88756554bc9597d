//! Running the binary, and reading what it left.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder of its own, in which the binary runs.
pub(crate) struct Place(tempfile::TempDir);

/// A run of seconds: 8x8 digits, a network of a few thousand weights.
pub(crate) const TINY: &[&str] = &[
    "data.size=[8, 8]",
    "model.dim=8",
    "model.dim_mults=[1, 2]",
    "model.attn_heads=1",
    "model.attn_dim_head=8",
    "train.batch_size=4",
    "train.log_every=5",
    "train.warmup_steps=2",
    "train.sample_every=0",
    "sample.steps=3",
    "sample.count=4",
];

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_difusi"));
        command.args(args).current_dir(self.0.path()).env_remove("DIFUSI_DATA").env_remove("DIFUSI_MIRROR");
        command.env("XDG_CACHE_HOME", self.0.path().join("cache")).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and expects success; what was printed on stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "difusi {args:?} ended with {}:\n{text}", out.status);
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs and expects this exit code; what was printed on stderr.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "difusi {args:?}:\n{text}");
        assert!(!text.contains("panicked"), "difusi {args:?} panicked:\n{text}");
        text
    }

    /// Runs with `--json` and expects one JSON value.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
    }

    /// Trains the tiny digits for `steps` steps in the folder `out`.
    pub(crate) fn train(&self, out: &str, steps: u64, more: &[&str]) -> String {
        self.ok(&train_args(out, steps, more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn start(&self, args: &[String]) -> Running {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Running(self.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

/// Arguments of a tiny training run; `more` are further arguments.
pub(crate) fn train_args(out: &str, steps: u64, more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["train", "digits", "--out", out].map(String::from).to_vec();
    let steps = format!("train.steps={steps}");
    for set in TINY.iter().copied().chain([steps.as_str()]) {
        args.extend(["--set".to_owned(), set.to_owned()]);
    }
    args.extend(more.iter().map(ToString::to_string));
    args
}

/// A run in the background; killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Waits until `path` is there; fails after a minute or when the program has ended.
    pub(crate) fn wait_for(&mut self, path: &Path) {
        let start = Instant::now();
        while !path.exists() {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(path.exists(), "ended with {status} before {} was there", path.display());
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{} never came", path.display());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The bytes of a file.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
