//! OpenAI's guided-diffusion: the arguments that its scripts make a `UNetModel` from, and its tensors under our names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AdmConfig, Heads, Modulation, Resample};
use crate::error::{ConfigIssue, NnError, WeightIssues};
use crate::params::Weight;
use crate::unet::ddp::PerStage;

/// The arguments of its model, under its names and with its scripts' defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetArgs {
    /// Side of the pictures. Default 64.
    pub image_size: usize,
    /// Width. Default 128.
    pub num_channels: usize,
    /// Residual blocks on the way down. Default 2.
    pub num_res_blocks: usize,
    /// Heads. Default 4.
    pub num_heads: i64,
    /// Heads on the way up; -1 (the default): as many as on the way down, the only thing accepted.
    pub num_heads_upsample: i64,
    /// Width of a head, which wins over `num_heads`; -1 (the default): none.
    pub num_head_channels: i64,
    /// Sizes at which there is attention. Default `"16,8"`.
    pub attention_resolutions: String,
    /// Multiples of the width; empty (the default): by the size of the pictures.
    pub channel_mult: String,
    /// Dropout. Default 0.
    pub dropout: f64,
    /// Whether the network is told classes. Default false.
    pub class_cond: bool,
    /// How many; a constant there. Default 1000.
    pub num_classes: usize,
    /// Changes no result. Default false.
    pub use_checkpoint: bool,
    /// Whether the time scales and shifts. Default true.
    pub use_scale_shift_norm: bool,
    /// Whether blocks halve and double. Default false.
    pub resblock_updown: bool,
    /// Half precision; not kept: weights are read as they are and computed with in f32. Default false.
    pub use_fp16: bool,
    /// Whether queries, keys and values are split before heads are. Default false.
    pub use_new_attention_order: bool,
}

impl Default for UnetArgs {
    fn default() -> Self {
        Self {
            image_size: 64,
            num_channels: 128,
            num_res_blocks: 2,
            num_heads: 4,
            num_heads_upsample: -1,
            num_head_channels: -1,
            attention_resolutions: "16,8".into(),
            channel_mult: String::new(),
            dropout: 0.0,
            class_cond: false,
            num_classes: 1000,
            use_checkpoint: false,
            use_scale_shift_norm: true,
            resblock_updown: false,
            use_fp16: false,
            use_new_attention_order: false,
        }
    }
}

/// In which order the rows of a tensor of queries, keys and values lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionOrder {
    /// Head by head, each with its queries, keys and values.
    Legacy,
    /// All queries, all keys, all values.
    New,
}

impl UnetArgs {
    /// In which order attention's rows lie.
    pub fn order(&self) -> AttentionOrder {
        if self.use_new_attention_order { AttentionOrder::New } else { AttentionOrder::Legacy }
    }

    /// The same network here; `learn_sigma` is an argument of its diffusion.
    ///
    /// # Errors
    /// Every argument that is not accepted.
    pub fn config(&self, learn_sigma: bool) -> Result<AdmConfig, Vec<ConfigIssue>> {
        let mut issues = vec![];
        // Twice the multiples: there is a half among those of 512x512.
        let doubled = self.doubled_mults(&mut issues);
        let even = doubled.iter().all(|m| m % 2 == 0);
        let (dim, mults): (usize, Vec<usize>) = match even {
            true => (self.num_channels, doubled.iter().map(|m| m / 2).collect()),
            false => (self.num_channels / 2, doubled),
        };
        let attention = self.attention(mults.len(), &mut issues);
        if ![-1, self.num_heads].contains(&self.num_heads_upsample) {
            let accepted = "-1: as many heads as on the way down";
            issues.push(ConfigIssue::new("num_heads_upsample", self.num_heads_upsample, accepted));
        }
        let positive = |key: &str, value: i64, issues: &mut Vec<ConfigIssue>| match usize::try_from(value) {
            Ok(value) if value > 0 => value,
            _ => {
                issues.push(ConfigIssue::new(key, value, "a whole number, 1 or more"));
                1
            }
        };
        let heads = match self.num_head_channels {
            -1 => Heads::Count { count: positive("num_heads", self.num_heads, &mut issues) },
            width => Heads::Width { width: positive("num_head_channels", width, &mut issues) },
        };
        let config = AdmConfig {
            dim_mults: mults,
            learned_variance: learn_sigma,
            res_blocks: self.num_res_blocks,
            attention: PerStage::shortest(attention),
            heads,
            modulation: if self.use_scale_shift_norm { Modulation::ScaleShift } else { Modulation::Add },
            resample: if self.resblock_updown { Resample::Blocks } else { Resample::Conv },
            time_dim: (!even).then_some(self.num_channels),
            dropout: self.dropout,
            classes: self.class_cond.then_some(self.num_classes),
            null_class: !self.class_cond,
            ..AdmConfig::new(dim)
        };
        if issues.is_empty() {
            issues = config.check();
        }
        if issues.is_empty() { Ok(config) } else { Err(issues) }
    }

    fn doubled_mults(&self, issues: &mut Vec<ConfigIssue>) -> Vec<usize> {
        let given: Option<Vec<usize>> = match (self.channel_mult.trim(), self.image_size) {
            ("", 512) => return vec![1, 2, 2, 4, 4, 8, 8],
            ("", 256) => Some(vec![1, 1, 2, 2, 4, 4]),
            ("", 128) => Some(vec![1, 1, 2, 3, 4]),
            ("", 64) => Some(vec![1, 2, 3, 4]),
            ("", _) => None,
            (list, _) => list.split(',').map(|m| m.trim().parse().ok().filter(|m| (1..=1024).contains(m))).collect(),
        };
        given.map(|list| list.iter().map(|m| 2 * m).collect()).unwrap_or_else(|| {
            let accepted = "whole numbers with commas between them, as in \"1,2,3,4\" (they may be left out for \
                            pictures of 64, 128, 256 and 512)";
            issues.push(ConfigIssue::new("channel_mult", &self.channel_mult, accepted));
            vec![2]
        })
    }

    fn attention(&self, stages: usize, issues: &mut Vec<ConfigIssue>) -> Vec<bool> {
        let sides = self.attention_resolutions.split(',').map(|side| side.trim().parse::<usize>().ok());
        let sides: Option<Vec<usize>> = sides.map(|side| side.filter(|s| *s > 0)).collect();
        let Some(sides) = sides else {
            let accepted = "sizes with commas between them, as in \"32,16,8\"";
            issues.push(ConfigIssue::new("attention_resolutions", &self.attention_resolutions, accepted));
            return vec![false; stages];
        };
        (0..stages).map(|stage| sides.iter().any(|side| self.image_size / side == 1 << stage)).collect()
    }
}

/// A tensor every `UNetModel` has; `out.2` tells it from its classifiers.
const MARKS: [&str; 2] = ["input_blocks.0.0.weight", "out.2.weight"];

/// Whether tensors of these names are those of a `UNetModel`.
pub fn is_unet<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().filter(|name| MARKS.contains(name)).count() == MARKS.len()
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

/// The names of all parts, theirs and ours.
fn parts(config: &AdmConfig) -> Vec<(String, String, Part)> {
    let (mut all, last) = (Vec::new(), config.stages().saturating_sub(1));
    let mut part = |theirs: String, ours: String, kind: Part| all.push((theirs, ours, kind));
    let between = |theirs: String, ours: String, conv: &str| match config.resample {
        Resample::Blocks => (theirs, ours, Part::Block),
        _ => (format!("{theirs}.{conv}"), format!("{ours}.conv"), Part::Plain),
    };
    for (theirs, ours) in [
        ("input_blocks.0.0", "conv_in"),
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb", "class_embedding"),
        ("out.0", "conv_norm_out"),
        ("out.2", "conv_out"),
    ] {
        part(theirs.into(), ours.into(), Part::Plain);
    }
    let mut n = 0;
    for i in 0..=last {
        for j in 0..config.res_blocks {
            n += 1;
            part(format!("input_blocks.{n}.0"), format!("down_blocks.{i}.resnets.{j}"), Part::Block);
            if config.has_attention(i) {
                part(format!("input_blocks.{n}.1"), format!("down_blocks.{i}.attentions.{j}"), Part::Attention);
            }
        }
        if i < last {
            n += 1;
            let (theirs, ours, kind) =
                between(format!("input_blocks.{n}.0"), format!("down_blocks.{i}.downsamplers.0"), "op");
            part(theirs, ours, kind);
        }
    }
    for (theirs, ours, kind) in
        [("0", "resnets.0", Part::Block), ("1", "attentions.0", Part::Attention), ("2", "resnets.1", Part::Block)]
    {
        part(format!("middle_block.{theirs}"), format!("mid_block.{ours}"), kind);
    }
    for (i, stage) in (0..=last).rev().enumerate() {
        for j in 0..=config.res_blocks {
            let n = i * (config.res_blocks + 1) + j;
            let attends = config.has_attention(stage);
            part(format!("output_blocks.{n}.0"), format!("up_blocks.{i}.resnets.{j}"), Part::Block);
            if attends {
                part(format!("output_blocks.{n}.1"), format!("up_blocks.{i}.attentions.{j}"), Part::Attention);
            }
            if j == config.res_blocks && stage > 0 {
                let theirs = format!("output_blocks.{n}.{}", 1 + usize::from(attends));
                let (theirs, ours, kind) = between(theirs, format!("up_blocks.{i}.upsamplers.0"), "conv");
                part(theirs, ours, kind);
            }
        }
    }
    all
}

/// Their layers' names to ours, and which hold queries, keys and values together.
fn layers(config: &AdmConfig) -> BTreeMap<String, (String, bool)> {
    let mut all = BTreeMap::new();
    for (theirs, ours, kind) in parts(config) {
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
    let (layers, mut own, mut unknown) = (layers(config), Vec::new(), Vec::new());
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
    if weight.shape.len() == 3 && name.ends_with("to_out.0") {
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
