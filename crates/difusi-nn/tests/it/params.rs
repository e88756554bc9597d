//! Parameters by name: out and in again, and every reason not to take them in.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use difusi_core::{Inputs, Network, Noise};
use difusi_nn::layers::TimeFrequencies;
use difusi_nn::{NnError, Weight, WeightIssues, params};

use crate::support::{distance, images, times, tiny};

/// What goes out comes in, bit for bit, also into a network of other initial weights on an autodiff device.
#[test]
fn export_import() {
    let device = Device::flex();
    let net = tiny().init(Noise::new(1), &device).unwrap();
    let weights = params::export(&net);
    let other = tiny().init(Noise::new(2), &device.clone().autodiff()).unwrap();
    let copy = params::import(other, weights.clone()).unwrap();
    assert_eq!(params::export(&copy), weights);
    let inputs = Inputs::new(images(2, &device), times(2, &device));
    assert_eq!(distance(&net.forward(inputs.clone()), &copy.valid().forward(inputs)), 0.0);
}

/// One error names all that is wrong.
#[test]
fn import_names_everything() {
    let net = tiny().init(Noise::new(1), &Device::flex()).unwrap();
    let mut weights = params::export(&net);
    weights.retain(|w| w.name != "downs.0.2.norm.g" && w.name != "final_conv.bias");
    weights[0] = Weight { name: "init_conv.weight".into(), shape: vec![8, 1, 3, 3], values: vec![0.0; 72] };
    weights.push(weights[1].clone());
    weights.push(Weight { name: "extra".into(), shape: vec![1], values: vec![0.0] });
    let Err(error) = params::import(net, weights) else { panic!("accepted") };
    let NnError::Weights(issues) = &error else { panic!("{error}") };
    let WeightIssues { unknown, missing, repeated, shapes } = &**issues;
    assert_eq!((unknown.as_slice(), missing.len(), repeated.len(), shapes.len()), (&["extra".to_owned()][..], 2, 1, 1));
    let text = error.to_string();
    for part in [
        "unknown: extra",
        "2 missing: downs.0.2.norm.g, final_conv.bias",
        "repeated: init_conv.bias",
        "`init_conv.weight` has shape [8, 1, 3, 3]; expected [8, 1, 7, 7]",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

/// Initial weights depend on the seed and on names alone, and have PyTorch's spread.
#[test]
fn initial_weights() {
    let export =
        |config: difusi_nn::UnetConfig, seed| params::export(&config.init(Noise::new(seed), &Device::flex()).unwrap());
    let (a, b, c) = (export(tiny(), 1), export(tiny(), 1), export(tiny(), 2));
    assert_eq!(a, b);
    assert_ne!(a, c);
    let deeper = export(difusi_nn::UnetConfig { dim_mults: vec![1, 2, 2], ..tiny() }, 1);
    let same = |w: &&Weight| deeper.iter().any(|d| d.name == w.name && d.values == w.values);
    assert_eq!(a.iter().filter(|w| w.name.starts_with("downs.0.")).filter(same).count(), 24, "all of that stage");

    let weight = |name: &str| a.iter().find(|w| w.name == name).unwrap();
    let conv = weight("downs.0.0.block1.proj.weight"); // uniform within 1 / sqrt(72): deviation 1 / sqrt(3 * 72)
    let rms = (conv.values.iter().map(|v| v * v).sum::<f32>() / conv.values.len() as f32).sqrt();
    let largest = conv.values.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(
        (rms * 216f32.sqrt() - 1.0).abs() < 0.1 && largest <= 72f32.powf(-0.5) && largest > 0.95 * 72f32.powf(-0.5)
    );
    assert!(weight("downs.0.0.block1.norm.g").values.iter().all(|v| *v == 1.0));
    let bits: Vec<u32> = conv.values[..2].iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, INITIAL_BITS, "the same bits on every machine");
}

/// Computed apart, in Python, from the definitions of Philox, FNV-1a and the uniform.
const INITIAL_BITS: [u32; 2] = [1_023_208_483, 1_029_831_376];

/// Only random frequencies stay as they are, on any device.
#[test]
fn frozen() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let frozen = |time| {
            let config = difusi_nn::UnetConfig { time, ..tiny() };
            params::frozen_parameters(&config.init(Noise::new(1), &device).unwrap())
        };
        assert_eq!(frozen(TimeFrequencies::RandomFourier { dim: 4 }), ["time_mlp.0.weights"]);
        assert!(frozen(TimeFrequencies::Learned { dim: 4 }).is_empty());
    }
}

#[derive(Module, Debug)]
enum Part {
    Vector(Param<Tensor<1>>),
}

#[derive(Module, Debug)]
struct Own {
    parts: Vec<Part>,
    last: Option<Param<Tensor<2>>>,
}

/// Any module's parameters have names; an enum's variant is not part of one.
#[test]
fn any_module() {
    let device = Device::flex();
    let part = |n: usize| Part::Vector(Param::from_tensor(Tensor::ones([n], &device)));
    let own = Own { parts: vec![part(1), part(2)], last: Some(Param::from_tensor(Tensor::ones([2, 3], &device))) };
    let names: Vec<_> = params::named_parameters(&own).into_iter().map(|p| (p.name, p.shape)).collect();
    assert_eq!(names, [("parts.0".into(), vec![1]), ("parts.1".into(), vec![2]), ("last".into(), vec![2, 3])]);
}
