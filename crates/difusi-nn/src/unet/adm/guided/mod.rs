//! OpenAI's guided-diffusion: the arguments that its scripts make a `UNetModel` and its classifiers from, and their tensors under our
//! names.

mod classifier;
mod weights;

use serde::{Deserialize, Serialize};

use super::{AdmConfig, Heads, Modulation, Resample};
use crate::error::ConfigIssue;
use crate::unet::ddp::PerStage;

pub use classifier::ClassifierArgs;
pub use weights::{classifier_weights, is_classifier, is_unet, own_weights};

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
        attending(("attention_resolutions", &self.attention_resolutions), self.image_size, stages, issues)
    }
}

/// Whether each stage has attention, by the sizes in a list.
fn attending((key, list): (&str, &str), image_size: usize, stages: usize, issues: &mut Vec<ConfigIssue>) -> Vec<bool> {
    let sides = list.split(',').map(|side| side.trim().parse::<usize>().ok());
    let sides: Option<Vec<usize>> = sides.map(|side| side.filter(|s| *s > 0)).collect();
    let Some(sides) = sides else {
        issues.push(ConfigIssue::new(key, list, "sizes with commas between them, as in \"32,16,8\""));
        return vec![false; stages];
    };
    (0..stages).map(|stage| sides.iter().any(|side| image_size / side == 1 << stage)).collect()
}
