//! A tiny network, objective and data set.

use std::error::Error;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Batch, Dataset, Draw, Example, Inputs, Network, Noise, Stream};
use difusi_store::read_safetensors;
use difusi_train::{Objective, StepContext, TrainConfig, TrainError, Trainer};

/// Two layers over the four pixels of a 2x2 image, one frozen tensor, one weight that no loss reaches.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub(crate) first: Param<Tensor<2>>,
    pub(crate) bias: Param<Tensor<1>>,
    pub(crate) second: Param<Tensor<2>>,
    pub(crate) scale: Param<Tensor<1>>,
    pub(crate) unused: Param<Tensor<1>>,
}

pub(crate) const HIDDEN: usize = 16;

impl Mlp {
    pub(crate) fn new(seed: u64) -> Self {
        let device = device();
        let tensor = |i: u64, n: usize| Noise::new(seed).normal(Draw::Weights, i..i + 1, 0, n);
        let matrix = |i, [r, c]: [usize; 2]| {
            Param::from_tensor(Tensor::<2>::from_data(TensorData::new(tensor(i, r * c), [r, c]), &device) * 0.3)
        };
        let vector = |i, n| Param::from_tensor(Tensor::<1>::from_data(TensorData::new(tensor(i, n), [n]), &device));
        Self {
            first: matrix(0, [5, HIDDEN]),
            bias: vector(1, HIDDEN),
            second: matrix(2, [HIDDEN, 4]),
            scale: Param::from_tensor(Tensor::ones([4], &device) * 1.5).set_require_grad(false),
            unused: vector(3, 2),
        }
    }
}

impl Network for Mlp {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let [b, h, w, c] = inputs.x.dims();
        let t = inputs.t.reshape([b, 1]) / 1000.0;
        let x = Tensor::cat(vec![inputs.x.reshape([b, 4]), t], 1); // [B, 5]
        let hidden = silu(x.matmul(self.first.val()) + self.bias.val().unsqueeze()); // [B, HIDDEN]
        let out = hidden.matmul(self.second.val()) * self.scale.val().unsqueeze(); // [B, 4]
        out.reshape([b, h, w, c])
    }
}

pub(crate) fn device() -> Device {
    Device::flex()
}

/// Removing noise whose size is drawn per image.
pub(crate) struct Denoising;

impl Objective for Denoising {
    type Model = Mlp;

    fn loss(&mut self, model: &Mlp, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let [b, h, w, c] = batch.x.dims();
        let images = context.first_image..context.first_image + b as u64;
        let device = batch.x.device();
        let noise = context.noise.normal(Draw::Target, images.clone(), 0, h * w * c);
        let times: Vec<f32> = images.map(|i| context.noise.stream(Draw::Time, i, 0).below(1000) as f32).collect();
        let t = Tensor::<1>::from_data(TensorData::new(times, [b]), &device);
        let noise = Tensor::<4>::from_data(TensorData::new(noise, [b, h, w, c]), &device);
        let level = (t.clone() / 1000.0).reshape([b, 1, 1, 1]);
        let noisy = batch.x.clone() + noise * level;
        let error = model.forward(Inputs::new(noisy, t)) - batch.x;
        Ok(error.powf_scalar(2.0).reshape([b, h * w * c]).mean_dim(1).reshape([b]))
    }
}

/// `count` images of 2x2 grey pixels; `u64::MAX` for unlimited.
pub(crate) struct Images {
    pub(crate) count: u64,
}

impl Dataset for Images {
    fn count(&self) -> u64 {
        self.count
    }

    fn shape(&self) -> [usize; 3] {
        [2, 2, 1]
    }

    fn classes(&self) -> Option<u32> {
        None
    }

    fn get(&self, index: u64, augment: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        let sign = if augment.uniform() < 0.5 { -1.0 } else { 1.0 };
        let mut s = Noise::new(99).stream(Draw::Synthetic, index % 8, 0);
        Ok(Example { pixels: (0..4).map(|_| sign * s.uniform() as f32).collect(), label: None })
    }
}

pub(crate) fn images(count: u64) -> Arc<dyn Dataset> {
    Arc::new(Images { count })
}

pub(crate) fn trainer(config: TrainConfig) -> Trainer<Denoising> {
    Trainer::new(config, Denoising, Mlp::new(1), images(23), &device()).unwrap()
}

/// A quick run.
pub(crate) fn quick() -> TrainConfig {
    TrainConfig { steps: 20, batch_size: 6, learning_rate: 1e-2, ..TrainConfig::default() }
}

pub(crate) fn run(trainer: &mut Trainer<impl Objective>, steps: usize) -> Vec<f64> {
    (0..steps).map(|_| trainer.step().unwrap().loss).collect()
}

/// The bits of a model's tensors.
pub(crate) type Bits = Vec<Vec<u32>>;

/// All tensors of a model: the matrices, then the vectors.
pub(crate) fn bits(model: &Mlp) -> Bits {
    let vector = |data: TensorData| data.as_slice::<f32>().unwrap().iter().map(|v| v.to_bits()).collect();
    let matrices = [&model.first, &model.second].map(|p| p.val().into_data());
    let vectors = [&model.bias, &model.scale, &model.unused].map(|p| p.val().into_data());
    matrices.into_iter().chain(vectors).map(vector).collect()
}

/// Raw weights and every average, bit for bit.
pub(crate) fn all_bits<O: Objective<Model = Mlp>>(trainer: &Trainer<O>) -> Vec<Bits> {
    let averages = (0..trainer.config().ema.len()).map(|i| bits(&trainer.ema(i).unwrap()));
    std::iter::once(bits(&trainer.raw())).chain(averages).collect()
}

pub(crate) fn largest_difference(a: &[Bits], b: &[Bits]) -> f32 {
    let flat = |v: &[Bits]| v.iter().flatten().flatten().map(|x| f32::from_bits(*x)).collect::<Vec<_>>();
    flat(a).iter().zip(flat(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// A file's tensors by name, flattened.
pub(crate) fn tensors(file: &std::path::Path) -> Vec<(String, Vec<f32>)> {
    read_safetensors(file).unwrap().tensors.into_iter().map(|(n, t)| (n, t.into_f32())).collect()
}
