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
use difusi::train::{DiffusionObjective, LearningRateSchedule, TrainConfig, Trainer};

/// Width of the hidden layers.
const WIDTH: usize = 128;
/// Frequencies of the place and of the time that the first layer sees.
const PLACES: [f32; 4] = [1.0, 2.0, 4.0, 8.0];
const TIMES: [f32; 6] = [0.03, 0.06, 0.12, 0.25, 0.5, 1.0];

/// Fully connected layers: weight `[in, out]` and bias `[out]`.
#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<(Param<Tensor<2>>, Param<Tensor<1>>)>,
}

impl Mlp {
    fn new(noise: Noise, device: &Device) -> Self {
        let sizes = [2 + 4 * PLACES.len() + 2 * TIMES.len(), WIDTH, WIDTH, WIDTH, 2];
        let layer = |(i, s): (usize, &[usize])| {
            let values = noise.normal(Draw::Weights, i as u64..i as u64 + 1, 0, s[0] * s[1]);
            let weight = Tensor::from_data(TensorData::new(values, [s[0], s[1]]), device);
            (Param::from_tensor(weight * (1.5 / s[0] as f64).sqrt()), Param::from_tensor(Tensor::zeros([s[1]], device)))
        };
        Self { layers: sizes.windows(2).enumerate().map(layer).collect() }
    }
}

impl Network for Mlp {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let [batch, ..] = inputs.x.dims();
        let (x, t) = (inputs.x.reshape([batch, 2]), inputs.t.reshape([batch, 1]));
        let places = PLACES.map(|rate| x.clone() * rate);
        let times = TIMES.map(|rate| t.clone() * rate);
        let waves = places.into_iter().chain(times).flat_map(|phase| [phase.clone().sin(), phase.cos()]);
        let mut h = Tensor::cat(std::iter::once(x).chain(waves).collect(), 1);
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            h = h.matmul(weight.val()) + bias.val().unsqueeze();
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
        let turn = 1.0 + s.uniform().sqrt() * 2.0 * std::f64::consts::PI;
        let arm = if index.is_multiple_of(2) { 1.0 } else { -1.0 };
        let point = [turn.cos(), turn.sin()].map(|v| (arm * v * turn / 6.0) as f32 + 0.03 * s.normal());
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
    let steps = args.next().map_or(Ok(4000), |s| s.parse())?;

    let diffusion = DiffusionConfig { timesteps: 100, ..DiffusionConfig::default() }.build()?;
    let objective = DiffusionObjective::new(diffusion.clone());
    let config = TrainConfig { steps, batch_size: 512, learning_rate: 3e-3, ..TrainConfig::default() };
    let config =
        TrainConfig { learning_rate_schedule: LearningRateSchedule::Cosine { final_fraction: 0.02 }, ..config };
    let network = Mlp::new(Noise::new(0), &Device::flex());
    let mut trainer = Trainer::new(config, objective, network, Arc::new(Spiral), &Device::flex())?;
    for report in trainer.by_ref() {
        let report = report?;
        if report.step.is_multiple_of(500) {
            println!("step {} loss {:.4}", report.step, report.loss);
        }
    }

    let network = trainer.ema(0)?;
    let choices = SampleConfig { solver: Solver::ddim(0.0), ..SampleConfig::default() };
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
        chart("Learned density").with(Series::line("", last).marked(Mark::Dots)),
        trajectories.with(Series::line("", ends).marked(Mark::Dots)),
    ])
    .write(path)?;
    Ok(())
}
