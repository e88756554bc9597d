//! Tensors of guided-diffusion under our names.

use std::collections::BTreeMap;

use super::AttentionOrder;
use crate::error::{NnError, WeightIssues};
use crate::params::Weight;
use crate::unet::adm::{AdmConfig, EncoderConfig, Resample};

/// A tensor every `UNetModel` has; `out.2` tells it from its classifiers.
const MARKS: [&str; 2] = ["input_blocks.0.0.weight", "out.2.weight"];
/// The same of its classifiers that pool by attention.
const CLASSIFIER: [&str; 2] = ["input_blocks.0.0.weight", PLACES];
/// What the pool adds to each place, `[C, pixels + 1]`.
const PLACES: &str = "out.2.positional_embedding";

/// Whether tensors of these names are those of a `UNetModel`.
pub fn is_unet<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().filter(|name| MARKS.contains(name)).count() == MARKS.len()
}

/// Whether tensors of these names are those of a classifier, an `EncoderUNetModel` that pools by attention.
pub fn is_classifier<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().filter(|name| CLASSIFIER.contains(name)).count() == CLASSIFIER.len()
}

/// What a part of its network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A tensor or a layer: the same below.
    Plain,
    Block,
    Attention,
}

/// Parts of a residual block, theirs and ours.
const BLOCK: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// A part: its name there and here.
type Named = (String, String, Part);

/// What halves or doubles the image.
fn between(config: &AdmConfig, theirs: String, ours: String, conv: &str) -> Named {
    match config.resample {
        Resample::Blocks => (theirs, ours, Part::Block),
        _ => (format!("{theirs}.{conv}"), format!("{ours}.conv"), Part::Plain),
    }
}

/// Parts up to the middle, that too: what the whole network and its classifiers have.
fn way_down(config: &AdmConfig) -> Vec<Named> {
    let (mut all, last) = (Vec::new(), config.stages().saturating_sub(1));
    for (theirs, ours) in [
        ("input_blocks.0.0", "conv_in"),
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
    ] {
        all.push((theirs.into(), ours.into(), Part::Plain));
    }
    let mut n = 0;
    for i in 0..=last {
        for j in 0..config.res_blocks {
            n += 1;
            all.push((format!("input_blocks.{n}.0"), format!("down_blocks.{i}.resnets.{j}"), Part::Block));
            if config.has_attention(i) {
                all.push((format!("input_blocks.{n}.1"), format!("down_blocks.{i}.attentions.{j}"), Part::Attention));
            }
        }
        if i < last {
            n += 1;
            let (theirs, ours) = (format!("input_blocks.{n}.0"), format!("down_blocks.{i}.downsamplers.0"));
            all.push(between(config, theirs, ours, "op"));
        }
    }
    for (theirs, ours, kind) in
        [("0", "resnets.0", Part::Block), ("1", "attentions.0", Part::Attention), ("2", "resnets.1", Part::Block)]
    {
        all.push((format!("middle_block.{theirs}"), format!("mid_block.{ours}"), kind));
    }
    all
}

/// Parts of the whole network.
fn unet(config: &AdmConfig) -> Vec<Named> {
    let (mut all, last) = (way_down(config), config.stages().saturating_sub(1));
    for (theirs, ours) in [("label_emb", "class_embedding"), ("out.0", "conv_norm_out"), ("out.2", "conv_out")] {
        all.push((theirs.into(), ours.into(), Part::Plain));
    }
    for (i, stage) in (0..=last).rev().enumerate() {
        for j in 0..=config.res_blocks {
            let n = i * (config.res_blocks + 1) + j;
            let attends = config.has_attention(stage);
            all.push((format!("output_blocks.{n}.0"), format!("up_blocks.{i}.resnets.{j}"), Part::Block));
            if attends {
                all.push((format!("output_blocks.{n}.1"), format!("up_blocks.{i}.attentions.{j}"), Part::Attention));
            }
            if j == config.res_blocks && stage > 0 {
                let theirs = format!("output_blocks.{n}.{}", 1 + usize::from(attends));
                all.push(between(config, theirs, format!("up_blocks.{i}.upsamplers.0"), "conv"));
            }
        }
    }
    all
}

/// Parts of a classifier.
fn classifier(config: &AdmConfig) -> Vec<Named> {
    let mut all = way_down(config);
    for (theirs, ours) in [("out.0", "norm_out"), ("out.2.qkv_proj", "pool.qkv"), ("out.2.c_proj", "pool.out")] {
        all.push((theirs.into(), ours.into(), Part::Plain));
    }
    all
}

/// Their layers' names to ours, and which hold queries, keys and values together.
fn layers(parts: Vec<Named>) -> BTreeMap<String, (String, bool)> {
    let mut all = BTreeMap::new();
    for (theirs, ours, kind) in parts {
        let mut layer = |below: &str, own: &str, joined| {
            all.insert(format!("{theirs}.{below}"), (format!("{ours}.{own}"), joined));
        };
        match kind {
            Part::Block => BLOCK.iter().for_each(|(below, own)| layer(below, own, false)),
            Part::Attention => {
                layer("norm", "group_norm", false);
                layer("qkv", "to_", true);
                layer("proj_out", "to_out.0", false);
            }
            Part::Plain => {
                all.insert(theirs, (ours, false));
            }
        }
    }
    all
}

/// Its tensors as the parameters of a network of this configuration: renamed, and queries, keys and values apart.
///
/// # Errors
/// Names that no part of it has; what is missing or of another shape, [`crate::params::import`] finds.
pub fn own_weights(
    config: &AdmConfig,
    order: AttentionOrder,
    weights: impl IntoIterator<Item = Weight>,
) -> Result<Vec<Weight>, NnError> {
    renamed((config, order), unet(config), weights)
}

/// Its classifier's tensors as the parameters of a network of this configuration.
///
/// # Errors
/// As [`own_weights`].
pub fn classifier_weights(
    config: &EncoderConfig,
    order: AttentionOrder,
    weights: impl IntoIterator<Item = Weight>,
) -> Result<Vec<Weight>, NnError> {
    let adm = config.adm();
    let (places, others): (Vec<Weight>, Vec<Weight>) = weights.into_iter().partition(|w| w.name == PLACES);
    let mut own = renamed((&adm, order), classifier(&adm), others)?;
    own.extend(places.into_iter().map(turned));
    Ok(own)
}

/// What the pool adds, `[C, pixels + 1]`, as `[pixels + 1, C]`.
fn turned(weight: Weight) -> Weight {
    let Weight { shape, values, .. } = weight;
    let [channels, places] = shape[..] else { return Weight { name: "pool.places".into(), shape, values } };
    let values = (0..places).flat_map(|p| (0..channels).map(move |c| (p, c))).map(|(p, c)| values[c * places + p]);
    Weight { name: "pool.places".into(), shape: vec![places, channels], values: values.collect() }
}

fn renamed(
    (config, order): (&AdmConfig, AttentionOrder),
    parts: Vec<Named>,
    weights: impl IntoIterator<Item = Weight>,
) -> Result<Vec<Weight>, NnError> {
    let (layers, mut own, mut unknown) = (layers(parts), Vec::new(), Vec::new());
    for weight in weights {
        let found = weight.name.rsplit_once('.').and_then(|(layer, leaf)| Some((layers.get(layer)?, leaf.to_owned())));
        match found {
            Some(((name, true), leaf)) => own.extend(apart(config, order, &weight, [name, &leaf])),
            Some(((name, false), leaf)) => {
                own.push(Weight { name: format!("{name}.{leaf}"), ..squeezed(name, weight) })
            }
            None => unknown.push(weight.name),
        }
    }
    match unknown.is_empty() {
        true => Ok(own),
        false => Err(NnError::Weights(Box::new(WeightIssues { unknown, ..WeightIssues::default() }))),
    }
}

/// Its attention has convolutions over one dimension where there are linear maps here.
fn squeezed(name: &str, mut weight: Weight) -> Weight {
    if weight.shape.len() == 3 && (name.ends_with("to_out.0") || name.starts_with("pool.")) {
        weight.shape.pop();
    }
    weight
}

/// Queries, keys and values, `[3 C, ..]`, as three of `[C, ..]`.
fn apart(config: &AdmConfig, order: AttentionOrder, joined: &Weight, [name, leaf]: [&str; 2]) -> Vec<Weight> {
    let channels = joined.shape.first().copied().unwrap_or_default() / 3;
    let row = joined.values.len() / (3 * channels).max(1);
    let heads = config.heads.of(channels).unwrap_or(1);
    let depth = channels / heads.max(1);
    let shape = match leaf {
        "weight" => vec![channels, row],
        _ => vec![channels],
    };
    let part = |p: usize| {
        let place = |c: usize| match order {
            AttentionOrder::New => p * channels + c,
            AttentionOrder::Legacy => (c / depth * 3 + p) * depth + c % depth,
        };
        let values = (0..channels).flat_map(|c| &joined.values[place(c) * row..][..row]).copied().collect();
        Weight { name: format!("{name}{}.{leaf}", ["q", "k", "v"][p]), shape: shape.clone(), values }
    };
    (0..3).map(part).collect()
}
