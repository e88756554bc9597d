//! A model made ready to draw pictures of one size: what sampling and editing share.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{ImageSize, Network, Precision};
use difusi_data::{Channels, LoadedImage, load_image};
use difusi_process::{Choice, Diffusion, NetworkDenoiser, NoiseSource, Plan, SampleConfig, Threshold};
use difusi_store::Picture;
use difusi_train::{auto_micro_batch, available_memory};

use crate::model::DiffusionModel;
use crate::network::{DiffusionNetwork, DiffusionNetworkConfig};
use crate::{Error, Model};

/// Pictures in one network evaluation where memory is no concern.
const BATCH: usize = 64;

/// Largest height or width.
const MAX_SIDE: usize = 8192;

/// Network, process, size and device of a job.
#[derive(Debug)]
pub(crate) struct Canvas {
    /// In the precision that was chosen.
    network: DiffusionNetwork,
    pub(crate) diffusion: Diffusion,
    pub(crate) threshold: Threshold,
    pub(crate) size: ImageSize,
    pub(crate) channels: usize,
    /// Pictures in one network evaluation.
    pub(crate) batch: usize,
    pub(crate) device: Device,
}

impl Canvas {
    /// `batch` `None` takes as many as memory holds.
    ///
    /// # Errors
    /// Sizes the network does not take, bad sampling values, a precision that the device does not have.
    pub(crate) fn new(
        model: &Model,
        size: ImageSize,
        config: &SampleConfig,
        batch: Option<usize>,
        device: &Device,
    ) -> Result<Self, Error> {
        let DiffusionModel { network, task } = model.diffusion()?;
        if config.solver.rises() {
            let accepted = "a solver from noise to data: this one goes from pictures to their noise";
            return Err(Error::value("sample.solver", config.solver.kind(), accepted));
        }
        if let Some(issue) = task.network.check_size("the picture size", size) {
            return Err(Error::value(issue.key, issue.value, issue.accepted));
        }
        if size.height.max(size.width) > MAX_SIDE {
            return Err(Error::value("the picture size", size, format!("at most {MAX_SIDE} on each side")));
        }
        let [channels, outputs] = [task.network.channels(), task.network.output_channels()];
        if outputs != channels && outputs != 2 * channels {
            let accepted = format!("{channels} (or twice that), to be sampled from");
            return Err(Error::value("the network's number of output channels", outputs, accepted));
        }
        // What the model was trained in is a wish where the device may not have it, what is asked for is none.
        let trained = if difusi_ops::has_kernels(device) { model.card.precision } else { Precision::F32 };
        let precision = config.precision.unwrap_or(trained);
        Ok(Self {
            diffusion: task.diffusion.build()?,
            network: in_precision(network, precision, device)?,
            threshold: config.threshold,
            size,
            channels,
            batch: batch.unwrap_or_else(|| batch_that_fits(&task.network, size, precision)).max(1),
            device: device.clone(),
        })
    }

    /// The model as the sampling loop asks it.
    pub(crate) fn denoiser(&self) -> NetworkDenoiser<'_> {
        NetworkDenoiser::new(&self.network, &self.diffusion, self.threshold)
    }

    /// `[count, H, W, C]`.
    pub(crate) fn shape(&self, count: usize) -> [usize; 4] {
        [count, self.size.height, self.size.width, self.channels]
    }

    /// Pure noise, `[count, H, W, C]`.
    ///
    /// # Errors
    /// A source without such noise.
    pub(crate) fn noise(&self, source: &mut NoiseSource, count: usize) -> Result<Tensor<4>, Error> {
        Ok(source.initial(self.shape(count), &self.device)?)
    }

    /// Standard normal noise as x where the plan starts, `[B, H, W, C]`.
    pub(crate) fn start(&self, plan: &Plan, noise: Tensor<4>) -> Tensor<4> {
        let first = plan.stages().first().map(|stage| stage.lift.map_or(stage.at, |lift| lift.from));
        let std = first.map_or(1.0, |level| self.diffusion.process.prior_std(level));
        if std == 1.0 { noise } else { noise * std }
    }

    /// A picture as the network takes it, `[1, H, W, C]`.
    ///
    /// # Errors
    /// A file that is no picture, a model that does not draw grey or colours.
    pub(crate) fn load(&self, path: &Path) -> Result<Tensor<4>, Error> {
        self.load_at(path, self.size)
    }

    /// The same at another size.
    ///
    /// # Errors
    /// As [`Canvas::load`].
    pub(crate) fn load_at(&self, path: &Path, size: ImageSize) -> Result<Tensor<4>, Error> {
        let form = match self.channels {
            1 => Channels::Grey,
            3 => Channels::Rgb,
            other => {
                return Err(Error::value("the model's number of channels", other, "1 or 3, to start from pictures"));
            }
        };
        Ok(self.tensor(load_image(path, Some(size), form, [255; 3])?))
    }

    /// `[1, H, W, C]`.
    pub(crate) fn tensor(&self, image: LoadedImage) -> Tensor<4> {
        let [h, w, c] = image.shape;
        Tensor::from_data(TensorData::new(image.pixels, [1, h, w, c]), &self.device)
    }
}

/// At most [`BATCH`] pictures, fewer where half of what memory is left would not hold their activations.
pub(crate) fn batch_that_fits(network: &DiffusionNetworkConfig, size: ImageSize, precision: Precision) -> usize {
    match (network.cost(size), available_memory()) {
        (Ok(cost), Some(bytes)) => {
            auto_micro_batch(BATCH, precision.of_f32_bytes(cost.sampling_bytes) as u64, bytes / 2)
        }
        _ => BATCH,
    }
}

/// The network in this precision, to be sampled from on `device`.
///
/// # Errors
/// A precision that the network or the device does not have.
pub(crate) fn in_precision(
    network: &DiffusionNetwork,
    precision: Precision,
    device: &Device,
) -> Result<DiffusionNetwork, Error> {
    let there = precision == Precision::F32 || difusi_ops::has_kernels(device);
    let network = network.clone().with_precision(precision).filter(|_| there);
    network
        .ok_or_else(|| Error::value("sample.precision", precision, "f32 on this device; there is bf16 on the CPU only"))
}

/// `[B, H, W, C]` in `[-1, 1]` to pictures.
pub fn pictures(x: Tensor<4>) -> Vec<Picture> {
    let [_, h, w, c] = x.dims();
    let values: Vec<f32> = x.into_data().iter::<f32>().collect();
    Picture::from_batch(ImageSize { height: h, width: w }, c, &values).unwrap_or_default()
}
