//! The trainer on any folder of pictures.
//!
//! `cargo run --release -p difusi --example trainer -- PATH`

#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use difusi::{Device, Run, RunConfig, RunOptions, presets};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder of pictures")?;
    let preset = presets::get("folder").ok_or("the folder preset is compiled in")?;
    let set = ["train.steps=200", "train.batch_size=8", "model.dim=16", "sample.count=16"].map(String::from);
    let config = RunConfig::parse_with(preset, &set)?;
    let options = RunOptions { data: Some(folder.into()), ..RunOptions::new(config, "runs/trainer-example") };
    let mut run = Run::open(options, &Device::flex())?;
    while let Some(report) = run.step(&mut |event| println!("{event:?}"))? {
        if report.step % 10 == 0 {
            println!("step {} loss {:.4}", report.step, report.loss);
        }
    }
    println!("{:?}", run.finish(&mut |_, _| {})?);
    Ok(())
}
