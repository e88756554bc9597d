//! What a person types to edit pictures.

use std::path::PathBuf;

use clap::{ArgGroup, Args, value_parser};

use super::{ModelArgs, SolverArgs};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("mode").required(true).args(["strength", "mask", "colorize", "upscale", "between"])))]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// The picture to change: PNG, JPEG or WebP, cropped and resized to the model's size.
    #[arg(long, short, value_name = "FILE", required_unless_present = "between", conflicts_with = "between")]
    pub(crate) image: Option<PathBuf>,

    /// Redraw: noise the picture and draw on from there. In (0, 1]: small keeps it, 1 forgets it.
    #[arg(long, value_name = "S")]
    pub(crate) strength: Option<f64>,

    /// Inpaint: draw what is white in this picture of the same size anew, and keep what is black.
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,

    /// Colourise: keep the grey (each pixel's mean) and find the colours.
    #[arg(long)]
    pub(crate) colorize: bool,

    /// Enlarge: the picture, brought to the model's size over N, gets details.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) upscale: Option<u16>,

    /// Blend: from picture A to picture B in `-n` pictures (default 8), through the noise that becomes each.
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    pub(crate) between: Option<Vec<PathBuf>>,

    /// Where a part is kept: come down each stretch of steps N times, so that what is drawn fits it (RePaint; default 10). Costs about N
    /// times as much.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1000), conflicts_with_all = ["strength", "between"])]
    pub(crate) resample: Option<u16>,

    /// Steps in such a stretch (default 10).
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=10000), conflicts_with_all = ["strength", "between", "plain"])]
    pub(crate) jump: Option<u16>,

    /// Come down once: what is kept is only put back. Quick, with seams.
    #[arg(long, conflicts_with_all = ["strength", "between", "resample"])]
    pub(crate) plain: bool,

    /// How many results.
    #[arg(short = 'n', long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: Option<u32>,

    #[command(flatten)]
    pub(crate) solver: SolverArgs,

    /// Seed: the same seed draws the same pictures.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,

    /// Picture height and width, where they differ from training's.
    #[arg(long, value_names = ["HEIGHT", "WIDTH"], num_args = 2)]
    pub(crate) size: Option<Vec<usize>>,

    /// Images in one network evaluation (default: 64, or as many as memory holds).
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Option<u32>,

    /// Output: .png (grid), .npz (`arr_0`), or a folder for single PNGs (end it with /).
    #[arg(short, long, value_name = "FILE", default_value = "edit.png")]
    pub(crate) output: PathBuf,

    /// Enlarge PNG pixels by this whole factor.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u8).range(1..=32))]
    pub(crate) scale: u8,
}
