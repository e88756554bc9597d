//! Cross-attention against diffusers' (xtask/golden/cross_attention_golden.py), and networks that are told tokens.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Cond, ImageSize, Inputs, Network, Noise, Precision, Tokens};
use difusi_nn::layers::{CrossAttention, CrossAttentionSpec, Init};
use difusi_nn::unet::ddp::PerStage;
use difusi_nn::{Adm, AdmConfig, ParamInfo, Weight, params};
use difusi_ops::Groups;

use crate::support::{File, distance, golden, images, times, uniform};

/// `formula` of adm_golden.py.
fn formula(ParamInfo { name, shape }: ParamInfo) -> Weight {
    let inner = (shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let value = |u: f64| match name.as_str() {
        n if n.ends_with(".bias") => 0.2 * u,
        _ if shape.len() == 1 => 1.0 + 0.4 * u,
        _ => 1.5 * u / inner,
    };
    let values = (0..shape.iter().product()).map(|i| value(uniform(&name, i)) as f32).collect();
    Weight { name, shape, values }
}

fn tokens(values: Vec<f32>, shape: [usize; 3], mask: Vec<bool>) -> Tokens {
    Tokens::new(Tensor::from_data(TensorData::new(values, shape), &Device::flex()), mask).unwrap()
}

#[test]
fn the_peers_layer() {
    let file = File::read("cross_attention.safetensors");
    assert!(golden("cross_attention.safetensors").exists());
    let spec = CrossAttentionSpec { channels: 16, tokens: 12, heads: 4, norm: Groups { count: 4, epsilon: 1e-5 } };
    let layer = CrossAttention::new(&Init::new(Noise::new(0), &Device::flex()), spec);
    let weights = params::named_parameters(&layer).into_iter().map(formula).collect::<Vec<_>>();
    let layer = params::import(layer, weights).unwrap();
    let mask: Vec<bool> = file.tensors["mask"].values.iter().map(|v| *v > 0.5).collect();
    let told = tokens(file.tensors["tokens"].values.clone(), [3, 5, 12], mask);
    let hidden = tokens(file.tensors["tokens"].values.clone(), [3, 5, 12], vec![false; 15]);
    for (told, name) in [(Some(&told), "y"), (Some(&hidden), "none"), (None, "none")] {
        let gap = distance(&layer.forward(file.image("x"), told), &file.image(name));
        println!("{name:6} max |y - y'| = {gap:.1e}");
        assert!(gap < 5e-6, "{name}: {gap}");
    }
}

fn config() -> AdmConfig {
    AdmConfig {
        dim_mults: vec![1, 2],
        channels: 1,
        res_blocks: 1,
        groups: 4,
        attention: PerStage::Each(vec![false, true]),
        classes: Some(3),
        tokens: Some(6),
        ..AdmConfig::new(8)
    }
}

fn trained(config: &AdmConfig, device: &Device) -> Adm {
    let weights = config.parameters().unwrap().into_iter().map(formula).collect::<Vec<_>>();
    params::import(config.init(Noise::new(0), device).unwrap(), weights).unwrap()
}

/// Of three images; the last token of the second is padding.
fn told(padding: f32) -> Tokens {
    let mut values: Vec<f32> = (0..3 * 4 * 6).map(|i| uniform("tokens", i) as f32).collect();
    values[7 * 6..8 * 6].fill(padding);
    tokens(values, [3, 4, 6], (0..12).map(|i| i != 7).collect())
}

fn inputs(cond: Cond) -> Inputs {
    Inputs { cond, ..Inputs::new(images(3, &Device::flex()), times(3, &Device::flex())) }
}

/// What is told is heard, padding is not, and a class beside it is too; without tokens the answer is that of hidden ones, and no image hears
/// another's.
#[test]
fn tokens_are_heard() {
    let net = trained(&config(), &Device::flex());
    let answer = |cond: Cond| {
        let inputs = inputs(cond);
        net.check_inputs(&inputs).unwrap();
        net.forward(inputs)
    };
    let some = Cond::Tokens(told(0.3));
    let [y, none] = [some.clone(), Cond::None].map(answer);
    assert!(distance(&y, &none) > 1e-3);
    assert!(distance(&y, &answer(Cond::Tokens(told(-7.0)))) == 0.0);
    assert!(distance(&none, &answer(some.null())) < 1e-6);
    let both = Cond::Several(vec![Cond::labels([0, 1, 2]), some.clone()]);
    assert!(distance(&y, &answer(both.clone())) > 1e-3);
    let one = net.forward(Inputs {
        cond: both.narrow(1..2),
        ..Inputs::new(images(3, &Device::flex()).narrow(0, 1, 1), times(3, &Device::flex()).narrow(0, 1, 1))
    });
    assert!(distance(&one, &answer(both).narrow(0, 1, 1)) < 1e-5);
    let narrow = net.clone().with_precision(Precision::Bf16).unwrap().forward(inputs(some));
    assert!(distance(&narrow, &y) < 0.1, "{}", distance(&narrow, &y));
}

#[test]
fn everything_learns() {
    let device = Device::flex().autodiff();
    let net = trained(&config(), &device);
    let on = |x: Tensor<4>| Tensor::from_data(x.to_data(), &device);
    let cond = Cond::Several(vec![Cond::labels([0, 1, 2]), Cond::Tokens(told(0.3))]);
    let Inputs { x, t, cond, .. } = inputs(cond);
    let t = Tensor::from_data(t.to_data(), &device);
    let grads = net.forward(Inputs { cond, ..Inputs::new(on(x), t) }).square().mean().backward();
    struct Count<'a>(&'a burn::tensor::Gradients, Vec<f32>);
    impl burn::module::ModuleVisitor for Count<'_> {
        fn visit_float<const D: usize>(&mut self, p: &burn::module::Param<Tensor<D>>) {
            let gradient = p.val().grad(self.0);
            self.1.push(gradient.map_or(0.0, |g| g.abs().sum().into_scalar::<f32>()));
        }
    }
    let mut count = Count(&grads, Vec::new());
    burn::module::Module::visit(&net, &mut count);
    let names = params::named_parameters(&net);
    let silent = names.iter().zip(&count.1).filter(|(_, g)| **g == 0.0).map(|(p, _)| p.name.clone());
    // Of the four classes, counting the one for none, three were told.
    assert_eq!(silent.collect::<Vec<_>>(), Vec::<String>::new());
    let described = config().describe(ImageSize::square(8)).unwrap();
    let parameters: usize = config().parameters().unwrap().iter().map(ParamInfo::count).sum();
    assert_eq!(described.iter().map(|l| l.parameters).sum::<usize>(), parameters);
}

#[test]
fn what_is_not_known_is_refused() {
    let net = trained(&config(), &Device::flex());
    let refused = |cond: Cond| net.check_inputs(&inputs(cond)).unwrap_err().to_string();
    let wide = tokens(vec![0.0; 3 * 7], [3, 1, 7], vec![true; 3]);
    assert!(refused(Cond::Tokens(wide)).contains("[B, L, 6]"));
    assert!(refused(Cond::Tokens(told(0.0)).narrow(0..2)).contains("one for each image"));
    assert!(refused(Cond::Image(images(3, &Device::flex()))).contains("labels or tokens"));
    let deaf = trained(&AdmConfig { tokens: None, ..config() }, &Device::flex());
    assert!(deaf.check_inputs(&inputs(Cond::Tokens(told(0.0)))).unwrap_err().to_string().contains("no `tokens`"));
    let nowhere = AdmConfig { attention: PerStage::All(false), mid_attention: false, ..config() };
    assert!(nowhere.check()[0].to_string().contains("tokens"));
    assert!(config().diffusers().unwrap_err().iter().any(|issue| issue.key == "tokens"));
}
