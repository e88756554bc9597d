//! What a configuration comes to: see [`crate::unet::describe`].

use burn::tensor::Device;
use difusi_core::{ImageSize, Noise};

use super::{AdmConfig, Modulation, Resample};
use crate::error::NnError;
use crate::params::{ParamInfo, named_parameters};
use crate::unet::describe::{Cost, LayerShape, Walk};

impl AdmConfig {
    /// Names and shapes of the parameters, in order. Fails where [`AdmConfig::check`] finds anything.
    pub fn parameters(&self) -> Result<Vec<ParamInfo>, NnError> {
        Ok(named_parameters(&self.init(Noise::new(0), &Device::flex())?)) // nothing is drawn
    }

    /// The layers in the order they run, for images of `size`. Fails where [`AdmConfig::check`] or
    /// [`AdmConfig::check_size`] finds anything.
    pub fn describe(&self, size: ImageSize) -> Result<Vec<LayerShape>, NnError> {
        let parameters = self.parameters()?;
        if let Some(issue) = self.check_size("size", size) {
            return Err(NnError::Config(vec![issue]));
        }
        let mut walk = Walk { parameters, size, layers: vec![] };
        self.walk(&mut walk);
        Ok(walk.layers)
    }

    /// Parameters and activation memory for images of `size`; fails as [`AdmConfig::describe`] does.
    pub fn cost(&self, size: ImageSize) -> Result<Cost, NnError> {
        let layers = self.describe(size)?;
        let total = |f: fn(&LayerShape) -> usize| layers.iter().map(f).sum::<usize>();
        // Each layer's on the way down, a little more than what waits for the way up.
        let waits = |l: &&LayerShape| l.name == "conv_in" || l.name.starts_with("down_blocks.");
        let skips: usize = layers.iter().filter(waits).map(|l| l.output.iter().product::<usize>()).sum();
        let largest = layers.iter().map(|l| l.kept).max().unwrap_or(0);
        Ok(Cost {
            parameters: total(|l| l.parameters),
            training_bytes: 4 * total(|l| l.kept),
            sampling_bytes: 4 * (skips + largest),
            forward_flops: layers.iter().map(|l| l.flops).sum(),
        })
    }

    fn walk(&self, walk: &mut Walk) {
        let (widths, told) = (self.widths(), self.told());
        let [Some(&first), Some(&inner)] = [widths.first(), widths.last()] else { return };
        walk.plain("conv_in", first);
        for name in ["time_embedding", "class_embedding"] {
            let (parameters, flops) = (walk.count(name), walk.products(name));
            if parameters > 0 {
                walk.layers.push(LayerShape {
                    name: name.into(),
                    output: vec![told],
                    parameters,
                    kept: 3 * told,
                    flops,
                });
            }
        }
        let (mut width, mut skips, last) = (first, vec![first], widths.len() - 1);
        for (i, &outputs) in widths.iter().enumerate() {
            let name = format!("down_blocks.{i}");
            for j in 0..self.res_blocks {
                self.walk_block(walk, &format!("{name}.resnets.{j}"), [width, outputs], 0);
                self.walk_attention(walk, &format!("{name}.attentions.{j}"), outputs, self.has_attention(i));
                width = outputs;
                skips.push(width);
            }
            if i < last {
                self.walk_resize(walk, &format!("{name}.downsamplers.0"), width, [1, 2]);
                skips.push(width);
            }
        }
        self.walk_block(walk, "mid_block.resnets.0", [inner; 2], 0);
        self.walk_attention(walk, "mid_block.attentions.0", inner, self.mid_attention);
        self.walk_block(walk, "mid_block.resnets.1", [inner; 2], 0);
        for (i, &outputs) in widths.iter().rev().enumerate() {
            let name = format!("up_blocks.{i}");
            for j in 0..=self.res_blocks {
                let joined = width + skips.pop().unwrap_or(0);
                self.walk_block(walk, &format!("{name}.resnets.{j}"), [joined, outputs], joined);
                self.walk_attention(walk, &format!("{name}.attentions.{j}"), outputs, self.has_attention(last - i));
                width = outputs;
            }
            if i < last {
                self.walk_resize(walk, &format!("{name}.upsamplers.0"), width, [2, 1]);
            }
        }
        walk.push("conv_norm_out", first, first, 0);
        walk.plain("conv_out", self.output_channels());
    }

    /// The joined input, if any; what the first norm gives; two convolutions and what the second norm gives; the sum; and where there
    /// are: the number added, the mask and its product, the 1x1 convolution.
    fn walk_block(&self, walk: &mut Walk, name: &str, [inputs, outputs]: [usize; 2], joined: usize) {
        let dropped = if self.dropout > 0.0 { 2 } else { 0 };
        let added = usize::from(self.modulation == Modulation::Add) + usize::from(inputs != outputs);
        walk.push(name, outputs, joined + inputs + (4 + dropped + added) * outputs, 0);
    }

    /// The normed input, q, k and v, the scores, what they find, its projection, the sum.
    fn walk_attention(&self, walk: &mut Walk, name: &str, channels: usize, is_there: bool) {
        if !is_there {
            return;
        }
        let (heads, pixels) = (self.heads.of(channels).unwrap_or(1), walk.size.pixels());
        walk.push(name, channels, 7 * channels, heads * pixels * pixels);
        if let Some(layer) = walk.layers.last_mut() {
            // Four maps of each pixel; scores, and what they weigh.
            layer.flops = (8 * channels * channels * pixels + 4 * channels * pixels * pixels) as u64;
            if self.tokens.is_some() {
                // Of the sequence, whose length is not known here, only the learned token: two maps of each pixel, the norm, q, what is
                // found, the sum.
                layer.flops += (4 * channels * channels * pixels) as u64;
                layer.kept += 5 * channels * pixels;
            }
        }
    }

    /// From one size to another, `by` times and then through; a block works on the smaller image but for its first norm.
    fn walk_resize(&self, walk: &mut Walk, name: &str, channels: usize, [times, over]: [usize; 2]) {
        let ImageSize { height, width } = walk.size;
        walk.size = ImageSize { height: height * times / over, width: width * times / over };
        match self.resample {
            Resample::Conv | Resample::ConvSame => walk.plain(name, channels),
            Resample::Blocks => self.walk_block(walk, name, [channels; 2], 4 * channels),
            Resample::Pool => walk.push(name, channels, channels, 0),
        }
    }
}
