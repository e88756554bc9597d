//! The difusi binary: arguments in, library calls, progress and results out. Exit codes: 0 done, 1 failed, 2 wrong usage,
//! 130 interrupted (and saved).

#[macro_use]
mod terminal;

mod args;
mod bench;
mod compare;
mod data;
mod edit;
mod eval;
mod eval_latent;
mod figures;
mod inspect;
mod latent;
mod model;
mod progress;
mod sample;
mod train;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

#[global_allocator]
static MEMORY: difusi::ops::CacheLines = difusi::ops::CacheLines;

fn main() -> ExitCode {
    let cli = Cli::parse();
    difusi::ops::keep_freed_memory();
    match difusi::on_threads(cli.threads.map(usize::from), || run(&cli)).unwrap_or_else(|e| Err(e.into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is::<usage::Interrupted>() => ExitCode::from(130),
        Err(e) => {
            errln!("error: {}", chain(&e));
            ExitCode::from(if usage::is_usage(&e) { 2 } else { 1 })
        }
    }
}

/// The error and its causes, each said once: a cause that its error already quotes is left out.
fn chain(e: &anyhow::Error) -> String {
    let mut text = e.to_string();
    for cause in e.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}\n  because: {cause}");
        }
    }
    text
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let device = || cli.device.open();
    match &cli.command {
        Command::Train(a) => train::train(a, cli.device, cli.json),
        Command::Bench(a) => bench::bench(a, &device()?, cli.json),
        Command::Sample(a) => sample::sample(a, &device()?, cli.json),
        Command::Eval(a) => eval::eval(a, &device()?, cli.json),
        Command::Compare(a) => compare::compare(a, &device()?, cli.json),
        Command::Edit(a) => edit::edit(a, &device()?, cli.json),
        Command::Predict(a) => model::predict(a, &device()?, cli.json),
        Command::Convert(a) => model::convert(a, &difusi::Device::flex(), cli.json),
        Command::Inspect(a) => inspect::inspect(a, cli.json),
        Command::Data(a) => data::data(a, cli.json),
        Command::Schedule(a) => figures::schedule(a, cli.json),
        Command::Noise(a) => figures::noise(a, cli.json),
        Command::Figures(a) => figures::figures(a, cli.json),
    }
}
