//! Feature networks: the FID Inception against pytorch-fid 0.3.0 (xtask/golden/features_golden.py) on weights of a formula. The MNIST
//! CNN and ResNet-20 with their real weights: difusi-metrics's tests, which can read those files.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_nn::features::{FeatureKind, FeatureNetwork, Inception, InceptionTap, MnistCnn, Resnet20};
use difusi_nn::{NnError, ParamInfo, Weight};
use serde_json::Value;

use crate::support::{File, golden, uniform};

/// The golden script's weights.
fn formula(parameter: &ParamInfo) -> Weight {
    let ParamInfo { name, shape } = parameter.clone();
    let inner = (shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let value = |u: f64| match name.as_str() {
        n if n.ends_with("running_var") => 1.0 + 0.5 * u,
        n if n.ends_with("bn.weight") => 1.0 + 0.4 * u,
        n if n.ends_with("bn.bias") || n.ends_with("running_mean") || n.ends_with("fc.bias") => 0.2 * u,
        _ => 2.4 * u / inner,
    };
    let values = (0..parameter.count()).map(|i| value(uniform(&name, i)) as f32).collect();
    Weight { name, shape, values }
}

fn inception() -> Inception {
    Inception::load(Inception::parameters().iter().map(formula), &Device::flex()).unwrap()
}

/// The golden script's images, `[2, 299, 299, 3]`: noise, and squares of 16 pixels.
fn images() -> Tensor<4> {
    let (n, mut values) = (299, Vec::new());
    for (y, x, c) in (0..n * n * 3).map(|i| (i / 3 / n, i / 3 % n, i % 3)) {
        values.push(uniform("noise", (c * n + y) * n + x) as f32);
    }
    for (y, x, c) in (0..n * n * 3).map(|i| (i / 3 / n, i / 3 % n, i % 3)) {
        values.push(uniform("squares", (c * 19 + y / 16) * 19 + x / 16) as f32);
    }
    Tensor::from_data(TensorData::new(values, [2, n, n, 3]), &Device::flex())
}

/// The largest difference over the largest value.
fn error(ours: Tensor<2>, theirs: &Weight) -> f32 {
    assert_eq!(ours.dims().to_vec(), theirs.shape);
    let size = theirs.values.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let ours: Vec<f32> = ours.into_data().try_to_vec().unwrap();
    let gap = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    ours.iter().zip(&theirs.values).map(gap).fold(0.0, f32::max) / size
}

/// All taps, both heads and the spatial features, to 1e-4 of the largest value (measured: 3e-6).
#[test]
fn inception_as_pytorch_fid() {
    let (file, net, x) = (File::read("inception.safetensors"), inception(), images());
    let check = |what: &str, y: Tensor<2>| {
        let error = error(y, &file.tensors[what]);
        println!("{what:16} {error:.1e}");
        assert!(error < 1e-5, "{what}: {error}"); // 1e-4 is what is promised
    };
    for tap in InceptionTap::ALL {
        let net = net.clone().at(tap);
        let seen = net.look(x.clone());
        assert_eq!(seen.features.dims(), [2, net.dim()]);
        assert_eq!(seen.logits.as_ref().map(|y| y.dims()[1]), net.classes());
        assert_eq!(seen.spatial.as_ref().map(|y| y.dims()[1]), net.spatial_dim());
        check(&format!("tap{}", tap.dim()), seen.features);
        seen.spatial.into_iter().for_each(|y| check("spatial", y));
        seen.logits.into_iter().for_each(|y| check("logits_unbiased", y));
    }
    check("logits", net.with_bias().look(x).logits.unwrap());
}

/// Names and shapes are those of the package's state dict.
#[test]
fn inception_names() {
    let names: Value = serde_json::from_str(&std::fs::read_to_string(golden("inception_names.json")).unwrap()).unwrap();
    let mut theirs: Vec<(String, Vec<usize>)> = names
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect();
    let mut ours: Vec<_> = Inception::parameters().into_iter().map(|p| (p.name, p.shape)).collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
}

/// A tap of a later stage goes through the earlier ones; an image's features do not depend on what is beside it.
#[test]
fn images_are_seen_alone() {
    let (net, x) = (inception().at(InceptionTap::SecondPool), images());
    let both = net.look(x.clone()).features;
    for i in 0..2 {
        let alone = net.look(x.clone().narrow(0, i, 1)).features;
        let gap: f32 = (alone - both.clone().narrow(0, i, 1)).abs().max().into_scalar();
        assert!(gap < 1e-6, "{gap}");
    }
}

#[test]
fn networks_are_recognised() {
    for kind in FeatureKind::ALL {
        for prefix in ["", "module.", "state_dict.module."] {
            let names: Vec<String> = kind.parameters().into_iter().map(|p| format!("{prefix}{}", p.name)).collect();
            let found = FeatureKind::recognise(names.iter().map(String::as_str));
            assert_eq!(found, Some((kind, prefix.to_owned())));
        }
    }
    assert_eq!(FeatureKind::recognise(["model.diffusion_model.weight"]), None);
}

/// Every problem is named, counters are no problem.
#[test]
fn wrong_weights() {
    let weights = |change: &dyn Fn(&mut Vec<Weight>)| {
        let zeros = |p: ParamInfo| Weight { values: vec![0.0; p.count()], name: p.name, shape: p.shape };
        let mut weights: Vec<_> = MnistCnn::parameters().into_iter().map(zeros).collect();
        change(&mut weights);
        MnistCnn::load(weights, &Device::flex())
    };
    let counter = Weight { name: "norm1.num_batches_tracked".into(), shape: vec![], values: vec![3752.0] };
    assert!(weights(&|w| w.push(counter.clone())).is_ok());
    let error = weights(&|w| {
        w.retain(|w| w.name != "conv2.bias");
        w[0].shape = vec![8, 3, 3, 3];
        w.push(Weight { name: "conv4.weight".into(), ..counter.clone() });
        w.push(w[3].clone());
    });
    let Err(NnError::Weights(issues)) = error else { panic!("{error:?}") };
    assert_eq!(issues.missing, ["conv2.bias"]);
    assert_eq!(issues.unknown, ["conv4.weight"]);
    assert_eq!(issues.repeated.len(), 1);
    assert_eq!((issues.shapes.len(), &*issues.shapes[0].name), (1, "conv1.weight"));
}

#[test]
fn resnet20_names() {
    let total: usize = Resnet20::parameters().iter().map(ParamInfo::count).sum();
    // 269,722 weights are trained (He et al.: 0.27 M), and 688 channels have a mean and a variance.
    assert_eq!(total, 269_722 + 2 * 688);
    let net = Resnet20::load(Resnet20::parameters().iter().map(formula), &Device::flex()).unwrap();
    let x: Tensor<4> = Tensor::ones([2, 32, 32, 3], &Device::flex());
    assert_eq!(net.look(x).features.dims(), [2, 64]);
}
