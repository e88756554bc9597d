//! Guidance on data whose conditional scores are exact: a Gaussian mixture whose classes are its components.

use std::cell::RefCell;

use burn::tensor::{DType, Tensor};
use difusi_core::{Batch, Cond, Draw, Inputs, Network, Noise};
use difusi_process::mixture::Mixture;
use difusi_process::{
    Classify, CondKind, Denoise, Diffusion, DiffusionConfig, Guidance, Level, NetworkDenoiser, NoiseSource, Position,
    Prediction, ProcessError, SampleConfig, Schedule, Solver, Threshold, sample,
};

use crate::common::{tensor64, values64};

/// The exact eps of each image's class, or of all of them for the null condition; notes the size of each batch.
struct Exact {
    diffusion: Diffusion,
    batches: RefCell<Vec<usize>>,
}

impl Exact {
    fn new() -> Self {
        let config = DiffusionConfig {
            schedule: Schedule::Linear { beta_start: 1e-4, beta_end: 0.02, rescale: false },
            prediction: Prediction::Epsilon {},
            ..DiffusionConfig::default()
        };
        Self { diffusion: config.build().unwrap(), batches: RefCell::new(Vec::new()) }
    }

    fn denoiser(&self) -> NetworkDenoiser<'_> {
        NetworkDenoiser::new(self, &self.diffusion, Threshold::None {})
    }

    fn level(&self, t: usize) -> Level {
        self.diffusion.level(t).unwrap()
    }
}

fn class(k: u32) -> Mixture {
    Mixture::new(vec![Mixture::planar().components()[k as usize].clone()]).unwrap()
}

impl Network for Exact {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let count = inputs.x.dims()[0];
        self.batches.borrow_mut().push(count);
        let t = inputs.t.into_data().iter::<f64>().next().unwrap();
        let level = self.diffusion.process.level(t);
        let one = |i: usize| {
            let label = match &inputs.cond {
                Cond::Label(labels) => labels[i],
                _ => None,
            };
            let mixture = label.map_or_else(Mixture::planar, class);
            mixture.denoise(inputs.x.clone().narrow(0, i, 1), level, &Cond::None).unwrap().eps
        };
        Tensor::cat((0..count).map(one).collect(), 0)
    }
}

/// Bayes' classifier of the mixture.
struct Bayes;

impl Classify for Bayes {
    fn log_prob(&self, x_t: Tensor<4>, levels: &[Level], cond: &Cond) -> Result<Tensor<1>, ProcessError> {
        let Cond::Label(labels) = cond else { panic!("labels") };
        let shares = Mixture::planar().shares(&x_t, levels[0])?.log();
        let pick =
            |i: usize| shares.clone().slice([i..i + 1, labels[i].unwrap() as usize..labels[i].unwrap() as usize + 1]);
        Ok(Tensor::cat((0..labels.len()).map(pick).collect(), 0).squeeze_dim(1))
    }
}

fn normals(seed: u64, count: usize) -> Vec<f64> {
    Noise::new(seed).normal(Draw::Init, 0..1, 0, count).into_iter().map(f64::from).collect()
}

fn x() -> Tensor<4> {
    tensor64(normals(3, 8), 2)
}

fn eps(guidance: Guidance, cond: Cond, negative: Option<Cond>) -> Vec<f64> {
    let exact = Exact::new();
    let said = exact.denoiser().guided(guidance, negative).denoise(x(), exact.level(400), &cond).unwrap();
    values64(said.eps)
}

fn labels() -> Cond {
    Cond::labels([0, 1, 2, 1])
}

#[track_caller]
fn assert_near(a: &[f64], b: &[f64], within: f64) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= within * (1.0 + b.abs())), "{a:?}\n{b:?}");
}

/// Scale 1 asks once and is the condition's answer, 0 the null condition's, others lie on the line through both; both answers come
/// from one batch.
#[test]
fn scales() {
    let [cond, uncond] = [labels(), labels().null()].map(|cond| eps(Guidance::default(), cond, None));
    assert_near(&eps(Guidance::scale(1.0), labels(), None), &cond, 0.0);
    assert_near(&eps(Guidance::scale(0.0), labels(), None), &uncond, 1e-12);
    let line: Vec<f64> = cond.iter().zip(&uncond).map(|(c, u)| u + 3.5 * (c - u)).collect();
    assert_near(&eps(Guidance::scale(3.5), labels(), None), &line, 1e-12);
    let exact = Exact::new();
    let denoiser = exact.denoiser().guided(Guidance::scale(2.0), None);
    denoiser.denoise(x(), exact.level(10), &labels()).unwrap();
    exact.denoiser().guided(Guidance::scale(1.0), None).denoise(x(), exact.level(10), &labels()).unwrap();
    assert_eq!(*exact.batches.borrow(), [8, 4]);
}

/// A negative condition takes the null one's place.
#[test]
fn negatives() {
    let away = Cond::labels([2, 2, 0, 0]);
    let [cond, negative] = [labels(), away.clone()].map(|cond| eps(Guidance::default(), cond, None));
    let line: Vec<f64> = cond.iter().zip(&negative).map(|(c, u)| u + 2.0 * (c - u)).collect();
    assert_near(&eps(Guidance::scale(2.0), labels(), Some(away)), &line, 1e-12);
}

/// Bayes: the difference of the scores with and without the class is the gradient of the exact classifier, so that both kinds of
/// guidance are one.
#[test]
fn classifier_and_classifier_free_guidance_agree() {
    let exact = Exact::new();
    for t in [5, 400, 990] {
        let level = exact.level(t);
        let free = exact.denoiser().guided(Guidance::scale(2.5), None).denoise(x(), level, &labels()).unwrap();
        let blind = Unasked(&exact);
        let led = NetworkDenoiser::new(&blind, &exact.diffusion, Threshold::None {}).classified(&Bayes, 2.5);
        let led = led.denoise(x(), level, &labels()).unwrap();
        assert_near(&values64(led.eps), &values64(free.eps), 1e-9);
        assert_near(&values64(led.x0), &values64(free.x0), 1e-8);
    }
}

/// The network without its condition.
struct Unasked<'a>(&'a Exact);

impl Network for Unasked<'_> {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        self.0.forward(Inputs { cond: Cond::None, ..inputs })
    }
}

/// Outside of the interval of noise the condition stands alone, for the price of one answer.
#[test]
fn intervals() {
    let exact = Exact::new();
    let ratio = |t: usize| exact.level(t).ratio();
    let guidance = Guidance::Cfg { scale: 3.0, rescale: 0.0, interval: Some([ratio(200), ratio(600)]) };
    for (t, inside) in [(199, false), (200, true), (600, true), (601, false)] {
        let level = exact.level(t);
        let ask =
            |guidance| values64(exact.denoiser().guided(guidance, None).denoise(x(), level, &labels()).unwrap().eps);
        let found = ask(guidance);
        assert_eq!(exact.batches.borrow().last(), Some(if inside { &8 } else { &4 }), "{t}");
        assert_eq!(found, ask(if inside { Guidance::scale(3.0) } else { Guidance::default() }), "{t}");
    }
}

/// Rescaling by 1 gives every image the deviation of the conditional answer and leaves its direction; by 0.7 it goes that far.
#[test]
fn rescaling() {
    let deviation = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        (v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt()
    };
    let with = |rescale| eps(Guidance::Cfg { scale: 4.0, rescale, interval: None }, labels(), None);
    let (cond, plain) = (eps(Guidance::default(), labels(), None), with(0.0));
    for rescale in [1.0, 0.7] {
        for (i, image) in with(rescale).chunks(2).enumerate() {
            let own = |all: &[f64]| deviation(&all[2 * i..2 * i + 2]);
            let factor = rescale * own(&cond) / own(&plain) + 1.0 - rescale;
            assert_near(image, &plain[2 * i..2 * i + 2].iter().map(|v| v * factor).collect::<Vec<_>>(), 1e-12);
        }
    }
}

/// CFG++ steps to the guided x_0 with the noise of the unconditional answer.
#[test]
fn cfg_pp() {
    let exact = Exact::new();
    let config = SampleConfig { steps: 2, ..SampleConfig::default() };
    let plan = exact.diffusion.plan(&config).unwrap();
    let stage = plan.stages()[0];
    let (guidance, free) = (Guidance::CfgPp { scale: 0.6 }, exact.denoiser().guided(Guidance::scale(0.6), None));
    let x0 = values64(free.denoise(x(), stage.at, &labels()).unwrap().x0);
    let uncond = values64(exact.denoiser().denoise(x(), stage.at, &labels().null()).unwrap().eps);
    let denoiser = exact.denoiser().guided(guidance, None);
    let source = NoiseSource::given(vec![]);
    let mut steps = difusi_process::Sampler::new(&denoiser, &plan, x(), source, labels());
    let found = values64(steps.next().unwrap().unwrap().x);
    let expected: Vec<f64> = x0.iter().zip(&uncond).map(|(x0, e)| stage.to.alpha * x0 + stage.to.sigma * e).collect();
    assert_near(&found, &expected, 1e-12);
    let bad = SampleConfig { guidance, solver: Solver::Ancestral {}, ..SampleConfig::default() };
    assert!(bad.check(1000)[0].to_string().contains("sample.guidance.kind"));
}

/// Samples that are asked for a class are of that class.
#[test]
fn samples_are_what_they_are_asked_for() {
    let exact = Exact::new();
    let plan = exact.diffusion.plan(&SampleConfig { steps: 20, ..SampleConfig::default() }).unwrap();
    let count = 200;
    let noise = tensor64(normals(5, 2 * count), 2);
    for k in 0..3 {
        let cond = Cond::labels(vec![k; count]);
        let denoiser = exact.denoiser().guided(Guidance::scale(1.0), None);
        let found = values64(sample(&denoiser, &plan, noise.clone(), NoiseSource::given(vec![]), cond).unwrap());
        let part = &Mixture::planar().components()[k as usize].clone();
        for axis in 0..2 {
            let mean = found.iter().skip(axis).step_by(2).sum::<f64>() / count as f64;
            assert!((mean - part.mean[axis]).abs() < 0.1, "{k} {axis}: {mean}");
        }
    }
}

#[test]
fn wrong_input_is_named() {
    let exact = Exact::new();
    let ask = |cond: Cond, negative: Option<Cond>| {
        let denoiser = exact.denoiser().guided(Guidance::scale(2.0), negative);
        denoiser.denoise(x(), exact.level(3), &cond).unwrap_err().to_string()
    };
    assert!(ask(Cond::None, None).contains("`guidance` is on without a condition"));
    assert!(ask(labels(), Some(Cond::labels([1]))).contains("negative"));
    for (guidance, key) in [
        (Guidance::scale(f64::NAN), "scale"),
        (Guidance::Cfg { scale: 2.0, rescale: 1.5, interval: None }, "rescale"),
        (Guidance::Cfg { scale: 2.0, rescale: 0.0, interval: Some([3.0, 1.0]) }, "interval"),
        (Guidance::CfgPp { scale: 2.0 }, "scale"),
    ] {
        let errors = SampleConfig { guidance, ..SampleConfig::default() }.check(1000);
        assert!(errors.len() == 1 && errors[0].key == format!("sample.guidance.{key}"), "{errors:?}");
    }
}

/// The share of dropped conditions is what was asked for, and which ones does not depend on how batches are cut.
#[test]
fn conditions_are_dropped_in_training() {
    let config = DiffusionConfig { cond: CondKind::Label, cond_dropout: 0.25, ..DiffusionConfig::default() };
    let diffusion = config.build().unwrap();
    let drawn = |first: u64, count: usize| {
        let x = Tensor::<4>::zeros([count, 1, 1, 1], (&Default::default(), DType::F32));
        let cond = Cond::labels((first..first + count as u64).map(|i| i as u32 % 7));
        let at = Position { step: 0, images_seen: first, images_per_step: 4000 };
        diffusion.draw(Batch { x, cond }, Noise::new(9), at).cond
    };
    let all = drawn(0, 4000);
    let parts = drawn(0, 1500).concat(&drawn(1500, 2500)).unwrap();
    let labels = all.label().unwrap();
    assert_eq!(parts.label().unwrap(), labels);
    let kept = labels.iter().filter(|l| l.is_some()).count() as f64 / 4000.0;
    assert!((kept - 0.75).abs() < 0.03, "{kept}");
    assert!(labels.iter().enumerate().all(|(i, l)| l.is_none_or(|l| l == i as u32 % 7)));
    let unconditional = DiffusionConfig::default().build().unwrap();
    let x = Tensor::<4>::zeros([2, 1, 1, 1], (&Default::default(), DType::F32));
    let at = Position { step: 0, images_seen: 0, images_per_step: 2 };
    let drawn = unconditional.draw(Batch { x, cond: Cond::labels([1, 2]) }, Noise::new(9), at).cond;
    assert!(matches!(drawn, Cond::None));
}
