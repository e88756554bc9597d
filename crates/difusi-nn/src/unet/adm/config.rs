//! The configuration of the network: what may stand in it, and what follows from it.

use difusi_core::ImageSize;
use difusi_ops::Groups;
use serde::{Deserialize, Serialize};

use crate::error::ConfigIssue;
use crate::unet::ddp::PerStage;

/// The U-Net of Ho et al. (arXiv:2006.11239) and of Dhariwal & Nichol (arXiv:2105.05233, "ADM"). The defaults are a plain one of the former's
/// kind without attention but in the middle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmConfig {
    /// Width; stage i is `dim * dim_mults[i]` wide. 1 to 65536. No default.
    pub dim: usize,
    /// One multiple of `dim` per stage, 1 to 16 stages; between two stages the image is halved. Default `[1, 2, 2, 2]`.
    #[serde(default = "defaults::dim_mults")]
    pub dim_mults: Vec<usize>,
    /// Channels of the image. Default: the data's in a run, 3 in the library.
    #[serde(default = "defaults::channels")]
    pub channels: usize,
    /// Channels of the output. Default absent: `channels`, or twice that with `learned_variance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_dim: Option<usize>,
    /// Whether the output also holds a variance. Default false.
    #[serde(default)]
    pub learned_variance: bool,
    /// Residual blocks of a stage on the way down, 1 to 64; one more on the way up. Default 2.
    #[serde(default = "defaults::res_blocks")]
    pub res_blocks: usize,
    /// Which stages have attention after each of their blocks: true, false, or a list of one for each stage. Stage i sees the image halved
    /// i times: attention at 16x16 in pictures of 32x32 is `[false, true, false, false]`. Default false.
    #[serde(default = "defaults::attention")]
    pub attention: PerStage<bool>,
    /// Whether the middle, too, has attention. Default true.
    #[serde(default = "defaults::yes")]
    pub mid_attention: bool,
    /// Heads of each attention: `{ kind = "count", count = 1 }`, or as many as there are heads of a width in the channels,
    /// `{ kind = "width", width = 64 }`. They must divide the stage's channels. Default `{ kind = "count", count = 1 }`.
    #[serde(default)]
    pub heads: Heads,
    /// Groups of every group norm; they must divide every stage's width. Default 32.
    #[serde(default = "defaults::groups")]
    pub groups: usize,
    /// What group norms add to the variance, above 0. Ho et al. have 1e-6. Default 1e-5.
    #[serde(default = "defaults::norm_eps")]
    pub norm_eps: f64,
    /// What a block does with the time (and the class): `"add"` a number to each channel before the second norm, or `"scale_shift"` each
    /// channel after it. Default add.
    #[serde(default)]
    pub modulation: Modulation,
    /// How the image is halved and doubled: `"conv"` (a 3x3 convolution of stride 2 with a border on every side; equal pixels and a 3x3
    /// convolution), `"conv_same"` (the border below and to the right only, as Ho et al. have it), `"blocks"` (residual blocks
    /// with means and equal pixels inside, as in ADM) or `"pool"` (means of 2x2 pixels, and equal pixels, alone). Default conv.
    #[serde(default)]
    pub resample: Resample,
    /// Whether the time's cosines come before its sines. Ho et al. have false. Default true.
    #[serde(default = "defaults::yes")]
    pub flip_sin_to_cos: bool,
    /// The time's frequencies are `10000^(-i / (half - freq_shift))`; 0 or more and below half. Ho et al. have 1. Default 0.
    #[serde(default)]
    pub freq_shift: f64,
    /// Sines and cosines of the time, even, 4 to 65536; the vector made of them is four times as wide. Default absent: `dim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_dim: Option<usize>,
    /// Probability in `[0, 1)` of dropping a value in each residual block, in training. Default 0.
    #[serde(default)]
    pub dropout: f64,
    /// Number of classes, where the network is told the class of each image; 1 to 65536. Default none; with
    /// `diffusion.cond = "label"` it must be there, and be the data's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Whether there is one more class, the last, that stands for none: guidance without a classifier needs it, and dropped conditions in
    /// training. The peers' class-conditional networks have none. Default true.
    #[serde(default = "defaults::yes")]
    pub null_class: bool,
    /// Width of a token, where the network is told a sequence of them, as of a text: every attention is then followed by one to the tokens;
    /// 1 to 65536. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
}

/// How many heads an attention has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Heads {
    /// So many everywhere.
    Count {
        /// 1 or more.
        count: usize,
    },
    /// As many as the channels hold of this width.
    Width {
        /// 1 or more.
        width: usize,
    },
}

impl Default for Heads {
    fn default() -> Self {
        Self::Count { count: 1 }
    }
}

impl Heads {
    /// Heads in `channels` channels; `None` where they do not divide them.
    pub fn of(self, channels: usize) -> Option<usize> {
        match self {
            Self::Count { count } => (count > 0 && channels.is_multiple_of(count)).then_some(count),
            Self::Width { width } => (width > 0 && channels.is_multiple_of(width)).then(|| channels / width),
        }
    }
}

/// What a residual block does with the vector it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modulation {
    /// A number is added to each channel, before the second norm.
    #[default]
    Add,
    /// Each channel is scaled and shifted, after the second norm (adaptive group normalisation, arXiv:2105.05233).
    ScaleShift,
}

/// How the image is halved and doubled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// A 3x3 convolution of stride 2 with a border on every side; equal pixels, then a 3x3 convolution.
    #[default]
    Conv,
    /// The same with a border below and to the right only.
    ConvSame,
    /// Residual blocks that do it inside, by means and by equal pixels.
    Blocks,
    /// Means of 2x2 pixels; equal pixels.
    Pool,
}

/// Defaults.
mod defaults {
    use super::PerStage;

    pub(super) fn dim_mults() -> Vec<usize> {
        vec![1, 2, 2, 2]
    }

    pub(super) fn channels() -> usize {
        3
    }

    pub(super) fn res_blocks() -> usize {
        2
    }

    pub(super) fn attention() -> PerStage<bool> {
        PerStage::All(false)
    }

    pub(super) fn groups() -> usize {
        32
    }

    pub(super) fn norm_eps() -> f64 {
        1e-5
    }

    pub(super) fn yes() -> bool {
        true
    }
}

impl AdmConfig {
    /// Width `dim`, everything else at its default.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            dim_mults: defaults::dim_mults(),
            channels: defaults::channels(),
            out_dim: None,
            learned_variance: false,
            res_blocks: defaults::res_blocks(),
            attention: defaults::attention(),
            mid_attention: true,
            heads: Heads::default(),
            groups: defaults::groups(),
            norm_eps: defaults::norm_eps(),
            modulation: Modulation::default(),
            resample: Resample::default(),
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            time_dim: None,
            dropout: 0.0,
            classes: None,
            null_class: true,
            tokens: None,
        }
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.dim_mults.len()
    }

    /// Width of each stage, outermost first.
    pub fn widths(&self) -> Vec<usize> {
        self.dim_mults.iter().map(|mult| self.dim.saturating_mul(*mult)).collect()
    }

    /// What height and width must be divisible by: `2^(stages - 1)`.
    pub fn downsample_factor(&self) -> usize {
        1 << self.stages().saturating_sub(1).min(usize::BITS as usize - 1)
    }

    /// Channels the network returns.
    pub fn output_channels(&self) -> usize {
        self.out_dim.unwrap_or(self.channels * if self.learned_variance { 2 } else { 1 })
    }

    /// Whether `stage` has attention.
    pub fn has_attention(&self, stage: usize) -> bool {
        self.attention.get(stage).unwrap_or_default()
    }

    /// Rows of the table of classes.
    pub(super) fn class_rows(&self) -> Option<usize> {
        self.classes.map(|count| count + usize::from(self.null_class))
    }

    /// Sines and cosines of the time.
    pub(super) fn sinusoids(&self) -> usize {
        self.time_dim.unwrap_or(self.dim)
    }

    /// Width of what blocks are told.
    pub(super) fn told(&self) -> usize {
        4 * self.sinusoids()
    }

    pub(super) fn norm(&self) -> Groups {
        Groups { count: self.groups, epsilon: self.norm_eps }
    }

    /// Everything in this configuration that is not accepted; empty if it is usable.
    pub fn check(&self) -> Vec<ConfigIssue> {
        let mut issues = self.check_widths();
        issues.extend(self.check_stages());
        issues.extend(self.check_heads());
        issues.extend(self.check_time());
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite()) {
            issues.push(ConfigIssue::new("norm_eps", self.norm_eps, "a number above 0"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            issues.push(ConfigIssue::new("dropout", self.dropout, "a probability, 0 or more and below 1"));
        }
        issues
    }

    fn check_widths(&self) -> Vec<ConfigIssue> {
        let widths = [
            ("dim", Some(self.dim)),
            ("out_dim", self.out_dim),
            ("channels", Some(self.channels)),
            ("classes", self.classes),
            ("tokens", self.tokens),
        ];
        let bad = widths.into_iter().filter_map(|(key, width)| Some((key, width.filter(|w| !WIDTHS.contains(w))?)));
        bad.map(|(key, width)| ConfigIssue::new(key, width, "a whole number from 1 to 65536")).collect()
    }

    fn check_stages(&self) -> Vec<ConfigIssue> {
        let (mut issues, stages) = (vec![], self.stages());
        if !(1..=MAX_STAGES).contains(&stages) || self.dim_mults.iter().any(|m| !(1..=1024).contains(m)) {
            let accepted = "a list of 1 to 16 whole numbers, each from 1 to 1024";
            issues.push(ConfigIssue::new("dim_mults", &self.dim_mults, accepted));
        }
        if !(1..=64).contains(&self.res_blocks) {
            issues.push(ConfigIssue::new("res_blocks", self.res_blocks, "a whole number from 1 to 64"));
        }
        match &self.attention {
            PerStage::Each(values) if values.len() != stages => {
                let accepted = format!("true, false, or a list of {stages} of them, as long as `dim_mults`");
                issues.push(ConfigIssue::new("attention", values, accepted));
            }
            _ => {}
        }
        let widths = self.widths();
        if self.groups == 0 || widths.iter().any(|w| !w.is_multiple_of(self.groups)) {
            let accepted = format!("a whole number that divides the width of every stage, {widths:?}");
            issues.push(ConfigIssue::new("groups", self.groups, accepted));
        }
        issues
    }

    fn check_heads(&self) -> Option<ConfigIssue> {
        let widths = self.widths();
        let attending = widths.iter().enumerate().filter(|(i, _)| self.has_attention(*i)).map(|(_, w)| *w);
        let middle = widths.last().filter(|_| self.mid_attention).copied();
        if let (Some(tokens), None) = (self.tokens, attending.clone().chain(middle).next()) {
            let accepted =
                "no such key without attention in any stage or in the middle, which is where tokens are heard";
            return Some(ConfigIssue::new("tokens", tokens, accepted));
        }
        let bad = attending.chain(middle).find(|width| self.heads.of(*width).is_none())?;
        let (key, value) = match self.heads {
            Heads::Count { count } => ("heads.count", count),
            Heads::Width { width } => ("heads.width", width),
        };
        Some(ConfigIssue::new(key, value, format!("a whole number that divides {bad}, the channels of a stage")))
    }

    fn check_time(&self) -> Vec<ConfigIssue> {
        let (mut issues, width) = (vec![], self.sinusoids());
        let key = if self.time_dim.is_some() { "time_dim" } else { "dim" };
        if !WIDTHS.contains(&width) && key == "time_dim" || width % 2 == 1 || (1..4).contains(&width) {
            let accepted = "an even number from 4 to 65536, as many as there are sines and cosines of the time";
            issues.push(ConfigIssue::new(key, width, accepted));
        }
        if !(self.freq_shift >= 0.0 && self.freq_shift < (width / 2).max(1) as f64) {
            issues.push(ConfigIssue::new("freq_shift", self.freq_shift, "a number, 0 or more and below half of `dim`"));
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
