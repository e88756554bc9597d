//! docs/config.md, made from the config types themselves: every key with its doc comment, which states what is accepted and
//! the default. What is written beside a field is what a person reads.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow};
use syn::{Attribute, Expr, Fields, Item, Lit, Meta};

/// (heading, source file below crates/, type).
const PARTS: &[(&str, &str, &str)] = &[
    ("`[data]` with `kind = \"digits\"`", "difusi-data/src/config.rs", "DigitsConfig"),
    ("`[data]` with `kind = \"idx\"`", "difusi-data/src/config.rs", "IdxConfig"),
    ("`[data]` with `kind = \"cifar10\"`", "difusi-data/src/config.rs", "Cifar10Config"),
    ("`[data]` with `kind = \"folder\"`", "difusi-data/src/config.rs", "FolderConfig"),
    ("`[model]` with `kind = \"unet\"`", "difusi-nn/src/unet/ddp/config.rs", "UnetConfig"),
    ("`[model]` with `kind = \"adm\"`", "difusi-nn/src/unet/adm/config.rs", "AdmConfig"),
    ("`[model]` with `kind = \"vae\"`", "difusi-nn/src/baselines/vae.rs", "VaeConfig"),
    ("`model.likelihood`", "difusi-nn/src/baselines/likelihood.rs", "Likelihood"),
    ("`[model]` with `kind = \"gan\"`", "difusi-nn/src/baselines/gan.rs", "GanConfig"),
    ("`[model]` with `kind = \"flow\"`", "difusi-nn/src/baselines/flow/config.rs", "FlowConfig"),
    ("`[model]` with `kind = \"classifier\"`", "difusi-nn/src/classifier.rs", "ClassifierConfig"),
    ("`model.time`", "difusi-nn/src/layers/time.rs", "TimeFrequencies"),
    ("`[diffusion]`", "difusi-process/src/config.rs", "DiffusionConfig"),
    ("`diffusion.schedule`", "difusi-process/src/schedule/mod.rs", "Schedule"),
    ("`diffusion.prediction`", "difusi-process/src/prediction.rs", "Prediction"),
    ("`diffusion.loss`", "difusi-process/src/loss.rs", "Loss"),
    ("`diffusion.weighting`", "difusi-process/src/weighting.rs", "Weighting"),
    ("`diffusion.times`", "difusi-process/src/times/mod.rs", "TimeDistribution"),
    ("`diffusion.variance`", "difusi-process/src/variance.rs", "Variance"),
    ("`[vae]`", "difusi/src/families/vae.rs", "VaeLoss"),
    ("`[gan]`", "difusi/src/families/gan.rs", "GanLoss"),
    ("`gan.loss`", "difusi/src/families/gan.rs", "Adversarial"),
    ("`[train]`", "difusi-train/src/config.rs", "TrainConfig"),
    ("`train.learning_rate_schedule`", "difusi-train/src/choices.rs", "LearningRateSchedule"),
    ("`train.optimizer`", "difusi-train/src/choices.rs", "OptimizerConfig"),
    ("`[sample]`", "difusi-process/src/config.rs", "SampleConfig"),
    ("`[sample]` of VAE, GAN and flow", "difusi/src/families/latent.rs", "LatentSample"),
    ("`sample.solver`", "difusi-process/src/solver/kind.rs", "Solver"),
    ("`sample.solver.churn`", "difusi-process/src/solver/options.rs", "Churn"),
    ("`sample.solver.predictor`", "difusi-process/src/solver/reverse_sde.rs", "Predictor"),
    ("`sample.solver.step_size`", "difusi-process/src/score.rs", "StepSize"),
    ("`sample.grid`", "difusi-process/src/grid/mod.rs", "Grid"),
    ("`sample.guidance`", "difusi-process/src/guidance.rs", "Guidance"),
    ("`sample.threshold`", "difusi-process/src/threshold.rs", "Threshold"),
];

const HEAD: &str = "# Config keys

<!-- Made by `cargo xtask config-page` from the config types; do not edit. -->

A config is a TOML file; the presets (`difusi train NAME`) are exactly such files, in configs/. `--set section.key=value`
overrides single keys. A key with choices is a table with a `kind`, such as `schedule = { kind = \"cosine\", s = 0.008 }`.
Unknown keys and bad values are errors, all reported at once. `difusi train X --dry-run` prints the resolved config.
";

/// The page.
///
/// # Errors
/// A source file that is not there or has no such type (see `PARTS`).
pub fn config_page(root: &Path) -> anyhow::Result<String> {
    let mut page = HEAD.to_owned();
    for (heading, file, name) in PARTS {
        let path = root.join("crates").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let items = syn::parse_file(&text).with_context(|| path.display().to_string())?.items;
        let item = items.iter().find(|i| name_of(i).is_some_and(|n| n == *name));
        let item = item.ok_or_else(|| anyhow!("{} has no type {name}", path.display()))?;
        write!(page, "\n## {heading}\n\n{}", section(item))?;
    }
    Ok(page)
}

fn name_of(item: &Item) -> Option<String> {
    match item {
        Item::Struct(s) => Some(s.ident.to_string()),
        Item::Enum(e) => Some(e.ident.to_string()),
        _ => None,
    }
}

fn section(item: &Item) -> String {
    match item {
        Item::Struct(s) => format!("{}\n\n| key | meaning |\n|---|---|\n{}", docs(&s.attrs), rows("", &s.fields)),
        Item::Enum(e) => {
            let rows: String = e
                .variants
                .iter()
                .map(|v| {
                    let kind = renamed(&v.attrs).unwrap_or_else(|| snake(&v.ident.to_string()));
                    format!("| `\"{kind}\"` | {} |\n{}", docs(&v.attrs), rows(&format!("`\"{kind}\"`: "), &v.fields))
                })
                .collect();
            format!("{}\n\n| value | meaning |\n|---|---|\n{rows}", docs(&e.attrs))
        }
        _ => String::new(),
    }
}

fn rows(prefix: &str, fields: &Fields) -> String {
    let Fields::Named(fields) = fields else { return String::new() };
    let row = |f: &syn::Field| {
        let name = f.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("| {prefix}`{name}` | {} |\n", docs(&f.attrs))
    };
    fields.named.iter().map(row).collect()
}

/// The doc comment as one line that fits a table cell.
fn docs(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|a| match &a.meta {
        Meta::NameValue(m) if m.path.is_ident("doc") => match &m.value {
            Expr::Lit(l) => match &l.lit {
                Lit::Str(s) => Some(s.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// `#[serde(rename = "...")]`.
fn renamed(attrs: &[Attribute]) -> Option<String> {
    let mut name = None;
    for a in attrs.iter().filter(|a| a.path().is_ident("serde")) {
        // Other serde attributes than `rename` end the parse early, which is fine here.
        let _ignored = a.parse_nested_meta(|m| {
            if m.path.is_ident("rename") {
                name = Some(m.value()?.parse::<syn::LitStr>()?.value());
            }
            Ok(())
        });
    }
    name
}

/// `FixedSmall` -> `fixed_small`, as serde's rename_all does.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
