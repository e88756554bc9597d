//! `cargo xtask bench-peers`: training step and forward pass of the same networks here and in PyTorch, on one machine, in turns.
//!
//! The networks are the configs of bench/*.toml; PyTorch's half is bench/peer_unet.py, in a Python environment that the user
//! gives, with glibc's malloc tuned in its favour. Every variant runs in a process of its own, the two sides by turns, and medians
//! are over all runs of all rounds. Deliberately absent: quality of pictures, ops one by one.

mod options;
mod table;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use difusi::{DiffusionNetworkConfig, RunConfig};

pub use options::Options;
pub use table::{Measured, Side, page};

/// PyTorch's variants, as bench/peer_unet.py knows them.
const MODES: [&str; 4] = ["f32", "f32_channels_last", "bf16", "bf16_channels_last"];
/// Our variants: values of `train.precision`.
const PRECISIONS: [&str; 2] = ["f32", "bf16"];
/// Keeps glibc from giving large buffers back at every free, which costs PyTorch 10 to 25 %.
const MALLOC: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592");

/// One network.
#[derive(Clone, Debug)]
pub struct Work {
    /// The file's name without `.toml`.
    pub name: String,
    /// What both sides build.
    pub config: RunConfig,
}

impl Work {
    /// The networks of bench/, the small one first.
    ///
    /// # Errors
    /// A file that is absent or no config.
    pub fn all(root: &Path) -> anyhow::Result<Vec<Self>> {
        ["small", "large"].into_iter().map(|name| Self::read(root, name)).collect()
    }

    fn read(root: &Path, name: &str) -> anyhow::Result<Self> {
        let path = file(root, name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self { name: name.to_owned(), config: RunConfig::parse(&text).with_context(|| path.display().to_string())? })
    }

    /// In words: `Unet(32, (1, 2, 4), channels=1), 32x32`.
    pub fn network(&self) -> anyhow::Result<String> {
        let unet = self.unet()?;
        let mults: Vec<String> = unet.dim_mults.iter().map(ToString::to_string).collect();
        Ok(format!("Unet({}, ({}), channels={}), {}", unet.dim, mults.join(", "), unet.channels, self.size()?))
    }

    /// The peer's network.
    fn unet(&self) -> anyhow::Result<&difusi::nn::UnetConfig> {
        match &self.config.task.diffusion()?.network {
            DiffusionNetworkConfig::Unet(unet) => Ok(unet),
            _ => bail!("bench/{}.toml has no model.kind = \"unet\", which the peer has", self.name),
        }
    }

    fn size(&self) -> anyhow::Result<difusi::core::ImageSize> {
        difusi::known_size(&self.config).with_context(|| format!("bench/{}.toml says no data.size", self.name))
    }

    /// Arguments of bench/peer_unet.py.
    fn peer_arguments(&self) -> anyhow::Result<Vec<String>> {
        let (task, size) = (self.config.task.diffusion()?, self.size()?);
        let unet = self.unet()?;
        if size.height != size.width {
            bail!("bench/{}.toml has pictures of {size}; expected squares", self.name);
        }
        let mults: Vec<String> = unet.dim_mults.iter().map(ToString::to_string).collect();
        let numbers = [
            ("--dim", unet.dim),
            ("--channels", unet.channels),
            ("--side", size.height),
            ("--train-batch", self.config.train.batch_size),
            ("--forward-batch", task.sample.count),
        ];
        let numbers = numbers.into_iter().flat_map(|(key, value)| [key.to_owned(), value.to_string()]);
        Ok(numbers.chain(["--mults".to_owned(), mults.join(",")]).collect())
    }
}

fn file(root: &Path, name: &str) -> std::path::PathBuf {
    root.join("xtask/bench").join(format!("{name}.toml"))
}

/// Runs both sides and returns the page of tables; `say` is told what is being done.
///
/// # Errors
/// A Python without the packages, a build or a run that fails.
pub fn run(options: &Options, root: &Path, say: &mut dyn FnMut(&str)) -> anyhow::Result<String> {
    let works = Work::all(root)?;
    if let Some(load) = load().filter(|load| *load > 1.0) {
        say(&format!(
            "warning: other work runs here (load {load}) and PyTorch suffers most from it: the ratios are not fair"
        ));
    }
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => build(root, say)?,
    };
    let mut measured = Vec::new();
    for work in works.iter().filter(|w| options.only.as_ref().is_none_or(|only| *only == w.name)) {
        measured.push(Bench { options, root, binary: &binary, work }.both(say)?);
    }
    page(&measured, options.threads)
}

/// Processes that want a CPU, averaged over the last minute; `None` where the system does not tell.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn build(root: &Path, say: &mut dyn FnMut(&str)) -> anyhow::Result<std::path::PathBuf> {
    say("building the release binary");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release", "-p", "difusi-cli"]).current_dir(root).status()?;
    if !built.success() {
        bail!("cargo build --release ended with {built}");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    Ok(target.join("release").join(format!("difusi{}", std::env::consts::EXE_SUFFIX)))
}

/// One network on both sides.
struct Bench<'a> {
    options: &'a Options,
    root: &'a Path,
    binary: &'a Path,
    work: &'a Work,
}

impl Bench<'_> {
    /// All rounds, the sides by turns.
    fn both(&self, say: &mut dyn FnMut(&str)) -> anyhow::Result<Measured> {
        let mut found = Measured::new(self.work)?;
        let mut precisions = PRECISIONS.to_vec();
        for round in 1..=self.options.rounds {
            for (turn, mode) in MODES.into_iter().enumerate() {
                let at = format!("{}, round {round} of {}", self.work.name, self.options.rounds);
                say(&format!("{at}: PyTorch {mode}"));
                found.add(Side::Peer, mode, &self.peer(mode)?)?;
                let precision = precisions[turn % precisions.len()];
                say(&format!("{at}: ours {precision}"));
                match self.ours(precision)? {
                    Some(text) => found.add(Side::Ours, precision, &text)?,
                    None => {
                        say(&format!(
                            "{precision} is left out: this build does not take train.precision = \"{precision}\""
                        ));
                        precisions.retain(|p| *p != precision);
                    }
                }
            }
        }
        Ok(found)
    }

    fn peer(&self, mode: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.options.python);
        command.arg(self.root.join("xtask/bench/peer_unet.py")).args(["--mode", mode]).env(MALLOC.0, MALLOC.1);
        command.args(self.work.peer_arguments()?).args(["--threads", &self.options.threads.to_string()]);
        command.args(["--steps", &self.options.steps.to_string()]);
        let out = command.output().with_context(|| format!("{} cannot be run", self.options.python.display()))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("bench/peer_unet.py ended with {} (its first lines say what to install):\n{said}", out.status);
        }
        String::from_utf8(out.stdout).context("what bench/peer_unet.py printed")
    }

    /// `None` where this build does not know the precision.
    fn ours(&self, precision: &str) -> anyhow::Result<Option<String>> {
        let mut command = Command::new(self.binary);
        command.arg("bench").arg(file(self.root, &self.work.name)).arg("--json");
        command.args(["--set", &format!("train.precision={precision}")]);
        command.args(["--threads", &self.options.threads.to_string(), "--steps", &self.options.steps.to_string()]);
        let out = command.output().with_context(|| format!("{} cannot be run", self.binary.display()))?;
        let said = String::from_utf8_lossy(&out.stderr);
        match out.status.code() {
            Some(0) => Ok(Some(String::from_utf8(out.stdout).context("what difusi bench printed")?)),
            Some(2) if precision != PRECISIONS[0] && said.contains("train.precision") => Ok(None),
            _ => bail!("difusi bench ended with {}:\n{said}", out.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files are the networks of the comparison, and the peer is told the same.
    #[test]
    fn both_sides_build_the_same() {
        let works = Work::all(&crate::root()).unwrap();
        let names: Vec<String> = works.iter().map(|w| w.network().unwrap()).collect();
        assert_eq!(names, ["Unet(32, (1, 2, 4), channels=1), 32x32", "Unet(64, (1, 2, 4, 8), channels=3), 64x64"]);
        let arguments: Vec<String> = works.iter().map(|w| w.peer_arguments().unwrap().join(" ")).collect();
        assert_eq!(arguments[0], "--dim 32 --channels 1 --side 32 --train-batch 32 --forward-batch 16 --mults 1,2,4");
        assert_eq!(arguments[1], "--dim 64 --channels 3 --side 64 --train-batch 8 --forward-batch 4 --mults 1,2,4,8");
        for train in works.iter().map(|w| &w.config.train) {
            assert!(train.ema.is_empty() && train.clip == 0.0 && train.accumulation == 1);
        }
    }

    /// The script knows every mode that it is asked for.
    #[test]
    fn the_script_knows_the_modes() {
        let script = std::fs::read_to_string(crate::root().join("xtask/bench/peer_unet.py")).unwrap();
        for word in MODES
            .iter()
            .map(|m| format!("\"{m}\""))
            .chain(["train_ms", "forward_ms", "train_peak_mib"].map(String::from))
        {
            assert!(script.contains(&word), "{word}");
        }
    }
}
