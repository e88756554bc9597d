//! Initial weights: a parameter's values depend only on the seed and on the parameter's name, so they are the same bits on
//! every machine, whatever else the network holds and whatever order it is built in.
//!
//! Values are drawn when they are first read: a network that is about to be filled from a file draws none.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use difusi_core::{Draw, Noise, Stream};

/// Where a layer takes its initial weights from: seed, device, and the layer's name within the network.
#[derive(Clone, Debug)]
pub struct Init<'a> {
    noise: Noise,
    device: &'a Device,
    path: String,
}

impl<'a> Init<'a> {
    /// The root of a network.
    pub fn new(noise: Noise, device: &'a Device) -> Self {
        Self { noise, device, path: String::new() }
    }

    /// The part `name` of this one.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..self.clone() }
    }

    /// A number that stands for this part's name, below 2^56: FNV-1a, its upper bits.
    pub fn index(&self) -> u64 {
        let hash = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        self.path.bytes().fold(0xcbf2_9ce4_8422_2325, hash) >> 8
    }

    /// Uniform in `[-bound, bound)`.
    pub fn uniform<const D: usize>(&self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        self.draw(shape, true, move |s| ((s.uniform() * 2.0 - 1.0) * bound) as f32)
    }

    /// Standard normal. With `trainable` false, training leaves it as it is.
    pub fn normal<const D: usize>(&self, shape: [usize; D], trainable: bool) -> Param<Tensor<D>> {
        self.draw(shape, trainable, Stream::normal)
    }

    /// Ones.
    pub fn ones<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        self.draw(shape, true, |_| 1.0)
    }

    /// Zeros.
    pub fn zeros<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        self.draw(shape, true, |_| 0.0)
    }

    /// These numbers in this shape. With `trainable` false, training leaves them as they are.
    pub fn given<const D: usize>(&self, values: Vec<f32>, shape: [usize; D], trainable: bool) -> Param<Tensor<D>> {
        let make = move |device: &Device, require_grad: bool| {
            Tensor::from_data(TensorData::new(values.clone(), shape), device).set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), make, self.device.clone(), trainable, Shape::from(shape))
    }

    /// The stream that this part's numbers come from.
    pub fn stream(&self) -> Stream {
        self.noise.stream(Draw::Weights, self.index(), 0)
    }

    /// These numbers.
    pub fn values(&self, values: Vec<f64>) -> Param<Tensor<1>> {
        let shape = [values.len()];
        let make = move |device: &Device, require_grad: bool| {
            let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            Tensor::from_data(TensorData::new(values, shape), device).set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), make, self.device.clone(), true, Shape::from(shape))
    }

    fn draw<const D: usize>(
        &self,
        shape: [usize; D],
        trainable: bool,
        number: impl Fn(&mut Stream) -> f32 + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let mut stream = self.stream();
        let make = move |device: &Device, require_grad: bool| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| number(&mut stream)).collect();
            Tensor::from_data(TensorData::new(values, shape), device).set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), make, self.device.clone(), trainable, Shape::from(shape))
    }
}
