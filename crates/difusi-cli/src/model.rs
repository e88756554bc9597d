//! `difusi predict` and `difusi convert`.

use difusi::{Device, PredictIo, scheduler_of, write_prediction, write_scheduler};

use crate::args::{ConvertArgs, PredictArgs};
use crate::sample::open;
use crate::usage::usage;

pub(crate) fn predict(args: &PredictArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    if args.output.extension().is_none_or(|e| e != "safetensors") {
        return Err(usage(format!("-o is {}; expected a name that ends in .safetensors", args.output.display())));
    }
    let model = open(&args.model, device)?;
    let io = PredictIo::read(&args.input)?;
    let y = difusi::predict(&model, &io, device)?;
    let shape = y.shape.clone();
    write_prediction(&args.output, y)?;
    if json {
        outln!("{}", serde_json::json!({ "written": args.output, "shape": shape, "model": model.hash }));
    } else {
        outln!("{}: y {shape:?}", args.output.display());
    }
    Ok(())
}

pub(crate) fn convert(args: &ConvertArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    let folder = args.to.to_string_lossy().ends_with(['/', '\\']);
    let ending = if folder { "/" } else { args.to.extension().and_then(|e| e.to_str()).unwrap_or_default() };
    if !["pt", "safetensors", "json", "/"].contains(&ending) {
        let accepted =
            "a name that ends in .pt, .safetensors, .json (its scheduler_config.json) or / (a folder of diffusers)";
        return Err(usage(format!("TO is {}; expected {accepted}", args.to.display())));
    }
    if args.to.exists() && !args.overwrite {
        return Err(usage(format!("{} exists; name another file or add --overwrite", args.to.display())));
    }
    if folder && args.to.exists() && !args.to.join("model_index.json").is_file() {
        return Err(usage(format!("{} exists and is no folder of diffusers; name another folder", args.to.display())));
    }
    let model = open(&args.model, device)?;
    let (notes, beside) = match ending {
        "pt" => (model.save_pt(&args.to)?, Some(args.to.with_extension("json"))),
        "json" => {
            let scheduler = scheduler_of(&model.card)?;
            write_scheduler(&args.to, &scheduler.config)?;
            (scheduler.notes, None)
        }
        "/" => (model.save_diffusers(&args.to)?, None),
        _ => {
            model.save(&args.to)?;
            (Vec::new(), None)
        }
    };
    for note in &notes {
        errln!("note: {note}");
    }
    if json {
        outln!(
            "{}",
            serde_json::json!({ "written": args.to, "arguments": beside, "notes": notes, "model": model.hash })
        );
        return Ok(());
    }
    outln!("{}", args.to.display());
    if let Some(beside) = beside {
        outln!("{}  (arguments of Unet and GaussianDiffusion)", beside.display());
    }
    Ok(())
}
