//! The U-Net of the package denoising-diffusion-pytorch, version 2.3.4: DDPM's network (Ho et al. 2020, arXiv:2006.11239)
//! with RMS norms, linear attention at every stage and softmax attention inside. The same arithmetic under the same parameter
//! names, so that its checkpoints load here and ours load there.
//!
//! With `classes` it is told the class of each image as that package's `classifier_free_guidance` module does: a vector beside the
//! time's, and a learned one for no class.
//!
//! Deliberately absent: text conditions, other dimensions than two, and `flash_attn`, which changes no result.

mod checkpoint;
mod config;
mod describe;
mod infer;
pub mod peer;

use std::f64::consts::PI;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use difusi_core::{Cond, Inputs, Network, Noise, NoiseCurve, Precision};

pub use checkpoint::{Found, Pick, TensorInfo, find_unets, is_process_buffer, unet_weights};
pub use config::{Downsample, PerStage, UnetConfig};
pub use infer::{Disagreement, Inferred, infer};

pub use super::describe::{Cost, LayerShape};
use crate::error::NnError;
use crate::layers::{
    Attention, Conv2d, Either, Embedding, Gelu, Init, Linear, LinearAttention, Nearest, PixelUnshuffle, ResnetBlock,
    ResnetSpec, RisingCurve, TimeEmbedding, in_precision,
};
use crate::unet::{Knows, check_cond, check_images};
use config::Stage;

type AnyAttention = Either<LinearAttention, Attention>;
/// A 1x1 convolution after gathering 2x2 blocks, or a 4x4 one that halves the image, or a 3x3 one on the innermost stage.
type Down = Either<(PixelUnshuffle, Conv2d), Conv2d>;
/// A 3x3 convolution, after doubling the image except on the outermost stage.
type Up = Either<(Nearest, Conv2d), Conv2d>;

/// The network. Fields and their order are the peer's (but for `curve`), so parameters have its names and its order.
#[derive(Module, Debug)]
pub struct Unet {
    null_classes_emb: Option<Param<Tensor<1>>>,
    init_conv: Conv2d,
    time_mlp: (TimeEmbedding, Linear, Gelu, Linear),
    classes_emb: Option<Embedding>,
    classes_mlp: Option<(Linear, Gelu, Linear)>,
    downs: Vec<(ResnetBlock, ResnetBlock, AnyAttention, Down)>,
    ups: Vec<(ResnetBlock, ResnetBlock, AnyAttention, Up)>,
    mid_block1: ResnetBlock,
    mid_attn: Attention,
    mid_block2: ResnetBlock,
    final_res_block: ResnetBlock,
    final_conv: Conv2d,
    curve: Option<RisingCurve>,
    #[module(skip)]
    config: UnetConfig,
    #[module(skip)]
    precision: Precision,
}

impl UnetConfig {
    /// A network of this configuration with initial weights from `noise`: the same bits everywhere. Weights are drawn when
    /// first read. Fails, naming every value, where [`UnetConfig::check`] finds any.
    pub fn init(&self, noise: Noise, device: &Device) -> Result<Unet, NnError> {
        let issues = self.check();
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let (root, stages) = (Init::new(noise, device), self.stage_list());
        let [width, time] = [self.init_width(), self.time_width()];
        let inner = stages.last().map_or(width, |stage| stage.inner);
        let mid = stages.last().map(|stage| stage.attention(inner));
        let mid = mid.ok_or_else(|| NnError::Config(self.check()))?;
        let block = |name: &str, inputs: usize, outputs: usize| self.block(&root.at(name), inputs, outputs);
        let linear = |name: &str, inputs: usize| Linear::new(&root.at(name), [inputs, time]);
        let embedding = TimeEmbedding::new(&root.at("time_mlp.0"), self.time, self.dim);
        let in_width = self.time.width(self.dim);
        let [first, second] = ["classes_mlp.0", "classes_mlp.2"].map(|name| root.at(name));
        let classes_mlp = || (Linear::new(&first, [self.dim, time]), Gelu, Linear::new(&second, [time, time]));
        Ok(Unet {
            null_classes_emb: self.classes.map(|_| root.at("null_classes_emb").normal([self.dim], true)),
            classes_emb: self.classes.map(|count| Embedding::new(&root.at("classes_emb"), [count, self.dim])),
            classes_mlp: self.classes.map(|_| classes_mlp()),
            init_conv: Conv2d::new(&root.at("init_conv"), [self.input_channels(), width], 7),
            time_mlp: (embedding, linear("time_mlp.1", in_width), Gelu, linear("time_mlp.3", time)),
            downs: stages.iter().enumerate().map(|(i, s)| self.down(&root.at("downs").at(i), s)).collect(),
            ups: stages.iter().rev().enumerate().map(|(i, s)| self.up(&root.at("ups").at(i), i, s)).collect(),
            mid_block1: block("mid_block1", inner, inner),
            mid_attn: Attention::new(&root.at("mid_attn"), mid),
            mid_block2: block("mid_block2", inner, inner),
            final_res_block: block("final_res_block", width * 2, width),
            final_conv: Conv2d::new(&root.at("final_conv"), [width, self.output_channels()], 1),
            curve: None,
            config: self.clone(),
            precision: Precision::F32,
        })
    }

    fn block(&self, init: &Init<'_>, inputs: usize, outputs: usize) -> ResnetBlock {
        let time = self.block_time_width();
        ResnetBlock::new(init, ResnetSpec { inputs, outputs, time, dropout: self.dropout })
    }

    fn down(&self, init: &Init<'_>, stage: &Stage) -> (ResnetBlock, ResnetBlock, AnyAttention, Down) {
        let Stage { outer, inner, innermost, .. } = *stage;
        let down = match (innermost, self.downsample) {
            (false, Downsample::Unshuffle) => {
                Either::Left((PixelUnshuffle, Conv2d::new(&init.at("3.1"), [outer * 4, inner], 1)))
            }
            (false, Downsample::Conv) => Either::Right(Conv2d::new(&init.at("3"), [outer, inner], 4)),
            (true, _) => Either::Right(Conv2d::new(&init.at("3"), [outer, inner], 3)),
        };
        let block = |name: &str| self.block(&init.at(name), outer, outer);
        (block("0"), block("1"), attention(&init.at("2"), stage, outer), down)
    }

    fn up(&self, init: &Init<'_>, index: usize, stage: &Stage) -> (ResnetBlock, ResnetBlock, AnyAttention, Up) {
        let Stage { outer, inner, .. } = *stage;
        let up = match index + 1 < self.stages() {
            true => Either::Left((Nearest, Conv2d::new(&init.at("3.1"), [inner, outer], 3))),
            false => Either::Right(Conv2d::new(&init.at("3"), [inner, outer], 3)),
        };
        let block = |name: &str| self.block(&init.at(name), inner + outer, inner);
        (block("0"), block("1"), attention(&init.at("2"), stage, inner), up)
    }
}

fn attention(init: &Init<'_>, stage: &Stage, channels: usize) -> AnyAttention {
    let spec = stage.attention(channels);
    match stage.full_attn {
        true => Either::Right(Attention::new(init, spec)),
        false => Either::Left(LinearAttention::new(init, spec)),
    }
}

fn attend(layer: &AnyAttention, x: Tensor<4>) -> Tensor<4> {
    match layer {
        Either::Left(linear) => linear.forward(x),
        Either::Right(full) => full.forward(x),
    }
}

impl Unet {
    /// What it was built from.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// With a noise schedule to be trained with it, from minus log-SNR `ends[0]` to `ends[1]`, whose parameters are `curve.*`.
    #[must_use]
    pub fn with_curve(self, ends: [f64; 2], device: &Device) -> Self {
        Self { curve: Some(RisingCurve::new(&Init::new(Noise::new(0), device).at("curve"), ends)), ..self }
    }

    /// The network alone, and the schedule that was trained with it.
    pub fn without_curve(self) -> (Self, Option<RisingCurve>) {
        let curve = self.curve.clone();
        (Self { curve: None, ..self }, curve)
    }

    /// The precision of its activations; f32 unless [`Network::with_precision`] chose another.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether `inputs` fit: channels, divisible height and width, one time per image, an estimate of the image's shape.
    pub fn check_inputs(&self, inputs: &Inputs) -> Result<(), NnError> {
        check_images(inputs, self.config.channels, self.config.stages())?;
        check_cond(&inputs.cond, inputs.x.dims()[0], Knows { classes: self.config.classes, ..Knows::default() })?;
        match inputs.x_self_cond.as_ref().map(Tensor::dims) {
            Some(dims) if dims != inputs.x.dims() => {
                let expected = format!("{:?}, as `x`", inputs.x.dims());
                Err(NnError::Input { input: "x_self_cond", found: dims.to_vec(), expected })
            }
            _ => Ok(()),
        }
    }

    /// The vector that every block is told, `[B, 4 dim]`, or `[B, 8 dim]` with classes: the time's, then the class's.
    fn tell(&self, t: Tensor<1>, cond: &Cond) -> Tensor<2> {
        let batch = t.dims()[0];
        let time = self.embed(t);
        let (Some(table), Some(null), Some(mlp)) = (&self.classes_emb, &self.null_classes_emb, &self.classes_mlp)
        else {
            return time;
        };
        let rows = match cond.label() {
            Some(labels) => table.forward(labels, null.val()),
            None => table.forward(&vec![None; batch], null.val()),
        };
        let (first, gelu, second) = mlp;
        Tensor::cat(vec![time, second.forward(gelu.forward(first.forward(rows)))], 1)
    }

    /// What the first convolution sees: the estimate, x, and its Fourier features.
    fn with_estimate(&self, x: Tensor<4>, estimate: Option<Tensor<4>>) -> Tensor<4> {
        let features = self.fourier(&x);
        let x = features.into_iter().fold(x, difusi_ops::cat_channels);
        if !self.config.self_condition {
            return x;
        }
        let [b, h, w, _] = x.dims();
        let zeros = || Tensor::zeros([b, h, w, self.config.channels], (&x.device(), x.dtype()));
        let estimate = estimate.unwrap_or_else(zeros);
        difusi_ops::cat_channels(estimate, x)
    }

    /// Sines and cosines of `2 pi v / 2^(8 - n)`, each `[B, H, W, C]`, where `v = 255 (x + 1) / 2` is the byte that x stands for: what
    /// tells pixels apart that differ by a bit or two (arXiv:2107.00630, appendix C, whose bytes lie 2 / 256 apart and whose angle is
    /// therefore `2^n pi x`). At n = 8 every byte has the same angle, and the sine is how far x is from the nearest.
    fn fourier(&self, x: &Tensor<4>) -> Vec<Tensor<4>> {
        let pair = |n: &u32| {
            let angle = (x.clone() + 1.0) * (f64::from(1 << n) * PI * 255.0 / 256.0);
            [angle.clone().sin(), angle.cos()]
        };
        self.config.fourier.iter().flat_map(pair).collect()
    }

    fn embed(&self, t: Tensor<1>) -> Tensor<2> {
        let (embedding, first, gelu, second) = &self.time_mlp;
        second.forward(gelu.forward(first.forward(embedding.forward(t))))
    }
}

impl Network for Unet {
    /// `[B, H, W, channels]` -> `[B, H, W, out]`. Panics on inputs that [`Unet::check_inputs`] refuses.
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let Inputs { x, t, x_self_cond, dropout, cond } = inputs;
        let t = self.tell(t, &cond);
        let resnet = |block: &ResnetBlock, x: Tensor<4>| block.forward(x, t.clone(), dropout);
        let x = in_precision(self.with_estimate(x, x_self_cond), self.precision);

        // The last block takes the first convolution's output.
        let [mut x, first] = difusi_ops::fork(self.init_conv.forward(x));
        let mut skips = vec![first];
        let mut keep = |x: Tensor<4>| {
            let [x, skip] = difusi_ops::fork(x);
            skips.push(skip);
            x
        };
        for (block1, block2, attention, down) in &self.downs {
            x = keep(resnet(block1, x));
            x = keep(attend(attention, resnet(block2, x)));
            x = match down {
                Either::Left((unshuffle, conv)) => conv.forward(unshuffle.forward(x)),
                Either::Right(conv) => conv.forward(x),
            };
        }
        x = resnet(&self.mid_block1, x);
        x = self.mid_attn.forward(x);
        x = resnet(&self.mid_block2, x);

        let mut with_skip = |x: Tensor<4>| match skips.pop() {
            Some(skip) => difusi_ops::cat_channels(x, skip),
            None => x,
        };
        for (block1, block2, attention, up) in &self.ups {
            x = resnet(block1, with_skip(x));
            x = attend(attention, resnet(block2, with_skip(x)));
            x = match up {
                Either::Left((nearest, conv)) => nearest.then(conv, x),
                Either::Right(conv) => conv.forward(x),
            };
        }
        in_precision(self.final_conv.forward(resnet(&self.final_res_block, with_skip(x))), Precision::F32)
    }

    fn with_precision(mut self, precision: Precision) -> Option<Self> {
        self.precision = precision;
        Some(self)
    }

    fn self_condition(&self) -> bool {
        self.config.self_condition
    }

    fn noise_curve(&self) -> Option<&dyn NoiseCurve> {
        self.curve.as_ref().map(|curve| curve as &dyn NoiseCurve)
    }
}
