//! What a person types: one struct per command. Nothing here does anything.

mod asking;
mod compare;
mod data;
mod edit;
mod eval;

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};
use difusi::{
    DeviceChoice,
    process::{Choice, Solver},
};

pub(crate) use asking::AskArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use data::DataCommand;
pub(crate) use edit::EditArgs;
pub(crate) use eval::{Dequantise, EvalArgs, SplitKind};

/// Diffusion models: train, sample and look inside, in one binary.
#[derive(Debug, Parser)]
#[command(name = "difusi", version, max_term_width = 110, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// CPU threads to use (default: all). Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Where train, sample, predict and bench compute; all but the CPU are features of the build (`--features wgpu`).
    #[arg(long, global = true, value_name = "cpu|wgpu|vulkan|cuda[:INDEX]", default_value_t = DeviceChoice::Cpu)]
    pub(crate) device: DeviceChoice,

    /// Machine-readable results on stdout (progress stays on stderr).
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model from a preset or a config file.
    Train(TrainArgs),
    /// Draw pictures with a trained model.
    Sample(SampleArgs),
    /// Measure how good a model is (bits per dimension), or how good pictures are (FID, KID and others).
    Eval(EvalArgs),
    /// Train diffusion, VAE, GAN and flow at one budget, judge them all alike, and write a report.
    Compare(CompareArgs),
    /// Change pictures with a trained model: redraw, inpaint, colourise, enlarge, blend.
    Edit(EditArgs),
    /// Run the network once on given inputs, to hold it against another framework.
    Predict(PredictArgs),
    /// Measure how fast a config trains and samples on this machine; needs no data.
    Bench(BenchArgs),
    /// Look at, preview or download data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Show what a model file or run folder is: kind, config, tensors, hash.
    Inspect(InspectArgs),
    /// Rewrite a model as another kind of file, by the ending of TO (.pt, .safetensors, .json: its scheduler_config.json, or /: a
    /// folder of diffusers).
    Convert(ConvertArgs),
    /// Draw beta, alpha-bar and SNR of every noise schedule.
    Schedule(ScheduleArgs),
    /// Draw the forward process on one picture.
    Noise(NoiseArgs),
    /// Draw the pictures of docs/mathematics.md, and print the numbers behind them.
    Figures(FiguresArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// A preset (digits, digits-class, mnist, mnist-class, mnist-vae, mnist-gan, mnist-flow, mnist-classifier, fashion-mnist, cifar10, folder, mnist-ddpm,
    /// folder-128) or a TOML file.
    #[arg(value_name = "PRESET|CONFIG.toml")]
    pub(crate) config: String,

    /// Where the data is; `$DIFUSI_DATA` and the cache of `difusi data fetch` are looked at otherwise.
    #[arg(long, value_name = "PATH")]
    pub(crate) data: Option<PathBuf>,

    /// Run folder (default: runs/NAME).
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Override one key of the config, e.g. `--set train.steps=200`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// Start from the weights of this model instead of random ones.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub(crate) from: Option<PathBuf>,

    /// Arguments of the network where `--from` is a peer's checkpoint.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) from_config: Option<PathBuf>,

    /// Go on with the run in the run folder, from its newest checkpoint.
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,

    /// Delete the run in the run folder first.
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print the resolved config, parameters, memory and shapes, and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A preset, a TOML file or a run folder, as `train` takes it; random images stand for its data.
    #[arg(value_name = "PRESET|CONFIG.toml")]
    pub(crate) config: String,

    /// Override one key of the config, e.g. `--set data.size=[32,32]`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// Training steps and forward passes measured, after 3 to warm up; medians are told.
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(7..=10_000))]
    pub(crate) steps: u32,
}

/// Which model, for every command that takes one.
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// A run folder, a safetensors file, a peer's checkpoint (.pt), or a folder of diffusers.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,

    /// For a peer's checkpoint: a JSON or TOML file `{ "unet": {...}, "diffusion": {...} }` in the peer's argument names.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Which weights: `ema` (the first EMA), `ema:RATE`, `raw`, or `best` (of a run with `train.eval_every`).
    #[arg(long, value_name = "WHICH", default_value = "ema")]
    pub(crate) weights: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// How many pictures (default: the model's `sample.count`).
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: Option<u32>,

    #[command(flatten)]
    pub(crate) solver: SolverArgs,

    #[command(flatten)]
    pub(crate) asking: AskArgs,

    /// Draw everything under each of these thresholds of x_0, a block of rows for each; with several scales of guidance also a chart of
    /// how much saturates. `--set threshold.quantile=0.95` is the dynamic one's.
    #[arg(long, value_enum, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) thresholds: Vec<ThresholdKind>,

    /// Sample as diffusers does with this scheduler_config.json (or the folder of its pipeline): its timesteps, solver and threshold.
    /// `--steps` and `--eta` are its arguments; `difusi convert MODEL scheduler_config.json` writes one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["solver", "overrides"])]
    pub(crate) scheduler: Option<PathBuf>,

    /// Seed: the same seed draws the same pictures.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,

    /// Where noise comes from.
    #[arg(long, value_enum, default_value_t = RngKind::Counter)]
    pub(crate) rng: RngKind,

    /// Start from the noise in this .npy or .safetensors file: key `x`, [N, C, H, W].
    #[arg(long, value_name = "FILE", conflicts_with = "interpolate")]
    pub(crate) init_noise: Option<PathBuf>,

    /// Blend between A and B in `-n` pictures (default 8): two seeds (their noise is blended), or two picture files.
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    pub(crate) interpolate: Option<Vec<String>>,

    /// With `--interpolate` of pictures: the step they are noised to (default: half of T). Small keeps them, large invents.
    #[arg(long, value_name = "T", requires = "interpolate")]
    pub(crate) at: Option<usize>,

    /// Picture height and width, where they differ from training's.
    #[arg(long, value_names = ["HEIGHT", "WIDTH"], num_args = 2)]
    pub(crate) size: Option<Vec<usize>>,

    /// Images in one network evaluation (default: 64, or as many as memory holds). With the counter's noise, pictures do not
    /// depend on it beyond rounding.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Option<u32>,

    /// Output: .png (grid), .npz (`arr_0`), or a folder for single PNGs (end it with /).
    #[arg(short, long, value_name = "FILE", default_value = "samples.png")]
    pub(crate) output: PathBuf,

    /// Also draw the reverse process as a filmstrip into this PNG.
    #[arg(long, value_name = "FILE.png")]
    pub(crate) strip: Option<PathBuf>,

    /// Also draw the reverse process as an animation into this GIF.
    #[arg(long, value_name = "FILE.gif")]
    pub(crate) gif: Option<PathBuf>,

    /// Enlarge PNG and GIF pixels by this whole factor.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) scale: u8,
}

/// How a command samples, where that differs from the model's `[sample]` section.
#[derive(Clone, Debug, Args)]
pub(crate) struct SolverArgs {
    /// Solver (default: the model's); what each can be told with `--set solver.KEY=VALUE` is in docs/config.md.
    #[arg(long, value_name = "KIND", value_parser = solver_kinds())]
    pub(crate) solver: Option<String>,

    /// Noise of the solvers that have an eta: 0 is deterministic, 1 is ancestral.
    #[arg(long, value_name = "ETA")]
    pub(crate) eta: Option<f64>,

    /// Number of steps (default: the model's).
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,

    /// Override one key of the model's [sample] section, e.g. `--set threshold.kind=none`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

/// What may happen to a predicted x_0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThresholdKind {
    /// Nothing.
    None,
    /// Clipped to the range of pictures.
    Static,
    /// Clipped at a quantile of each picture and divided by it.
    Dynamic,
}

impl ThresholdKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}

/// Sources of sampling noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RngKind {
    /// Counter-based: each picture has numbers of its own.
    Counter,
    /// As torch's CPU generator after manual_seed: a peer's seed gives the peer's pictures.
    Torch,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Safetensors with `x` [B, C, H, W] and `t` [B] (and `x_self_cond` or `labels` [B] where the network takes them).
    #[arg(long, value_name = "in.safetensors")]
    pub(crate) input: PathBuf,

    /// Where to write `y` [B, C, H, W].
    #[arg(short, long, value_name = "out.safetensors")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A run folder or any file: safetensors, PyTorch, npy, npz, PNG, idx.
    pub(crate) path: PathBuf,

    /// List every tensor.
    #[arg(long)]
    pub(crate) tensors: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// .pt writes what denoising-diffusion-pytorch opens (and its arguments beside it as .json); .safetensors writes ours; a name that
    /// ends in / writes a folder that diffusers' DDPMPipeline opens.
    #[arg(value_name = "TO")]
    pub(crate) to: PathBuf,

    /// Replace TO where it exists.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// Number of steps T.
    #[arg(long, short = 'T', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) timesteps: u32,

    /// Where to write the picture (.png or .svg).
    #[arg(short, long, value_name = "FILE", default_value = "schedule.png")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NoiseArgs {
    /// A PNG, JPEG or WebP.
    pub(crate) image: PathBuf,

    /// Where to write the strip.
    #[arg(short, long, value_name = "FILE.png", default_value = "noise.png")]
    pub(crate) output: PathBuf,

    /// Schedule: a kind (linear, cosine, ...) or a table as in a config, e.g. '{kind="linear", beta_end=0.02}'.
    #[arg(long, default_value = "linear")]
    pub(crate) schedule: String,

    /// Number of steps T.
    #[arg(long, short = 'T', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) timesteps: u32,

    /// Pictures in the strip.
    #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub(crate) count: u32,

    /// Height and width to crop and resize to (default 128 128).
    #[arg(long, value_names = ["HEIGHT", "WIDTH"], num_args = 2)]
    pub(crate) size: Option<Vec<usize>>,

    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct FiguresArgs {
    /// Folder for the pictures.
    #[arg(short, long, value_name = "DIR", default_value = "figures")]
    pub(crate) output: PathBuf,

    /// Draw only this one; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(difusi::figures::Drawing::NAMES))]
    pub(crate) only: Vec<String>,
}

/// Every kind of solver that draws pictures, under its other names too.
fn solver_kinds() -> PossibleValuesParser {
    let named = |kind: &'static str| {
        let aliases: &[&str] = match kind {
            "euler" => &["flow_match_euler"],
            "heun" => &["flow_match_heun"],
            "dpm_multistep" => &["dpmpp_2m"],
            "dpm_singlestep" => &["dpmpp_2s"],
            "dpm_sde" => &["dpmpp_sde"],
            "pndm" => &["plms"],
            _ => &[],
        };
        PossibleValue::new(kind).aliases(aliases)
    };
    let draws = Solver::KINDS.iter().filter(|kind| **kind != "ddim_inverse");
    PossibleValuesParser::new(draws.map(|kind| named(kind)))
}
