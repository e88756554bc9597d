//! What a person types after `difusi data`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// What a data set is: kind, counts, sizes, classes, broken files.
    Info {
        /// A folder, an idx or CIFAR file, or `digits`.
        path: PathBuf,
    },
    /// Draw a grid of a data set's pictures.
    Preview {
        /// A folder, an idx or CIFAR file, or `digits`.
        path: PathBuf,
        /// Where to write the grid.
        #[arg(short, long, value_name = "FILE.png", default_value = "preview.png")]
        output: PathBuf,
        /// How many pictures.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
        count: u32,
        /// Height and width of each picture (default: the data's own, 64x64 for folders).
        #[arg(long, value_names = ["HEIGHT", "WIDTH"], num_args = 2)]
        size: Option<Vec<usize>>,
        /// Which pictures, and the handwriting of `digits`.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Enlarge pixels by this whole factor.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
        scale: u8,
    },
    /// Download a data set into the cache (or `--out`): mnist, fashion-mnist or cifar10.
    Fetch {
        /// mnist, fashion-mnist or cifar10; or inception, the weights of the FID network.
        name: String,
        /// Where to put it (default: the cache that `train` looks into).
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Base address to fetch the same file names from, instead of the official mirrors.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}
