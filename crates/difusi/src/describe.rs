//! What any file or folder here is: kind, config, tensors, hash. For `difusi inspect`.

use std::path::Path;

use difusi_nn::unet::adm;
use difusi_nn::unet::ddp::unet_weights;
use difusi_nn::unet::ddp::{Pick, peer::UnetArgs};
use difusi_store::{Container, RunPaths, TensorInfo, hash, inspect, read_header, read_text};

use crate::model::{CARD_KEY, Folder, ModelCard};
use crate::{Error, ModelConfig, OpenModel};

/// What a file or folder is.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// In words: `difusi model`, `safetensors`, `PyTorch file (zip)`, `run folder`, ...
    pub kind: String,
    /// Name and value of what else is known, in the order to print.
    pub facts: Vec<(String, String)>,
    /// The config it holds (or that its tensors tell), as TOML or JSON.
    pub config: Option<String>,
    /// Its tensors.
    pub tensors: Vec<TensorInfo>,
}

impl Described {
    fn fact(&mut self, key: &str, value: impl ToString) {
        self.facts.push((key.to_owned(), value.to_string()));
    }
}

/// Looks at `path`.
///
/// # Errors
/// A path that is absent or cannot be read.
pub fn describe(path: &Path) -> Result<Described, Error> {
    if let Some(found) = Folder::at(path).filter(|_| !RunPaths::is_run(path)) {
        return folder(&found);
    }
    if path.is_dir() {
        return run(path);
    }
    let found = inspect(path)?;
    let mut out = Described { kind: found.container.to_string(), tensors: found.tensors, ..Described::default() };
    let metadata = found.metadata.into_iter().collect();
    let card = (found.container == Container::Safetensors).then(|| ModelCard::from_metadata(&metadata)).flatten();
    if let Some(card) = card {
        let card = card.map_err(|source| Error::ConfigFile { path: path.to_path_buf(), source })?;
        card_facts(&mut out, &card);
        out.fact("hash", OpenModel::new(path).hash()?);
    } else {
        peer(&mut out);
    }
    // An optimiser's settings say nothing about the model.
    for (key, value) in metadata.iter().filter(|(key, value)| !is_card(key, value) && !key.starts_with("opt")) {
        out.fact(key, value);
    }
    out.fact("sha256", hash::file(path)?);
    Ok(out)
}

/// A PNG's text may have the card's key too, but not a card in it.
fn is_card(key: &str, value: &str) -> bool {
    key == CARD_KEY && value.starts_with('{')
}

fn card_facts(out: &mut Described, card: &ModelCard) {
    let [height, width, channels] = card.shape;
    out.kind = format!("difusi model ({})", out.kind);
    out.fact("model", card.task.title().trim_start_matches("a "));
    out.fact("pictures", format!("{height}x{width}, {channels} channels"));
    out.fact("steps", card.step);
    out.fact("weights", &card.weights);
    out.fact("precision", card.precision);
    if let Some(fid) = &card.fid {
        out.fact("fid", fid);
    }
    if let Some(origin) = &card.origin {
        out.fact("origin", origin);
    }
    out.config = card.to_toml();
}

/// What a peer's checkpoint tells by its tensors.
fn peer(out: &mut Described) {
    let names = || out.tensors.iter().map(|t| t.name.as_str());
    for (found, what, told) in [
        (adm::diffusers::is_unet(names()), "U-Net of diffusers", "its arguments, which stand in a config.json"),
        (adm::guided::is_unet(names()), "U-Net of guided-diffusion", "its arguments, which `--config` gives"),
        (
            adm::guided::is_classifier(names()),
            "classifier of guided-diffusion",
            "its arguments, which `--config` gives",
        ),
    ] {
        if found {
            out.kind = format!("{what} ({})", out.kind);
            out.fact("not told", told);
            return;
        }
    }
    let infos: Vec<_> = out.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
    let Ok(found) = unet_weights(&infos, Pick::EmaIfPresent) else { return };
    out.kind = format!("U-Net of denoising-diffusion-pytorch ({})", out.kind);
    let under = if found.prefix.is_empty() { "(no prefix)" } else { &found.prefix };
    out.fact("weights under", under);
    out.fact("not told", found.inferred.uncertain.join("; "));
    let args = serde_json::json!({ "unet": UnetArgs::from(found.inferred.config) });
    out.config = serde_json::to_string_pretty(&args).ok();
}

/// A pipeline of diffusers, or its network.
fn folder(folder: &Folder) -> Result<Described, Error> {
    let weights = folder.weights()?;
    let mut out = describe(&weights)?;
    out.kind = format!("folder of diffusers: {}", out.kind);
    out.fact("weights", weights.display());
    if let Some(name) = folder.scheduler_name()? {
        out.fact("scheduler", name);
    }
    let (args, config) = folder.arguments()?;
    if let Some([height, width]) = args.sample_size.map(adm::diffusers::SampleSize::sides) {
        out.fact("pictures", format!("{height}x{width}, {} channels", config.channels));
    }
    out.facts.retain(|(key, _)| key != "not told");
    if out.config.is_none() {
        let sections = std::collections::BTreeMap::from([("model", ModelConfig::Adm(config))]);
        out.config = toml::to_string(&sections).ok();
    }
    Ok(out)
}

fn run(path: &Path) -> Result<Described, Error> {
    if !RunPaths::is_run(path) {
        let problem = "a folder without a run; expected a run folder, a folder of diffusers or a file (for pictures: `difusi data info`)";
        return Err(Error::model(path, problem));
    }
    let run = RunPaths::open(path)?;
    let states = run.states()?;
    let mut out = if run.model().exists() { describe(&run.model())? } else { Described::default() };
    out.kind = "run folder".to_owned();
    let list: Vec<String> = states.iter().map(|s| s.step.to_string()).collect();
    out.fact("checkpoints", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
    if run.best().exists() {
        let best = ModelCard::from_metadata(&read_header(&run.best())?.metadata).and_then(Result::ok);
        let fid = best.as_ref().and_then(|card| card.fid.as_ref());
        let told = fid.zip(best.as_ref()).map(|(fid, card)| format!(" of step {}, FID {fid}", card.step));
        out.fact("best", format!("best.safetensors{}", told.unwrap_or_default()));
    }
    out.config = Some(read_text(&run.config())?);
    Ok(out)
}
