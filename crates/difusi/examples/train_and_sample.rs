//! Network, diffusion, loss, sample: the four lines everything here is made of.
//!
//! `cargo run --release -p difusi --example train_and_sample`

#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use difusi::core::{Batch, Cond, Draw, Noise};
use difusi::nn::UnetConfig;
use difusi::process::{DiffusionConfig, NetworkDenoiser, NoiseSource, Position, SampleConfig, sample};
use difusi::{Device, Tensor, TensorData};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (device, noise) = (Device::flex().autodiff(), Noise::new(0));
    let config = UnetConfig { dim_mults: vec![1, 2], channels: 3, ..UnetConfig::new(16) };
    let network = config.init(noise, &device)?;
    let diffusion = DiffusionConfig::default().build()?;

    // Images are [B, H, W, C] in [-1, 1]; here they are noise.
    let images = TensorData::new(noise.normal(Draw::Synthetic, 0..4, 0, 32 * 32 * 3), [4, 32, 32, 3]);
    let batch = Batch { x: Tensor::from_data(images, &device), cond: Cond::None };
    let inputs = diffusion.draw(batch, noise, Position { step: 0, images_seen: 0, images_per_step: 4 });
    let loss = diffusion.training_loss(&network, inputs)?.mean();
    println!("loss {:.4}", loss.clone().into_scalar::<f32>());
    let _gradients = loss.backward();

    // After a lot of training.
    let plan = diffusion.plan(&SampleConfig { steps: 10, ..SampleConfig::default() })?;
    let choices = SampleConfig::default();
    let network = burn::module::Module::valid(&network);
    let denoiser = NetworkDenoiser::new(&network, &diffusion, choices.threshold);
    let mut source = NoiseSource::counter(0, 0);
    let start = source.initial([4, 32, 32, 3], &Device::flex())?;
    let images = sample(&denoiser, &plan, start, source, Cond::None)?;
    println!("samples {:?}", images.dims());
    Ok(())
}
