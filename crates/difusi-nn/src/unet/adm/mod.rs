//! The U-Net of DDPM (Ho et al. 2020, arXiv:2006.11239) as it became ADM (Dhariwal & Nichol 2021, arXiv:2105.05233): group norms,
//! residual blocks that are told of the time, softmax attention where it is asked for.
//!
//! Parameters have the names of diffusers' `UNet2DModel`, so that its files load here and ours load there ([`diffusers`]); those of
//! OpenAI's guided-diffusion are translated ([`guided`]).
//!
//! With `tokens` every attention is followed by one to a sequence, as of a text, which no peer's file of this network has.
//!
//! Deliberately absent: other dimensions than two, times embedded by random frequencies, upsamplers with a
//! low-resolution input, self-conditioning.

mod config;
mod describe;
pub mod diffusers;
mod encoder;
pub mod guided;
mod parts;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation};
use difusi_core::{Cond, Inputs, Network, Noise, NoiseCurve, Precision, Tokens};

pub use config::{AdmConfig, Heads, Modulation, Resample};
pub use encoder::{EncoderConfig, NoisyClassifier};

use crate::error::NnError;
use crate::layers::{Conv2d, Either, Embedding, GroupNorm, Init, Linear, RisingCurve, in_precision};
use crate::unet::{Knows, check_cond, check_images};
use parts::{Attention, AttentionWidths, Block, BlockKind, Resize, Way};

/// What stands between two stages: a convolution, or a residual block.
type Between = Either<Resize, Block>;

/// A stage on the way down or up, or the middle. Field names are diffusers'.
#[derive(Module, Debug)]
struct DownBlock {
    attentions: Vec<Attention>, // none, or one after each block
    resnets: Vec<Block>,
    downsamplers: Vec<Between>, // one at most
}

/// See [`DownBlock`].
#[derive(Module, Debug)]
struct UpBlock {
    attentions: Vec<Attention>,
    resnets: Vec<Block>,
    upsamplers: Vec<Between>,
}

/// Block, attention, block.
#[derive(Module, Debug)]
struct MidBlock {
    attentions: Vec<Attention>,
    resnets: Vec<Block>,
}

/// Two maps of the time's sines and cosines.
#[derive(Module, Debug)]
struct TimeMlp {
    linear_1: Linear,
    linear_2: Linear,
}

/// The network. Fields and their order are those of diffusers' `UNet2DModel` (but for `curve`).
#[derive(Module, Debug)]
pub struct Adm {
    conv_in: Conv2d,
    time_embedding: TimeMlp,
    class_embedding: Option<Embedding>,
    down_blocks: Vec<DownBlock>,
    up_blocks: Vec<UpBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    curve: Option<RisingCurve>,
    #[module(skip)]
    config: AdmConfig,
    #[module(skip)]
    precision: Precision,
}

impl AdmConfig {
    /// A network of this configuration with initial weights from `noise`, the same bits everywhere: as Ho et al. have them (Glorot &
    /// Bengio's uniform ones, biases zero), the last map of every block, of every attention and of the network zero. Weights are drawn
    /// when first read. Fails, naming every value, where [`AdmConfig::check`] finds any.
    pub fn init(&self, noise: Noise, device: &Device) -> Result<Adm, NnError> {
        let issues = self.check();
        if !issues.is_empty() {
            return Err(NnError::Config(issues));
        }
        let (root, widths, told) = (Init::new(noise, device), self.widths(), self.told());
        let (first, last) = match (widths.first(), widths.last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => return Err(NnError::Config(self.check())),
        };
        let mut skips = vec![first];
        let down_blocks = (0..self.stages()).map(|i| self.down(&root.at("down_blocks").at(i), i, &mut skips)).collect();
        let up_blocks = (0..self.stages())
            .rev()
            .enumerate()
            .map(|(i, stage)| self.up(&root.at("up_blocks").at(i), stage, &mut skips));
        let up_blocks = up_blocks.collect();
        let time = root.at("time_embedding");
        Ok(Adm {
            conv_in: Conv2d::glorot(&root.at("conv_in"), [self.channels, first], 3),
            time_embedding: TimeMlp {
                linear_1: Linear::glorot(&time.at("linear_1"), [self.sinusoids(), told]),
                linear_2: Linear::glorot(&time.at("linear_2"), [told, told]),
            },
            class_embedding: self.class_rows().map(|rows| Embedding::new(&root.at("class_embedding"), [rows, told])),
            down_blocks,
            up_blocks,
            mid_block: self.middle(&root.at("mid_block"), last),
            conv_norm_out: GroupNorm::of(&root.at("conv_norm_out"), first, self.norm()),
            conv_out: Conv2d::zeros(&root.at("conv_out"), [first, self.output_channels()], 3),
            curve: None,
            config: self.clone(),
            precision: Precision::F32,
        })
    }

    fn block(&self, init: &Init<'_>, channels: [usize; 2], way: Way) -> Block {
        let (modulation, told, dropout) = (self.modulation, self.told(), self.dropout);
        Block::new(init, channels, BlockKind { norm: self.norm(), modulation, told, dropout }, way)
    }

    fn attentions(&self, init: &Init<'_>, channels: usize, count: usize) -> Vec<Attention> {
        let heads = self.heads.of(channels).unwrap_or(1); // `check` has seen to it
        let widths = AttentionWidths { channels, heads, norm: self.norm(), tokens: self.tokens };
        (0..count).map(|i| Attention::new(&init.at("attentions").at(i), widths)).collect()
    }

    /// What stands after `stage` on this way, if anything with parameters does.
    fn between(&self, init: &Init<'_>, channels: usize, way: Way) -> Vec<Between> {
        let init = init.at(if way == Way::Down { "downsamplers" } else { "upsamplers" }).at(0);
        match self.resample {
            Resample::Conv | Resample::ConvSame => {
                vec![Either::Left(Resize::new(&init, channels, way, self.resample == Resample::ConvSame))]
            }
            Resample::Blocks => vec![Either::Right(self.block(&init, [channels; 2], way))],
            Resample::Pool => vec![],
        }
    }

    /// Notes the widths of what it leaves for the way up in `skips`.
    fn down(&self, init: &Init<'_>, stage: usize, skips: &mut Vec<usize>) -> DownBlock {
        let (width, blocks) = (self.dim * self.dim_mults[stage], self.res_blocks);
        let mut inputs = skips.last().copied().unwrap_or(width);
        let resnets = (0..blocks).map(|i| {
            skips.push(width);
            let inputs = std::mem::replace(&mut inputs, width);
            self.block(&init.at("resnets").at(i), [inputs, width], Way::Level)
        });
        let resnets = resnets.collect();
        let innermost = stage + 1 == self.stages();
        if !innermost {
            skips.push(width);
        }
        DownBlock {
            attentions: self.attentions(init, width, if self.has_attention(stage) { blocks } else { 0 }),
            resnets,
            downsamplers: if innermost { vec![] } else { self.between(init, width, Way::Down) },
        }
    }

    /// Takes from `skips` what [`AdmConfig::down`] noted.
    fn up(&self, init: &Init<'_>, stage: usize, skips: &mut Vec<usize>) -> UpBlock {
        let (width, blocks) = (self.dim * self.dim_mults[stage], self.res_blocks + 1);
        let mut inputs = self.dim * self.dim_mults.get(stage + 1).unwrap_or(&self.dim_mults[stage]);
        let resnets = (0..blocks).map(|i| {
            let inputs = std::mem::replace(&mut inputs, width) + skips.pop().unwrap_or(0);
            self.block(&init.at("resnets").at(i), [inputs, width], Way::Level)
        });
        UpBlock {
            resnets: resnets.collect(),
            attentions: self.attentions(init, width, if self.has_attention(stage) { blocks } else { 0 }),
            upsamplers: if stage == 0 { vec![] } else { self.between(init, width, Way::Up) },
        }
    }

    /// Sines and cosines of the time, `[B]` -> `[B, time_dim]`; the frequencies are rounded to `f32` where the peers' are, since at t = 999 a
    /// frequency's last bit shows in the sine's fourth digit.
    fn embed(&self, t: Tensor<1>) -> Tensor<2> {
        let half = self.sinusoids() / 2;
        let (log, span) = (-(10_000.0_f64.ln()) as f32, (half as f64 - self.freq_shift) as f32);
        let frequencies: Vec<f32> = (0..half).map(|i| f64::from(log * i as f32 / span).exp() as f32).collect();
        let frequencies = Tensor::<2>::from_data(TensorData::new(frequencies, [1, half]), &t.device());
        let angles = t.unsqueeze_dim::<2>(1) * frequencies; // [B, half]
        let (sin, cos) = (angles.clone().sin(), angles.cos());
        Tensor::cat(if self.flip_sin_to_cos { vec![cos, sin] } else { vec![sin, cos] }, 1)
    }

    fn middle(&self, init: &Init<'_>, width: usize) -> MidBlock {
        let block = |i: usize| self.block(&init.at("resnets").at(i), [width; 2], Way::Level);
        let attentions = self.attentions(init, width, usize::from(self.mid_attention));
        MidBlock { attentions, resnets: (0..2).map(block).collect() }
    }
}

impl Adm {
    /// What it was built from.
    pub fn config(&self) -> &AdmConfig {
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

    /// Whether `inputs` fit: channels, divisible height and width, one time per image, classes that the network has (and a class for each
    /// image where it has none that stands for none).
    pub fn check_inputs(&self, inputs: &Inputs) -> Result<(), NnError> {
        let (config, batch) = (&self.config, inputs.x.dims()[0]);
        check_images(inputs, config.channels, config.stages())?;
        check_cond(&inputs.cond, batch, Knows { classes: config.classes, tokens: config.tokens })?;
        let unlabelled = inputs.cond.label().is_none_or(|labels| labels.contains(&None));
        if config.classes.is_some() && !config.null_class && unlabelled {
            let expected = "a label for each image: the network has no class that stands for none (`null_class`)";
            return Err(NnError::Cond { found: "no label".into(), expected: expected.into() });
        }
        match &inputs.x_self_cond {
            Some(x) => {
                let expected = "nothing: this network does not self-condition".into();
                Err(NnError::Input { input: "x_self_cond", found: x.dims().to_vec(), expected })
            }
            None => Ok(()),
        }
    }

    /// What every block is told, `[B, 4 time_dim]`: the time's vector plus the class's, after a SiLU. Where there is no class that stands for
    /// none, nothing is added for none.
    fn tell(&self, t: Tensor<1>, cond: &Cond) -> Tensor<2> {
        let batch = t.dims()[0];
        let TimeMlp { linear_1, linear_2 } = &self.time_embedding;
        let time = linear_2.forward(activation::silu(linear_1.forward(self.config.embed(t))));
        let told = match (&self.class_embedding, self.config.classes) {
            (Some(table), Some(classes)) => {
                let null = self.config.null_class.then_some(classes);
                let rows: Vec<Option<usize>> = match cond.label() {
                    Some(labels) => labels.iter().map(|l| l.map_or(null, |l| Some(l as usize))).collect(),
                    None => vec![null; batch],
                };
                time + table.rows(&rows)
            }
            _ => time,
        };
        activation::silu(told)
    }
}

impl Network for Adm {
    /// `[B, H, W, channels]` -> `[B, H, W, out]`. Panics on inputs that [`Adm::check_inputs`] refuses.
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let Inputs { x, t, dropout, cond, .. } = inputs;
        let (told, tokens) = (self.tell(t, &cond), cond.tokens());
        let run = |block: &Block, x: Tensor<4>| block.forward(x, told.clone(), dropout);
        let resize = |between: &[Between], x: Tensor<4>, pool: fn(Tensor<4>) -> Tensor<4>| match between.first() {
            Some(Either::Left(conv)) => conv.forward(x),
            Some(Either::Right(block)) => run(block, x),
            None => pool(x),
        };
        let mut skips = vec![];
        let mut keep = |x: Tensor<4>| {
            let [x, skip] = difusi_ops::fork(x);
            skips.push(skip);
            x
        };
        let last = self.config.stages() - 1;
        let mut x = keep(self.conv_in.forward(in_precision(x, self.precision)));
        for (stage, down) in self.down_blocks.iter().enumerate() {
            for (i, block) in down.resnets.iter().enumerate() {
                x = run(block, x);
                x = keep(attend(&down.attentions, i, x, tokens));
            }
            if stage < last {
                x = keep(resize(&down.downsamplers, x, difusi_ops::downsample_mean2));
            }
        }
        for (i, block) in self.mid_block.resnets.iter().enumerate() {
            x = attend(&self.mid_block.attentions, i, run(block, x), tokens);
        }
        for (i, up) in self.up_blocks.iter().enumerate() {
            for (j, block) in up.resnets.iter().enumerate() {
                if let Some(skip) = skips.pop() {
                    x = difusi_ops::cat_channels(x, skip);
                }
                x = attend(&up.attentions, j, run(block, x), tokens);
            }
            if i < last {
                x = resize(&up.upsamplers, x, difusi_ops::upsample_nearest2);
            }
        }
        in_precision(self.conv_out.forward(self.conv_norm_out.forward_silu(x)), Precision::F32)
    }

    fn with_precision(mut self, precision: Precision) -> Option<Self> {
        self.precision = precision;
        Some(self)
    }

    fn noise_curve(&self) -> Option<&dyn NoiseCurve> {
        self.curve.as_ref().map(|curve| curve as &dyn NoiseCurve)
    }
}

/// The attention after block `index`, where there is one.
fn attend(attentions: &[Attention], index: usize, x: Tensor<4>, tokens: Option<&Tokens>) -> Tensor<4> {
    match attentions.get(index) {
        Some(attention) => attention.forward(x, tokens),
        None => x,
    }
}
