//! What a configuration comes to: see [`crate::unet::describe`].

use burn::tensor::Device;
use difusi_core::{ImageSize, Noise};

use super::UnetConfig;
use super::config::Stage;
use crate::error::NnError;
use crate::params::{ParamInfo, named_parameters};
use crate::unet::describe::{Cost, LayerShape, Walk};

impl UnetConfig {
    /// Names and shapes of the parameters, in order. Fails where [`UnetConfig::check`] finds anything.
    pub fn parameters(&self) -> Result<Vec<ParamInfo>, NnError> {
        Ok(named_parameters(&self.init(Noise::new(0), &Device::flex())?)) // nothing is drawn
    }

    /// The layers in the order they run, for images of `size`. Fails where [`UnetConfig::check`] or
    /// [`UnetConfig::check_size`] finds anything.
    pub fn describe(&self, size: ImageSize) -> Result<Vec<LayerShape>, NnError> {
        let parameters = self.parameters()?;
        if let Some(issue) = self.check_size("size", size) {
            return Err(NnError::Config(vec![issue]));
        }
        let mut walk = Walk { parameters, size, layers: vec![] };
        self.walk(&mut walk);
        Ok(walk.layers)
    }

    /// Parameters and activation memory for images of `size`; fails as [`UnetConfig::describe`] does.
    pub fn cost(&self, size: ImageSize) -> Result<Cost, NnError> {
        let layers = self.describe(size)?;
        let total = |f: fn(&LayerShape) -> usize| layers.iter().map(f).sum::<usize>();
        let is_skip = |l: &&LayerShape| {
            l.name == "init_conv"
                || (l.name.starts_with("downs.") && (l.name.ends_with(".0") || l.name.ends_with(".2")))
        };
        let skips: usize = layers.iter().filter(is_skip).map(|l| l.output.iter().product::<usize>()).sum();
        let largest = layers.iter().map(|l| l.kept).max().unwrap_or(0);
        Ok(Cost {
            parameters: total(|l| l.parameters),
            training_bytes: 4 * total(|l| l.kept),
            sampling_bytes: 4 * (skips + largest),
            forward_flops: layers.iter().map(|l| l.flops).sum(),
        })
    }

    fn walk(&self, walk: &mut Walk) {
        let (stages, width, time) = (self.stage_list(), self.init_width(), self.time_width());
        walk.plain("init_conv", width);
        walk.layers.push(LayerShape {
            name: "time_mlp".into(),
            output: vec![time],
            parameters: walk.count("time_mlp"),
            kept: 4 * time,
            flops: walk.products("time_mlp"),
        });
        if self.classes.is_some() {
            let parameters = self.dim + walk.count("classes_emb") + walk.count("classes_mlp");
            let (output, flops) = (vec![time], walk.products("classes_mlp"));
            walk.layers.push(LayerShape { name: "classes".into(), output, parameters, kept: 4 * time, flops });
        }
        for (i, stage) in stages.iter().enumerate() {
            let name = |part: usize| format!("downs.{i}.{part}");
            walk.block(&name(0), stage.outer, stage.outer);
            walk.block(&name(1), stage.outer, stage.outer);
            walk.attention(&name(2), stage, stage.outer, stage.full_attn);
            if !stage.innermost {
                walk.size = ImageSize { height: walk.size.height / 2, width: walk.size.width / 2 };
            }
            walk.plain(&name(3), stage.inner);
        }
        let Some(inner) = stages.last() else { return };
        walk.block("mid_block1", inner.inner, inner.inner);
        walk.attention("mid_attn", inner, inner.inner, true);
        walk.block("mid_block2", inner.inner, inner.inner);
        for (i, stage) in stages.iter().rev().enumerate() {
            let name = |part: usize| format!("ups.{i}.{part}");
            walk.block(&name(0), stage.inner + stage.outer, stage.inner);
            walk.block(&name(1), stage.inner + stage.outer, stage.inner);
            walk.attention(&name(2), stage, stage.inner, stage.full_attn);
            if i + 1 < stages.len() {
                walk.size = ImageSize { height: walk.size.height * 2, width: walk.size.width * 2 };
            }
            walk.plain(&name(3), stage.outer);
        }
        walk.block("final_res_block", width * 2, width);
        walk.plain("final_conv", self.output_channels());
    }
}

impl Walk {
    /// The concatenated input, if any; two convolutions and what follows each; the 1x1 convolution; the sum.
    fn block(&mut self, name: &str, inputs: usize, outputs: usize) {
        let joined = if inputs == outputs { 0 } else { inputs + outputs };
        self.push(name, outputs, joined + 5 * outputs, 0);
    }

    /// The normed input, q, k, v, both softmaxes or the scores, the result by head, its projection (and norm), the sum.
    fn attention(&mut self, name: &str, stage: &Stage, channels: usize, full: bool) {
        let (hidden, pixels) = (stage.heads * stage.dim_head, self.size.pixels());
        match full {
            true => {
                self.push(name, channels, 3 * channels + 4 * hidden, stage.heads * pixels * (pixels + stage.memory))
            }
            false => self.push(name, channels, 4 * channels + 6 * hidden, stage.heads * stage.dim_head.pow(2)),
        }
        // Two products: with the keys and with the values; or with the keys' and values' d x d matrix, once it is made.
        let keys = pixels + stage.memory;
        let flops = if full { 4 * hidden * pixels * keys } else { 2 * hidden * stage.dim_head * (pixels + keys) };
        if let Some(layer) = self.layers.last_mut() {
            layer.flops += flops as u64;
        }
    }
}
