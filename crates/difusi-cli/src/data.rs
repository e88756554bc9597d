//! `difusi data info`, `difusi data preview`, `difusi data fetch`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use difusi::core::{Draw, ImageSize, Noise};
use difusi::data::{
    DataConfig, DataInfo, FetchEvent, FetchOptions, NamedSet, NamedWeights, OpenOptions, Search, fetch, fetch_weights,
    guess, info,
};
use difusi::save_grid;
use difusi::store::Picture;

use crate::args::DataCommand;
use crate::progress::{Progress, bytes};
use crate::sample::image_size;
use crate::usage::usage;

/// Broken images that are named.
const NAMED: usize = 20;

pub(crate) fn data(command: &DataCommand, json: bool) -> anyhow::Result<()> {
    match command {
        DataCommand::Info { path } => {
            let found = info(path, &OpenOptions::default())?;
            if json {
                outln!("{}", serde_json::to_string(&found)?);
            } else {
                describe(&found);
            }
            Ok(())
        }
        DataCommand::Preview { path, output, count, size, seed, scale } => {
            let wanted = Preview { path, output, count: *count, size: size.as_deref(), seed: *seed, scale: *scale };
            preview(&wanted, json)
        }
        DataCommand::Fetch { name, out, mirror } => bring(name, out.clone(), mirror.clone(), json),
    }
}

fn describe(found: &DataInfo) {
    let range = |[a, b]: [u64; 2]| if a == b { a.to_string() } else { format!("{a}..{b}") };
    let place = found.path.as_ref().map_or_else(|| "built in".to_owned(), |p| p.display().to_string());
    outln!("kind      {} ({place})", found.kind);
    outln!("images    {}", found.count.map_or_else(|| "unlimited".to_owned(), |n| n.to_string()));
    for (split, n) in &found.splits {
        outln!("          {split} {n}");
    }
    outln!("height    {}\nwidth     {}", range(found.height), range(found.width));
    let modes: Vec<String> = found.modes.iter().map(|(mode, n)| format!("{mode} {n}")).collect();
    outln!("pixels    {}", modes.join(", "));
    let numbers = |v: &[f64]| v.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>().join(" ");
    outln!("mean      {}\nstd       {}", numbers(&found.mean), numbers(&found.std));
    outln!("captions  {}", found.captions);
    outln!("classes   {}", found.classes.len());
    for class in found.classes.iter().take(NAMED) {
        outln!("          {:3} {:20} {}", class.label, class.name.as_deref().unwrap_or(""), class.count);
    }
    if found.classes.len() > NAMED {
        outln!("          and {} more", found.classes.len() - NAMED);
    }
    outln!("broken    {}", found.skipped.len());
    for skipped in found.skipped.iter().take(NAMED) {
        outln!("          {skipped}");
    }
    outln!("ignored   {} files (no images, or not named by metadata.jsonl)", found.ignored);
    for e in &found.examples {
        let [h, w] = e.size;
        let label = e.label.map(|l| format!(" label {l}")).unwrap_or_default();
        let caption = e.caption.as_ref().map(|c| format!(" \"{c}\"")).unwrap_or_default();
        outln!(
            "example   {}{} {h}x{w}{label}{caption}",
            e.index,
            e.file.as_ref().map(|f| format!(" {f}")).unwrap_or_default()
        );
    }
}

/// What `preview` was asked for.
struct Preview<'a> {
    path: &'a Path,
    output: &'a Path,
    count: u32,
    size: Option<&'a [usize]>,
    seed: u64,
    scale: u8,
}

fn preview(wanted: &Preview<'_>, json: bool) -> anyhow::Result<()> {
    if wanted.output.extension().is_none_or(|e| e != "png") {
        return Err(usage(format!("-o is {}; expected a name that ends in .png", wanted.output.display())));
    }
    let mut config = guess(wanted.path, &Search::from_env())?;
    let size = image_size(wanted.size);
    match &mut config {
        DataConfig::Digits(c) => (c.seed, c.size) = (wanted.seed, size.unwrap_or(c.size)),
        DataConfig::Idx(c) => c.size = size.or(c.size),
        DataConfig::Cifar10(c) => (c.size, c.flip) = (size.or(c.size), false),
        DataConfig::Folder(c) => c.size = size.unwrap_or(c.size),
    }
    let opened = config.open_with_report(&OpenOptions::default())?;
    for skipped in opened.report.skipped.iter().take(NAMED) {
        errln!("skipped {skipped}");
    }
    let (set, noise) = (opened.dataset, Noise::new(wanted.seed));
    let [h, w, c] = set.shape();
    let count = u64::from(wanted.count).min(set.count());
    let mut pictures = Vec::new();
    for i in 0..count {
        let unlimited = set.count() == u64::MAX;
        let index = if unlimited { i } else { noise.stream(Draw::Shuffle, i, 0).below(set.count()) };
        let example = set.get(index, &mut noise.stream(Draw::Augment, i, 0)).map_err(anyhow::Error::from_boxed)?;
        let picture = Picture::from_unit(ImageSize { height: h, width: w }, c, &example.pixels)?;
        pictures.push(picture.upscaled(usize::from(wanted.scale)));
    }
    let source = wanted.path.display().to_string();
    save_grid(
        wanted.output,
        &pictures,
        &[("difusi", "data preview"), ("data", &source), ("seed", &wanted.seed.to_string())],
    )?;
    if json {
        outln!("{}", serde_json::json!({ "written": wanted.output, "count": count }));
    } else {
        outln!("{}", wanted.output.display());
    }
    Ok(())
}

/// What can be fetched.
#[derive(Clone, Copy)]
enum Named {
    Set(NamedSet),
    Weights(NamedWeights),
}

impl Named {
    fn parse(name: &str) -> anyhow::Result<Self> {
        match NamedWeights::ALL.into_iter().find(|w| w.name() == name) {
            Some(weights) => Ok(Self::Weights(weights)),
            None => Ok(Self::Set(name.parse().map_err(|e: difusi::data::DataError| usage(e.to_string()))?)),
        }
    }
}

fn bring(name: &str, out: Option<PathBuf>, mirror: Option<String>, json: bool) -> anyhow::Result<()> {
    let what = Named::parse(name)?;
    let cache = Search::from_env();
    let dest = out.or_else(|| match what {
        Named::Set(set) => cache.cache_of(set),
        Named::Weights(weights) => cache.cache_of_weights(weights),
    });
    let dest = dest.context("there is no home folder to keep a cache in; name a folder with --out DIR")?;
    let defaults = FetchOptions::default();
    let options = FetchOptions { mirror: mirror.or(defaults.mirror.clone()), ..defaults };
    let mut progress: Option<Progress> = None;
    let mut tell = |event| match event {
        FetchEvent::Present { file } => errln!("{file}: already there"),
        FetchEvent::Started { url, resumed_from: 0, .. } => errln!("{url}"),
        FetchEvent::Started { url, resumed_from, .. } => errln!("{url} from {}", bytes(resumed_from)),
        FetchEvent::Progress { done, total: Some(total), .. } => {
            progress.get_or_insert_with(|| Progress::new("bytes", total, done)).set(done, "");
        }
        FetchEvent::Progress { .. } => {}
        FetchEvent::Failed { reason, .. } => {
            progress = None;
            errln!("failed: {reason}");
        }
        FetchEvent::Finished { .. } => {
            if let Some(bar) = progress.take() {
                bar.finish();
            }
        }
        FetchEvent::Unpacked { files } => errln!("unpacked {files} files"),
    };
    let fetched = match what {
        Named::Set(set) => fetch(set, &dest, &options, &mut tell)?,
        Named::Weights(weights) => fetch_weights(weights, &dest, &options, &mut tell)?,
    };
    if json {
        outln!("{}", serde_json::json!({ "folder": fetched.folder, "received_bytes": fetched.received }));
    } else {
        outln!("{} ({} received)", fetched.folder.display(), bytes(fetched.received));
    }
    Ok(())
}
