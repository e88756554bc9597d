//! The configuration of the U-Net: what may stand in it, and what follows from it.

use difusi_core::ImageSize;
use serde::{Deserialize, Serialize};

use crate::error::ConfigIssue;
use crate::layers::{AttentionSpec, TimeFrequencies};

/// One value for all stages of a network, or one for each, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected one value, or a list of one value for each stage")]
pub enum PerStage<T> {
    /// The same everywhere.
    All(T),
    /// As many as there are stages.
    Each(Vec<T>),
}

impl<T: Copy + PartialEq> PerStage<T> {
    /// The value of `stage`; `None` past the end of a list.
    pub fn get(&self, stage: usize) -> Option<T> {
        match self {
            Self::All(value) => Some(*value),
            Self::Each(values) => values.get(stage).copied(),
        }
    }

    /// The shortest way to write `values`.
    pub(crate) fn shortest(values: Vec<T>) -> Self {
        match values.first() {
            Some(&first) if values.iter().all(|v| *v == first) => Self::All(first),
            _ => Self::Each(values),
        }
    }
}

/// The U-Net of denoising-diffusion-pytorch 2.3.4. Keys and defaults are its constructor's, except that `time` stands for
/// its four arguments on the time embedding, and that `flash_attn`, which changes no result, is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetConfig {
    /// Width; stage i is `dim * dim_mults[i]` wide. 1 to 65536; even, 4 or more, with sinusoidal time. No default.
    pub dim: usize,
    /// Width after the first convolution, 1 to 65536. Default absent: `dim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_dim: Option<usize>,
    /// Channels of the output. Default absent: `channels`, or twice that with `learned_variance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_dim: Option<usize>,
    /// One multiple of `dim` per stage, 1 to 16 stages; between two stages the image is halved. Default `[1, 2, 4, 8]`.
    #[serde(default = "defaults::dim_mults")]
    pub dim_mults: Vec<usize>,
    /// Channels of the image. Default: the data's in a run, 3 in the library.
    #[serde(default = "defaults::channels")]
    pub channels: usize,
    /// Whether the network also receives its previous estimate of x_0. Default false.
    #[serde(default)]
    pub self_condition: bool,
    /// Whether the output also holds a variance. Default false.
    #[serde(default)]
    pub learned_variance: bool,
    /// Sines and cosines of `2 pi v / 2^(8 - n)`, v the byte that x stands for, which the first convolution also sees, one n from 0 to
    /// 12 each, in ascending order; 1 to 8 help likelihoods (variational diffusion models, arXiv:2107.00630, appendix C). Not the
    /// peer's. Default `[]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fourier: Vec<u32>,
    /// Number of classes, where the network is told the class of each image; 1 to 65536. Default none; with
    /// `diffusion.cond = "label"` it must be there, and be the data's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// How the time is embedded; see `model.time`. Default `{ kind = "sinusoidal", theta = 10000.0 }`.
    #[serde(default)]
    pub time: TimeFrequencies,
    /// Probability in `[0, 1)` of dropping a value in each residual block, in training. Default 0.
    #[serde(default)]
    pub dropout: f64,
    /// Width of an attention head: one number, or one per stage. Default 32.
    #[serde(default = "defaults::attn_dim_head")]
    pub attn_dim_head: PerStage<usize>,
    /// Attention heads: one number, or one per stage. Default 4.
    #[serde(default = "defaults::attn_heads")]
    pub attn_heads: PerStage<usize>,
    /// Learned key/value pairs beside the pixels' own in every attention, 0 to 1024; the peer's class-conditional U-Net has none.
    /// Default 4.
    #[serde(default = "defaults::attn_memory", skip_serializing_if = "defaults::is_usual_memory")]
    pub attn_memory: usize,
    /// How the image is halved: `"unshuffle"` (2x2 blocks to channels, then a 1x1 convolution) or `"conv"` (a 4x4 convolution of
    /// stride 2, as in the peer's class-conditional U-Net). Default unshuffle.
    #[serde(default, skip_serializing_if = "Downsample::is_default")]
    pub downsample: Downsample,
    /// Which stages have softmax attention; the others have linear attention. Absent or `false`: only the innermost one (a
    /// list of `false` turns it off there too). The middle always has softmax attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_attn: Option<PerStage<bool>>,
}

/// How the image is halved between two stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Downsample {
    /// 2x2 blocks to channels, then a 1x1 convolution.
    #[default]
    Unshuffle,
    /// A 4x4 convolution of stride 2.
    Conv,
}

impl Downsample {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_default(&self) -> bool {
        *self == Self::Unshuffle
    }
}

/// Defaults of the peer's constructor.
pub(super) mod defaults {
    use super::PerStage;

    pub(in super::super) fn dim_mults() -> Vec<usize> {
        vec![1, 2, 4, 8]
    }

    pub(in super::super) fn channels() -> usize {
        3
    }

    pub(in super::super) fn attn_dim_head() -> PerStage<usize> {
        PerStage::All(32)
    }

    pub(in super::super) fn attn_heads() -> PerStage<usize> {
        PerStage::All(4)
    }

    pub(in super::super) fn attn_memory() -> usize {
        4
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in super::super) fn is_usual_memory(value: &usize) -> bool {
        *value == attn_memory()
    }
}

/// One stage of the network, as its configuration describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// Channels on its outer side.
    pub(super) outer: usize,
    /// Channels on its inner side.
    pub(super) inner: usize,
    /// Whether attention is softmax attention.
    pub(super) full_attn: bool,
    /// Heads.
    pub(super) heads: usize,
    /// Width of a head.
    pub(super) dim_head: usize,
    /// Learned key/value pairs.
    pub(super) memory: usize,
    /// Whether no further stage is inside this one.
    pub(super) innermost: bool,
}

impl Stage {
    pub(super) fn attention(&self, channels: usize) -> AttentionSpec {
        AttentionSpec { channels, heads: self.heads, dim_head: self.dim_head, memory: self.memory }
    }
}

impl UnetConfig {
    /// Width `dim`, everything else at its default.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            init_dim: None,
            out_dim: None,
            dim_mults: defaults::dim_mults(),
            channels: defaults::channels(),
            self_condition: false,
            learned_variance: false,
            fourier: Vec::new(),
            classes: None,
            time: TimeFrequencies::default(),
            dropout: 0.0,
            attn_dim_head: defaults::attn_dim_head(),
            attn_heads: defaults::attn_heads(),
            attn_memory: defaults::attn_memory(),
            downsample: Downsample::default(),
            full_attn: None,
        }
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.dim_mults.len()
    }

    /// What height and width must be divisible by: `2^(stages - 1)`.
    pub fn downsample_factor(&self) -> usize {
        1 << self.stages().saturating_sub(1).min(usize::BITS as usize - 1)
    }

    /// Channels the first convolution takes.
    pub fn input_channels(&self) -> usize {
        let features = 2 * self.fourier.len();
        self.channels * (1 + features + usize::from(self.self_condition))
    }

    /// Channels the network returns.
    pub fn output_channels(&self) -> usize {
        self.out_dim.unwrap_or(self.channels * if self.learned_variance { 2 } else { 1 })
    }

    /// Channels after the first convolution.
    pub(super) fn init_width(&self) -> usize {
        self.init_dim.unwrap_or(self.dim)
    }

    /// Width of the time vector.
    pub(super) fn time_width(&self) -> usize {
        self.dim * 4
    }

    /// Width of what the blocks are told: the time's vector, and the class's.
    pub(super) fn block_time_width(&self) -> usize {
        self.time_width() * if self.classes.is_some() { 2 } else { 1 }
    }

    /// The stages, outermost first.
    pub(super) fn stage_list(&self) -> Vec<Stage> {
        let last = self.stages().saturating_sub(1);
        let mut outer = self.init_width();
        let stage = |(index, mult): (usize, &usize)| {
            let inner = self.dim * mult;
            Stage {
                outer: std::mem::replace(&mut outer, inner),
                inner,
                full_attn: self.has_full_attn(index),
                heads: self.attn_heads.get(index).unwrap_or_default(),
                dim_head: self.attn_dim_head.get(index).unwrap_or_default(),
                memory: self.attn_memory,
                innermost: index == last,
            }
        };
        self.dim_mults.iter().enumerate().map(stage).collect()
    }

    fn has_full_attn(&self, stage: usize) -> bool {
        let innermost_only = stage + 1 == self.stages();
        match &self.full_attn {
            None | Some(PerStage::All(false)) => innermost_only,
            Some(PerStage::Each(list)) if list.is_empty() => innermost_only,
            Some(given) => given.get(stage).unwrap_or_default(),
        }
    }

    /// Everything in this configuration that is not accepted; empty if it is usable.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = self.check_widths();
        issues.extend(self.check_stages());
        issues.extend(self.check_time());
        if self.fourier.iter().any(|n| *n > 12) || self.fourier.windows(2).any(|w| w[0] >= w[1]) {
            issues.push(ConfigIssue::new("fourier", &self.fourier, "a list of whole numbers from 0 to 12, ascending"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            issues.push(ConfigIssue::new("dropout", self.dropout, "a probability, 0 or more and below 1"));
        }
        issues
    }

    fn check_widths(&self) -> Vec<ConfigIssue> {
        let widths = [
            ("dim", Some(self.dim)),
            ("init_dim", self.init_dim),
            ("out_dim", self.out_dim),
            ("channels", Some(self.channels)),
            ("classes", self.classes),
        ];
        let bad = widths.into_iter().filter_map(|(key, width)| Some((key, width.filter(|w| !WIDTHS.contains(w))?)));
        bad.map(|(key, width)| ConfigIssue::new(key, width, "a whole number from 1 to 65536")).collect()
    }

    fn check_stages(&self) -> Vec<ConfigIssue> {
        let mut issues = vec![];
        let stages = self.stages();
        if !(1..=MAX_STAGES).contains(&stages) || self.dim_mults.iter().any(|m| !(1..=1024).contains(m)) {
            let accepted = "a list of 1 to 16 whole numbers, each from 1 to 1024";
            issues.push(ConfigIssue::new("dim_mults", &self.dim_mults, accepted));
        }
        for (key, values) in [("attn_dim_head", &self.attn_dim_head), ("attn_heads", &self.attn_heads)] {
            let ok = match values {
                PerStage::All(value) => WIDTHS.contains(value),
                PerStage::Each(list) => list.len() == stages && list.iter().all(|v| WIDTHS.contains(v)),
            };
            if !ok {
                let accepted =
                    format!("a whole number, 1 or more, or a list of {stages} of them, as long as `dim_mults`");
                issues.push(ConfigIssue::new(key, Shown(values), accepted));
            }
        }
        if self.attn_memory > 1024 {
            issues.push(ConfigIssue::new("attn_memory", self.attn_memory, "a whole number from 0 to 1024"));
        }
        match &self.full_attn {
            Some(list @ PerStage::Each(values)) if !values.is_empty() && values.len() != stages => {
                let accepted = format!("true, false, or a list of {stages} of them, as long as `dim_mults`");
                issues.push(ConfigIssue::new("full_attn", Shown(list), accepted));
            }
            _ => {}
        }
        issues
    }

    fn check_time(&self) -> Vec<ConfigIssue> {
        let mut issues = vec![];
        match self.time {
            TimeFrequencies::Sinusoidal { theta } => {
                if !(theta.is_finite() && theta > 0.0) {
                    issues.push(ConfigIssue::new("time.theta", theta, "a number above 0"));
                }
                if WIDTHS.contains(&self.dim) && (self.dim < 4 || self.dim % 2 == 1) {
                    issues.push(ConfigIssue::new("dim", self.dim, "an even number, 4 or more, with sinusoidal time"));
                }
            }
            TimeFrequencies::Learned { dim } | TimeFrequencies::RandomFourier { dim } => {
                if !WIDTHS.contains(&dim) || dim % 2 == 1 {
                    issues.push(ConfigIssue::new("time.dim", dim, "an even number, 2 or more"));
                }
            }
        }
        issues
    }

    /// Whether the network takes images of this size; `key` is what the user calls it.
    pub fn check_size(&self, key: &str, size: ImageSize) -> Option<ConfigIssue> {
        crate::unet::check_size(key, size, self.stages())
    }
}

const WIDTHS: std::ops::RangeInclusive<usize> = 1..=65_536;
const MAX_STAGES: usize = 16;

/// Writes a value per stage as the user does.
struct Shown<'a, T>(&'a PerStage<T>);

impl<T: std::fmt::Debug> std::fmt::Debug for Shown<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            PerStage::All(value) => value.fmt(f),
            PerStage::Each(values) => values.fmt(f),
        }
    }
}
