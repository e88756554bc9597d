//! The U-Net of Ho et al. and ADM against diffusers' `UNet2DModel` and guided-diffusion's `UNetModel` (xtask/golden/adm_golden.py), and on its own.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Cond, Dropout, ImageSize, Inputs, Network, Noise, Precision};
use difusi_nn::unet::adm::{Heads, Modulation, Resample, diffusers, guided};
use difusi_nn::unet::ddp::PerStage;
use difusi_nn::{Adm, AdmConfig, ParamInfo, Weight, params};
use serde_json::Value;

use crate::support::{File, distance, golden, images, parse, times, uniform};

type Shapes = Vec<(String, Vec<usize>)>;

/// `formula` of the script.
fn formula((name, shape): &(String, Vec<usize>)) -> Weight {
    let inner = (shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let value = |u: f64| match name.as_str() {
        n if n.ends_with(".bias") => 0.2 * u,
        _ if shape.len() == 1 => 1.0 + 0.4 * u,
        "class_embedding.weight" | "label_emb.weight" => 1.5 * u,
        _ => 1.5 * u / inner,
    };
    let values = (0..shape.iter().product()).map(|i| value(uniform(name, i)) as f32).collect();
    Weight { name: name.clone(), shape: shape.clone(), values }
}

fn shapes(said: &Value) -> Shapes {
    let tensors = said["tensors"].as_object().unwrap().iter();
    tensors.map(|(name, shape)| (name.clone(), parse(shape))).collect()
}

fn parameters(config: &AdmConfig) -> Shapes {
    config.parameters().unwrap().into_iter().map(|p| (p.name, p.shape)).collect()
}

fn build(config: &AdmConfig, weights: Vec<Weight>) -> Adm {
    params::import(config.init(Noise::new(0), &Device::flex()).unwrap(), weights).unwrap()
}

/// Prints and bounds the distance between our output and the peer's.
fn check(net: &Adm, file: &File, case: &str) {
    let key = |name: &str| format!("{case}/{name}");
    let mut inputs = Inputs::new(file.image(&key("x")), file.vector(&key("t")));
    if let Some(labels) = file.tensors.get(&key("labels")) {
        inputs.cond = Cond::labels(labels.values.iter().map(|v| *v as u32));
    }
    net.check_inputs(&inputs).unwrap();
    let gap = distance(&net.forward(inputs), &file.image(&key("y")));
    println!("{case:24} max |y - y'| = {gap:.1e}");
    assert!(gap < 2e-5, "{case}: {gap}"); // 1e-4 is what is promised
}

fn cases(file: &File, count: usize) -> serde_json::Map<String, Value> {
    let cases: serde_json::Map<String, Value> = serde_json::from_str(&file.metadata["cases"]).unwrap();
    assert_eq!(cases.len(), count);
    cases
}

/// The same arguments, names, shapes, order and output; and the arguments come back.
#[test]
fn diffusers_networks() {
    let file = File::read("adm_diffusers.safetensors");
    for (case, said) in &cases(&file, 6) {
        let args: diffusers::UnetArgs = parse(&said["args"]);
        let config = args.config().unwrap();
        assert_eq!(parameters(&config), shapes(said), "{case}");
        check(&build(&config, shapes(said).iter().map(formula).collect()), &file, case);
        if config.time_dim.is_none() {
            let back = config.diffusers().unwrap();
            assert_eq!(back.config().unwrap(), config, "{case}");
            assert_eq!(back.block_out_channels, args.block_out_channels);
        }
    }
}

/// Both orders of attention, heads by count and by width.
#[test]
fn guided_networks() {
    let file = File::read("adm_guided.safetensors");
    for (case, said) in &cases(&file, 5) {
        let args: guided::UnetArgs = parse(&said["args"]);
        let config = args.config(parse(&said["learn_sigma"])).unwrap();
        let theirs: Vec<Weight> = shapes(said).iter().map(formula).collect();
        check(&build(&config, guided::own_weights(&config, args.order(), theirs.clone()).unwrap()), &file, case);
        assert!(guided::is_unet(theirs.iter().map(|w| w.name.as_str())));
        let odd = Weight { name: "input_blocks.9.7.weight".into(), ..theirs[0].clone() };
        let error = guided::own_weights(&config, args.order(), theirs.into_iter().chain([odd])).unwrap_err();
        assert!(error.to_string().contains("1 unknown: input_blocks.9.7.weight"), "{error}");
    }
}

/// The published networks: every name and shape, and how many parameters.
#[test]
fn published_networks() {
    let names: Value = serde_json::from_str(&std::fs::read_to_string(golden("adm_names.json")).unwrap()).unwrap();
    for (name, said) in names.as_object().unwrap() {
        let total = |list: &Shapes| list.iter().map(|(_, s)| s.iter().product::<usize>()).sum::<usize>() as u64;
        let theirs = shapes(said);
        let config = if said["of"] == "diffusers" {
            let config = parse::<diffusers::UnetArgs>(&said["args"]).config().unwrap();
            assert_eq!(parameters(&config), theirs, "{name}");
            config
        } else {
            let args = parse::<guided::UnetArgs>(&said["args"]);
            let config = args.config(true).unwrap();
            // Shapes alone: no values are made.
            let weight = |(name, shape): &(String, Vec<usize>)| {
                let values = if name.contains("qkv") { vec![0.0; shape.iter().product()] } else { vec![] };
                Weight { name: name.clone(), shape: shape.clone(), values }
            };
            let own = guided::own_weights(&config, args.order(), theirs.iter().map(weight)).unwrap();
            let own: Shapes = own.into_iter().map(|w| (w.name, w.shape)).collect();
            let issues = params::compare(&config.parameters().unwrap(), &own);
            assert!(issues.is_empty(), "{name}:{issues}");
            config
        };
        assert_eq!(said["parameters"].as_u64().unwrap(), total(&parameters(&config)), "{name}");
        assert!(config.check().is_empty());
    }
}

/// Older files of diffusers name attention's maps otherwise.
#[test]
fn older_names() {
    let new = |name: &str| diffusers::own_name(&format!("mid_block.attentions.0.{name}.weight"));
    assert_eq!(new("query"), "mid_block.attentions.0.to_q.weight");
    assert_eq!(new("proj_attn"), "mid_block.attentions.0.to_out.0.weight");
    assert_eq!(new("group_norm"), "mid_block.attentions.0.group_norm.weight");
    assert!(diffusers::is_unet(["conv_norm_out.weight", "time_embedding.linear_1.weight", "x"]));
    assert!(!diffusers::is_unet(["conv_norm_out.weight", "x"]));
}

fn tiny() -> AdmConfig {
    AdmConfig {
        dim_mults: vec![1, 2],
        channels: 1,
        res_blocks: 1,
        attention: PerStage::Each(vec![false, true]),
        groups: 4,
        ..AdmConfig::new(8)
    }
}

/// Weights that are not at their special initial values.
fn trained(config: &AdmConfig) -> Adm {
    build(config, parameters(config).iter().map(formula).collect())
}

fn inputs(batch: usize) -> Inputs {
    Inputs::new(images(batch, &Device::flex()), times(batch, &Device::flex()))
}

/// A new network says zero; every parameter learns in the end; the same seed gives the same weights.
#[test]
fn a_new_network() {
    let device = Device::flex().autodiff();
    for config in [
        AdmConfig { modulation: Modulation::ScaleShift, resample: Resample::Blocks, classes: Some(3), ..tiny() },
        AdmConfig { resample: Resample::Pool, heads: Heads::Width { width: 8 }, mid_attention: false, ..tiny() },
    ] {
        let new = config.init(Noise::new(7), &Device::flex()).unwrap();
        let zero = new.forward(inputs(2));
        assert!(distance(&zero, &(zero.clone() * 0.0)) == 0.0);
        assert_eq!(params::export(&new), params::export(&config.init(Noise::new(7), &Device::flex()).unwrap()));
        let weights = parameters(&config).iter().map(formula).collect::<Vec<_>>();
        let net = params::import(config.init(Noise::new(0), &device).unwrap(), weights).unwrap();
        let told =
            Inputs { cond: if config.classes.is_some() { Cond::labels([0, 1]) } else { Cond::None }, ..inputs(2) };
        let x = burn::tensor::Tensor::from_data(told.x.to_data(), &device);
        let t = burn::tensor::Tensor::from_data(told.t.to_data(), &device);
        let grads = net.forward(Inputs { x, t, ..told }).square().mean().backward();
        struct Count<'a>(&'a burn::tensor::Gradients, usize, usize);
        impl burn::module::ModuleVisitor for Count<'_> {
            fn visit_float<const D: usize>(&mut self, p: &burn::module::Param<burn::tensor::Tensor<D>>) {
                let gradient = p.val().grad(self.0);
                self.1 += 1;
                self.2 += usize::from(gradient.is_some_and(|g| g.abs().sum().into_scalar::<f32>() > 0.0));
            }
        }
        let mut count = Count(&grads, 0, 0);
        burn::module::Module::visit(&net, &mut count);
        assert_eq!(count.1, count.2, "parameters, and those with a gradient");
    }
}

/// A classifier of guided-diffusion: log-probabilities, and the gradient that leads a model.
#[test]
fn the_guided_classifier() {
    let file = File::read("adm_classifier.safetensors");
    let args: guided::ClassifierArgs = serde_json::from_str(&file.metadata["args"]).unwrap();
    let config = args.config().unwrap();
    let encoder = config.encoder().unwrap();
    let said: Value = serde_json::from_str(&file.metadata["tensors"]).unwrap();
    let theirs = shapes(&serde_json::json!({ "tensors": said }));
    assert!(guided::is_classifier(theirs.iter().map(|(name, _)| name.as_str())));
    assert!(!guided::is_unet(theirs.iter().map(|(name, _)| name.as_str())));
    let weights = guided::classifier_weights(&encoder, args.order(), theirs.iter().map(formula)).unwrap();
    let device = Device::flex().autodiff();
    let net = encoder.init(ImageSize::square(64), Noise::new(0), &device).unwrap();
    let net = params::import(net, weights).unwrap();
    let x: Vec<f32> = (0..2 * 3 * 64 * 64).map(|i| uniform("x", i) as f32).collect();
    let x = Tensor::<4>::from_data(TensorData::new(x, [2, 3, 64, 64]), &device).require_grad();
    let t = Tensor::from_data(file.vector("t").to_data(), &device);
    let log = net.forward(x.clone().permute([0, 2, 3, 1]), t); // [2, classes]
    let far = |ours: TensorData, name: &str| {
        let theirs = &file.tensors[name].values;
        assert_eq!(ours.num_elements(), theirs.len(), "{name}");
        ours.iter::<f32>().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let gap = far(log.to_data(), "y");
    let chosen = file.tensors["labels"].values.iter().enumerate();
    let sum = chosen.map(|(i, label)| log.clone().narrow(0, i, 1).narrow(1, *label as usize, 1).sum());
    let grads = sum.reduce(|a, b| a + b).unwrap().backward();
    let gradient = x.grad(&grads).unwrap(); // [2, 3, 64, 64]
    let every = |x: Tensor<4>, axis: usize| {
        let picked: Vec<_> = (0..16).map(|i| x.clone().narrow(axis, 4 * i, 1)).collect();
        Tensor::cat(picked, axis)
    };
    let slope = far(every(every(gradient, 2), 3).to_data(), "gradient");
    let size = file.tensors["gradient"].values.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
    println!("classifier               max |log p - log p'| = {gap:.1e}, of the gradient {slope:.1e} of {size:.1e}");
    assert!(gap < 2e-5 && slope < 1e-4 * size, "{gap} {slope}");
    let bad = guided::ClassifierArgs { image_size: 512, classifier_pool: "adaptive".into(), ..args };
    assert_eq!(bad.config().unwrap_err().len(), 2);
}

#[test]
fn classes_are_heard() {
    let config = AdmConfig { classes: Some(4), ..tiny() };
    let net = trained(&config);
    let answer = |cond: Cond| net.forward(Inputs { cond, ..inputs(3) });
    let null = answer(Cond::None);
    assert!(distance(&null, &answer(Cond::Label(vec![None; 3]))) == 0.0);
    let [a, b] = [[0, 1, 2], [0, 1, 3]].map(|labels| answer(Cond::labels(labels)));
    assert!(distance(&a.clone().narrow(0, 0, 2), &b.clone().narrow(0, 0, 2)) == 0.0);
    assert!(distance(&a.narrow(0, 2, 1), &b.narrow(0, 2, 1)) > 1e-4);
    let strict = trained(&AdmConfig { null_class: false, ..config });
    let refused = |cond: Cond| strict.check_inputs(&Inputs { cond, ..inputs(2) }).unwrap_err().to_string();
    assert!(refused(Cond::None).contains("null_class"));
    assert!(refused(Cond::labels([0, 4])).contains("labels from 0 to 3"));
    strict.check_inputs(&Inputs { cond: Cond::labels([0, 3]), ..inputs(2) }).unwrap();
}

/// An image's answer does not depend on the batch; dropping happens in training only; bf16 is near f32.
#[test]
fn batches_dropout_and_precision() {
    let net = trained(&AdmConfig { dropout: 0.4, ..tiny() });
    let all = net.forward(inputs(3));
    let one = net.forward(inputs(1));
    assert!(distance(&all.clone().narrow(0, 0, 1), &one) < 1e-6);
    let drop = |first_image| {
        let dropout = Some(Dropout { noise: Noise::new(3), first_image });
        net.forward(Inputs { dropout, ..inputs(3) })
    };
    assert!(
        distance(&drop(0), &drop(0)) == 0.0 && distance(&drop(0), &drop(5)) > 1e-3 && distance(&all, &drop(0)) > 1e-3
    );
    let half = net.with_precision(Precision::Bf16).unwrap().forward(inputs(3));
    let gap = distance(&half, &all);
    assert!(gap > 0.0 && gap < 0.05, "{gap}");
}

#[test]
fn costs_count_every_parameter() {
    for config in [
        tiny(),
        AdmConfig { resample: Resample::Blocks, classes: Some(3), dropout: 0.1, ..tiny() },
        AdmConfig { resample: Resample::Pool, mid_attention: false, ..tiny() },
    ] {
        let size = ImageSize::square(8);
        let counted: usize = config.parameters().unwrap().iter().map(ParamInfo::count).sum();
        let cost = config.cost(size).unwrap();
        assert_eq!(cost.parameters, counted);
        assert!(cost.training_bytes > cost.sampling_bytes && cost.forward_flops > 0);
        let layers = config.describe(size).unwrap();
        assert_eq!(layers.last().unwrap().output, [8, 8, 1]);
    }
}

#[test]
fn mistakes_are_named() {
    let keys = |config: AdmConfig| config.check().into_iter().map(|e| e.key).collect::<Vec<_>>();
    assert_eq!(keys(AdmConfig { groups: 3, ..tiny() }), ["groups"]);
    assert_eq!(keys(AdmConfig { heads: Heads::Count { count: 3 }, ..tiny() }), ["heads.count"]);
    assert_eq!(keys(AdmConfig { attention: PerStage::Each(vec![true]), ..tiny() }), ["attention"]);
    assert_eq!(keys(AdmConfig { freq_shift: 4.0, ..tiny() }), ["freq_shift"]);
    assert_eq!(keys(AdmConfig { time_dim: Some(7), ..tiny() }), ["time_dim"]);
    let odd = AdmConfig { norm_eps: 0.0, dropout: 1.0, res_blocks: 0, classes: Some(0), ..tiny() };
    assert_eq!(keys(odd), ["classes", "res_blocks", "norm_eps", "dropout"]);
    assert!(tiny().check_size("data.size", ImageSize::square(9)).unwrap().accepted.contains("divisible by 2"));
    let typo = serde_json::from_str::<AdmConfig>(r#"{ "dim": 8, "resnets": 2 }"#).unwrap_err().to_string();
    assert!(typo.contains("resnets"), "{typo}");
    // What diffusers has no arguments for, and what this network has not.
    let issues = AdmConfig { resample: Resample::Pool, time_dim: Some(16), ..tiny() }.diffusers().unwrap_err();
    assert_eq!(issues.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["resample", "time_dim"]);
    let args =
        diffusers::UnetArgs { act_fn: "gelu".into(), time_embedding_type: "fourier".into(), ..Default::default() };
    assert_eq!(args.config().unwrap_err().len(), 2);
    let args = guided::UnetArgs { channel_mult: "1,x".into(), num_heads: 0, ..Default::default() };
    assert_eq!(args.config(false).unwrap_err().len(), 2);
    let large = guided::UnetArgs { image_size: 512, num_channels: 256, num_head_channels: 64, ..Default::default() };
    let config = large.config(true).unwrap();
    assert_eq!((config.dim, config.dim_mults[0], config.time_dim, config.widths()[6]), (128, 1, Some(256), 1024));
}
