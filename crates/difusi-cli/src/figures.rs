//! `difusi schedule`, `difusi noise` and `difusi figures`.

use difusi::Device;
use difusi::core::ImageSize;
use difusi::figures::{Drawing, NoiseOptions, noise_strip, schedule_figure};
use difusi::process::Choice;
use difusi::store::{self, Panel, PanelRow};

use crate::args::{FiguresArgs, NoiseArgs, ScheduleArgs};
use crate::sample::image_size;
use crate::usage::usage;

/// Longest side of a picture in a strip.
const MOST: usize = 4096;

pub(crate) fn schedule(args: &ScheduleArgs, json: bool) -> anyhow::Result<()> {
    if !["png", "svg"].iter().any(|ending| args.output.extension().is_some_and(|e| e == *ending)) {
        return Err(usage(format!("-o is {}; expected a name that ends in .png or .svg", args.output.display())));
    }
    schedule_figure(args.timesteps as usize)?.write(&args.output)?;
    said(&args.output, json);
    Ok(())
}

pub(crate) fn noise(args: &NoiseArgs, json: bool) -> anyhow::Result<()> {
    if args.output.extension().is_none_or(|e| e != "png") {
        return Err(usage(format!("-o is {}; expected a name that ends in .png", args.output.display())));
    }
    let size = image_size(args.size.as_deref()).unwrap_or(ImageSize::square(128));
    if ![size.height, size.width].iter().all(|side| (1..=MOST).contains(side)) {
        return Err(usage(format!("--size is {} {}; expected 1 to {MOST} each", size.height, size.width)));
    }
    let schedule = difusi::parse_schedule(&args.schedule, args.timesteps as usize)?;
    let options = NoiseOptions {
        schedule,
        timesteps: args.timesteps as usize,
        count: args.count as usize,
        size,
        seed: args.seed,
    };
    let strip = noise_strip(&args.image, &options, &Device::flex())?;
    let row = |label: &str, pictures| PanelRow { label: label.to_owned(), pictures };
    let rows = vec![row("at once", strip.closed_form), row("step by step", strip.step_by_step)];
    let columns = strip.steps.iter().map(|t| format!("t = {t}")).collect();
    let title = format!("q(x_t | x_0), {} schedule, T = {}", options.schedule.kind(), args.timesteps);
    let panel = Panel { title, columns, ..Panel::new(rows) };
    let text = [("difusi", "noise"), ("schedule", args.schedule.as_str()), ("seed", &args.seed.to_string())];
    store::write_png(&args.output, &panel.draw()?, &text)?;
    said(&args.output, json);
    Ok(())
}

pub(crate) fn figures(args: &FiguresArgs, json: bool) -> anyhow::Result<()> {
    for drawing in Drawing::ALL.iter().filter(|d| args.only.is_empty() || args.only.iter().any(|o| o == d.name)) {
        let drawn = drawing.draw()?;
        let path = args.output.join(drawing.name).with_extension("png");
        store::write_png(&path, &drawn.picture, &[("difusi", &format!("figures --only {}", drawing.name))])?;
        said(&path, json);
        if let Some(table) = drawn.table.filter(|_| !json) {
            outln!("\n{table}");
        }
    }
    Ok(())
}

fn said(path: &std::path::Path, json: bool) {
    if json {
        outln!("{}", serde_json::json!({ "written": path }));
    } else {
        outln!("{}", path.display());
    }
}
