//! A GPU does what the processor does: the `digits` preset's network, its gradients, training and sampling, on tiny pictures.
//!
//! The device is `$DIFUSI_TEST_DEVICE` (as `--device`), or else the first one of this build that opens. Where none does the reason
//! is printed and the test passes; a device that the variable names must open.
#![cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use difusi::core::{Draw, Inputs, Network, Noise};
use difusi::nn::Unet;
use difusi::store::HostTensor;
use difusi::{
    Device, DeviceChoice, Model, ModelConfig, OpenModel, PredictIo, Run, RunConfig, RunOptions, Sampler,
    SamplerOptions, predict, presets,
};

/// Pictures of this height and width: the smallest that is still 2x2 at the network's bottom.
const SIZE: usize = 8;

/// The device to hold against the processor.
struct Gpu {
    device: Device,
    /// How far its output may be from the processor's, relative to the largest value.
    rounding: f64,
}

fn gpu() -> Option<Gpu> {
    // SPIR-V and CUDA may multiply on tensor cores, whose operands have 10 bits after the point.
    let rounding = |choice| if choice == DeviceChoice::Wgpu { 1e-4 } else { 1e-2 };
    if let Ok(name) = std::env::var("DIFUSI_TEST_DEVICE") {
        let choice = name.parse::<DeviceChoice>().unwrap();
        return Some(Gpu { device: choice.open().unwrap(), rounding: rounding(choice) });
    }
    let all = [DeviceChoice::Wgpu, DeviceChoice::Vulkan, DeviceChoice::Cuda { index: 0 }];
    for choice in all.into_iter().filter(|c| c.is_built()) {
        match choice.open() {
            Ok(device) => {
                eprintln!("on {choice}: {:?}", device.identity().map(|i| i.name));
                return Some(Gpu { device, rounding: rounding(choice) });
            }
            Err(e) => eprintln!("skipped: {e}"),
        }
    }
    None
}

fn digits(overrides: &[&str]) -> RunConfig {
    let size = format!("data.size=[{SIZE}, {SIZE}]");
    let overrides: Vec<String> = std::iter::once(size).chain(overrides.iter().map(|s| (*s).to_owned())).collect();
    RunConfig::parse_with(presets::get("digits").unwrap(), &overrides).unwrap()
}

fn network(device: &Device) -> Unet {
    let ModelConfig::Unet(unet) = digits(&[]).task.model() else { panic!("digits is no U-Net") };
    unet.init(Noise::new(3), device).unwrap()
}

fn normal(images: u64, device: &Device) -> Tensor<4> {
    let values = Noise::new(5).normal(Draw::Target, 0..images, 0, SIZE * SIZE);
    Tensor::from_data(TensorData::new(values, [images as usize, SIZE, SIZE, 1]), device)
}

/// Largest difference over the largest value.
fn difference(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let largest = wanted.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
    got.iter().zip(wanted).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max) / largest.max(1e-12)
}

/// The gradients of a module's weights, in its order.
struct Collect<'a> {
    gradients: &'a Gradients,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).unwrap();
        self.found.push(gradient.into_data().iter::<f32>().collect());
    }
}

/// Output and gradients of the mean square, for two pictures.
fn pass(device: &Device) -> (Vec<f32>, Vec<Vec<f32>>) {
    let device = device.clone().autodiff();
    let network = network(&device);
    let t = Tensor::from_data([3.0f32, 700.0], &device);
    let y = network.forward(Inputs::new(normal(2, &device), t));
    let gradients = y.clone().square().mean().backward();
    let mut collect = Collect { gradients: &gradients, found: Vec::new() };
    network.visit(&mut collect);
    (y.into_data().iter::<f32>().collect(), collect.found)
}

#[test]
fn the_same_output_and_gradients() {
    let Some(Gpu { device, rounding }) = gpu() else { return };
    let ((y, gradients), (wanted_y, wanted)) = (pass(&device), pass(&Device::flex()));
    eprintln!("outputs differ by {:.1e}", difference(&y, &wanted_y));
    assert!(difference(&y, &wanted_y) < rounding);
    let largest = wanted.iter().flatten().fold(0.0, |m: f32, v| m.max(v.abs()));
    assert_eq!(gradients.len(), wanted.len());
    for (i, (got, wanted)) in gradients.iter().zip(&wanted).enumerate() {
        // Where a gradient is a sum that cancels, its rounding is that of what was summed.
        let bound = 10.0 * rounding as f32 * wanted.iter().fold(1e-3 * largest, |m, v| m.max(v.abs()));
        let worst = got.iter().zip(wanted).fold(0.0, |m: f32, (a, b)| m.max((a - b).abs()));
        assert!(worst < bound, "gradient {i} of {} weights: {worst} against {bound}", wanted.len());
    }
}

/// Losses of a few steps, and the model they leave.
fn train(folder: &Path, device: &Device) -> Vec<f64> {
    let overrides = ["train.steps=4", "train.batch_size=4", "train.sample_every=0", "sample.count=2", "sample.steps=2"];
    let mut run = Run::open(RunOptions::new(digits(&overrides), folder), device).unwrap();
    let mut losses = Vec::new();
    while let Some(report) = run.step(&mut |_| {}).unwrap() {
        losses.push(report.loss);
    }
    run.finish(&mut |_, _| {}).unwrap();
    losses
}

fn open(folder: &Path, device: &Device) -> Model {
    OpenModel::new(folder).open(device).unwrap()
}

/// Trained on the device: the processor's losses; sampled on both from one file: the same pictures; predicted: the same numbers.
#[test]
fn training_sampling_and_prediction() {
    let Some(Gpu { device, rounding }) = gpu() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (ours, cpus) = (dir.path().join("gpu"), dir.path().join("cpu"));
    let (losses, wanted) = (train(&ours, &device), train(&cpus, &Device::flex()));
    assert_eq!(losses.len(), 4);
    for (a, b) in losses.iter().zip(&wanted) {
        assert!((a - b).abs() < 10.0 * rounding * b, "{losses:?}, {wanted:?}");
    }
    let on = |device: &Device| {
        let model = open(&ours, device);
        let mut options = SamplerOptions { count: 3, seed: 1, ..SamplerOptions::of(&model) };
        options.config.steps = 3;
        let pictures = Sampler::new(&model, options, device).unwrap().all().unwrap();
        let x = normal(2, &Device::flex()).into_data().iter::<f32>().collect();
        let x = HostTensor::f32(vec![2, 1, SIZE, SIZE], x).unwrap();
        let io = PredictIo { x, t: vec![0.0, 999.0], x_self_cond: None, labels: vec![] };
        let bytes: Vec<u8> = pictures.iter().flat_map(|p| p.pixels().to_vec()).collect();
        (bytes, predict(&model, &io, device).unwrap().to_f32())
    };
    let ((bytes, y), (wanted_bytes, wanted_y)) = (on(&device), on(&Device::flex()));
    assert_eq!(bytes.len(), 3 * SIZE * SIZE);
    let worst = bytes.iter().zip(&wanted_bytes).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    eprintln!(
        "losses {losses:?}, {wanted:?}; pictures differ by {worst}, predictions by {:.1e}",
        difference(&y, &wanted_y)
    );
    assert!(f64::from(worst) <= (2550.0 * rounding).max(1.0));
    assert!(difference(&y, &wanted_y) < rounding);
}

/// Opening it again gives the same device.
#[test]
fn opened_twice() {
    let choice = [DeviceChoice::Wgpu, DeviceChoice::Vulkan, DeviceChoice::Cuda { index: 0 }];
    let Some(choice) = choice.into_iter().find(|c| c.is_built()) else { return };
    match choice.open() {
        Ok(device) => assert_eq!(choice.open().unwrap(), device),
        Err(e) => eprintln!("skipped: {e}"),
    }
}
