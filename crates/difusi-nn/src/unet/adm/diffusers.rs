//! diffusers' `UNet2DModel` (version 0.42.1): its `config.json` as a configuration and back, and the older names of its tensors.

use serde::{Deserialize, Serialize, Serializer};

use super::{AdmConfig, Heads, Modulation, Resample};
use crate::error::ConfigIssue;
use crate::unet::ddp::PerStage;

/// The arguments of `UNet2DModel` under their names and with their defaults. What this network does not do is here to be refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetArgs {
    /// The activation; `silu` (also called `swish`).
    pub act_fn: String,
    /// Whether the middle has attention.
    pub add_attention: bool,
    /// Width of a head; one head of all channels where it is null.
    pub attention_head_dim: Option<usize>,
    /// Groups of the norm in the middle's attention.
    pub attn_norm_num_groups: Option<usize>,
    /// Width of each stage.
    pub block_out_channels: Vec<usize>,
    /// Whether inputs come in [0, 1]; false.
    pub center_input_sample: bool,
    /// null: a table.
    pub class_embed_type: Option<String>,
    /// Blocks on the way down.
    pub down_block_types: Vec<String>,
    /// 1, or 0 for a border below and to the right only.
    pub downsample_padding: usize,
    /// `conv` or `resnet`: what halves after blocks with attention.
    pub downsample_type: String,
    /// Dropout.
    pub dropout: f64,
    /// Whether cosines come first.
    pub flip_sin_to_cos: bool,
    /// See [`AdmConfig::freq_shift`].
    #[serde(serialize_with = "whole")]
    pub freq_shift: f64,
    /// Channels of the image.
    pub in_channels: usize,
    /// Residual blocks on the way down.
    pub layers_per_block: usize,
    /// 1.
    #[serde(serialize_with = "whole")]
    pub mid_block_scale_factor: f64,
    /// `UNetMidBlock2D`.
    pub mid_block_type: Option<String>,
    /// See [`AdmConfig::norm_eps`].
    pub norm_eps: f64,
    /// Groups of every other norm.
    pub norm_num_groups: usize,
    /// Rows of the table of classes.
    pub num_class_embeds: Option<usize>,
    /// null: only for learned times.
    pub num_train_timesteps: Option<usize>,
    /// Channels of the output.
    pub out_channels: usize,
    /// `default` or `scale_shift`.
    pub resnet_time_scale_shift: String,
    /// Side of the pictures, or height and width.
    pub sample_size: Option<SampleSize>,
    /// null, or four times the width of the first stage.
    pub time_embedding_dim: Option<usize>,
    /// `positional`.
    pub time_embedding_type: String,
    /// Blocks on the way up.
    pub up_block_types: Vec<String>,
    /// `conv` or `resnet`: what doubles after blocks with attention.
    pub upsample_type: String,
}

/// A whole number without a point, as the peer writes these.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn whole<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value.fract() == 0.0 && value.abs() < 1e9 {
        true => serializer.serialize_i64(*value as i64),
        false => serializer.serialize_f64(*value),
    }
}

/// A side, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a side, or [height, width]")]
pub enum SampleSize {
    /// A square.
    Side(usize),
    /// `[height, width]`.
    Sides([usize; 2]),
}

impl SampleSize {
    /// `[height, width]`.
    pub const fn sides(self) -> [usize; 2] {
        match self {
            Self::Side(side) => [side, side],
            Self::Sides(sides) => sides,
        }
    }

    /// The shortest way to write these sides.
    pub fn of(sides: [usize; 2]) -> Self {
        if sides[0] == sides[1] { Self::Side(sides[0]) } else { Self::Sides(sides) }
    }
}

impl Default for UnetArgs {
    fn default() -> Self {
        let words = |all: [&str; 4]| all.map(str::to_owned).to_vec();
        Self {
            act_fn: "silu".into(),
            add_attention: true,
            attention_head_dim: Some(8),
            attn_norm_num_groups: None,
            block_out_channels: vec![224, 448, 672, 896],
            center_input_sample: false,
            class_embed_type: None,
            down_block_types: words(["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]),
            downsample_padding: 1,
            downsample_type: "conv".into(),
            dropout: 0.0,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            in_channels: 3,
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            mid_block_type: Some("UNetMidBlock2D".into()),
            norm_eps: 1e-5,
            norm_num_groups: 32,
            num_class_embeds: None,
            num_train_timesteps: None,
            out_channels: 3,
            resnet_time_scale_shift: "default".into(),
            sample_size: None,
            time_embedding_dim: None,
            time_embedding_type: "positional".into(),
            up_block_types: words(["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]),
            upsample_type: "conv".into(),
        }
    }
}

/// What a kind of block says: whether it has attention, and what changes the size after it, where the kind decides that.
const DOWN: [(&str, bool, Option<&str>); 3] = [
    ("DownBlock2D", false, Some("conv")),
    ("AttnDownBlock2D", true, None),
    ("ResnetDownsampleBlock2D", false, Some("resnet")),
];
const UP: [(&str, bool, Option<&str>); 3] = [
    ("UpBlock2D", false, Some("conv")),
    ("AttnUpBlock2D", true, None),
    ("ResnetUpsampleBlock2D", false, Some("resnet")),
];

/// The kinds of blocks that an argument may name.
struct Kinds {
    key: &'static str,
    table: [(&'static str, bool, Option<&'static str>); 3],
}

impl Kinds {
    /// Whether each of the blocks has attention, and what changes the size after it: `free` where its kind does not say.
    fn read(&self, names: &[String], stages: usize, free: &str) -> Result<(Vec<bool>, Vec<String>), ConfigIssue> {
        if names.len() != stages {
            let accepted = format!("{stages} of them, as many as block_out_channels");
            return Err(ConfigIssue::new(self.key, names, accepted));
        }
        let known = || self.table.map(|row| row.0).join(", ");
        let kind = |name: &String| {
            let row = self.table.iter().find(|row| row.0 == name);
            let (_, attends, kind) = row.ok_or_else(|| ConfigIssue::new(self.key, name, known()))?;
            Ok((*attends, kind.unwrap_or(free).to_owned()))
        };
        let kinds: Result<Vec<(bool, String)>, ConfigIssue> = names.iter().map(kind).collect();
        Ok(kinds?.into_iter().unzip())
    }
}

impl UnetArgs {
    /// The same network here. A table of classes is taken to have none that stands for no class.
    ///
    /// # Errors
    /// Every argument that this network does not have, with what it has.
    pub fn config(&self) -> Result<AdmConfig, Vec<ConfigIssue>> {
        let mut issues = self.refused();
        let stages = self.block_out_channels.len();
        let down =
            Kinds { key: "down_block_types", table: DOWN }.read(&self.down_block_types, stages, &self.downsample_type);
        let up = Kinds { key: "up_block_types", table: UP }.read(&self.up_block_types, stages, &self.upsample_type);
        let ((attention, mut between), (mut above, doubling)) = match (down, up) {
            (Ok(down), Ok(up)) => (down, up),
            (down, up) => {
                issues.extend([down.err(), up.err()].into_iter().flatten());
                return Err(issues);
            }
        };
        above.reverse();
        if above != attention {
            let accepted = "attention at the sizes that have it on the way down";
            issues.push(ConfigIssue::new("up_block_types", &self.up_block_types, accepted));
        }
        // Nothing stands after the last blocks of a way.
        between.pop();
        between.extend(doubling.into_iter().take(stages.saturating_sub(1)));
        let resample = match between.iter().all(|kind| *kind == between[0]) {
            true if between.first().is_some_and(|kind| kind == "resnet") => Resample::Blocks,
            true if self.downsample_padding == 0 => Resample::ConvSame,
            true => Resample::Conv,
            false => {
                let accepted = "one kind of sampling, by convolutions or by residual blocks, at all sizes";
                issues.push(ConfigIssue::new("down_block_types", &self.down_block_types, accepted));
                Resample::Conv
            }
        };
        if issues.is_empty() { Ok(self.built(attention, resample)) } else { Err(issues) }
    }

    fn built(&self, attention: Vec<bool>, resample: Resample) -> AdmConfig {
        let widths = &self.block_out_channels;
        let dim = widths.iter().copied().fold(0, gcd);
        let first = widths.first().copied().unwrap_or_default();
        let usual = [self.in_channels, 2 * self.in_channels];
        AdmConfig {
            dim_mults: widths.iter().map(|w| w / dim.max(1)).collect(),
            channels: self.in_channels,
            learned_variance: self.out_channels == 2 * self.in_channels,
            out_dim: (!usual.contains(&self.out_channels)).then_some(self.out_channels),
            res_blocks: self.layers_per_block,
            attention: PerStage::shortest(attention),
            mid_attention: self.add_attention,
            heads: self.attention_head_dim.map_or(Heads::default(), |width| Heads::Width { width }),
            groups: self.norm_num_groups,
            norm_eps: self.norm_eps,
            modulation: match self.resnet_time_scale_shift.as_str() {
                "scale_shift" => Modulation::ScaleShift,
                _ => Modulation::Add,
            },
            resample,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
            time_dim: (first != dim).then_some(first),
            dropout: self.dropout,
            classes: self.num_class_embeds,
            null_class: self.num_class_embeds.is_none(),
            ..AdmConfig::new(dim)
        }
    }

    /// Arguments that have one accepted value, or two.
    fn refused(&self) -> Vec<ConfigIssue> {
        let mut issues = vec![];
        let mut words = |key: &str, value: &str, accepted: &[&str]| {
            if !accepted.contains(&value) {
                issues.push(ConfigIssue::new(key, value, accepted.join(" or ")));
            }
        };
        words("act_fn", &self.act_fn, &["silu", "swish"]);
        words("downsample_type", &self.downsample_type, &["conv", "resnet"]);
        words("upsample_type", &self.upsample_type, &["conv", "resnet"]);
        words("resnet_time_scale_shift", &self.resnet_time_scale_shift, &["default", "scale_shift"]);
        words("time_embedding_type", &self.time_embedding_type, &["positional"]);
        words("mid_block_type", self.mid_block_type.as_deref().unwrap_or("null"), &["UNetMidBlock2D"]);
        words("class_embed_type", self.class_embed_type.as_deref().unwrap_or("null"), &["null"]);
        let mut require = |good: bool, key: &str, value: &dyn std::fmt::Debug, accepted: String| {
            if !good {
                issues.push(ConfigIssue::new(key, value, accepted));
            }
        };
        require(!self.center_input_sample, "center_input_sample", &true, "false".into());
        require(self.downsample_padding <= 1, "downsample_padding", &self.downsample_padding, "0 or 1".into());
        let scale = self.mid_block_scale_factor;
        require(scale == 1.0, "mid_block_scale_factor", &scale, "1".into());
        let told = 4 * self.block_out_channels.first().copied().unwrap_or_default();
        require(
            [None, Some(told)].contains(&self.time_embedding_dim),
            "time_embedding_dim",
            &self.time_embedding_dim,
            format!("null or {told}, four times the first width"),
        );
        // With scale_shift the middle's attention has no norm unless its groups are given.
        let usual = (self.resnet_time_scale_shift != "scale_shift").then_some(self.norm_num_groups);
        let groups = self.attn_norm_num_groups.or(usual);
        require(
            !self.add_attention || groups == Some(self.norm_num_groups),
            "attn_norm_num_groups",
            &groups,
            format!("{}, as norm_num_groups", self.norm_num_groups),
        );
        issues
    }
}

impl AdmConfig {
    /// The arguments of the `UNet2DModel` that is this network.
    ///
    /// # Errors
    /// Every value that it has no arguments for.
    pub fn diffusers(&self) -> Result<UnetArgs, Vec<ConfigIssue>> {
        let (mut issues, widths, stages) = (self.check(), self.widths(), self.stages());
        if self.resample == Resample::Pool {
            let accepted = "conv, conv_same or blocks, which diffusers has";
            issues.push(ConfigIssue::new("resample", "pool", accepted));
        }
        if let Some(tokens) = self.tokens {
            issues.push(ConfigIssue::new("tokens", tokens, "no such key: UNet2DModel is told none"));
        }
        if Some(self.sinusoids()) != widths.first().copied() {
            let accepted = format!("the width of the first stage, {:?}, as in diffusers", widths.first());
            issues.push(ConfigIssue::new("time_dim", self.sinusoids(), accepted));
        }
        let attending: Vec<usize> = (0..stages).filter(|i| self.has_attention(*i)).map(|i| widths[i]).collect();
        let mut attending = attending.into_iter().chain(widths.last().filter(|_| self.mid_attention).copied());
        let head = match self.heads {
            Heads::Count { count: 1 } => None,
            Heads::Width { width } => Some(width),
            Heads::Count { count } => {
                let first = attending.next().unwrap_or(count);
                if attending.any(|width| width != first) {
                    let accepted = "1, or stages with attention of one width: diffusers counts heads by their width";
                    issues.push(ConfigIssue::new("heads.count", count, accepted));
                }
                Some(first / count.max(1))
            }
        };
        if !issues.is_empty() {
            return Err(issues);
        }
        let blocks = self.resample == Resample::Blocks;
        let row = |i: usize| if self.has_attention(i) { 1 } else { 2 * usize::from(blocks) };
        let kind = if blocks { "resnet" } else { "conv" };
        let scaled = self.modulation == Modulation::ScaleShift;
        Ok(UnetArgs {
            add_attention: self.mid_attention,
            attention_head_dim: head,
            attn_norm_num_groups: scaled.then_some(self.groups),
            block_out_channels: widths,
            down_block_types: (0..stages).map(|i| DOWN[row(i)].0.to_owned()).collect(),
            up_block_types: (0..stages).rev().map(|i| UP[row(i)].0.to_owned()).collect(),
            downsample_padding: usize::from(self.resample != Resample::ConvSame),
            downsample_type: kind.into(),
            upsample_type: kind.into(),
            dropout: self.dropout,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
            in_channels: self.channels,
            layers_per_block: self.res_blocks,
            norm_eps: self.norm_eps,
            norm_num_groups: self.groups,
            num_class_embeds: self.class_rows(),
            out_channels: self.output_channels(),
            resnet_time_scale_shift: if scaled { "scale_shift" } else { "default" }.into(),
            ..UnetArgs::default()
        })
    }
}

/// A tensor every `UNet2DModel` has.
const MARKS: [&str; 2] = ["conv_norm_out.weight", "time_embedding.linear_1.weight"];

/// Whether tensors of these names are those of a `UNet2DModel`.
pub fn is_unet<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let found = names.into_iter().filter(|name| MARKS.contains(name)).count();
    found == MARKS.len()
}

/// The network's own name of a tensor: older files call the maps of attention by other names.
pub fn own_name(name: &str) -> String {
    const OLDER: [(&str, &str); 4] =
        [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];
    OLDER.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
