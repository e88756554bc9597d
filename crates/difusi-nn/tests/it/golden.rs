//! Against numbers of denoising-diffusion-pytorch 2.3.4, made by xtask/golden/unet_golden.py.

use burn::tensor::Device;
use difusi_core::{Inputs, Network, Noise};
use difusi_nn::{Unet, Weight, params};
use serde_json::Value;

use crate::support::{File, config, distance, formula, golden};

fn build(args: &Value, weights: impl FnOnce(&Unet) -> Vec<Weight>) -> Unet {
    let net = config(args).init(Noise::new(0), &Device::flex()).unwrap();
    let weights = weights(&net);
    params::import(net, weights).unwrap()
}

/// Prints and bounds the distance between our output and the package's.
fn check(net: &Unet, file: &File, prefix: &str) {
    let key = |name: &str| format!("{prefix}{name}");
    let mut inputs = Inputs::new(file.image(&key("x")), file.vector(&key("t")));
    inputs.x_self_cond = file.tensors.contains_key(&key("x_self_cond")).then(|| file.image(&key("x_self_cond")));
    net.check_inputs(&inputs).unwrap();
    let gap = distance(&net.forward(inputs), &file.image(&key("y")));
    println!("{prefix:24} max |y - y'| = {gap:.1e}");
    assert!(gap < 2e-5, "{prefix}: {gap}"); // 1e-4 is what is promised
}

/// Weights that the package made.
#[test]
fn package_weights() {
    for name in ["unet_made_124.safetensors", "unet_made_1248.safetensors"] {
        let file = File::read(name);
        let args = serde_json::from_str(&file.metadata["unet"]).unwrap();
        let weights = |_: &Unet| {
            let own = file.tensors.values().filter_map(|w| Some((w.name.strip_prefix("weights/")?, w)));
            own.map(|(name, w)| Weight { name: name.to_owned(), ..w.clone() }).collect()
        };
        check(&build(&args, weights), &file, "");
    }
}

/// Every argument of the package's `Unet`, on weights from a formula.
#[test]
fn every_argument() {
    let file = File::read("unet_formula.safetensors");
    let cases: serde_json::Map<String, Value> = serde_json::from_str(&file.metadata["cases"]).unwrap();
    assert_eq!(cases.len(), 18);
    for (case, args) in &cases {
        let net = build(args, |net| params::named_parameters(net).iter().map(formula).collect());
        check(&net, &file, &format!("{case}/"));
    }
}

/// The names, shapes and order of the package's `state_dict`.
#[test]
fn names_shapes_order() {
    let names: Value = serde_json::from_str(&std::fs::read_to_string(golden("unet_names.json")).unwrap()).unwrap();
    for (case, network) in names["networks"].as_object().unwrap() {
        let net = config(&network["unet"]).init(Noise::new(0), &Device::flex()).unwrap();
        let ours: Vec<_> = params::named_parameters(&net).into_iter().map(|p| (p.name, p.shape)).collect();
        let theirs: Vec<(String, Vec<usize>)> = network["tensors"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
            .collect();
        assert_eq!(ours, theirs, "{case}");
    }
    for count in names["counts"].as_array().unwrap() {
        let total: usize = config(&count["unet"]).parameters().unwrap().iter().map(|p| p.count()).sum();
        assert_eq!(total as u64, count["parameters"].as_u64().unwrap());
    }
}
