//! `difusi edit`.

use difusi::process::edit::Resampling;
use difusi::store::Picture;
use difusi::{Device, Edit, EditOptions, Editor, Model};

use crate::args::EditArgs;
use crate::progress::Progress;
use crate::sample::{Output, checked_size, metadata, open, sample_config, told};
use crate::usage::usage;

pub(crate) fn edit(args: &EditArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    let kind = Output::of(&args.output)?;
    let edit = asked(args)?;
    let model = open(&args.model, device)?;
    let editor = Editor::new(&model, options(args, edit, &model)?, device)?;
    let all = draw(&editor)?;
    let text = metadata(args.seed, &model);
    let text: Vec<(&str, &str)> = text.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    kind.write(&args.output, &all, args.scale, &text)?;
    told(std::slice::from_ref(&args.output), all.len(), args.seed, &model, json);
    Ok(())
}

/// What is to be done; that exactly one thing is, the parser has seen to.
fn asked(args: &EditArgs) -> anyhow::Result<Edit> {
    if let Some([a, b]) = args.between.as_deref() {
        return Ok(Edit::Between { ends: [a.clone(), b.clone()] });
    }
    let image = args.image.clone().ok_or_else(|| usage("--image is missing; expected the picture to change"))?;
    Ok(match (args.strength, &args.mask, args.upscale) {
        (Some(strength), _, _) if strength > 0.0 && strength <= 1.0 => Edit::Redraw { image, strength },
        (Some(strength), _, _) => return Err(usage(format!("--strength is {strength}; expected a number in (0, 1]"))),
        (_, Some(mask), _) => Edit::Inpaint { image, mask: mask.clone() },
        (_, _, Some(factor)) => Edit::Upscale { image, factor: usize::from(factor) },
        _ => Edit::Colorize { image },
    })
}

fn options(args: &EditArgs, edit: Edit, model: &Model) -> anyhow::Result<EditOptions> {
    let times = if args.plain { 1 } else { args.resample.map_or(10, usize::from) };
    let jump_length = args.jump.map_or(10, usize::from);
    let resampling = (times > 1).then_some(Resampling { jump_length, jump_n_sample: times });
    let count = args.count.map_or(if args.between.is_some() { 8 } else { 1 }, |n| n as usize);
    let task = model.card.task.diffusion()?;
    let (size, config) = (checked_size(args.size.as_deref(), model)?, sample_config(&args.solver, task)?);
    let (wanted, channels) = (size.unwrap_or_else(|| model.card.size()), model.card.task.channels());
    if let Edit::Upscale { factor, .. } = edit
        && (wanted.height % factor != 0 || wanted.width % factor != 0)
    {
        return Err(usage(format!(
            "--upscale is {factor}; expected a number that divides the model's pictures, {wanted}"
        )));
    }
    if matches!(edit, Edit::Colorize { .. }) && channels != 3 {
        return Err(usage(format!(
            "--colorize is asked of a model of {channels} channel(s); expected one of 3, which draws colours"
        )));
    }
    Ok(EditOptions { edit, resampling, count, batch: args.batch.map(|n| n as usize), seed: args.seed, size, config })
}

fn draw(editor: &Editor) -> anyhow::Result<Vec<Picture>> {
    let mut progress = Progress::new("drawing steps", editor.evaluations() as u64, 0);
    let (mut done, mut all) = (0, Vec::new());
    for index in 0..editor.batches() {
        all.extend(editor.batch(index, &mut |_| {
            done += 1;
            progress.set(done, "");
        })?);
    }
    progress.finish();
    Ok(all)
}
