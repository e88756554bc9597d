//! The U-Net that is told classes, against the package's `classifier_free_guidance` module (xtask/golden/unet_golden.py).

use burn::tensor::Device;
use difusi_core::{Cond, Inputs, Network, Noise};
use difusi_nn::unet::ddp::{Downsample, Pick, unet_weights};
use difusi_nn::{ParamInfo, UnetConfig, params};
use serde_json::Value;

use crate::support::{File, distance, formula, images, times, tiny};

/// The package's names and shapes are found, told apart and computed with; the null row stands for no class.
#[test]
fn the_packages_class_conditional_network() {
    let file = File::read("unet_classes.safetensors");
    let cases: serde_json::Map<String, Value> = serde_json::from_str(&file.metadata["cases"]).unwrap();
    assert_eq!(cases.len(), 3);
    for (case, said) in &cases {
        let tensors: Vec<(String, Vec<usize>)> = said["tensors"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, shape)| {
                (format!("ema.ema_model.model.{name}"), serde_json::from_value(shape.clone()).unwrap())
            })
            .collect();
        let found = unet_weights(&tensors, Pick::EmaIfPresent).unwrap();
        assert!(found.foreign.is_empty() && found.skipped.is_empty(), "{case}: {found:?}");
        let config = found.inferred.config;
        assert_eq!(config.classes.map(|n| n as u64), said["args"]["num_classes"].as_u64(), "{case}");
        assert_eq!((config.attn_memory, config.downsample), (0, Downsample::Conv), "{case}");
        let net = config.init(Noise::new(0), &Device::flex()).unwrap();
        let weights =
            found.tensors.iter().map(|(name, shape)| formula(&ParamInfo { name: name.clone(), shape: shape.clone() }));
        let net = params::import(net, weights).unwrap();
        let key = |name: &str| format!("{case}/{name}");
        let label = |v: &f32| (*v >= 0.0).then_some(*v as u32);
        let labels = file.tensors[&key("classes")].values.iter().map(label).collect();
        let inputs = Inputs { cond: Cond::Label(labels), ..Inputs::new(file.image(&key("x")), file.vector(&key("t"))) };
        net.check_inputs(&inputs).unwrap();
        let gap = distance(&net.forward(inputs), &file.image(&key("y")));
        println!("{case:24} max |y - y'| = {gap:.1e}");
        assert!(gap < 2e-5, "{case}: {gap}"); // 1e-4 is what is promised
    }
}

fn told() -> UnetConfig {
    UnetConfig { classes: Some(4), ..tiny() }
}

/// Labels change the picture, no condition is the null one, and the cost counts every parameter.
#[test]
fn labels_are_heard() {
    let device = Device::flex();
    let net = told().init(Noise::new(1), &device).unwrap();
    let answer = |cond: Cond| net.forward(Inputs { cond, ..Inputs::new(images(3, &device), times(3, &device)) });
    let null = answer(Cond::None);
    assert!(distance(&null, &answer(Cond::Label(vec![None; 3]))) == 0.0);
    let [a, b] = [[0, 1, 2], [0, 1, 3]].map(|labels| answer(Cond::labels(labels)));
    assert!(distance(&a.clone().narrow(0, 0, 2), &b.clone().narrow(0, 0, 2)) == 0.0);
    assert!(distance(&a.narrow(0, 2, 1), &b.narrow(0, 2, 1)) > 1e-4);
    let size = difusi_core::ImageSize::square(8);
    let counted: usize = told().parameters().unwrap().iter().map(ParamInfo::count).sum();
    assert_eq!(told().cost(size).unwrap().parameters, counted);
}

#[test]
fn wrong_conditions_are_named() {
    let device = Device::flex();
    let check = |config: UnetConfig, cond: Cond| {
        let net = config.init(Noise::new(1), &device).unwrap();
        let inputs = Inputs { cond, ..Inputs::new(images(2, &device), times(2, &device)) };
        net.check_inputs(&inputs).unwrap_err().to_string()
    };
    assert!(check(told(), Cond::labels([0, 4])).contains("label 4; expected labels from 0 to 3"));
    assert!(check(told(), Cond::labels([0])).contains("1 labels; expected 2"));
    assert!(check(tiny(), Cond::labels([0, 1])).contains("no `classes`"));
    let none = UnetConfig { classes: Some(0), ..tiny() };
    assert!(none.check()[0].key == "classes");
}
