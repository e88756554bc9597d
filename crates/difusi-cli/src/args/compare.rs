//! What a person types after `difusi compare`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// What to learn from: mnist, fashion-mnist, cifar10, digits, a folder or an idx file.
    #[arg(long, value_name = "DATA", default_value = "mnist")]
    pub(crate) data: PathBuf,

    /// The comparison's folder (default: compare/NAME). A comparison that is there goes on where it stopped.
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// How long each family is trained: a time (90s, 20m, 2h; of training steps as timed beforehand), a number of steps (5000), or
    /// reference: diffusion 10 epochs of 1,000 steps, GAN 30 of 550, VAE 70 of 547.
    #[arg(long, value_name = "TIME|STEPS|reference", default_value = "20m")]
    pub(crate) budget: String,

    /// Which families.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "diffusion,vae,gan,flow")]
    pub(crate) families: Vec<String>,

    /// Runs of the GAN that differ in their seed, each at the whole budget: how much of it is luck.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) gan_runs: u64,

    /// Pictures that each model draws to be judged.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(20..=10_000_000))]
    pub(crate) count: u64,

    /// Test images whose bits per dimension are counted; 0 counts none.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) bpd_count: u64,

    /// What sees features in pictures, as `difusi eval --features` names it (default: a classifier that is trained on the training
    /// images, for which they need labels).
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) judge: Option<String>,

    /// Override one key of a config: vae.train.learning_rate=1e-3 for a family, judge. for the classifier, all. for everyone; may be
    /// repeated.
    #[arg(long = "set", value_name = "WHOSE.SECTION.KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,

    /// Write the report again of what has been judged, and stop.
    #[arg(long)]
    pub(crate) report_only: bool,
}
