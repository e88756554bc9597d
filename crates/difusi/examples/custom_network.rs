//! A network of your own through the same two seams: an MLP that learns a spiral of points in the plane.
//!
//! A point is an image of one pixel with two channels, so everything that trains and samples pictures works on it.
//! Writes a picture of the data, the learned density and the sampling trajectories.
//! `cargo run --release -p difusi --example custom_network -- custom_network.png [STEPS]`

#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use difusi::core::{Cond, Dataset, Draw, Example, Inputs, Network, Noise, Stream};
use difusi::process::{DiffusionConfig, NetworkDenoiser, NoiseSource, SampleConfig, Sampler, Solver, Threshold};
use difusi::store::plot::{Axis, Chart, Figure, Mark, Series};
use difusi::train::{DiffusionObjective, TrainConfig, Trainer};

/// Width of the hidden layers, and of the time embedding.
const WIDTH: usize = 96;

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Param<Tensor<2>>>,
}

impl Mlp {
    fn new(noise: Noise, device: &Device) -> Self {
        let sizes = [2 + WIDTH, WIDTH, WIDTH, WIDTH, 2];
        let layer = |(i, s): (usize, &[usize])| {
            let values = noise.normal(Draw::Weights, i as u64..i as u64 + 1, 0, s[0] * s[1]);
            let scale = (2.0 / s[0] as f64).sqrt();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [s[0], s[1]]), device) * scale)
        };
        Self { layers: sizes.windows(2).enumerate().map(layer).collect() }
    }
}

impl Network for Mlp {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let [batch, ..] = inputs.x.dims();
        let rates: Vec<f32> = (0..WIDTH / 2).map(|i| 0.5 * (-(i as f32) / 6.0).exp()).collect();
        let rates = Tensor::<2>::from_data(TensorData::new(rates, [1, WIDTH / 2]), &inputs.x.device());
        let phase = inputs.t.reshape([batch, 1]).matmul(rates); // [B, WIDTH / 2]
        let mut h = Tensor::cat(vec![inputs.x.reshape([batch, 2]), phase.clone().sin(), phase.cos()], 1);
        for (i, layer) in self.layers.iter().enumerate() {
            h = h.matmul(layer.val());
            h = if i + 1 < self.layers.len() { silu(h) } else { h };
        }
        h.reshape([batch, 1, 1, 2])
    }
}

/// Two arms of a spiral, without end.
struct Spiral;

impl Dataset for Spiral {
    fn count(&self) -> u64 {
        u64::MAX
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, 2]
    }

    fn classes(&self) -> Option<u32> {
        None
    }

    fn get(&self, index: u64, _: &mut Stream) -> Result<Example, Box<dyn std::error::Error + Send + Sync>> {
        let mut s = Noise::new(7).stream(Draw::Synthetic, index, 0);
        let turn = s.uniform().sqrt() * 3.0 * std::f64::consts::PI;
        let arm = if index.is_multiple_of(2) { 1.0 } else { -1.0 };
        let point = [turn.cos(), turn.sin()].map(|v| (arm * v * turn / 10.0) as f32 + 0.02 * s.normal());
        Ok(Example { pixels: point.to_vec(), label: None })
    }
}

fn points(x: Tensor<4>) -> Vec<[f64; 2]> {
    let values: Vec<f32> = x.into_data().iter::<f32>().collect();
    values.chunks(2).map(|p| [f64::from(p[0]), f64::from(p[1])]).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "custom_network.png".into());
    let steps = args.next().map_or(Ok(3000), |s| s.parse())?;

    let diffusion = DiffusionConfig { timesteps: 100, ..DiffusionConfig::default() }.build()?;
    let objective = DiffusionObjective::new(diffusion.clone());
    let config = TrainConfig { steps, batch_size: 256, learning_rate: 2e-3, ..TrainConfig::default() };
    let network = Mlp::new(Noise::new(0), &Device::flex());
    let mut trainer = Trainer::new(config, objective, network, Arc::new(Spiral), &Device::flex())?;
    for report in trainer.by_ref() {
        let report = report?;
        if report.step.is_multiple_of(500) {
            println!("step {} loss {:.4}", report.step, report.loss);
        }
    }

    let network = trainer.ema(0)?;
    let choices = SampleConfig { solver: Solver::Ddim { eta: 0.0 }, ..SampleConfig::default() };
    let plan = diffusion.plan(&choices)?;
    let denoiser = NetworkDenoiser::new(&network, &diffusion, Threshold::None {});
    let mut source = NoiseSource::counter(0, 0);
    let start = source.initial([3000, 1, 1, 2], &Device::flex())?;
    let mut frames = vec![points(start.clone())];
    for step in Sampler::new(&denoiser, &plan, start, source, Cond::None) {
        frames.push(points(step?.x));
    }
    draw(Path::new(&path), &frames)?;
    println!("{path}");
    Ok(())
}

/// Data, samples, and the ways of thirty points.
fn draw(path: &Path, frames: &[Vec<[f64; 2]>]) -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = Noise::new(0).stream(Draw::Augment, 0, 0);
    let data = (0..3000).map(|i| Spiral.get(i, &mut stream).map(|e| [e.pixels[0].into(), e.pixels[1].into()]));
    let data: Vec<[f64; 2]> = data.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let axis = |name| Axis::linear(name).within(-2.5, 2.5);
    let chart = |title: &str| Chart::new(title, axis("x"), axis("y")).equal_aspect();
    let last = frames.last().cloned().unwrap_or_default();
    let ways = (0..30).map(|i| frames.iter().map(|f| f[i]).collect::<Vec<_>>());
    let ways: Vec<Series> = ways.map(|way| Series::line("", way).coloured([120, 120, 160])).collect();
    let trajectories = Chart { series: ways, ..chart("30 trajectories of DDIM") };
    let ends = last.iter().take(30).copied().collect();
    Figure::new(vec![
        chart("Data").with(Series::line("", data).marked(Mark::Dots)),
        chart("Samples").with(Series::line("", last).marked(Mark::Dots)),
        trajectories.with(Series::line("", ends).marked(Mark::Dots)),
    ])
    .write(path)?;
    Ok(())
}
