//! What a person types after `difusi eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use difusi::metrics::Resize;

use super::{AskArgs, ModelArgs, SolverArgs};

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// What is measured: a model (run folder, safetensors, a peer's .pt), or pictures: a folder, an .npz (`arr_0`, or statistics), an idx
    /// file, or mnist, fashion-mnist, cifar10, digits.
    #[arg(value_name = "MODEL|IMAGES")]
    pub(crate) subject: PathBuf,

    /// For a peer's checkpoint: a JSON or TOML file `{ "unet": {...}, "diffusion": {...} }` in the peer's argument names.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Which weights: `ema` (the first EMA), `ema:RATE`, `raw`, or `best` (of a run with `train.eval_every`).
    #[arg(long, value_name = "WHICH", default_value = "ema")]
    pub(crate) weights: String,

    /// What to compare with: a folder, an idx or CIFAR file, mnist, fashion-mnist, cifar10 or digits, an .npz of pictures or of statistics.
    /// bpd takes its test split, pictures are compared with its training split (see `--split`).
    #[arg(long, value_name = "DATA")]
    pub(crate) reference: Option<PathBuf>,

    /// What to measure. Of a model: bpd (bits per dimension: the variational bound, or with `--ode` the probability-flow ODE's
    /// likelihood; a VAE's bound and its importance-weighted one, a flow's density). Of pictures, drawn by the model or given: fid, kid, is (Inception Score), pr (precision and recall), sfid, spectrum
    /// (share of fine detail), diversity, labels (share that a classifier among `--features` takes for the label they were asked to be). Default: bpd for a model; fid, kid, pr for pictures.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) metrics: Vec<String>,

    /// How many images. For bpd, of the reference (default: all; 100 with `--exact`, 500 with `--ode`, 1000 where there is no end of them);
    /// otherwise drawn by the model (default: 10000) or taken of IMAGES (default: all).
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) count: Option<u64>,

    /// How many pictures of the reference (default: all; as many as are judged where there is no end of them).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) reference_count: Option<u64>,

    /// What sees features in pictures: inception (after `difusi data fetch inception`), inception:FILE, mnist-cnn:FILE, resnet20:FILE, a
    /// FILE of such weights; or pixels (grey, 8x8), pixels:SIDE, which know nothing of what is in a picture.
    #[arg(long, value_name = "NAME|FILE", default_value = "pixels")]
    pub(crate) features: String,

    /// How pictures get the size that a network sees: pytorch (as pytorch-fid), tensorflow (as torch-fidelity and
    /// guided-diffusion) or clean (antialiased, as clean-fid).
    #[arg(long, value_name = "HOW", default_value_t = Resize::Pytorch)]
    pub(crate) feature_resize: Resize,

    /// Write mean and covariance of the features of MODEL|IMAGES, for a later `--reference` (the layout of pytorch-fid).
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) save_stats: Option<PathBuf>,

    /// Take fewer pictures than features + 1 for fid and sfid; the number is then far too high.
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) asking: AskArgs,

    /// Draw and judge at several values of one key: guidance=1,1.5,2,4,8 or any key of the model's [sample] section, as steps=5,10,20.
    /// Writes sweep.csv and sweep.png (FID, Inception Score, precision and recall over the key) into `-o`.
    #[arg(long, value_name = "KEY=VALUES", conflicts_with = "save_stats")]
    pub(crate) sweep: Option<String>,

    /// Solver that draws a model's pictures (default: the model's), as in `difusi sample`.
    #[arg(long, value_name = "KIND", value_parser = super::solver_kinds())]
    pub(crate) solver: Option<String>,

    /// Noise of the solvers that have an eta: 0 is deterministic, 1 is ancestral.
    #[arg(long, value_name = "ETA")]
    pub(crate) eta: Option<f64>,

    /// Times per image: L_0, and one of each stratum of the others. The estimate is unbiased for any number.
    #[arg(long, value_name = "K", default_value_t = 32, conflicts_with_all = ["exact", "ode"],
          value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) times_per_image: u32,

    /// Every term of the bound for every image.
    #[arg(long, conflicts_with = "ode")]
    pub(crate) exact: bool,

    /// The likelihood of the probability-flow ODE instead of the bound.
    #[arg(long)]
    pub(crate) ode: bool,

    /// With `--ode`, how bytes become numbers. Both bound the probability of the bytes; a model trained on bytes does better with
    /// gaussian.
    #[arg(long, value_enum, default_value_t = Dequantise::Gaussian, requires = "ode")]
    pub(crate) dequantise: Dequantise,

    /// With `--ode`, relative and absolute tolerance of each step. Loose ones flatter the model.
    #[arg(long, value_name = "X", default_value_t = 1e-3, requires = "ode", conflicts_with = "ode_steps")]
    pub(crate) tolerance: f64,

    /// With `--ode`, so many even steps of ln(sigma / alpha) by the classical method of order 4, four evaluations each, instead of
    /// steps of one tolerance: the cost is known beforehand. Too few flatter the model; 40 are enough for MNIST.
    #[arg(long, value_name = "N", requires = "ode", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) ode_steps: Option<u32>,

    /// With `--ode`, probes of the Jacobian's trace; each costs an evaluation.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "ode", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) probes: u32,

    /// Length of the bound's chain (default: the model's T); fewer take the model's `sample.grid`, more stop between its steps. Where
    /// pictures are drawn, the solver's number of steps (default: the model's).
    #[arg(long, value_name = "N", conflicts_with = "ode", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) steps: Option<u32>,

    /// The cleanest step of the chain (0-based), where the decoder takes over, or where the ODE begins. Later ones are bounds too, and
    /// lower where the first steps are finer than a byte.
    #[arg(long, value_name = "T", default_value_t = 0)]
    pub(crate) decode_at: u32,

    /// Override one key of the model's [sample] section, e.g. `--set threshold=none`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "ode")]
    pub(crate) overrides: Vec<String>,

    /// Latents drawn for each image of a VAE, for the importance-weighted bound.
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) importance_samples: u32,

    /// Take this split of the reference (default: test where there is one for bpd, train for pictures), or of IMAGES without a reference.
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitKind>,

    /// Crop and resize images of another size to the model's, or pictures of the reference to those that are judged. What a model draws
    /// is always compared with images cropped and resized as in its training.
    #[arg(long)]
    pub(crate) resize: bool,

    /// Seed of everything random: the order of the images, times, noise, probes.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,

    /// Network inputs in one evaluation (default: as many as are fast and fit). Results do not depend on it beyond rounding.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Option<u32>,

    /// Folder for tables and pictures: the bound's (bpd.csv, bpd.png), a sweep's (sweep.csv, sweep.png).
    #[arg(short, long, value_name = "DIR", default_value = "eval")]
    pub(crate) output: PathBuf,
}

impl EvalArgs {
    /// The model, where it is one.
    pub(crate) fn model(&self) -> ModelArgs {
        ModelArgs { model: self.subject.clone(), config: self.config.clone(), weights: self.weights.clone() }
    }

    /// How it draws.
    pub(crate) fn solver(&self) -> SolverArgs {
        let (solver, steps) = (self.solver.clone(), self.steps.map(|n| n as usize));
        SolverArgs { solver, eta: self.eta, steps, overrides: self.overrides.clone() }
    }
}

/// Ways from bytes to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dequantise {
    /// The noise of the process' first step, and its decoder.
    Gaussian,
    /// Uniform noise over the byte's bucket, as flows report.
    Uniform,
}

/// Parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitKind {
    /// The training images.
    Train,
    /// The test images.
    Test,
}
