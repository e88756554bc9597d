//! What a person types after `difusi eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ModelArgs;

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// The data: a folder, an idx or CIFAR file, mnist, fashion-mnist, cifar10 or digits; its test split where it has one.
    #[arg(long, value_name = "DATA")]
    pub(crate) reference: PathBuf,

    /// What to measure: bpd (bits per dimension: the variational bound, or with `--ode` the probability-flow ODE's likelihood).
    #[arg(long, value_name = "NAMES", default_value = "bpd", value_delimiter = ',')]
    pub(crate) metrics: Vec<String>,

    /// How many images (default: all; 100 with `--exact`, 500 with `--ode`, 1000 where there is no end of them).
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) count: Option<u64>,

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

    /// Length of the bound's chain (default: the model's T). Fewer take the model's `sample.grid`, more stop between its steps.
    #[arg(long, value_name = "N", conflicts_with = "ode", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) steps: Option<u32>,

    /// The cleanest step of the chain (0-based), where the decoder takes over, or where the ODE begins. Later ones are bounds too, and
    /// lower where the first steps are finer than a byte.
    #[arg(long, value_name = "T", default_value_t = 0)]
    pub(crate) decode_at: u32,

    /// Override one key of the model's [sample] section, e.g. `--set threshold=none`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "ode")]
    pub(crate) overrides: Vec<String>,

    /// Take this split (default: test where there is one).
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitKind>,

    /// Crop and resize images of another size to the model's.
    #[arg(long)]
    pub(crate) resize: bool,

    /// Seed of everything random: the order of the images, times, noise, probes.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,

    /// Network inputs in one evaluation (default: as many as are fast and fit). Results do not depend on it beyond rounding.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Option<u32>,

    /// Folder for the bound's table (bpd.csv) and picture (bpd.png).
    #[arg(short, long, value_name = "DIR", default_value = "eval")]
    pub(crate) output: PathBuf,
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
