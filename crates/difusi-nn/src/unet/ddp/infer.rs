//! A U-Net's configuration, read off the names and shapes of its tensors.

use std::collections::BTreeMap;
use std::fmt;

use super::config::Stage;
use super::{Downsample, PerStage, UnetConfig};
use crate::error::{ConfigIssue, NnError, WeightIssues};
use crate::layers::TimeFrequencies;
use crate::params::compare;

/// A configuration read off shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// A configuration with exactly these parameters.
    pub config: UnetConfig,
    /// What shapes cannot tell, in words; the configuration holds a guess there.
    pub uncertain: Vec<String>,
}

/// The configuration of a U-Net whose parameters have these names (without prefix) and shapes. Fails, naming what does not
/// fit, where no configuration has exactly these.
pub fn infer(tensors: &[(String, Vec<usize>)]) -> Result<Inferred, NnError> {
    let shapes = Shapes(tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect());
    let inferred = shapes.config().ok_or_else(|| NnError::NotFound(NOT_A_UNET.into()))?;
    let parameters = inferred.config.parameters()?;
    let issues = compare(&parameters, tensors);
    if issues.is_empty() { Ok(inferred) } else { Err(NnError::Weights(Box::new(issues))) }
}

const NOT_A_UNET: &str = "the tensors are not those of a U-Net of denoising-diffusion-pytorch: `init_conv.weight`, \
                          `time_mlp.3.weight`, `final_conv.weight`, `downs.N.2.mem_kv` and `downs.N.3` are expected, \
                          with widths that are multiples of a quarter of `time_mlp.3`'s";

/// Width of an attention head by default.
const USUAL_HEAD: usize = 32;

struct Shapes<'a>(BTreeMap<&'a str, &'a [usize]>);

impl Shapes<'_> {
    /// Axis `axis` of tensor `name`.
    fn axis(&self, name: &str, axis: usize) -> Option<usize> {
        self.0.get(name)?.get(axis).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn config(&self) -> Option<Inferred> {
        let dim = self.axis("time_mlp.3.weight", 0)? / 4;
        let init = self.axis("init_conv.weight", 0)?;
        let mut uncertain = vec!["dropout".to_owned()];
        let stages: Vec<_> = (0..).map_while(|i| self.stage(i, dim)).collect();
        let memory = self.memory(&mut uncertain)?;
        let strided = self.axis("downs.0.3.weight", 3) == Some(4);
        let last = stages.len().checked_sub(1)?;
        let full: Vec<_> = stages.iter().map(|s| s.full_attn).collect();
        let innermost_only = full.iter().enumerate().all(|(i, full)| *full == (i == last));
        let mut config = UnetConfig {
            init_dim: (init != dim).then_some(init),
            dim_mults: stages.iter().map(|s| s.mult).collect(),
            classes: self.axis("classes_emb.weight", 0),
            time: self.time(&mut uncertain),
            attn_memory: memory,
            downsample: if strided { Downsample::Conv } else { Downsample::Unshuffle },
            attn_heads: PerStage::shortest(stages.iter().map(|s| s.heads).collect()),
            attn_dim_head: PerStage::shortest(stages.iter().map(|s| s.dim_head).collect()),
            // `false` for all stages would mean the default
            full_attn: (!innermost_only).then(|| match full.iter().any(|f| *f) {
                true => PerStage::shortest(full),
                false => PerStage::Each(full),
            }),
            ..UnetConfig::new(dim)
        };
        self.channels(&mut config, &mut uncertain)?;
        Some(Inferred { config, uncertain })
    }

    fn stage(&self, index: usize, dim: usize) -> Option<StageShape> {
        let name = |rest: &str| format!("downs.{index}.{rest}");
        let full_attn = self.has(&name("2.to_out.weight"));
        let inner = self.axis(&name("3.1.weight"), 0).or_else(|| self.axis(&name("3.weight"), 0))?;
        let axis = if full_attn { 3 } else { 2 };
        Some(StageShape {
            mult: inner.checked_div(dim).filter(|mult| mult * dim == inner)?,
            full_attn,
            heads: self.axis(&name("2.mem_kv"), 1).or_else(|| Some(self.hidden(index)? / self.head(index)?))?,
            dim_head: self.axis(&name("2.mem_kv"), axis).or_else(|| self.head(index))?,
        })
    }

    /// Width of all heads of a stage together.
    fn hidden(&self, stage: usize) -> Option<usize> {
        Some(self.axis(&format!("downs.{stage}.2.to_qkv.weight"), 0)? / 3)
    }

    /// Width of a head, where no learned pairs show it: the peer's default, or all of it.
    fn head(&self, stage: usize) -> Option<usize> {
        let hidden = self.hidden(stage)?;
        Some(if hidden.is_multiple_of(USUAL_HEAD) { USUAL_HEAD } else { hidden })
    }

    /// Learned pairs of every attention.
    fn memory(&self, uncertain: &mut Vec<String>) -> Option<usize> {
        if let Some(pairs) = self.axis("mid_attn.mem_kv", 2) {
            return Some(pairs);
        }
        uncertain.push(format!("how many heads attention has; {USUAL_HEAD} numbers in each are assumed"));
        self.has("mid_attn.to_qkv.weight").then_some(0)
    }

    fn time(&self, uncertain: &mut Vec<String>) -> TimeFrequencies {
        match self.axis("time_mlp.0.weights", 0) {
            Some(half) => {
                uncertain.push("whether the time's frequencies are learned or random".into());
                TimeFrequencies::Learned { dim: half * 2 }
            }
            None => {
                uncertain.push("the longest wavelength of the time embedding (sinusoidal_pos_emb_theta)".into());
                TimeFrequencies::default()
            }
        }
    }

    /// Channels of the image, from those of the first and the last convolution.
    fn channels(&self, config: &mut UnetConfig, uncertain: &mut Vec<String>) -> Option<()> {
        let (inputs, outputs) = (self.axis("init_conv.weight", 1)?, self.axis("final_conv.weight", 0)?);
        config.channels = inputs;
        match (inputs, outputs) {
            (i, o) if i == 2 * o => (config.channels, config.self_condition) = (o, true),
            (i, o) if o == 2 * i => config.learned_variance = true,
            (i, o) if i != o => config.out_dim = Some(o),
            (i, _) if i % 2 == 0 => {
                uncertain.push(format!(
                    "whether {i} channels are an image's, or half as many with self_condition and learned_variance"
                ));
            }
            _ => {}
        }
        Some(())
    }
}

/// What one stage's tensors say.
struct StageShape {
    mult: usize,
    full_attn: bool,
    heads: usize,
    dim_head: usize,
}

/// How a configuration and tensors differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Parameter by parameter.
    pub issues: WeightIssues,
    /// Key by key, where the tensors are those of another configuration of this family; otherwise empty.
    pub keys: Vec<ConfigIssue>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return self.issues.fmt(f);
        }
        self.keys.iter().try_for_each(|issue| write!(f, "\n  {issue}"))
    }
}

impl UnetConfig {
    /// What keeps tensors of these names and shapes from being this configuration's parameters; `None` if they are. For the
    /// error when a file and its `--config` disagree.
    pub fn disagreement(&self, tensors: &[(String, Vec<usize>)]) -> Result<Option<Disagreement>, NnError> {
        let issues = compare(&self.parameters()?, tensors);
        if issues.is_empty() {
            return Ok(None);
        }
        let keys = infer(tensors).map_or(vec![], |found| self.differences(&found.config));
        Ok(Some(Disagreement { issues, keys }))
    }

    /// The keys that differ from those of `found`, where they lead to other parameters.
    fn differences(&self, found: &Self) -> Vec<ConfigIssue> {
        let mut keys = vec![];
        let mut differ = |key: &str, ours: &dyn fmt::Debug, theirs: &dyn fmt::Debug| {
            let (value, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
            if value != theirs {
                keys.push(ConfigIssue {
                    key: key.into(),
                    value,
                    accepted: format!("{theirs}, as the tensors have it"),
                });
            }
        };
        differ("dim", &self.dim, &found.dim);
        differ("init_dim", &self.init_width(), &found.init_width());
        differ("dim_mults", &self.dim_mults, &found.dim_mults);
        if self.input_channels() != found.input_channels() {
            differ("channels", &self.channels, &found.channels);
            differ("self_condition", &self.self_condition, &found.self_condition);
        }
        differ("out_dim", &self.output_channels(), &found.output_channels());
        differ("time", &self.frequencies(), &found.frequencies());
        differ("classes", &self.classes, &found.classes);
        differ("attn_memory", &self.attn_memory, &found.attn_memory);
        differ("downsample", &self.downsample, &found.downsample);
        if self.stages() == found.stages() {
            let lists = |config: &Self, value: fn(&Stage) -> usize| -> Vec<usize> {
                config.stage_list().iter().map(value).collect()
            };
            differ("attn_heads", &lists(self, |s| s.heads), &lists(found, |s| s.heads));
            differ("attn_dim_head", &lists(self, |s| s.dim_head), &lists(found, |s| s.dim_head));
            let full = |config: &Self| config.stage_list().iter().map(|s| s.full_attn).collect::<Vec<_>>();
            differ("full_attn", &full(self), &full(found));
        }
        keys
    }

    /// What shapes show of the time embedding.
    fn frequencies(&self) -> String {
        match self.time {
            TimeFrequencies::Sinusoidal { .. } => "sinusoidal".into(),
            TimeFrequencies::Learned { dim } | TimeFrequencies::RandomFourier { dim } => {
                format!("learned or random of dim {dim}")
            }
        }
    }
}
