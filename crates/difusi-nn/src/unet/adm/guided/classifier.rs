//! The arguments of its classifiers.

use serde::{Deserialize, Serialize};

use super::{AttentionOrder, attending};
use crate::classifier::ClassifierConfig;
use crate::error::ConfigIssue;
use crate::unet::ddp::PerStage;

/// Width of a head, a constant there.
const HEAD: usize = 64;

/// The arguments of its classifiers, under its names and with its scripts' defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierArgs {
    /// Side of the pictures: 64, 128 or 256. Default 64.
    pub image_size: usize,
    /// How many classes; a constant there. Default 1000.
    pub num_classes: usize,
    /// Half precision; not kept: weights are read as they are and computed with in f32. Default false.
    pub classifier_use_fp16: bool,
    /// Width. Default 128.
    pub classifier_width: usize,
    /// Residual blocks. Default 2.
    pub classifier_depth: usize,
    /// Sizes at which there is attention. Default `"32,16,8"`.
    pub classifier_attention_resolutions: String,
    /// Whether the time scales and shifts, the only thing accepted. Default true.
    pub classifier_use_scale_shift_norm: bool,
    /// Whether blocks halve, the only thing accepted. Default true.
    pub classifier_resblock_updown: bool,
    /// What pools: `attention`, the only thing accepted. Default that.
    pub classifier_pool: String,
}

impl Default for ClassifierArgs {
    fn default() -> Self {
        Self {
            image_size: 64,
            num_classes: 1000,
            classifier_use_fp16: false,
            classifier_width: 128,
            classifier_depth: 2,
            classifier_attention_resolutions: "32,16,8".into(),
            classifier_use_scale_shift_norm: true,
            classifier_resblock_updown: true,
            classifier_pool: "attention".into(),
        }
    }
}

impl ClassifierArgs {
    /// In which order attention's rows lie: always as in older models.
    pub fn order(&self) -> AttentionOrder {
        AttentionOrder::Legacy
    }

    /// The same network here.
    ///
    /// # Errors
    /// Every argument that is not accepted.
    pub fn config(&self) -> Result<ClassifierConfig, Vec<ConfigIssue>> {
        let mut issues = vec![];
        let dim_mults = match self.image_size {
            64 => vec![1, 2, 3, 4],
            128 => vec![1, 1, 2, 3, 4],
            256 => vec![1, 1, 2, 2, 4, 4],
            other => {
                issues.push(ConfigIssue::new("image_size", other, "64, 128 or 256"));
                vec![1]
            }
        };
        for (key, value) in [
            ("classifier_use_scale_shift_norm", self.classifier_use_scale_shift_norm),
            ("classifier_resblock_updown", self.classifier_resblock_updown),
        ] {
            if !value {
                issues.push(ConfigIssue::new(key, value, "true"));
            }
        }
        if self.classifier_pool != "attention" {
            issues.push(ConfigIssue::new("classifier_pool", &self.classifier_pool, "attention"));
        }
        let list = ("classifier_attention_resolutions", self.classifier_attention_resolutions.as_str());
        let attention = attending(list, self.image_size, dim_mults.len(), &mut issues);
        let config = ClassifierConfig {
            dim: self.classifier_width,
            dim_mults,
            channels: 3,
            noisy: true,
            res_blocks: self.classifier_depth,
            head_width: HEAD,
            attention: Some(PerStage::shortest(attention)),
            ..ClassifierConfig::new(self.num_classes)
        };
        if issues.is_empty() {
            issues = config.check();
        }
        if issues.is_empty() { Ok(config) } else { Err(issues) }
    }
}
