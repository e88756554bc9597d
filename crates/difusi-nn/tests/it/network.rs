//! What must hold of the network whatever its weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Tensor};
use difusi_core::{Dropout, ImageSize, Inputs, Network, Noise, Precision};
use difusi_nn::{NnError, Unet, UnetConfig, params};

use crate::support::{distance, images, times, tiny};

fn inputs(batch: usize) -> Inputs {
    Inputs::new(images(batch, &Device::flex()), times(batch, &Device::flex()))
}

/// Splitting a batch changes nothing.
#[test]
fn batches_split() {
    let net = tiny().init(Noise::new(1), &Device::flex()).unwrap();
    let Inputs { x, t, .. } = inputs(5);
    let whole = net.forward(inputs(5));
    let part = |from: usize, count: usize| {
        net.forward(Inputs::new(x.clone().narrow(0, from, count), t.clone().narrow(0, from, count)))
    };
    assert!(distance(&whole, &Tensor::cat(vec![part(0, 1), part(1, 3), part(4, 1)], 0)) < 1e-5);
}

/// Output shape, and images that do not fit.
#[test]
fn shapes() {
    let config = UnetConfig { learned_variance: true, dim_mults: vec![1, 2, 2], ..tiny() };
    let net = config.init(Noise::new(1), &Device::flex()).unwrap();
    assert_eq!(net.forward(inputs(2)).dims(), [2, 8, 8, 2]);
    let refused = |inputs: Inputs, parts: &[&str]| {
        let text = net.check_inputs(&inputs).unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let x = images(2, &Device::flex());
    refused(Inputs { x: x.clone().narrow(1, 0, 6), ..inputs(2) }, &["`x`", "[2, 6, 8, 1]", "divisible by 4"]);
    refused(Inputs { x: x.clone().repeat_dim(3, 3), ..inputs(2) }, &["`x`", "[2, 8, 8, 3]", "[B, H, W, 1]"]);
    refused(Inputs { t: times(3, &Device::flex()), ..inputs(2) }, &["`t`", "[3]", "[2]"]);
    refused(Inputs { x_self_cond: Some(x.narrow(0, 0, 1)), ..inputs(2) }, &["`x_self_cond`", "[1, 8, 8, 1]"]);
}

/// Without an estimate, a self-conditioning network receives zeros; with one, the output changes.
#[test]
fn self_condition() {
    let net = UnetConfig { self_condition: true, ..tiny() }.init(Noise::new(1), &Device::flex()).unwrap();
    assert!(net.self_condition());
    let with = |estimate: Tensor<4>| net.forward(Inputs { x_self_cond: Some(estimate), ..inputs(2) });
    let without = net.forward(inputs(2));
    assert_eq!(distance(&without, &with(inputs(2).x.zeros_like())), 0.0);
    assert!(distance(&without, &with(inputs(2).x)) > 1e-3);
}

/// Fourier features: wider first convolution, everything else as it was; they tell pixels of one byte's difference apart.
#[test]
fn fourier_features() {
    let config = UnetConfig { fourier: vec![7, 8], ..tiny() };
    assert_eq!((config.input_channels(), tiny().input_channels()), (5, 1));
    let (own, plain) = (config.parameters().unwrap(), tiny().parameters().unwrap());
    let same = own.iter().zip(&plain).filter(|(a, b)| a.shape == b.shape && a.name == b.name).count();
    assert_eq!((own.len(), same), (plain.len(), plain.len() - 1));
    assert_eq!(own[0].shape[1], 5);
    let change = |config: &UnetConfig| {
        let net = config.init(Noise::new(1), &Device::flex()).unwrap();
        let nudged = Inputs { x: inputs(2).x + 2.0 / 255.0, ..inputs(2) };
        distance(&net.forward(inputs(2)), &net.forward(nudged))
    };
    assert!(change(&config) > 10.0 * change(&tiny()), "{} {}", change(&config), change(&tiny()));
    let both = UnetConfig { self_condition: true, ..config };
    assert_eq!(both.input_channels(), 6);
    let net = both.init(Noise::new(1), &Device::flex()).unwrap();
    let zeros = net.forward(Inputs { x_self_cond: Some(inputs(2).x.zeros_like()), ..inputs(2) });
    assert_eq!(distance(&net.forward(inputs(2)), &zeros), 0.0);
    for fourier in [vec![8, 7], vec![7, 7], vec![13]] {
        assert_eq!(UnetConfig { fourier, ..tiny() }.check()[0].key, "fourier");
    }
}

/// Masks follow from the noise alone; none without noise; what is dropped is made up for by scale.
#[test]
fn dropout() {
    let net = UnetConfig { dropout: 0.2, ..tiny() }.init(Noise::new(1), &Device::flex()).unwrap();
    let masks = |seed, first_image| Some(Dropout { noise: Noise::new(seed), first_image });
    let with = |seed, batch| net.forward(Inputs { dropout: masks(seed, 0), ..inputs(batch) });
    assert_eq!(distance(&with(1, 3), &with(1, 3)), 0.0);
    assert!(distance(&with(1, 3), &with(2, 3)) > 1e-3);
    assert!(distance(&with(1, 3).narrow(0, 0, 2), &with(1, 2)) < 1e-5, "a mask does not depend on the batch size");
    let Inputs { x, t, .. } = inputs(3);
    let second = Inputs { dropout: masks(1, 1), ..Inputs::new(x.narrow(0, 1, 2), t.narrow(0, 1, 2)) };
    assert!(distance(&with(1, 3).narrow(0, 1, 2), &net.forward(second)) < 1e-5, "nor on how batches are cut");
    let plain = tiny().init(Noise::new(1), &Device::flex()).unwrap();
    assert_eq!(distance(&net.forward(inputs(3)), &plain.forward(inputs(3))), 0.0);
    let no_dropout = plain.forward(Inputs { dropout: masks(1, 0), ..inputs(3) });
    assert_eq!(distance(&plain.forward(inputs(3)), &no_dropout), 0.0);
}

/// In bf16 the network computes what it does in f32 up to the rounding of its activations, dropout and estimates included.
#[test]
fn bf16_is_near_f32() {
    let config = UnetConfig { self_condition: true, dropout: 0.2, ..tiny() };
    let net = config.init(Noise::new(1), &Device::flex()).unwrap();
    assert_eq!(net.precision(), Precision::F32);
    let half = net.clone().with_precision(Precision::Bf16).unwrap();
    let given = || Inputs {
        dropout: Some(Dropout { noise: Noise::new(1), first_image: 0 }),
        x_self_cond: Some(inputs(3).x * 0.5),
        ..inputs(3)
    };
    let (y, z) = (net.forward(given()), half.forward(given()));
    assert_eq!(z.dtype(), DType::F32);
    let size = distance(&y, &y.zeros_like());
    assert!((1e-5..0.03).contains(&(distance(&y, &z) / size)), "{} of {size}", distance(&y, &z));
    assert_eq!(distance(&y, &half.with_precision(Precision::F32).unwrap().forward(given())), 0.0);
}

/// The gradients of the weights are f32 and near those of f32 activations.
#[test]
fn bf16_gradients_are_near_f32() {
    let device = Device::flex().autodiff();
    let gradients = |precision: Precision| {
        let net = tiny().init(Noise::new(1), &device).unwrap().with_precision(precision).unwrap();
        let x = images(4, &device);
        let gradients = (net.forward(Inputs::new(x.clone(), times(4, &device))) - x).square().mean().backward();
        let mut all = Collect { gradients: &gradients, found: vec![] };
        net.visit(&mut all);
        all.found
    };
    for (a, b) in gradients(Precision::F32).iter().zip(&gradients(Precision::Bf16)) {
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let (apart, size) = (norm(&mut a.iter().zip(b).map(|(a, b)| a - b)), norm(&mut a.iter().copied()));
        assert!(apart < 0.05 * size + 1e-5, "{apart} of {size}, {} values", a.len());
    }
}

/// The gradient of every parameter.
struct Collect<'a> {
    gradients: &'a Gradients,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).expect("every weight takes part");
        self.found.push(gradient.into_data().try_to_vec().expect("f32"));
    }
}

/// Plain gradient descent.
struct Descent<'a> {
    gradients: &'a Gradients,
    rate: f64,
    without: usize,
}

impl ModuleMapper for Descent<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad(self.gradients) else {
            self.without += 1;
            return param;
        };
        let rate = self.rate;
        param.map(|value| Tensor::from_inner(value.inner() - gradient * rate).require_grad())
    }
}

/// Every parameter has a gradient, and following it lowers the loss.
#[test]
fn gradients_flow() {
    let device = Device::flex().autodiff();
    let mut net: Unet = UnetConfig { dropout: 0.1, ..tiny() }.init(Noise::new(1), &device).unwrap();
    let mut losses = vec![];
    for _ in 0..6 {
        let x = images(4, &device);
        let dropout = Some(Dropout { noise: Noise::new(5), first_image: 0 });
        let inputs = Inputs { dropout, ..Inputs::new(x.clone(), times(4, &device)) };
        let loss = (net.forward(inputs) - x).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = loss.backward();
        let mut descent = Descent { gradients: &gradients, rate: 0.01, without: 0 };
        net = net.map(&mut descent);
        assert_eq!(descent.without, 0);
    }
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]) && losses[5] < 0.8 * losses[0], "{losses:?}");
}

/// The description adds up to the network, and ends with its output.
#[test]
fn description() {
    let config = UnetConfig { dim_mults: vec![1, 2, 4], channels: 1, ..UnetConfig::new(32) };
    let size = ImageSize { height: 32, width: 16 };
    let layers = config.describe(size).unwrap();
    assert_eq!(layers.iter().map(|l| l.parameters).sum::<usize>(), 2_607_681);
    assert_eq!(config.init(Noise::new(0), &Device::flex()).unwrap().num_params(), 2_607_681);
    let output = |name: &str| layers.iter().find(|l| l.name == name).unwrap().output.clone();
    assert_eq!(output("downs.1.2"), [16, 8, 32]);
    assert_eq!(output("mid_attn"), [8, 4, 128]);
    assert_eq!(output("ups.1.3"), [32, 16, 32]);
    assert_eq!(output("time_mlp"), [128]);
    assert_eq!(layers.last().unwrap().output, [32, 16, 1]);
    let cost = config.cost(size).unwrap();
    assert_eq!(cost.parameters, 2_607_681);
    assert!(cost.sampling_bytes < cost.training_bytes / 2);
    let gflop = |config: &UnetConfig, side| config.cost(ImageSize::square(side)).unwrap().forward_flops as f64 / 1e9;
    assert!((gflop(&config, 32) / 0.845 - 1.0).abs() < 0.002, "{}", gflop(&config, 32));
    assert!((gflop(&UnetConfig::new(64), 64) / 14.6 - 1.0).abs() < 0.005, "{}", gflop(&UnetConfig::new(64), 64));
    let NnError::Config(issues) = config.describe(ImageSize::square(30)).unwrap_err() else { panic!() };
    assert!(issues[0].to_string().contains("`size` is 30x30; expected a height and a width divisible by 4"));
    assert!(params::named_parameters(&config.init(Noise::new(0), &Device::flex()).unwrap()).len() > 100);
}
