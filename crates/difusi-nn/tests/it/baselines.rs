//! What the tests of VAE, GAN, flow and classifier share.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{Draw, ImageSize, Noise};

pub(crate) const SIZE: ImageSize = ImageSize::square(8);

/// Normal numbers in this shape.
pub(crate) fn normal<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let values = Noise::new(seed).normal(Draw::Init, 0..1, 0, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Random bytes as pictures.
pub(crate) fn bytes(seed: u64, shape: [usize; 4]) -> Tensor<4> {
    let mut stream = Noise::new(seed).stream(Draw::Synthetic, 0, 0);
    let values = (0..shape.iter().product()).map(|_| difusi_core::pixels::from_byte(stream.below(256) as u8));
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), &Device::flex())
}

pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

pub(crate) fn check_close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "number {i}: {a} and {b}");
    }
}

/// Moves every weight a little, so that what starts at zero does not hide mistakes; and makes them f64 where asked for.
pub(crate) struct Shake {
    pub(crate) by: f64,
    pub(crate) double: bool,
    next: u64,
}

impl Shake {
    pub(crate) fn new(by: f64, double: bool) -> Self {
        Self { by, double, next: 0 }
    }
}

impl ModuleMapper for Shake {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.next += 1;
        // Off an autodiff device only `train` shows what is trained.
        let trained = Module::train(param.clone()).val().is_require_grad();
        param.map(|x| {
            let x = if self.double { x.cast(DType::F64) } else { x };
            let shape: [usize; D] = x.dims();
            match trained {
                true => x.clone() + normal(self.next, shape).cast(x.dtype()) * self.by,
                false => x,
            }
        })
    }
}
