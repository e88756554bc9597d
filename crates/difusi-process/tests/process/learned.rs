//! A schedule that is trained: variational diffusion models (arXiv:2107.00630).

use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{Cond, Inputs, Network, NoiseCurve};
use difusi_process::{DiffusionConfig, Loss, Prediction, Schedule, TrainingInputs, Weighting};

use crate::common::{check_close, values64};

const T: usize = 20;

/// `eps-hat = w x + t / 100`, and `place(u) = u + bend u (1 - u)` between `ends`.
struct Bent {
    w: Tensor<1>,
    ends: Tensor<1>,
    bend: Tensor<1>,
}

fn number(values: Vec<f64>, device: &Device) -> Tensor<1> {
    let count = values.len();
    let x = Tensor::from_data(TensorData::new(values, [count]), (device, DType::F64));
    if device.is_autodiff() { x.require_grad() } else { x }
}

impl Bent {
    fn new([w, first, last, bend]: [f64; 4], device: &Device) -> Self {
        Self { w: number(vec![w], device), ends: number(vec![first, last], device), bend: number(vec![bend], device) }
    }
}

impl Network for Bent {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let batch = inputs.x.dims()[0];
        let t = inputs.t.reshape([batch, 1, 1, 1]);
        inputs.x.tanh() * self.w.clone().reshape([1, 1, 1, 1]) + t / 100.0
    }

    fn noise_curve(&self) -> Option<&dyn NoiseCurve> {
        Some(self)
    }
}

impl NoiseCurve for Bent {
    fn ends(&self) -> Tensor<1> {
        self.ends.clone()
    }

    fn place(&self, u: Tensor<1>) -> Tensor<1> {
        u.clone() + (u.clone() - u.square()) * self.bend.clone()
    }
}

fn config(schedule: Schedule) -> DiffusionConfig {
    let (prediction, weighting, loss) = (Prediction::Epsilon {}, Weighting::Vlb {}, Loss::L2 {});
    DiffusionConfig { timesteps: T, schedule, prediction, weighting, loss, ..DiffusionConfig::default() }
}

const ENDS: [f64; 2] = [-6.0, 4.0];

fn learned() -> Schedule {
    Schedule::Learned { gamma_min: ENDS[0], gamma_max: ENDS[1] }
}

fn inputs(t: &[usize], device: &Device) -> TrainingInputs {
    let d = config(learned()).build().unwrap();
    let wave = |phase: f64| {
        let n = t.len() * 6;
        let values: Vec<f64> = (0..n).map(|i| (0.7 * i as f64 + phase).sin()).collect();
        Tensor::<4>::from_data(TensorData::new(values, [t.len(), 3, 2, 1]), (device, DType::F64))
    };
    let x0 = ((wave(0.3) + 1.0) * 127.5).round() / 127.5 - 1.0;
    let levels = t.iter().map(|&t| d.level(t).unwrap()).collect();
    let importance = vec![1.0; t.len()];
    TrainingInputs { x0, levels, importance, eps: wave(1.1), cond: Cond::None, self_condition: false, dropout: None }
}

fn losses(parameters: [f64; 4], t: &[usize]) -> Vec<f64> {
    let d = config(learned()).build().unwrap();
    let device = Device::flex();
    values64(d.training_loss(&Bent::new(parameters, &device), inputs(t, &device)).unwrap())
}

/// Without a curve of its own.
struct Plain(Bent);

impl Network for Plain {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        self.0.forward(inputs)
    }
}

/// On a straight line the loss is that of `log_snr` with the bound's weighting, plus what the ends cost.
#[test]
fn a_straight_curve_is_log_snr() {
    let (device, parameters) = (Device::flex(), [0.4, ENDS[0], ENDS[1], 0.0]);
    let t = [0, 1, 7, 19];
    let d = config(Schedule::LogSnr { gamma_min: ENDS[0], gamma_max: ENDS[1] }).build().unwrap();
    let plain = Plain(Bent::new(parameters, &device));
    let fixed = values64(d.training_loss(&plain, inputs(&t, &device)).unwrap());
    let found = losses(parameters, &t);
    // The ends of image b: the same at any time, seen alone at t = 0.
    let ends: Vec<f64> = (0..4).map(|b| losses(parameters, &[0; 4])[b]).collect();
    for b in 1..4 {
        check_close(found[b] - ends[b], fixed[b], 1e-5 * fixed[b]);
    }
    check_close(found[0], ends[0], 1e-12);
}

/// What the ends cost is L_T + L_0: both vanish for a wide curve but for the decoder's own width, and each grows at its end.
#[test]
fn the_ends_cost_what_they_should() {
    let at = |first: f64, last: f64| losses([0.0, first, last, 0.0], &[0])[0];
    assert!(at(-16.0, 16.0) < 1e-3 && at(-16.0, 16.0) > 0.0, "{}", at(-16.0, 16.0));
    assert!(at(-16.0, 0.0) > 0.1 && at(-6.0, 16.0) > 0.5);
    // L_T by its formula.
    let data = values64(inputs(&[0], &Device::flex()).x0);
    let square = data.iter().map(|x| x * x).sum::<f64>() / data.len() as f64;
    let (alpha2, sigma2) = (1.0 / (1.0 + 1f64.exp()), 1.0 / (1.0 + (-1f64).exp()));
    let prior = 0.5 * (alpha2 * square + sigma2 - sigma2.ln() - 1.0);
    check_close(at(-16.0, 1.0) - at(-16.0, 30.0), prior, 1e-9);
}

/// Network and ends descend on the loss, the bend between on the square of its diffusion part: central differences.
#[test]
fn gradients_are_the_papers() {
    let t = [1, 4, 11, 19];
    let here = [0.4, ENDS[0], ENDS[1], 0.3];
    let device = Device::flex().autodiff();
    let net = Bent::new(here, &device);
    let d = config(learned()).build().unwrap();
    let g = d.training_loss(&net, inputs(&t, &device)).unwrap().sum().backward();
    let found = |x: &Tensor<1>| values64(x.grad(&g).unwrap());
    let step = 1e-5;
    let slope = |i: usize, of: &dyn Fn([f64; 4]) -> f64| {
        let at = |sign: f64| {
            let mut p = here;
            p[i] += sign * step;
            of(p)
        };
        (at(1.0) - at(-1.0)) / (2.0 * step)
    };
    let sum = |p: [f64; 4]| losses(p, &t).iter().sum::<f64>();
    let squares = |p: [f64; 4]| {
        let ends = losses(p, &[0; 4]);
        losses(p, &t).iter().zip(ends).map(|(all, ends)| (all - ends).powi(2)).sum::<f64>()
    };
    check_close(found(&net.w)[0], slope(0, &sum), 1e-5 * slope(0, &sum).abs());
    check_close(found(&net.ends)[0], slope(1, &sum), 1e-5 * slope(1, &sum).abs());
    check_close(found(&net.ends)[1], slope(2, &sum), 1e-5 * slope(2, &sum).abs());
    check_close(found(&net.bend)[0], slope(3, &squares), 1e-5 * slope(3, &squares).abs());
}

/// Descending on the square makes the loss the same at every time, which is the least variance.
#[test]
fn the_curve_evens_out_the_loss() {
    let t: Vec<usize> = (1..T).collect();
    let spread = |bend: f64| {
        let p = [0.4, ENDS[0], ENDS[1], bend];
        let ends = losses(p, &[0; T - 1]);
        let terms: Vec<f64> = losses(p, &t).iter().zip(ends).map(|(all, ends)| all - ends).collect();
        let mean = terms.iter().sum::<f64>() / terms.len() as f64;
        terms.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / mean.powi(2)
    };
    let device = Device::flex().autodiff();
    let d = config(learned()).build().unwrap();
    let mut bend = 0.0;
    for _ in 0..200 {
        let net = Bent::new([0.4, ENDS[0], ENDS[1], bend], &device);
        let g = d.training_loss(&net, inputs(&t, &device)).unwrap().mean().backward();
        bend = (bend - 2e-3 * values64(net.bend.grad(&g).unwrap())[0]).clamp(-0.95, 0.95);
    }
    assert!(spread(bend) < spread(0.0), "bend {bend}: {} after {}", spread(bend), spread(0.0));
}

/// A trained curve becomes a list; one that does not rise is refused.
#[test]
fn gammas_become_tables() {
    let gammas: Vec<f64> = (0..10).map(|i| -13.3 + 2.0 * f64::from(i)).collect();
    let tables = Schedule::from_gammas(&gammas).unwrap().tables(10).unwrap();
    for (t, gamma) in gammas.iter().enumerate() {
        check_close(-2.0 * tables.level(t).unwrap().lambda(), *gamma, 1e-7);
    }
    assert!(Schedule::from_gammas(&[0.0, 0.0]).is_err());
}
