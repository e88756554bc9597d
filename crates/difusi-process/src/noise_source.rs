//! Where sampling gets its noise.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Draw, Noise};

use crate::{ProcessError, TorchRng};

/// A source of standard normals for one sampling run.
#[derive(Clone, Debug)]
pub enum NoiseSource {
    /// Counter-based: image b of the batch is image `first_index + b` of the seed, whatever the batch. The default.
    Counter {
        /// The seed.
        noise: Noise,
        /// Number of the batch's first image.
        first_index: u64,
    },
    /// PyTorch's CPU generator: peers' seeds give peers' pictures. Depends on the batch size, as theirs does.
    Torch(Box<TorchRng>),
    /// These tensors `[B, H, W, C]`, first to last; each step but the last takes one, and so does the start if asked for.
    Given {
        /// The noise.
        tensors: Vec<Tensor<4>>,
        /// How many are used up.
        used: usize,
    },
}

impl NoiseSource {
    /// Counter-based noise of `seed` for images numbered from `first_index`.
    pub fn counter(seed: u64, first_index: u64) -> Self {
        Self::Counter { noise: Noise::new(seed), first_index }
    }

    /// What PyTorch draws on a CPU after `manual_seed(seed)`.
    pub fn torch(seed: u64) -> Self {
        Self::Torch(Box::new(TorchRng::manual_seed(seed)))
    }

    /// Exactly these tensors `[B, H, W, C]`.
    pub fn given(tensors: Vec<Tensor<4>>) -> Self {
        Self::Given { tensors, used: 0 }
    }

    /// x_T, where sampling starts: `shape` is `[B, H, W, C]`.
    ///
    /// # Errors
    /// [`NoiseSource::Given`] without a tensor of that shape.
    pub fn initial(&mut self, shape: [usize; 4], device: &Device) -> Result<Tensor<4>, ProcessError> {
        self.draw(shape, device, (Draw::Init, 0))
    }

    /// Fresh noise of this number in a run, in the shape and on the device of `x`.
    pub(crate) fn fresh(&mut self, x: &Tensor<4>, number: usize) -> Result<Tensor<4>, ProcessError> {
        self.draw(x.dims(), &x.device(), (Draw::Solver, number as u32))
    }

    /// Noise of the known part of a picture, of this number in a run, in the shape and on the device of `x`.
    pub(crate) fn known(&mut self, x: &Tensor<4>, number: usize) -> Result<Tensor<4>, ProcessError> {
        self.draw(x.dims(), &x.device(), (Draw::Known, number as u32))
    }

    fn draw(&mut self, shape: [usize; 4], device: &Device, draw: (Draw, u32)) -> Result<Tensor<4>, ProcessError> {
        let [b, h, w, c] = shape;
        let values = match self {
            Self::Counter { noise, first_index } => {
                noise.normal(draw.0, *first_index..*first_index + b as u64, draw.1, h * w * c)
            }
            Self::Torch(rng) => rng.randn_channels_last(shape),
            Self::Given { tensors, used } => return next_given(tensors, used, shape),
        };
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }
}

fn next_given(tensors: &[Tensor<4>], used: &mut usize, shape: [usize; 4]) -> Result<Tensor<4>, ProcessError> {
    let tensor = tensors.get(*used).cloned().ok_or(ProcessError::NoiseExhausted { used: *used })?;
    *used += 1;
    if tensor.dims() == shape {
        return Ok(tensor);
    }
    let found = tensor.dims().to_vec();
    Err(ProcessError::Shape { what: "the given noise", found, expected: format!("{shape:?}") })
}
